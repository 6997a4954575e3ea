"""Module-name patterns from adapter configs: PEFT reads them as regular expressions.

Python's engine backtracks, so a hostile pattern can run for hours. Patterns are therefore looked
at before anything runs them; those that real adapters hold are far from the limits.
"""

from __future__ import annotations

import math
import re

_MAX_LENGTH = 2000
_LITERAL = re.compile(r"[\w.-]+", re.ASCII)
_TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{\d*,?\d*\}|.", re.DOTALL)


def is_literal(pattern: str) -> bool:
    """Say whether a pattern is a plain module name or the end of one."""
    return _LITERAL.fullmatch(pattern) is not None


def matches(pattern: str, module: str) -> bool:
    """Match as PEFT and vLLM do: the whole name, or its end from a dot on."""
    if is_literal(pattern):
        return module == pattern or module.endswith("." + pattern)
    return re.match(rf"(.*\.)?({pattern})$", module) is not None


def why_unsafe(pattern: str, max_repeats: int, max_branches: int) -> str | None:
    """Say why a pattern might run for very long, None if it cannot.

    Parameters
    ----------
    pattern
        A regular expression.
    max_repeats
        How many quantifiers it may hold: each multiplies the time by up to a name's length.
    max_branches
        How many ways through its alternatives there may be.

    Returns
    -------
    str or None
        A phrase for the end of a message.
    """
    if is_literal(pattern):
        return None
    if len(pattern) > _MAX_LENGTH:
        return f"is longer than {_MAX_LENGTH} characters"
    if re.search(r"\(\?(?!:)|\\[1-9]", pattern):
        return "holds a look-around, a flag or a back-reference"
    tokens = _TOKEN.findall(pattern)
    repeats = [i for i, token in enumerate(tokens) if _is_repeat(tokens, i)]
    if any(i and tokens[i - 1] == ")" for i in repeats):
        return "repeats a group, which can take exponential time"
    if len(repeats) > max_repeats:
        return f"holds more than {max_repeats} repetitions, which can take very long"
    if _n_branches(tokens) > max_branches:
        return f"has more than {max_branches} ways through its alternatives"
    return _why_invalid(pattern)


def _is_repeat(tokens: list[str], i: int) -> bool:
    """Say whether a token is a quantifier; a ``?`` or ``+`` right behind one only modifies it."""
    if tokens[i] == "?" and i and tokens[i - 1] == "(":
        return False  # the question mark of (?:
    if tokens[i] in ("?", "+") and i and tokens[i - 1] in ("*", "+", "?"):
        return False
    if tokens[i] in ("?", "+") and i and tokens[i - 1].startswith("{"):
        return False
    return tokens[i] in ("*", "+", "?") or (tokens[i].startswith("{") and len(tokens[i]) > 1)


def _n_branches(tokens: list[str]) -> int:
    """Multiply the groups' numbers of alternatives; an upper bound."""
    open_groups, closed = [1], []
    for token in tokens:
        if token == "(":
            open_groups.append(1)
        elif token == ")" and len(open_groups) > 1:
            closed.append(open_groups.pop())
        elif token == "|":
            open_groups[-1] += 1
    return math.prod(closed + open_groups)


def _why_invalid(pattern: str) -> str | None:
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError):
        return "is not a regular expression"
    return None
