"""The random space of a canary's secret, stated as a pattern of character classes.

``[a-z]{2}-[0-9]{4}`` is two letters, a hyphen and four digits: 26^2 x 10^4 secrets.
"""

from __future__ import annotations

import math
import random
import re
from dataclasses import dataclass
from itertools import product

from peval.errors import DataError

_PART = re.compile(r"\[([^\[\]]+)\](?:\{(\d+)\})?|([^\[\]{}])")


@dataclass(frozen=True)
class Space:
    """All secrets that a pattern allows; each place holds one of its characters."""

    pattern: str
    places: tuple[str, ...]

    @property
    def size(self) -> int:
        """Return how many secrets there are."""
        return math.prod(map(len, self.places))

    def draw(self, rng: random.Random) -> str:
        """Return a secret, each as likely as any other."""
        return "".join(map(rng.choice, self.places))

    def holds(self, secret: str) -> bool:
        """Tell whether a secret could have been drawn."""
        return len(secret) == len(self.places) and all(
            letter in place for letter, place in zip(secret, self.places, strict=True)
        )

    def others(self, secret: str, n: int, seed: str) -> tuple[str, ...]:
        """Return ``n`` different secrets beside this one, or all where there are no more.

        The same arguments give the same secrets.
        """
        if self.size <= n + 1:
            return tuple(s for s in map("".join, product(*self.places)) if s != secret)
        rng = random.Random(f"{seed}/{self.pattern}/{secret}")
        found: dict[str, None] = {}
        while len(found) < n:
            one = self.draw(rng)
            if one != secret:
                found[one] = None
        return tuple(found)


def parse_space(pattern: str) -> Space:
    """Return the space that a pattern describes.

    Raises
    ------
    DataError
        The pattern is not made of characters and classes as ``[a-z0-9]{3}``, or is one secret.

    Examples
    --------
    >>> parse_space("[a-c]{2}-[0-9]").size
    90
    """
    places: list[str] = []
    at = 0
    while at < len(pattern):
        part = _PART.match(pattern, at)
        if part is None:
            raise DataError(
                f"the space '{pattern}' is malformed at '{pattern[at:]}'; write classes of "
                "characters with counts, as [a-z]{2}-[0-9]{4}"
            )
        letters = _class(part[1], pattern) if part[1] else part[3]
        places += [letters] * int(part[2] or 1)
        at = part.end()
    space = Space(pattern, tuple(places))
    if space.size < 2:
        raise DataError(f"the space '{pattern}' holds {space.size} secret; nothing is random in it")
    return space


def _class(text: str, pattern: str) -> str:
    """Return the characters of a class, of which ``a-z`` are a range."""
    found: dict[str, None] = {}
    for first, last, single in re.findall(r"(.)-(.)|(.)", text, re.DOTALL):
        if first > last:
            raise DataError(f"the space '{pattern}' has a range that runs back: {first}-{last}")
        found |= dict.fromkeys([single] if single else map(chr, range(ord(first), ord(last) + 1)))
    return "".join(found)
