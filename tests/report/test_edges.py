"""Runs with little to tell are told all the same, in every form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from made_runs import made_run

import peval.api
from peval.report.answers import Answers
from peval.report.charts import Forest
from peval.report.plots import ROWS_DOWN
from peval.report.sections import document
from peval.report.tables import N_OPEN
from peval.results import load_results

HALF = [0.0, 1.0] * 10
FAILED = [float("nan")] * 20

Tasks = Mapping[str, Mapping[str | None, Sequence[float]]]


@pytest.mark.parametrize(
    ("tasks", "words"),
    [
        ({"t": {None: HALF}}, "the run has only the base"),
        ({"t": {"a": HALF, "b": HALF[::-1]}}, "the run has no base"),
        ({"t": {None: FAILED, "a": FAILED}}, "40 of 40 requests failed"),
        ({"t": {None: HALF, "a": FAILED}}, "20 of 40 requests failed"),
        ({"t": {None: [1.0], "a": [0.0]}}, "on so little data no difference could have been"),
        ({f"t{i}": {None: HALF, "a": HALF} for i in range(57)}, "gives the base's answer to every"),
    ],
)
def test_every_form_can_be_written(tmp_path: Path, tasks: Tasks, words: str) -> None:
    run = made_run(tmp_path / "run", tasks)
    assert words in peval.api.report(run).read_text(encoding="utf-8")
    assert peval.api.report(run, "latex").stat().st_size > 100
    assert list(peval.api.report(run, "csv").glob("scores-headline*.csv"))


@pytest.mark.parametrize("n_adapters", [2, 40])
def test_few_adapters_are_open_and_many_folded(tmp_path: Path, n_adapters: int) -> None:
    rng = np.random.default_rng(0)
    names = [f"adapter-{i:02}" for i in range(n_adapters)]
    scores = {name: (rng.random(60) < 0.2 + 0.015 * i) * 1.0 for i, name in enumerate(names)}
    base = (rng.random(60) < 0.3) * 1.0
    systems = {name: x.tolist() for name, x in ({None: base} | scores).items()}
    run = made_run(tmp_path / "run", {"t0": systems, "t1": systems})
    text = peval.api.report(run).read_text(encoding="utf-8")
    section = text[text.index("\n## Scores") : text.index("\n## Differences")]
    opened, _, folded = section.partition("<details>")
    shown = [name for name in names if f"`{name}`" in opened]
    assert len(shown) == min(n_adapters, N_OPEN)
    assert names[-1] in shown  # the best one
    assert all(name in section for name in names)
    assert bool(folded) == (n_adapters > N_OPEN)
    results = load_results(run / "results.json")
    page = document(results, Answers(run / "completions.parquet", results), [])
    for figure in page.figures:
        if isinstance(figure.chart, Forest):
            assert len(figure.chart.rows) <= ROWS_DOWN
