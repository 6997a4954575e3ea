"""A handful of items where an adapter and the base part ways, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

import numpy as np

from peval.report.answers import Answer, Answers, Pairing

N_SHOWN = 6
LONGEST_TEXT = 320


@dataclass(frozen=True)
class Flip:
    """One item with both answers and what they score."""

    adapter: Answer
    base: Answer
    score: float
    base_score: float

    @property
    def delta(self) -> float:
        """The adapter's score minus the base's."""
        return self.score - self.base_score


@dataclass(frozen=True)
class _Place:
    """Where a flip is found."""

    pairing: Pairing
    at: int


def flips(answers: Answers) -> list[Flip]:
    """Return the widest gains and losses, the adapters and both directions taking turns."""
    by_adapter: dict[str, list[Pairing]] = {}
    for pairing in answers.pairings():
        by_adapter.setdefault(pairing.adapter, []).append(pairing)
    shown: list[_Place] = []
    seen: set[tuple[str, int]] = set()
    for turn in range(N_SHOWN):
        for adapter in sorted(by_adapter):
            place = _widest(by_adapter[adapter], 1 if turn % 2 == 0 else -1, seen)
            if place is not None and len(shown) < N_SHOWN:
                shown.append(place)
                seen.add((place.pairing.task, int(place.pairing.ids[place.at])))
    return in_words(answers, shown)


def in_words(answers: Answers, places: list[_Place]) -> list[Flip]:
    """Read the texts of some places."""
    rows = [(int(p.pairing.rows[p.at]), int(p.pairing.base_rows[p.at])) for p in places]
    texts = answers.texts(row for pair in rows for row in pair)
    return [
        Flip(texts[mine], texts[base], float(p.pairing.scores[p.at]),
             float(p.pairing.base_scores[p.at]))
        for p, (mine, base) in zip(places, rows, strict=True)
    ]  # fmt: skip


def short(text: str, longest: int = LONGEST_TEXT) -> str:
    """Return text with its middle left out where it is long."""
    half = longest // 2
    return text if len(text) <= longest else f"{text[:half]} […] {text[-half:]}"


def _widest(pairings: list[Pairing], direction: int, seen: set[tuple[str, int]]) -> _Place | None:
    """Return the widest difference in one direction on an item not seen; the first of equals."""
    best: _Place | None = None
    for pairing in pairings:
        deltas = direction * pairing.deltas
        order = np.argsort(-deltas, kind="stable")[: len(seen) + 1]
        for at in islice((i for i in order if (pairing.task, int(pairing.ids[i])) not in seen), 1):
            wider = best is None or deltas[at] > direction * best.pairing.deltas[best.at]
            if deltas[at] > 0 and wider:
                best = _Place(pairing, int(at))
    return best
