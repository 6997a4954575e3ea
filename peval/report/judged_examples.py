"""Wins and losses in words: what was asked, both answers side by side, what the judge said."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from itertools import zip_longest

from peval.judging.template import visible
from peval.report.document import Code, Fold, Listing, Paragraph, Part, Strong
from peval.report.flips import short
from peval.report.judged_words import Found

LONGEST_TEXT = 1200
WIDTH = 96
"""Characters in a listing's line."""


def examples(one: Found) -> Iterator[Part]:
    """Yield the clearest wins and losses, out of the way."""
    parts = [part for row in one["examples"] for part in _example(one, row)]
    if parts:
        yield Fold(f"Clearest verdicts of {one['name']}, with the judge's words", tuple(parts))


def _example(one: Found, row: Found) -> Iterator[Part]:
    """Yield what was asked, both answers side by side and what the judge said of them."""
    is_pair, value, name = one["kind"] == "pairwise", row["value"], row["system"] or "base"
    which = f", draw {row['draw']}" if one["n_draws"] > 1 else ""
    verdict = (
        "won" if value > 0.5 else "lost" if value < 0.5 else "tied"
    ) if is_pair else f"rated {value:g}"  # fmt: skip
    yield Paragraph((Code(name), " ", Strong(verdict), " on ", Code(row["sample_id"]), which))
    said = [(name, row["answer"])] + ([("opponent", row["opponent"])] if is_pair else [])
    yield Listing((
        *beside([("request", row["question"])]), "", *beside(said), "",
        *beside([("judge", row["reply"])]),
    ))  # fmt: skip


def beside(texts: Sequence[tuple[str, str]]) -> list[str]:
    """Return headed texts as columns of one listing, wrapped to its width.

    >>> beside([("a", "red blue"), ("b", "green")])[2].split()
    ['red', 'blue', 'green']
    """
    width = (WIDTH - 3 * (len(texts) - 1)) // len(texts)
    columns = [
        [short(head, width), "-" * min(len(head), width), *_wrapped(text, width)]
        for head, text in texts
    ]
    lines = zip_longest(*columns, fillvalue="")
    return ["   ".join(cell.ljust(width) for cell in line).rstrip() for line in lines]


def _wrapped(text: str, width: int) -> list[str]:
    """Return a text's lines, none longer than the width; characters without a form are named."""
    lines = visible(short(text, LONGEST_TEXT)).expandtabs(4).splitlines()
    return [part for line in lines for part in textwrap.wrap(line, width) or [""]]
