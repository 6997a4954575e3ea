"""What all judges' work on a run says together: ratings of systems, agreement of judges."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

from peval.judging import agreement, ratings
from peval.judging.concluded import Judged
from peval.judging.opponents import BASE
from peval.judging.outcomes import systems, worth

Pairs = dict[tuple[str | None, str | None], dict[str, float]]
"""By pair of systems and sample id, the share of the preference for the first."""


def record(found: Sequence[Judged]) -> dict[str, Any]:
    """Return what results hold of judges; nothing where nobody judged."""
    if not found:
        return {}
    return {
        "sections": [one.finding for one in found],
        "ratings": _tournaments(found),
        "agreement": list(_agreements(found)),
    }


def _tournaments(found: Sequence[Judged]) -> list[dict[str, Any]]:
    """Return Bradley and Terry's ratings where more than two systems met each other.

    Sections of one judge and task with different systems as opponents belong together.
    """
    groups: dict[tuple[str, str], list[Judged]] = {}
    for one in found:
        if one.finding["kind"] == "pairwise":
            key = one.finding["sha256"], one.finding["task"]
            groups.setdefault(key, []).append(one)
    rows = []
    for (_, task), some in groups.items():
        pairs = _pairs(some)
        n_systems = len({name for pair in pairs for name in pair})
        if len({other for _, other in pairs}) < 2 or n_systems < 3:
            continue
        clusters = {s.id: s.cluster for s in some[0].samples}
        where = {"task": task, "judge": some[0].finding["judge"]}
        rows += [dataclasses.asdict(one) | where for one in ratings.ratings(pairs, clusters)]
    return rows


def _pairs(some: Sequence[Judged]) -> Pairs:
    """Return who met whom, each pair once."""
    pairs: Pairs = {}
    for one in some:
        opponent = one.finding["against"]
        other = None if opponent == BASE else opponent
        for system, by_id in systems(one.outcomes).items():
            values = {i: v for i, drawn in by_id.items() if (v := worth(drawn)) is not None}
            if values and system != other and (other, system) not in pairs:
                pairs[system, other] = values
    return pairs


def _agreements(found: Sequence[Judged]) -> Iterator[dict[str, Any]]:
    """Yield how far every two judges of one kind, task and opponent agree."""
    for one, other in combinations(found, 2):
        mine, theirs = one.finding, other.finding
        if any(mine[k] != theirs[k] for k in ("task", "kind", "against")):
            continue
        both = _both(one, other)
        n = len(both[0])
        if n < 2:
            continue
        kinds = [[_category(v) for v in values] for values in both]
        pairwise = mine["kind"] == "pairwise"
        n_equal = sum(x == y for x, y in zip(*kinds, strict=True))
        yield {
            "task": mine["task"], "judges": [one.task.name, other.task.name], "n": n,
            "agreement": n_equal / n if pairwise else None,
            "kappa": agreement.cohens_kappa(*kinds) if pairwise else None,
            "alpha": agreement.krippendorffs_alpha(both),
        }  # fmt: skip


def _both(one: Judged, other: Judged) -> tuple[list[float], list[float]]:
    """Return two judges' values of the answers that both judged."""
    mine, theirs = [], []
    for system, by_id in systems(one.outcomes).items():
        others = other.outcomes.get(system, {})
        for item, drawn in by_id.items():
            for a, b in zip(drawn, others.get(item, ()), strict=False):
                by_rule = a.identical and b.identical
                if a.value is not None and b.value is not None and not by_rule:
                    mine.append(a.value)
                    theirs.append(b.value)
    return mine, theirs


def _category(value: float) -> str:
    return "win" if value > 0.5 else "loss" if value < 0.5 else "tie"
