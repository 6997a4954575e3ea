"""What answers are held against, as a judge's store keeps it: under a task's name of its own."""

from __future__ import annotations

from collections.abc import Mapping

from peval.judging.questions import Draws
from peval.store import Store
from peval.types import Query, Sample

BASE = "base"
TASK = "opponents of {}"


def is_opponent(against: object, system: str | None) -> bool:
    """Tell whether a system is what the others are held against."""
    return bool(against == (BASE if system is None else system))


def as_samples(by_id: Mapping[str, Draws]) -> list[Sample]:
    """Return an opponent's answers to one task as a store keeps them: all texts of one in a row."""
    return [
        Sample(name, "", (), name, queries=tuple(Query(text) for said in draws for text in said))
        for name, draws in by_id.items()
    ]


def opponents_in(
    store: Store, samples: Mapping[str, Mapping[str, Sample]]
) -> dict[str, dict[str, Draws]]:
    """Return the opponents' answers that a store keeps, by task and sample id.

    Parameters
    ----------
    samples
        What was asked, by task and id.
    """
    kept = store.samples()
    return {
        task: {
            name: _draws(opponent, 1 + len(by_id[name].follow_ups))
            for name, opponent in kept.get(TASK.format(task), {}).items()
        }
        for task, by_id in samples.items()
    }


def _draws(opponent: Sample, n_turns: int) -> Draws:
    texts = [query.text for query in opponent.queries]
    starts = range(0, len(texts), n_turns)
    return tuple(tuple(texts[start : start + n_turns]) for start in starts)
