"""The adapters of a sweep with their facts, and which of them are one and the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from peval.results import Results

Fact = int | float | str
Facts = Mapping[str, Fact]

SEED, STEPS, SERIES = "seed", "steps", "series"


@dataclass(frozen=True)
class Trained:
    """An adapter: facts, hash of its weights, hash of all that it said (None: incomplete)."""

    name: str
    facts: Facts
    sha256: str
    said: str | None

    @property
    def series(self) -> str | None:
        """The training that this is a checkpoint of, where steps say which."""
        named = self.facts.get(SERIES)
        return str(named) if named is not None and STEPS in self.facts else None


@dataclass(frozen=True)
class Duplicates:
    """Adapters that count once, under the name of the first."""

    adapters: tuple[str, ...]
    alike_in: Literal["weights", "answers"]


def trained(results: Results, outputs: Mapping[str | None, str | None]) -> list[Trained]:
    """Return the adapters by name; a second engine's control, the base again, is none."""
    return sorted(
        (
            Trained(a["name"], a.get("facts", {}), a["sha256"], outputs.get(a["name"]))
            for a in results.adapters
            if a["method"] != "control"
        ),
        key=lambda run: run.name,
    )


def duplicates(runs: Sequence[Trained]) -> list[Duplicates]:
    """Return the groups of adapters with equal weights, or whose every answer is alike.

    Answers to a handful of easy items can be alike by chance; the facts of a group are there to
    be looked at.
    """
    found: list[Duplicates] = []
    taken: set[str] = set()
    for run in runs:
        if run.name in taken:
            continue
        later = [other for other in runs if other.name not in taken and other.name != run.name]
        same = [o for o in later if o.sha256 == run.sha256 or (o.said and o.said == run.said)]
        if same:
            names = (run.name, *(other.name for other in same))
            taken.update(names)
            alike = all(other.sha256 == run.sha256 for other in same)
            found.append(Duplicates(names, "weights" if alike else "answers"))
    return found


def distinct(runs: Sequence[Trained], copies: Sequence[Duplicates]) -> list[Trained]:
    """Return the adapters with each group of duplicates once."""
    dropped = {name for copy in copies for name in copy.adapters[1:]}
    return [run for run in runs if run.name not in dropped]
