"""What may have been meant by a name that is unknown."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_N_NEAR, _CUTOFF = 3, 0.5
_N_KNOWN = 12


def near(name: str, known: Iterable[str]) -> list[str]:
    """Return the names that are most like an unknown one; none where none is like it."""
    names = list(dict.fromkeys(known))
    longer = [one for one in names if name and one.startswith(name)]
    found = [*get_close_matches(name, names, _N_NEAR, _CUTOFF), *longer]
    return list(dict.fromkeys(found))[:_N_NEAR]


def meant(name: str, known: Iterable[str]) -> str:
    """Return the nearest names as a question; where none is near, the first of those there are."""
    names = list(dict.fromkeys(known))
    if found := near(name, names):
        return f"did you mean {' or '.join(found)}?"
    rest = len(names) - _N_KNOWN
    more = f" and {rest:,} more" if rest > 0 else ""
    return f"known: {', '.join(sorted(names)[:_N_KNOWN]) or 'none'}{more}"
