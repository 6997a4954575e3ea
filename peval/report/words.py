"""What the numbers say and what they cannot say, in plain sentences."""

from __future__ import annotations

from peval.families import EXPLORATORY, PRIMARY, counts
from peval.metrics import is_share
from peval.report.format import (
    BETTER,
    WORSE,
    counted,
    is_same,
    mark,
    p_value,
    percent,
    points,
    signed,
)
from peval.report.tables import headline
from peval.results import Results
from peval.types import Comparison

FEW_CLUSTERS = 30


def findings(results: Results) -> list[str]:
    """Return what each adapter's differences to the base are, one line per task."""
    lines = []
    for adapter in results.adapters:
        name = adapter["name"]
        compared = [
            c
            for task in results.tasks
            for c in results.comparisons
            if (c.task, c.metric, c.adapter, c.group) == (task["name"], headline(task), name, None)
        ]
        if compared and all(map(is_same, compared)):
            n_items = sum(c.n_items for c in compared)
            zero = "its update is exactly zero"
            why = zero if adapter["changes_nothing"] else "yet its update is not zero: check it"
            lines.append(
                f"- `{name}` gave exactly the base's answer to all {n_items:,} prompts ({why})."
            )
        elif compared:
            lines += [f"- `{name}`", *(f"  - {_finding(c)}" for c in compared)]
    return lines


def limits(results: Results) -> list[str]:
    """Return what a reader must not conclude."""
    lines = [
        "- An interval covers the choice of items: how the score would move if the benchmark had "
        "drawn other tasks (or other items, where there is one task only). It does not cover "
        "other training seeds, prompts or decodings."
    ]
    few = {t["name"]: t["n_clusters"] for t in results.tasks if 1 < t["n_clusters"] < FEW_CLUSTERS}
    if few:
        counts = ", ".join(f"`{name}` has {n}" for name, n in few.items())
        lines.append(
            f"- Items of one task resemble each other, so tasks are what counts: {counts}. With so "
            "few, intervals are wide and a missing difference proves little."
        )
    lines += _families(results)
    lines.append(
        "- `·` means that the data cannot tell, not that there is no difference or no forgetting."
    )
    return lines


def _families(results: Results) -> list[str]:
    """Return how many differences were looked at and what was done about it."""
    n_primary, n_exploratory = (
        sum(c.family == family and counts(c) for c in results.comparisons)
        for family in (PRIMARY, EXPLORATORY)
    )
    n_alike = sum(c.family == PRIMARY and not counts(c) for c in results.comparisons)
    alike = f" ({n_alike:,} more have every answer alike)" if n_alike else ""
    if not n_primary:
        return []
    adapters, tasks = counted(len(results.adapters), "adapter"), counted(len(results.tasks), "task")
    lines = [
        f"- p-values are adjusted by Holm's method within one family: the headline metric of "
        f"{adapters} on {tasks}, {counted(n_primary, 'difference')}{alike}. Were there none in "
        "truth, the chance that any is marked would be at most 5 %."
    ]
    if n_exploratory:
        lines.append(
            "- Categories and other metrics are for exploring: their p-values are adjusted by "
            f"Benjamini and Hochberg's method over {counted(n_exploratory, 'difference')}, so that "
            "of those marked about one in twenty may be chance."
        )
    return lines


def _finding(c: Comparison) -> str:
    """Return one difference in words."""
    if is_same(c):
        return f"{c.task}: every answer is the base's"
    verdicts = {BETTER: "better than the base by {}", WORSE: "worse than the base by {}"}
    verdict = verdicts.get(mark(c), "not told apart from the base, {}")
    write, unit = (points, " points") if is_share(c.metric) else (signed, f" ({c.metric})")
    delta = write(c.delta).lstrip("+−") if mark(c) in verdicts else write(c.delta)
    adjusted = c.p_value if c.p_adjusted is None else c.p_adjusted
    bounds = f"{write(c.low)} to {write(c.high)}"
    size = f"{delta}{unit} ({bounds}, adjusted p {_equals(adjusted)})"
    same = f"; {c.n_identical:,} of {c.n_items:,} answers are the base's"
    findable = "" if mark(c) in verdicts else _findable(c)
    said = verdict.format(size) + findable
    return f"{c.task}: {said}{same if c.n_identical > 0.9 * c.n_items else ''}"


def _findable(c: Comparison) -> str:
    """Return how large a difference would have been found, so that none found says something."""
    if c.mde is None or not is_share(c.metric):
        return ""
    if c.mde >= 1:
        return "; no difference could have been found on so little data"
    return f"; one of {percent(c.mde)} points would be found four times in five"


def _equals(p: float | None) -> str:
    text = p_value(p)
    return text if text.startswith("<") else f"= {text}"
