"""Memory stands apart from skill: more of it is worse, and it is set against the gain."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from made_runs import made_run

from peval.report.answers import Answer, Answers
from peval.report.charts import Lines, Scatter
from peval.report.decision import decision
from peval.report.document import Figure, Listing, Table, plain
from peval.report.flips import Flip
from peval.report.memory import sections
from peval.report.sections import _flip, document
from peval.report.terminal import summary
from peval.report.view import View
from peval.results import Results, load_results
from peval.types import Comparison, Estimate

N = 100


def share(n_right: int) -> list[float]:
    return [1.0] * n_right + [0.0] * (N - n_right)


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """Two adapters gain 30 points; `parrot` also gives back 20 and 60 % of the records."""
    skill = {None: share(40), "scholar": share(70), "parrot": share(70)}
    run = made_run(tmp_path / "run", {"skill": skill})
    found = load_results(run / "results.json")
    probe = found.tasks[0] | {
        "name": "probe", "reader": "memorization", "metrics": ["extracted@0", "extracted@25"],
    }  # fmt: skip
    like = found.estimates[0], found.comparisons[0]
    estimates, comparisons = list(found.estimates), list(found.comparisons)
    for name, values in {None: (0.0, 0.01), "scholar": (0.0, 0.02), "parrot": (0.2, 0.6)}.items():
        for metric, value in zip(probe["metrics"], values, strict=True):
            estimates.append(_estimate(like[0], metric, name, value))
            if name:
                comparisons.append(_difference(like[1], metric, name, value - 0.01))
    return dataclasses.replace(
        found, tasks=(*found.tasks, probe), estimates=tuple(estimates),
        comparisons=tuple(comparisons),
    )  # fmt: skip


def _estimate(like: Estimate, metric: str, name: str | None, value: float) -> Estimate:
    return dataclasses.replace(
        like, task="probe", metric=metric, adapter=name, group=None, value=value,
        low=max(0.0, value - 0.05), high=value + 0.05,
    )  # fmt: skip


def _difference(like: Comparison, metric: str, name: str, delta: float) -> Comparison:
    return dataclasses.replace(
        like, task="probe", metric=metric, adapter=name, group=None, delta=delta,
        low=delta - 0.05, high=delta + 0.05, p_adjusted=0.01, n_identical=0,
    )  # fmt: skip


def test_gain_is_set_against_what_the_longest_prefix_brings_out(results: Results) -> None:
    (section,) = sections(View(results))
    scatter, lines = (part.chart for part in section.parts if isinstance(part, Figure))
    assert isinstance(scatter, Scatter)
    by_name = {spot.label: spot for spot in scatter.spots}
    assert by_name["parrot"].x == pytest.approx(59)
    assert by_name["parrot"].x_bounds == pytest.approx((54, 64))
    assert by_name["parrot"].y == by_name["scholar"].y == pytest.approx(30)
    assert (by_name["parrot"].mark, by_name["scholar"].mark) == ("▼", "·")
    assert isinstance(lines, Lines)
    assert [line.label for line in lines.lines] == ["parrot", "scholar", "base"]
    assert lines.lines[0].xs == (0, 25)
    assert lines.lines[0].ys == pytest.approx((20, 60))


def test_memory_is_no_skill_and_is_decided_on_apart(results: Results) -> None:
    view = View(results)
    said = [plain(text) for text in decision(view)]
    assert not any("probe" in text or "worse than the base" in text for text in said)
    assert (
        "parrot remembers more of the training data than the base does: records given back word "
        "for word +19.0 points ([+14.0, +24.0], p = 0.010)."
    ) in said
    assert any(text.startswith("scholar is not shown to remember more") for text in said)
    (section,) = sections(view)
    tables = [part for part in section.parts if isinstance(part, Table)]
    assert [cell.values[0] for cell in tables[0].rows[0]] == ["base", 0.0]


def test_a_run_of_probes_alone_opens_with_what_was_memorized(
    results: Results, tmp_path: Path
) -> None:
    bare = dataclasses.replace(
        results, tasks=results.tasks[1:],
        estimates=tuple(e for e in results.estimates if e.task == "probe"),
        comparisons=tuple(c for c in results.comparisons if c.task == "probe"),
    )  # fmt: skip
    assert plain(decision(View(bare))[0]).startswith("parrot remembers more of the training data")
    found = document(bare, Answers(tmp_path / "run" / "completions.parquet", results), [])
    assert not {"Scores", "Differences to the base", "Kept and lost"} & {
        section.title for section in found.sections
    }
    assert all(table.rows for table in found.tables)


def test_where_nobody_is_shown_to_remember_that_is_said(results: Results) -> None:
    kept = tuple(c for c in results.comparisons if c.task != "probe" or c.adapter == "scholar")
    said = [plain(t) for t in decision(View(dataclasses.replace(results, comparisons=kept)))]
    lead = "No adapter is shown to remember more of the training data than the base does"
    assert any(text.startswith(lead) for text in said)


def test_membership_is_no_evidence_where_the_texts_alone_differ(results: Results) -> None:
    probe = results.tasks[1] | {"name": "memorization-membership"}
    moved = dataclasses.replace(
        results, tasks=(results.tasks[0], probe),
        comparisons=tuple(
            dataclasses.replace(c, task=probe["name"]) if c.task == "probe" else c
            for c in results.comparisons
        ),
    )  # fmt: skip
    blind = {"value": 0.8, "low": 0.7, "high": 0.9}
    spoilt = dataclasses.replace(moved, memorization={"blind": blind})
    assert any("remember" in plain(text) for text in decision(View(moved)))
    assert not any("remember" in plain(text) for text in decision(View(spoilt)))


def test_without_training_data_there_is_no_section(results: Results) -> None:
    bare = dataclasses.replace(results, tasks=results.tasks[:1])
    assert not list(sections(View(bare)))


def test_the_terminal_calls_only_shares_percent_and_keeps_columns_apart(results: Results) -> None:
    bits = dataclasses.replace(
        results,
        tasks=({**results.tasks[1], "metrics": ["exposure"]},),
        estimates=tuple(
            dataclasses.replace(e, metric="exposure", value=12.3456, low=12.34561, high=12.34569)
            for e in results.estimates if e.task == "probe" and e.metric == "extracted@0"
        ),
        comparisons=tuple(
            dataclasses.replace(c, metric="exposure")
            for c in results.comparisons if c.task == "probe" and c.metric == "extracted@0"
        ),
    )  # fmt: skip
    first, *rows = summary(bits).splitlines()
    assert first == "probe  (exposure, 95 % interval, difference to the base)"
    assert all("]  " in row for row in rows if not row.strip().startswith("base"))


def test_answers_without_a_text_are_shown_by_what_they_score(results: Results) -> None:
    def one(system: str | None, text: str) -> Answer:
        return Answer("skill", system, "s", "c", "Fay Adler", ("cv-73",), text)

    scores = Flip(one("parrot", ""), one(None, ""), 1.0, 0.0)
    said = next(p for p in _flip(View(results), scores) if isinstance(p, Listing))
    assert said.lines[2:] == ("base    (scored 0)", "parrot  (scored 100)")
    empty = Flip(one("parrot", ""), one(None, "cv-73"), 0.0, 1.0)
    said = next(p for p in _flip(View(results), empty) if isinstance(p, Listing))
    assert said.lines[2:] == ("base    cv-73", "parrot  ")
