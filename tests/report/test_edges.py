"""Runs with little to tell are told all the same, in every form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from made_runs import made_run

import peval.api

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
