"""What open answers are like, in words and tables, apart from scores."""

from __future__ import annotations

import dataclasses
import json

import pytest
from scripted import TOY, ScriptedEngine

import peval
from peval import execute
from peval.report.terminal import summary
from peval.results import Results
from peval.types import Completion, Drawn, Request

LOOP = "Of course. " + "I will say it once more. " * 9


class Looping(ScriptedEngine):
    """The generalist never comes to an end; the base says something short and new each time."""

    def answer(self, request: Request) -> Completion:
        one = super().answer(request)
        if request.adapter == "generalist":
            drawn = Drawn(LOOP, (1,) * 60, "length")
        else:
            drawn = Drawn(f"Item {len(self.asked)}.", (1, 2, 3), "stop")
        return Completion(one.key, drawn.text, drawn.token_ids, drawn.finish_reason)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, str]:
    folder = tmp_path_factory.mktemp("described")
    path = folder / "asks.jsonl"
    rows = [
        {"turns": [f"Tell me of {n}.", "And then?"], "category": f"c{n % 2}"} for n in range(20)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execute, "open_engine", lambda setup, progress: Looping())
        found = peval.score(
            adapters=[str(TOY / "adapters" / name) for name in ("generalist", "noop")],
            tasks=(str(path),), out=str(folder / "run"), profile="vicuna",
        )  # fmt: skip
    return found, (folder / "run" / "report.md").read_text()


def test_they_are_described_and_no_score_is_made_of_it(run: tuple[Results, str]) -> None:
    found, report = run
    assert "Answers to `asks` are **described, not judged**" in report
    for words in ("Kept and lost", "## Scores", "is better than", "## Other metrics", "Holm"):
        assert words not in report, words
    assert "Benjamini and Hochberg" in report
    assert {c.family for c in found.comparisons if c.p_value is not None} == {"exploratory"}
    assert {c.retention for c in found.comparisons} == {None}


def test_defects_are_said_first(run: tuple[Results, str]) -> None:
    _, report = run
    opening = report.partition("## ")[0]
    assert "`generalist` is shown to **end in loops more often** than the base: +100" in opening
    assert "`generalist` is shown to **run into the token limit more often**" in opening
    assert "refuse" not in opening


def test_the_table_has_marks_and_the_fold_intervals(run: tuple[Results, str]) -> None:
    _, report = run
    heads = "|  | loops, % | refusals, % | truncated, % | tokens | distinct-1, % | distinct-2, % |"
    assert heads in report
    row = next(line for line in report.splitlines() if line.startswith("| `generalist` | 100"))
    assert [cell.split() for cell in row.split("|")[2:6]] == [
        ["100.0", "▼"], ["0.0", "·"], ["100.0", "▼"], ["60.0", "↑"],
    ]  # fmt: skip
    assert "Tokens by category (and number of prompts):" in report
    assert "| c0 (10) | c1 (10) |" in report


def test_the_terminal_says_so_too(run: tuple[Results, str]) -> None:
    found, _ = run
    lines = summary(found).splitlines()
    assert lines[0] == "asks  (described, not judged: `peval judge`; marks against the base)"
    assert (
        " ".join(lines[1].split()) == "base loops 0.0 % refusals 0.0 % truncated 0.0 % tokens 3.0"
    )
    assert "loops 100.0 % ▼" in lines[2]


def test_without_a_base_the_terminal_speaks_of_none(run: tuple[Results, str]) -> None:
    lines = summary(dataclasses.replace(run[0], comparisons=())).splitlines()
    assert lines[0] == "asks  (described, not judged: `peval judge`)"


def test_answers_are_counted_turn_by_turn(run: tuple[Results, str]) -> None:
    _, report = run
    assert "| **base** | base | 40 | 120 | 3.0 |" in report
