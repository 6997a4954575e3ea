"""Answers to browse: a share of each adapter's on each task, those that differ from the base first.

The page that holds them stays small however many there are; all are in `completions.parquet`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from peval.report.answers import Answer, Answers, Block, Pairing
from peval.report.flips import short

N_BROWSED = 2_000
LEAST_OF_EACH = 2
SHARE_FLIPPED = 0.75
LONGEST_TEXT = 600

Places = NDArray[np.int64]


@dataclass(frozen=True)
class Sampled:
    """One answer with its score, beside the base's where there is one."""

    answer: Answer
    score: float | None
    base_text: str | None
    base_score: float | None

    @property
    def flipped(self) -> str:
        """Say whether the score is better or worse than the base's: "gained", "lost" or ""."""
        if self.score is None or self.base_score is None or self.score == self.base_score:
            return ""
        return "gained" if self.score > self.base_score else "lost"


@dataclass(frozen=True)
class Samples:
    """The answers that a page holds, and how many there are."""

    shown: tuple[Sampled, ...]
    n_answers: int


@dataclass(frozen=True)
class _Pick:
    row: int
    base_row: int | None
    score: float | None
    base_score: float | None


def samples(answers: Answers) -> Samples:
    """Return answers to browse: of adapters, or of the base where there is no adapter."""
    blocks = list(answers.blocks.values())
    alone = all(block.system is None for block in blocks)
    asked = [block for block in blocks if alone or block.system is not None]
    quota = max(LEAST_OF_EACH, N_BROWSED // max(1, len(asked)))
    paired = {(p.task, p.adapter): p for p in answers.pairings()}
    picks = [
        pick
        for block in asked
        for pick in _picks(block, paired.get((block.task, str(block.system))), quota)
    ]
    texts = answers.texts(row for p in picks for row in (p.row, p.base_row) if row is not None)
    shown = tuple(
        Sampled(
            texts[p.row], p.score, None if p.base_row is None else texts[p.base_row].text,
            p.base_score,
        )
        for p in picks
    )  # fmt: skip
    return Samples(shown, sum(len(block.rows) for block in asked))


def trimmed(text: str) -> str:
    """Return text with its middle left out where it is long."""
    return short(text, LONGEST_TEXT)


def _picks(block: Block, pairing: Pairing | None, quota: int) -> Iterator[_Pick]:
    if pairing is None or not len(pairing.rows):
        for at in _spread(np.arange(len(block.rows)), quota):
            score = float(block.scores[at])
            yield _Pick(int(block.rows[at]), None, None if np.isnan(score) else score, None)
        return
    differ = np.flatnonzero(pairing.deltas)
    alike = np.flatnonzero(pairing.deltas == 0)
    n_differ = min(len(differ), max(round(SHARE_FLIPPED * quota), quota - len(alike)))
    for at in (*_spread(differ, n_differ), *_spread(alike, quota - n_differ)):
        yield _Pick(
            int(pairing.rows[at]), int(pairing.base_rows[at]), float(pairing.scores[at]),
            float(pairing.base_scores[at]),
        )  # fmt: skip


def _spread(places: Places, n: int) -> Places:
    """Return at most `n` places, evenly spread, in their order."""
    if len(places) <= n:
        return places
    return places[np.linspace(0, len(places) - 1, n).astype(np.int64)]
