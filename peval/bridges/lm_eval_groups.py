"""Groups of lm-evaluation-harness: which tasks' metrics each averages, and how."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from peval.bridges.lm_eval_samples import metric_name, metrics_of
from peval.bridges.lm_eval_tasks import PREFIX, groups
from peval.types import Pool, Task


def pools_of(tasks: Sequence[Task]) -> tuple[Pool, ...]:
    """Return what the groups that lm-eval tasks came from average, outer groups first."""
    asked = {str(task.source): task for task in tasks if task.reader == "lm-eval"}
    return tuple(pool for name, task in asked.items() for pool in _pools(name, task))


def _pools(name: str, task: Task) -> Iterator[Pool]:
    for group in groups(name, task.settings).values():
        leaves = {leaf.task_name: metrics_of(leaf) for leaf in group.get_all_tasks()}
        for how in group.aggregate_metric_list or ():
            filters = how.filter_list or sorted(
                {
                    metric.partition(",")[2] or "none"
                    for metrics in leaves.values()
                    for metric in metrics
                    if metric.partition(",")[0] == how.metric
                }
            )
            for one in filters:
                metric = metric_name(how.metric, one)
                having = [leaf for leaf, metrics in leaves.items() if metric in metrics]
                if having and not callable(how.aggregation):
                    names = tuple(f"{PREFIX}{leaf}" for leaf in having)
                    yield Pool(f"{PREFIX}{group.name}", metric, names, how.weight_by_size)
