"""The few lines that `peval score` prints when it is done."""

from __future__ import annotations

from peval.metrics import is_share
from peval.report.format import difference, interval
from peval.report.hygiene import notes
from peval.report.view import View, headline
from peval.results import Results


def summary(results: Results) -> str:
    """Return each task's headline scores, one system a line."""
    told = [*View(results).pools, *results.tasks]
    blocks = [_block(results, task["name"], headline(task)) for task in told]
    blocks += [f"NOTE  {line}" for line in notes(View(results))]
    if not results.complete:
        run = results.run
        blocks.append(
            f"PARTIAL: {run['n_unanswered']:,} of {run['n_requests']:,} items have no prediction"
            if View(results).is_predictions
            else f"PARTIAL: {run['n_failed']:,} of {run['n_requests']:,} requests failed, "
            f"{run['n_unanswered']:,} unanswered; the same command asks them again"
        )
    return "\n\n".join(blocks)


def _block(results: Results, task: str, metric: str) -> str:
    names: list[str | None] = [*View(results).systems]
    baselines = list(dict.fromkeys(e.adapter for e in results.baselines if e.task == task))
    width = max(len(name or "base") for name in [*names, *baselines])
    unit, gap = ("percent, ", "points against") if is_share(metric) else ("", "difference to")
    lines = [f"{task}  ({metric}, {unit}95 % interval, {gap} the base)"]
    for name in [*names, *baselines]:
        score = interval(results.estimate(task, metric, name))
        lines.append(
            f"  {name or 'base':<{width}}  {score:<18}  {_versus(results, task, metric, name)}"
        )
    return "\n".join(line.rstrip() for line in lines)


def _versus(results: Results, task: str, metric: str, name: str | None) -> str:
    for c in results.comparisons:
        if (c.task, c.metric, c.adapter, c.group) == (task, metric, name, None):
            return difference(c)
    return ""
