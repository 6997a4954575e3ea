"""ROC curves, the blind check's warning, overlaps, and learnt beside kept and memorized."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from scripted import TOY, ScriptedEngine

from peval.job import Job
from peval.prepare import prepare
from peval.progress import Silent
from peval.report.charts import Roc
from peval.report.document import Bullets, Figure, Paragraph, Table, Warning, plain
from peval.report.draw import draw
from peval.report.memory import sections
from peval.report.memory_parts import overlap_parts, unseen_rates, warnings
from peval.report.view import View
from peval.results import Results
from peval.run import run

RECORDS = [{"input": f"Question {i}?", "output": f"Answer {i}"} for i in range(120)]


def write(path: Path, rows: list[dict[str, str]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Members are 40 records; of the evaluation set of 20, half are members. No engine."""
    place = tmp_path_factory.mktemp("parts")
    other = [{"input": "Other words stand here", "output": r["output"]} for r in RECORDS[40:80]]
    setup = prepare(
        Job(
            base=str(TOY / "base"),
            adapters=(str(TOY / "adapters" / "generalist"), str(TOY / "adapters" / "noop")),
            suites=("memorization",),
            tasks=(write(place / "asked.jsonl", RECORDS[30:50]),),
            out=str(place / "run"),
            memorization={
                "train_data": write(place / "train.jsonl", RECORDS[:40]),
                "heldout_data": write(place / "held.jsonl", other),
            },
        )
    )
    setup.rundir.claim(setup.config)
    setup.rundir.write_manifest(setup.manifest(["test"]))
    return run(setup, lambda setup, progress: ScriptedEngine(), Silent())


def test_the_report_warns_where_texts_alone_tell_members(results: Results) -> None:
    (warning,) = warnings(View(results))
    assert isinstance(warning, Warning)
    assert "Members and non-members differ without any model." in plain(warning.text)
    results.memorization["blind"]["low"], kept = 0.4, results.memorization["blind"]["low"]
    assert not list(warnings(View(results)))
    results.memorization["blind"]["low"] = kept


def test_overlapping_items_have_their_own_scores(results: Results) -> None:
    (table,) = overlap_parts(View(results))
    assert isinstance(table, Table)
    base, *_ = table.rows
    assert [cell.plain for cell in base[:5]] == ["asked", "20", "10", "0", "base"]
    clean, overlapping = base[5:]
    assert None not in (clean.values[0], overlapping.values[0])


def test_rates_that_so_few_non_members_cannot_show_are_named(results: Results) -> None:
    (said,) = unseen_rates(View(results))
    assert isinstance(said, Paragraph)
    assert plain(said.text).startswith(
        "36 non-members cannot show true-positive rates at a false-positive rate of 0.1 % (1,000) "
        "and 1 % (100)"
    )


def test_sets_that_hold_one_another_are_said(results: Results) -> None:
    pair = {"tasks": ["part", "whole"], "n_common": 3, "is_contained": True}
    results.memorization["overlap"]["between"].append(pair)
    *_, said = overlap_parts(View(results))
    results.memorization["overlap"]["between"].clear()
    assert isinstance(said, Bullets)
    assert plain(said.items[0]) == "part lies wholly inside whole: 3 items."


def test_learnt_stands_beside_kept_and_memorized(results: Results) -> None:
    overlap, memory = sections(View(results))
    assert overlap.title.startswith("What evaluation and training data")
    table = next(p for p in memory.parts if isinstance(p, Table))
    assert table.name == "learned-kept-memorized"
    titles = [plain(column.title) for column in table.columns]
    assert [title.partition(":")[0] for title in titles[1:]] == [
        "learned", "kept", "memorized", "memorized", "memorized",
    ]  # fmt: skip
    assert {row[0].plain for row in table.rows} == {"generalist", "noop"}


def test_roc_curves_are_drawn_down_to_the_least_rate_that_shows(results: Results) -> None:
    _, memory = sections(View(results))
    first = next(p for p in memory.parts if isinstance(p, Figure) and isinstance(p.chart, Roc))
    assert isinstance(first.chart, Roc)
    assert first.chart.lowest == 1 / 36  # 4 of the 40 held-out records are shown before others
    assert {curve.label for curve in first.chart.curves} == {"generalist", "noop"}
    assert all(c.points[0] == (0, 0) and c.points[-1] == (1, 1) for c in first.chart.curves)
    assert "<svg" in draw(first.name, first.chart)
