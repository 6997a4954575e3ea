"""What became of the programs that systems wrote: kinds of failure, and pass@k for every k."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from peval.stats.passk import pass_at_k_interval
from peval.stats.repeats import Repeated, repeated_interval
from peval.types import Score, Task

Record = dict[str, Any]
PASSED, NO_CODE = "passed", "no code"


def rows(task: Task, systems: Mapping[str | None, Sequence[Score | None]]) -> Iterator[Record]:
    """Yield one record for each system of a coding task.

    Its ``outcomes`` count programs by what became of them, the most frequent first. Its ``curve``
    holds pass@k with its interval for every k up to the fewest programs of a problem; problems
    are what the interval takes as drawn. ``item_variance`` and ``sampling_variance`` part the
    spread of programs that pass into that of problems and that of drawing; None where no problem
    has two programs.
    """
    for name, scores in systems.items():
        judged = [score for score in scores if score and score.judged]
        outcomes = Counter(one.outcome for score in judged for one in score.judged)
        spread = _spread(judged)
        weak = sum(one.outcome == PASSED and one.detail != "" for s in judged for one in s.judged)
        yield {
            "task": task.name,
            "adapter": name,
            "n_problems": len(judged),
            "n_programs": outcomes.total(),
            "n_passed_weakly": weak,
            "outcomes": dict(outcomes.most_common()),
            "curve": list(_curve(judged)),
            "item_variance": spread.item_variance if spread else None,
            "sampling_variance": spread.sampling_variance if spread else None,
        }


def _spread(scores: Sequence[Score]) -> Repeated | None:
    passed = [float(one.outcome == PASSED) for score in scores for one in score.judged]
    problems = [str(i) for i, score in enumerate(scores) for _ in score.judged]
    return repeated_interval(passed, problems, problems) if passed else None


def _curve(scores: Sequence[Score]) -> Iterator[Record]:
    n = [len(score.judged) for score in scores]
    c = [sum(one.outcome == PASSED for one in score.judged) for score in scores]
    problems = [str(i) for i in range(len(scores))]
    for k in range(1, min(n, default=0) + 1):
        found = pass_at_k_interval(n, c, k, problems)
        yield {"k": k, "value": found.value, "low": found.low, "high": found.high}
