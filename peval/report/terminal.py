"""The few lines that `peval score` prints when it is done."""

from __future__ import annotations

from peval.metrics import is_share
from peval.report import proofs
from peval.report.described import shown
from peval.report.format import difference, interval
from peval.report.hygiene import notes
from peval.report.tables import short_cell
from peval.report.view import Key, View, headline
from peval.results import Record, Results


def summary(results: Results) -> str:
    """Return each task's headline scores, one system a line."""
    view = View(results)
    told = [*view.pools, *results.tasks]
    blocks = [
        _described(view, task) if task in view.unjudged
        else _block(results, task["name"], headline(task))
        for task in told
    ]  # fmt: skip
    blocks += proofs.lines(view)
    blocks += [f"NOTE  {line}" for line in [*_strangers(results), *notes(view)]]
    if not results.complete:
        run = results.run
        blocks.append(
            f"PARTIAL: {run['n_unanswered']:,} of {run['n_requests']:,} items have no prediction"
            if View(results).is_predictions
            else f"PARTIAL: {run['n_failed']:,} of {run['n_requests']:,} requests failed, "
            f"{run['n_unanswered']:,} unanswered; the same command asks them again"
        )
    return "\n\n".join(blocks)


def _strangers(results: Results) -> list[str]:
    counts = results.run.get("left_out", {}).items()
    who = ", ".join(f"{name} {count:,}" for name, count in counts if count)
    return [f"left out: predictions for items that the task does not ask: {who}"] if who else []


def _block(results: Results, task: str, metric: str) -> str:
    names: list[str | None] = [*View(results).systems]
    baselines = list(dict.fromkeys(e.adapter for e in results.baselines if e.task == task))
    width = max(len(name or "base") for name in [*names, *baselines])
    unit, gap = ("percent, ", "points against") if is_share(metric) else ("", "difference to")
    versus = f", {gap} the base" if _is_compared(results, task) else ""
    lines = [f"{task}  ({metric}, {unit}95 % interval{versus})"]
    for name in [*names, *baselines]:
        score = interval(results.estimate(task, metric, name))
        lines.append(
            f"  {name or 'base':<{width}}  {score:<18}  {_versus(results, task, metric, name)}"
        )
    return "\n".join(line.rstrip() for line in lines)


def _described(view: View, task: Record) -> str:
    """Return what a task's answers are like, one system a line."""
    metrics = [m for m in shown(view, task) if not m.startswith("distinct")]
    width = max(len(system or "base") for system in view.systems)
    marks = "; marks against the base" if _is_compared(view.results, task["name"]) else ""
    lines = [f"{task['name']}  (described, not judged: `peval judge`{marks})"]
    for system in view.systems:
        said = "  ".join(_said(view, (task["name"], m, system, None)) for m in metrics)
        lines.append(f"  {system or 'base':<{width}}  {said}")
    return "\n".join(lines)


def _said(view: View, key: Key) -> str:
    value, *more = short_cell(view, key).plain.split()
    return " ".join([key[1], value, *(["%"] if is_share(key[1]) else []), *more])


def _is_compared(results: Results, task: str) -> bool:
    return any(c.task == task for c in results.comparisons)


def _versus(results: Results, task: str, metric: str, name: str | None) -> str:
    for c in results.comparisons:
        if (c.task, c.metric, c.adapter, c.group) == (task, metric, name, None):
            return difference(c)
    return ""
