"""Which checkpoint stands for its training: the last, or the best on a stated split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from peval.errors import UsageError
from peval.sweeps.curves import n_steps, series_of
from peval.sweeps.scores import Scores
from peval.sweeps.trained import Trained


@dataclass(frozen=True)
class Rule:
    """How a checkpoint is chosen; ``split`` is the task on which the best was looked for.

    That task's scores are then those of the best of several, and too high for it: whoever shows
    them has to say so.
    """

    kind: Literal["last", "best"] = "last"
    split: str | None = None


@dataclass(frozen=True)
class Choice:
    """The checkpoint that stands for a series of `n_candidates`."""

    series: str
    adapter: str
    steps: float
    n_candidates: int


def read_rule(text: str, tasks: Sequence[str]) -> Rule:
    """Read ``last`` or ``best:TASK``.

    Raises
    ------
    UsageError
        It is neither, or the task is not in the run.
    """
    if text == "last":
        return Rule()
    kind, _, split = text.partition(":")
    if kind != "best" or not split:
        raise UsageError(f"--select {text}: expected last, or best:TASK with the task to look at")
    if split not in tasks:
        raise UsageError(f"--select {text}: no such task here; there are {', '.join(tasks[:5])}")
    return Rule("best", split)


def select(
    runs: Sequence[Trained], scores: Scores, rule: Rule
) -> tuple[list[Trained], list[Choice]]:
    """Return the adapters with one checkpoint of each series, and how these were chosen.

    Of equally good checkpoints the earliest is chosen.
    """
    chosen: dict[str, str] = {}
    choices = []
    for series, checkpoints in series_of(runs).items():
        best = _best(checkpoints, scores, rule)
        chosen[series] = best.name
        choices.append(Choice(series, best.name, n_steps(best), len(checkpoints)))
    kept = [run for run in runs if run.series is None or chosen[run.series] == run.name]
    return kept, choices


def _best(checkpoints: Sequence[Trained], scores: Scores, rule: Rule) -> Trained:
    best, best_value = checkpoints[-1], None
    if rule.split is None:
        return best
    for run in checkpoints:
        value = scores.value(rule.split, run.name)
        if value is not None and (
            best_value is None or scores.is_better(rule.split, value, best_value)
        ):
            best, best_value = run, value
    return best
