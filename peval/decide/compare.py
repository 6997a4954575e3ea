"""Paired differences across finished runs, on identical items."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from peval import stats
from peval.answers import is_there
from peval.corpus import Aggregate, is_mean, is_whole_only
from peval.decide.pairs import Pair, check_signatures, check_tasks, common_rows, pair_up
from peval.decide.runs import FinishedRun, Scores, in_progress, read_run
from peval.errors import RunError, UsageError
from peval.estimation import finite, paired
from peval.families import LEVEL, PRIMARY, adjusted, counts
from peval.metrics import describes
from peval.results import Record
from peval.rundir import task_of
from peval.scoring import aggregates
from peval.types import Comparison

Adjustment = Literal["holm", "max-t", "bh"]
ADJUSTMENTS: tuple[Adjustment, ...] = ("holm", "max-t", "bh")
SEED = 0


@dataclass(frozen=True)
class Compared:
    """Differences between systems of finished runs.

    ``comparisons`` name systems as ``RUN/ADAPTER`` where there are several runs. ``partial`` says
    of each run that is not complete what it lacks; ``unlike`` lists the ignored fields in which
    signatures do differ; ``left_out`` counts by task the items that only one of a pair has.
    """

    comparisons: tuple[Comparison, ...]
    adjustment: Adjustment
    runs: tuple[str, ...]
    partial: tuple[str, ...]
    unlike: tuple[str, ...]
    left_out: dict[str, int]

    @property
    def complete(self) -> bool:
        """Tell whether every run had answered everything."""
        return not self.partial

    def to_dict(self) -> dict[str, Any]:
        """Return what `peval compare --json` prints."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class _Block:
    """One pair on one task, both with the common items alone."""

    pair: Pair
    record: Record
    scores: tuple[Scores, Scores]
    n_left_out: int

    @property
    def task(self) -> str:
        """The task's name."""
        return str(self.record["name"])

    @property
    def metrics(self) -> tuple[str, ...]:
        """The task's metrics, the headline first."""
        return tuple(self.record["metrics"])


def compare(
    paths: Sequence[Path],
    against: str | None,
    adjustment: Adjustment,
    common_items: bool,
    ignore: Sequence[str],
) -> Compared:
    """Compare the systems of finished runs; see `peval.compare`."""
    if adjustment not in ADJUSTMENTS:
        raise UsageError(f"--adjust {adjustment}: expected one of {', '.join(ADJUSTMENTS)}")
    runs, partial = _read(paths)
    pairs = pair_up(runs, against)
    blocks: list[_Block] = []
    unlike: dict[str, None] = {}
    for pair in pairs:
        for task in check_tasks(pair, common_items):
            block = _block(pair, task, common_items)
            for metric in block.metrics:
                unlike.update(dict.fromkeys(check_signatures(pair, task, metric, ignore)))
            blocks.append(block)
    headlines = {b.task: b.metrics[0] for b in blocks if not describes(b.metrics[0])}
    found = adjusted([c for b in blocks for c in _comparisons(b, len(blocks))], headlines)
    return Compared(
        comparisons=_readjusted(found, blocks, adjustment),
        adjustment=adjustment,
        runs=tuple(run.name for run in runs),
        partial=tuple(partial),
        unlike=tuple(unlike),
        left_out={b.task: b.n_left_out for b in blocks if b.n_left_out},
    )


def _read(paths: Sequence[Path]) -> tuple[list[FinishedRun], list[str]]:
    """Return the runs that have results, and a line on each that is not complete."""
    short = [path.resolve().name for path in paths]
    distinct = len(set(short)) == len({path.resolve() for path in paths})
    runs, partial = [], []
    read: dict[Path, FinishedRun] = {}
    for path, name in zip(paths, short if distinct else map(str, paths), strict=True):
        if in_progress(path):
            partial.append(f"{name}: still in progress, no results yet; left out")
            continue
        # The same run given twice is read once, yet compared with itself.
        held = read.setdefault(path.resolve(), read_run(path, name))
        runs.append(dataclasses.replace(held))
        if not held.results.complete:
            run = held.results.run
            partial.append(
                f"{name}: {run['n_failed']:,} of {run['n_requests']:,} requests failed and "
                f"{run['n_unanswered']:,} are unanswered; their items are left out"
            )
    if not runs:
        raise RunError(f"{paths[0]}: still in progress, no results yet; nothing to compare")
    return runs, list(dict.fromkeys(partial))


def _block(pair: Pair, task: str, common_items: bool) -> _Block:
    one, other = (system.run.scores[task, system.adapter] for system in pair)
    labels = (pair[0].label, pair[1].label)
    mine, theirs = common_rows((one, other), labels, task, common_items)
    record, others = (
        next(t for t in system.run.results.tasks if t["name"] == task) for system in pair
    )
    if record["metrics"] != others["metrics"]:
        raise RunError(
            f"{labels[0]} and {labels[1]} are not alike on {task}: metrics are "
            f"{', '.join(record['metrics'])} and {', '.join(others['metrics'])}; rescore them"
        )
    n_left_out = len(one.ids) + len(other.ids) - len(mine) - len(theirs)
    return _Block(pair, record, (_rows(one, mine), _rows(other, theirs)), n_left_out)


