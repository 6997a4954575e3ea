"""From item scores to one number with its interval: ratios, gaps between sets, AUROC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from peval import corpus
from peval.corpus import Aggregate
from peval.memorization.roc import gap_interval
from peval.memorization.sets import GAPS
from peval.stats import Interval, auroc_interval, mean_interval
from peval.stats.units import Clusters
from peval.types import Task

NLL = "nll"


def aggregates(task: Task) -> dict[str, Aggregate]:
    """Return, for a probe's metrics that are no plain means, how they are computed."""
    probe = task.settings["probe"]
    if probe == "membership":
        return dict.fromkeys(task.metrics, AUROC)
    if probe == "exposure":
        return dict.fromkeys(task.metrics, BITS)
    if probe == "tasks":
        gaps = {m: _gap_of(m) for m in task.metrics if m.endswith(tuple(GAPS))}
        return {NLL: Aggregate(_ratio)} | gaps
    return {}


def _gap_of(metric: str) -> Aggregate:
    return NLL_GAP if metric.startswith(NLL) else SHARE_GAP


def _mean(items: list[Any]) -> float:
    if not items:
        raise ValueError("nothing has no mean")
    return float(np.mean(np.asarray(items, dtype=float)))


def _mean_bits(items: list[Any]) -> float:
    return _mean([bits for bits, _ in items])


def _bits_interval(items: Sequence[Any], clusters: Clusters) -> Interval:
    """Return the mean of exposures, as of shares of the most that they can be.

    All canaries of a space are asked the same, so they are the units, whatever their space.
    """
    bits, most = np.asarray(items, dtype=float).T
    top = float(most.max())
    found = mean_interval(bits / top, [str(i) for i in range(len(bits))])
    return replace(found, value=found.value * top, low=found.low * top, high=found.high * top)


def _ratio(items: list[Any]) -> float:
    """Return nats per token of items that hold nats and tokens."""
    nats, n_tokens = np.asarray(items, dtype=float).T
    return float(nats.sum() / n_tokens.sum())


def _nll_gap(items: list[Any]) -> float:
    """Return how many nats per token more the other set costs than the trained one."""
    trained, other = _split(items)
    return _ratio(other) - _ratio(trained)


def _share_gap(items: list[Any]) -> float:
    trained, other = _split(items)
    return _mean(trained) - _mean(other)


def _split(items: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Return what items of the trained set hold, and what those of the other."""
    pair: tuple[list[Any], list[Any]] = ([], [])
    for is_trained, *held in items:
        pair[0 if is_trained else 1].append(held if len(held) > 1 else held[0])
    return pair


def _share_gap_interval(items: Sequence[Any], clusters: Clusters) -> Interval:
    """Return the wider one of the intervals over records and over clusters, where there are any."""
    trained, other = _split(items)
    if not trained or not other:
        raise ValueError("a gap needs two sets")
    by_record = gap_interval((trained, other))
    if len(set(clusters)) < 2:
        return by_record
    by_cluster = corpus.interval(items, clusters, replace(SHARE_GAP, interval=None))
    return replace(
        by_cluster,
        low=max(-1.0, min(by_record.low, by_cluster.low)),
        high=min(1.0, max(by_record.high, by_cluster.high)),
    )


def _auroc(items: list[Any]) -> float:
    scores, is_member = split_scores(items)
    if is_member.all() or not is_member.any():
        raise ValueError("AUROC needs positives and negatives")
    members, others = np.sort(scores[is_member]), np.sort(scores[~is_member])
    below = np.searchsorted(others, members, "left") + np.searchsorted(others, members, "right")
    return float(below.mean() / 2 / len(others))


def split_scores(items: Sequence[Any]) -> tuple[Any, Any]:
    """Return the scores of items, and which of them are members."""
    scores, is_member = np.asarray(items, dtype=float).T
    return scores, is_member.astype(bool)


def _auroc_interval(items: Sequence[Any], clusters: Clusters) -> Interval:
    return auroc_interval(*split_scores(items), clusters)


BITS = Aggregate(_mean_bits, interval=_bits_interval)
AUROC = Aggregate(_auroc, interval=_auroc_interval, whole_only=True)
SHARE_GAP = Aggregate(_share_gap, interval=_share_gap_interval, whole_only=True)
NLL_GAP = Aggregate(_nll_gap, whole_only=True)
