"""Settings: ways of training, each tried with one seed or more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from peval.sweeps.trained import SEED, SERIES, STEPS, Fact, Facts, Trained

FEW_SEEDS = 3
DERIVED = ("bytes", "trainable_share")
"""What follows from the other facts, and so makes no setting of its own."""


@dataclass(frozen=True)
class Setting:
    """Adapters that are alike in all facts but the seed.

    ``facts`` are those that tell this setting from others of the sweep. With fewer than three
    seeds, what is found speaks of these adapters and not of the method.
    """

    facts: dict[str, Fact]
    adapters: tuple[str, ...]
    seeds: tuple[Fact, ...]

    @property
    def speaks_of(self) -> Literal["method", "adapter"]:
        """What a finding about this setting is about."""
        return "method" if len(self.seeds) >= FEW_SEEDS else "adapter"


def settings(runs: Sequence[Trained]) -> list[Setting]:
    """Return adapters by setting; those whose seed is not known stand alone.

    Parameters
    ----------
    runs
        Adapters without duplicates, one for each series of checkpoints.
    """
    ways = {run.name: way(run) for run in runs}
    keys = varied(list(ways.values()))
    found: dict[tuple[object, ...], list[Trained]] = {}
    for run in runs:
        facts = ways[run.name]
        alone = "" if SEED in run.facts else run.name
        found.setdefault((*((k, facts.get(k)) for k in keys), alone), []).append(run)
    made = [
        Setting(
            facts={k: ways[same[0].name][k] for k in keys if k in ways[same[0].name]},
            adapters=tuple(run.name for run in same),
            seeds=tuple(dict.fromkeys(run.facts[SEED] for run in same if SEED in run.facts)),
        )
        for same in found.values()
    ]
    return sorted(made, key=lambda s: [(k, isinstance(v, str), v) for k, v in s.facts.items()])


def way(run: Trained) -> Facts:
    """Return the facts of an adapter that say how it was trained, its seed aside.

    How far a checkpoint got in its series is no way of training.
    """
    besides = {SEED, SERIES, *DERIVED}
    if run.series is not None:
        besides |= {STEPS, "epochs"}
    return {key: value for key, value in run.facts.items() if key not in besides}


def varied(ways: Sequence[Facts]) -> list[str]:
    """Return the facts that are not the same everywhere, in a fixed order."""
    keys = sorted({key for one in ways for key in one})
    return [key for key in keys if len({one.get(key) for one in ways}) > 1]