def _rows(scores: Scores, rows: NDArray[np.intp]) -> Scores:
    columns = {
        field.name: getattr(scores, field.name)[rows]
        for field in dataclasses.fields(Scores)
        if field.name != "values"
    }
    return Scores(**columns, values={m: v[rows] for m, v in scores.values.items()})


def _comparisons(block: _Block, n_primary: int) -> Iterator[Comparison]:
    """Yield a pair's differences on one task: whole, and by category where there are several."""
    one, other = block.scores
    same = one.answered & other.answered & (one.said == other.said)
    categories = sorted({category for category in one.categories if category})
    groups: list[tuple[str | None, NDArray[np.bool_]]] = [(None, np.ones(len(same), dtype=bool))]
    if 1 < len(categories) < len(same):
        groups += [(f"category:{name}", one.categories == name) for name in categories]
    how = aggregates(task_of(block.record))
    for metric in block.metrics:
        mine, theirs = one.values[metric], other.values[metric]
        for group, mask in groups:
            if group is not None and is_whole_only(how.get(metric)):
                continue
            there = mask & is_there(mine) & is_there(theirs)
            clusters, n_identical = list(one.clusters[there]), int((there & same).sum())
            alpha = LEVEL / n_primary if group is None and metric == block.metrics[0] else None
            found = None
            if clusters:
                both = (mine[there], theirs[there])
                found = paired(both, clusters, n_identical, how.get(metric), alpha)
            yield _comparison(block, (metric, group), found, len(clusters), n_identical)


def _comparison(
    block: _Block,
    what: tuple[str, str | None],
    found: tuple[stats.Interval, stats.Test | None, float | None] | None,
    n_items: int,
    n_identical: int,
) -> Comparison:
    interval, test, mde = found or (None, None, None)
    return Comparison(
        task=block.task,
        metric=what[0],
        adapter=block.pair[0].label,
        against=block.pair[1].label,
        group=what[1],
        delta=interval.value if interval else None,
        low=finite(interval.low) if interval else None,
        high=finite(interval.high) if interval else None,
        p_value=test.p_value if test else None,
        test=test.name if test else "none",
        n_items=n_items,
        n_clusters=interval.n_clusters if interval else 0,
        n_identical=n_identical,
        mde=mde,
    )


def _readjusted(
    found: Sequence[Comparison], blocks: Sequence[_Block], adjustment: Adjustment
) -> tuple[Comparison, ...]:
    """Return the comparisons with the primary family's p-values adjusted as asked."""
    if adjustment == "holm":
        return tuple(found)
    primary = [c for c in found if c.family == PRIMARY and counts(c)]
    if adjustment == "bh":
        p_values = stats.benjamini_hochberg([c.p_value or 0.0 for c in primary])
        adjusted_p = {_key(c): float(p) for c, p in zip(primary, p_values, strict=True)}
    else:
        adjusted_p = _max_t([b for b in blocks if not describes(b.metrics[0])])
    return tuple(
        dataclasses.replace(c, p_adjusted=adjusted_p.get(_key(c), 1.0))
        if c.family == PRIMARY
        else c
        for c in found
    )


def _key(c: Comparison) -> tuple[str, str, str | None]:
    return c.task, c.adapter, c.against


def _max_t(blocks: Sequence[_Block]) -> dict[tuple[str, str, str | None], float]:
    """Return the primary family's p-values by one permutation of all pairs at once."""
    tasks = list(dict.fromkeys(block.task for block in blocks))
    if not tasks:
        return {}
    by_task = {task: [block for block in blocks if block.task == task] for task in tasks}
    p_values = stats.max_t([_matrix(by_task[task]) for task in tasks], SEED)
    return {
        (task, block.pair[0].label, block.pair[1].label): float(p)
        for task, found in zip(tasks, p_values, strict=True)
        for block, p in zip(by_task[task], found, strict=True)
    }


def _refuse_compound(block: _Block, scores: Scores, how: Aggregate) -> None:
    metric = block.metrics[0]
    if scores.values[metric].dtype == object or not is_mean(how):
        raise UsageError(
            f"--adjust max-t needs a mean over items, and {block.task}'s {metric} is none; "
            "choose --adjust holm"
        )


def _matrix(blocks: Sequence[_Block]) -> tuple[NDArray[np.float64], list[str]]:
    """Return items x pairs of one task, NaN where a pair lacks the item, and the clusters."""
    cluster = {
        i: c for b in blocks for i, c in zip(b.scores[0].ids, b.scores[0].clusters, strict=True)
    }
    ids = sorted(cluster)
    row = {name: n for n, name in enumerate(ids)}
    differences = np.full((len(ids), len(blocks)), np.nan)
    for column, block in enumerate(blocks):
        one, other = block.scores
        metric = block.metrics[0]
        if how := aggregates(task_of(block.record)).get(metric):
            _refuse_compound(block, one, how)
        at = [row[name] for name in one.ids]
        differences[at, column] = one.values[metric] - other.values[metric]
    return differences, [cluster[name] for name in ids]
