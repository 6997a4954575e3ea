"""What the part of a call's request says: which drawn answer, which turn of it, which order."""

from __future__ import annotations

from typing import NamedTuple

SAME = 99
"""The part of a pair whose answers are identical: a tie by rule, which asks nobody."""
DRAW = 100
"""A further drawn answer's parts are so much higher than those of the one before it."""
MOST_TURNS = SAME // 2


class Part(NamedTuple):
    """Where a call belongs in one system's answers to one item; parts of draw 0 are below 100.

    ``swapped`` says that the system's answer is shown first.

    >>> Part.of(Part(draw=2, turn=1, swapped=True).number)
    Part(draw=2, turn=1, swapped=True)
    >>> Part.of(Part.same(draw=1)).is_same
    True
    """

    draw: int
    turn: int
    swapped: bool

    @classmethod
    def of(cls, number: int) -> Part:
        """Read a request's part."""
        draw, rest = divmod(number, DRAW)
        return cls(draw, rest // 2, rest % 2 == 1)

    @classmethod
    def same(cls, draw: int) -> int:
        """Return the part of a drawn answer that is identical with what it is held against."""
        return draw * DRAW + SAME

    @property
    def number(self) -> int:
        """Return it as a request's part."""
        return self.draw * DRAW + self.turn * 2 + self.swapped

    @property
    def is_same(self) -> bool:
        """Whether the answers are identical."""
        return self.number % DRAW == SAME
