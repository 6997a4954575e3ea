"""What `peval compare` and `peval gate` print."""

from __future__ import annotations

from peval.decide.compare import Adjustment, Compared
from peval.decide.gate import Check, Gate, worst_first
from peval.families import PRIMARY, counts
from peval.metrics import is_share
from peval.report.format import counted, difference, is_same, p_value, percent, points
from peval.types import Comparison

METHODS: dict[Adjustment, str] = {
    "holm": "Holm's method",
    "max-t": "step-down max-T, 10,000 flips",
    "bh": "Benjamini and Hochberg's method (for exploring)",
}


def compared_text(found: Compared) -> str:
    """Return the headline differences, task by task."""
    primary = [c for c in found.comparisons if c.family == PRIMARY]
    n = sum(map(counts, primary))
    blocks = [_task(task, primary) for task in dict.fromkeys(c.task for c in primary)]
    blocks.append(
        f"p adjusted by {METHODS[found.adjustment]} over {counted(n, 'difference')}: the headline "
        "metric of every pair on every task, but for those with every answer alike. MDE: the true "
        "difference that would be found in 80 % of repetitions."
    )
    blocks += [f"PARTIAL  {line}" for line in found.partial]
    if found.unlike:
        blocks.append(f"NOT ALIKE in {', '.join(found.unlike)}, compared all the same")
    blocks += [
        f"LEFT OUT of {task}: {counted(n_items, 'item')} that only one of a pair has"
        for task, n_items in found.left_out.items()
    ]
    return "\n\n".join(blocks)


def _task(task: str, primary: list[Comparison]) -> str:
    rows = [c for c in primary if c.task == task]
    unit = "points, " if is_share(rows[0].metric) else ""
    header = f"{task}  ({rows[0].metric}, {unit}95 % interval)"
    cells = [
        (f"{c.adapter} − {c.against}", difference(c), f"p {p_value(c.p_adjusted)}", _rest(c))
        for c in rows
    ]
    widths = [max(len(cell[i]) for cell in cells) for i in range(3)]
    lines = [
        "  ".join(["", *(f"{text:<{w}}" for text, w in zip(cell, widths, strict=False)), cell[3]])
        for cell in cells
    ]
    return "\n".join([header, *(line.rstrip() for line in lines)])


def _rest(c: Comparison) -> str:
    if is_same(c):
        return f"every answer alike, {counted(c.n_items, 'item')}"
    clusters = f" in {c.n_clusters:,} clusters" if c.n_clusters < c.n_items else ""
    mde = "" if c.mde is None else f"MDE {percent(c.mde)}, "
    return f"{mde}{counted(c.n_items, 'item')}{clusters}"


def gate_text(gate: Gate) -> str:
    """Return one line for each check, the worst first, and the verdict."""
    counts = [
        f"{sum(c.verdict == v for c in gate.checks)} {v}" for v in ("fail", "undecided", "pass")
    ]
    lines = [_check(check) for check in worst_first(gate.checks)]
    return "\n".join([*lines, "", f"{gate.verdict.upper()}  ({', '.join(counts)})"])


def _check(check: Check) -> str:
    rule = check.rule
    number = percent if rule.kind == "floor" else points
    found = f"{number(check.value)} [{number(check.low)}, {number(check.high)}]"
    what = f"{check.adapter}  {rule.task} ({check.metric})  {rule.kind} {percent(rule.bound)}"
    return f"{check.verdict:<9}  {what}: {found}; {check.why}"
