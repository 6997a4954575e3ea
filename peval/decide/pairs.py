"""Who is held against whom, and whether the two may be."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from peval.decide.runs import FinishedRun, Scores
from peval.errors import RunError, UsageError
from peval.signature import unlike
from peval.spelling import meant
from peval.types import CONTROL, HF

BASE = "base"
EACH = "each"
N_NAMED = 3


@dataclass(frozen=True)
class System:
    """The base (None) or an adapter of one run, under the name that tables give it."""

    run: FinishedRun
    adapter: str | None
    label: str

    @property
    def name(self) -> str:
        """The adapter's name, or `base`."""
        return self.adapter or BASE


Pair = tuple[System, System]


def pair_up(runs: Sequence[FinishedRun], against: str | None) -> list[Pair]:
    """Return every (system, reference) to be compared.

    Parameters
    ----------
    against
        What to compare with: ``base`` or an adapter's name (each run's own, else the first run's
        that has it), ``RUN/NAME`` (that very one), a run (its systems of the same names), or
        ``each``: every system with every other.
        None is the base for one run, and the first run for several.

    Raises
    ------
    UsageError
        If nothing is called that, or there is nothing to compare.
    """
    systems = _systems(runs)
    if against is None and len(runs) == 1:
        against = BASE
    named = [s for s in systems if against in (s.name, s.label)]
    if against is None:
        pairs = _namesakes(systems, runs[0])
    elif against == EACH and not named:
        by_name = sorted(systems, key=lambda s: (s.adapter is None, s.label))  # the base comes last
        pairs = list(itertools.combinations(by_name, 2))
    elif named:
        pairs = _with_reference(systems, named)
    else:
        pairs = _namesakes(systems, _run_named(runs, against, systems))
    if not pairs:
        names = ", ".join(s.label for s in systems[:8])
        raise UsageError(f"nothing to compare among {names}; say with which one by --against NAME")
    return pairs


def check_signatures(pair: Pair, task: str, metric: str, ignore: Sequence[str]) -> list[str]:
    """Return the ignored fields in which two estimates' signatures differ.

    Raises
    ------
    RunError
        If they differ in any other field, the adapter and its route aside. Within one run the chat
    template counts as part of the adapter, as in the run's own report, which says so.
    """
    if pair[0].run is pair[1].run:
        ignore = (*ignore, "chat")
    one, other = (s.run.results.estimate(task, metric, s.adapter).signature for s in pair)
    found = unlike(one, other)
    for field, (mine, theirs) in found.items():
        if field not in ignore:
            raise RunError(
                f"{pair[0].label} and {pair[1].label} are not alike on {task}: {field} is {mine} "
                f"and {theirs}; --ignore {field} compares them all the same"
            )
    return list(found)


def check_tasks(pair: Pair, common_items: bool) -> list[str]:
    """Return the tasks that both have; RunError if one lacks any, unless told so."""
    one, other = (
        [t["name"] for t in s.run.results.tasks if (t["name"], s.adapter) in s.run.scores]
        for s in pair
    )
    for who, lacks in ((pair[0], set(other) - set(one)), (pair[1], set(one) - set(other))):
        if lacks and not common_items:
            raise RunError(_different(who.label, f"lacks the task {_few(lacks)}"))
    both = [task for task in one if task in other]
    if not both:
        raise RunError(f"{pair[0].label} and {pair[1].label} have no task in common")
    return both


def common_rows(
    pair: tuple[Scores, Scores], labels: tuple[str, str], task: str, common_items: bool
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return where the items that both were asked stand in each.

    Raises
    ------
    RunError
        If one lacks items, or was asked something else under the same id, unless told to take
        the common part.
    """
    one, other = pair
    ids, mine, theirs = np.intersect1d(one.ids, other.ids, assume_unique=True, return_indices=True)
    for scores, label in ((other, labels[0]), (one, labels[1])):
        missing = sorted(set(scores.ids) - set(ids))
        if missing and not common_items:
            raise RunError(_different(label, f"lacks {len(missing):,} of {task}: {_few(missing)}"))
    alike = one.asked[mine] == other.asked[theirs]
    if not alike.all() and not common_items:
        changed = f"has other items than {labels[1]} under the ids {_few(ids[~alike])} of {task}"
        raise RunError(_different(labels[0], changed))
    if not alike.any():
        raise RunError(f"{labels[0]} and {labels[1]} have no item of {task} in common")
    return mine[alike], theirs[alike]


def _systems(runs: Sequence[FinishedRun]) -> list[System]:
    found = []
    for run in runs:
        for adapter in dict.fromkeys(e.adapter for e in run.results.estimates):
            label = adapter or BASE
            found.append(System(run, adapter, label if len(runs) == 1 else f"{run.name}/{label}"))
    return found


def _with_reference(systems: Sequence[System], named: Sequence[System]) -> list[Pair]:
    """Pair every system that is no reference with its own run's, else with the first."""
    pairs = []
    for system in systems:
        if not any(system is one for one in named) and not _is_control(system):
            own = [one for one in named if one.run is system.run]
            pairs.append((system, _own_control(system, (own or named)[0], systems)))
    return pairs


def _is_control(system: System) -> bool:
    adapters = system.run.results.adapters
    return any(a["name"] == system.adapter and a.get("method") == CONTROL for a in adapters)


def _own_control(system: System, reference: System, systems: Sequence[System]) -> System:
    """Return the base in the system's own engine, where the reference is the base."""
    adapters = system.run.results.adapters
    route = {str(a["name"]): a.get("route") for a in adapters}.get(system.name)
    if reference.adapter is not None or reference.run is not system.run or route != HF:
        return reference
    names = {str(a["name"]) for a in adapters if a.get("method") == CONTROL}
    return next((s for s in systems if s.run is system.run and s.name in names), reference)


def _namesakes(systems: Sequence[System], reference: FinishedRun) -> list[Pair]:
    """Pair the other runs' systems with those of the same name in one run."""
    known = {s.name: s for s in systems if s.run is reference}
    return [(s, known[s.name]) for s in systems if s.run is not reference and s.name in known]


def _run_named(runs: Sequence[FinishedRun], name: str, systems: Sequence[System]) -> FinishedRun:
    for run in runs:
        if name in (run.name, str(run.path)):
            return run
    known = [*dict.fromkeys(s.name for s in systems), *(s.label for s in systems)]
    raise UsageError(f"--against {name}: no such adapter or run; {meant(name, known)}")


def _different(label: str, how: str) -> str:
    return f"different items: {label} {how}; --common-items compares those that both have"


def _few(names: Iterable[str]) -> str:
    listed = sorted(names)
    rest = f" and {len(listed) - N_NAMED:,} more" if len(listed) > N_NAMED else ""
    return ", ".join(listed[:N_NAMED]) + rest
