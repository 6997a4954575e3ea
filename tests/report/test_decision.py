"""The first sentences, from results made to have each verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from made_runs import made_run

from peval.report.decision import decision
from peval.report.document import plain
from peval.report.retention import verdicts
from peval.report.view import View
from peval.results import load_results

N = 120
BASE = [1.0] * 60 + [0.0] * 60
MUCH_BETTER = [1.0] * 110 + [0.0] * 10
MUCH_WORSE = [1.0] * 10 + [0.0] * 110
A_LITTLE = [0.0, *[1.0] * 60, *[0.0] * 59]
FAILED = [*[float("nan")] * 3, *BASE[3:]]

Systems = Mapping[str | None, Sequence[float]]


def said(tmp_path: Path, *tasks: Systems) -> list[str]:
    run = made_run(tmp_path / "run", {f"t{at}": systems for at, systems in enumerate(tasks)})
    found = decision(View(load_results(run / "results.json")))
    assert 1 <= len(found) <= 6
    return [plain(text) for text in found]


def test_each_verdict_has_a_sentence_with_its_numbers(tmp_path: Path) -> None:
    one = {None: BASE, "up": MUCH_BETTER, "down": MUCH_WORSE, "same": BASE, "flat": A_LITTLE}
    up, down, same, kept, undecided, clean = said(tmp_path, one, one)
    assert up.startswith("up is better than the base on all 2 tasks: +41.7 points on t0 ([+3")
    assert "p < 0.001" in up
    assert down.startswith("down is worse than the base: −41.7 points on t0 ([−5")
    assert same.startswith("same gives the base's answer to every one of 240 prompts: yet its")
    assert kept == (
        "Of 8 scores, 2 points of loss allowed: 4 kept, 2 lost, 2 undecided; up and same kept all "
        "of theirs."
    )
    assert undecided.startswith("For 2 of 8 differences the data cannot tell; one of")
    assert clean.startswith("No answer was truncated")


def test_gains_here_and_losses_there_are_no_gain(tmp_path: Path) -> None:
    first, mixed, *_ = said(
        tmp_path, {None: BASE, "both": MUCH_BETTER}, {None: BASE, "both": MUCH_WORSE}
    )
    assert first.startswith("No adapter is shown to be better than the base without being worse")
    assert mixed == "both is better on some tasks and worse on others."


def test_what_failed_is_said_whatever_else_there_is_to_say(tmp_path: Path) -> None:
    systems = {None: BASE, "up": MUCH_BETTER, "up2": MUCH_BETTER, "down": MUCH_WORSE, "same": BASE}
    more = said(tmp_path, systems | {"lame": FAILED, "flat": A_LITTLE})
    assert len(more) == 6
    assert more[1].startswith("up2 is better too; which of them is best is another question")
    assert "3 requests that failed or are unanswered" in more[-1]


def test_many_names_are_counted(tmp_path: Path) -> None:
    first, others, *_ = said(tmp_path, {None: BASE} | {f"a{i}": MUCH_BETTER for i in range(9)})
    assert first.startswith("a0 is better than the base: ")
    assert others.startswith("a1, a2, a3 and 5 more adapters are better too; ")


@pytest.mark.parametrize("systems", [{None: BASE}, {"alone": BASE}])
def test_without_a_pair_nothing_is_compared(tmp_path: Path, systems: Systems) -> None:
    assert said(tmp_path, systems)[0].startswith("Nothing was compared: the run has")


def test_a_wide_interval_shows_neither_that_much_was_kept_nor_that_it_was_lost(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(0)
    base, noisy = rng.random(40).round(2).tolist(), rng.random(40).round(2).tolist()
    run = made_run(tmp_path / "run", {"t": {None: base, "noisy": noisy}})
    assert verdicts(View(load_results(run / "results.json"))) == {"noisy": ["undecided"]}
