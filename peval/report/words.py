"""What the numbers say and what they cannot say, in plain sentences."""

from __future__ import annotations

from peval.report.format import BETTER, WORSE, is_same, mark, p_value, points
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
    n_tests = len(results.adapters) * len(results.tasks)
    if n_tests > 1 and results.run["with_base"]:
        lines.append(
            f"- {n_tests} differences were looked at. Of that many, one in twenty would be marked "
            "even if no adapter differed; the p-values are not adjusted for it."
        )
    lines.append(
        "- `·` means that the data cannot tell, not that there is no difference or no forgetting."
    )
    return lines


def _finding(c: Comparison) -> str:
    """Return one difference in words."""
    if is_same(c):
        return f"{c.task}: every answer is the base's"
    verdicts = {BETTER: "better than the base by {}", WORSE: "worse than the base by {}"}
    verdict = verdicts.get(mark(c), "not told apart from the base, {}")
    delta = points(c.delta).lstrip("+−") if mark(c) in verdicts else points(c.delta)
    size = f"{delta} points ({points(c.low)} to {points(c.high)}, p {_equals(c.p_value)})"
    same = f"; {c.n_identical:,} of {c.n_items:,} answers are the base's"
    return f"{c.task}: {verdict.format(size)}{same if c.n_identical > 0.9 * c.n_items else ''}"


def _equals(p: float | None) -> str:
    text = p_value(p)
    return text if text.startswith("<") else f"= {text}"
