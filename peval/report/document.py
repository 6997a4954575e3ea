"""What a report is made of; markdown, HTML, LaTeX and CSV are renderings of the same parts.

Texts are tuples of spans. A plain string is text that means itself, whoever wrote it: renderers
escape it. A line feed in a table's cell is a line break.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from peval.report.charts import Chart


@dataclass(frozen=True)
class Code:
    """A name or other verbatim text."""

    text: str


@dataclass(frozen=True)
class Strong:
    """Text to be seen first."""

    text: str


@dataclass(frozen=True)
class Quiet:
    """Text set apart, such as the name of a baseline."""

    text: str


Span = str | Code | Strong | Quiet
Text = tuple[Span, ...]
Value = float | int | str | None


@dataclass(frozen=True)
class Cell:
    """What people read; ``values`` are what machines read, one for each field of the column.

    The first value sorts. Without values the text itself is the value.
    """

    text: Text
    values: tuple[Value, ...] = ()

    @property
    def plain(self) -> str:
        """Return the text without its markup."""
        return plain(self.text)


@dataclass(frozen=True)
class Column:
    """A table's column; ``fields`` name the values of its cells beyond the first.

    ``key`` is its name for machines, whose shares are fractions; the title where there is none.
    """

    title: Text
    fields: tuple[str, ...] = ()
    numeric: bool = True
    key: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of cells. ``n_open`` rows are shown at once, the rest on demand.

    ``name`` is unique within a document; files and labels are called after it.
    """

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    n_open: int | None = None


@dataclass(frozen=True)
class Figure:
    """A chart, with the sentence that stands in for it where pictures cannot be seen."""

    name: str
    alt: str
    chart: Chart


@dataclass(frozen=True)
class Paragraph:
    """A few sentences."""

    text: Text


@dataclass(frozen=True)
class Bullets:
    """Sentences that stand apart."""

    items: tuple[Text, ...]


@dataclass(frozen=True)
class Listing:
    """Lines to be shown as they are."""

    lines: tuple[str, ...]
    language: str = "text"


@dataclass(frozen=True)
class Warning:
    """What must be read before anything else."""

    text: Text
    items: tuple[Text, ...] = ()


@dataclass(frozen=True)
class Fold:
    """Parts that are shown on demand."""

    title: str
    parts: tuple[Part, ...]


Part = Paragraph | Bullets | Listing | Warning | Fold | Table | Figure


@dataclass(frozen=True)
class Section:
    """Parts under a heading; ``level`` 2 is a heading within another section's."""

    title: str
    parts: tuple[Part, ...]
    level: int = 1


@dataclass(frozen=True)
class Document:
    """A report."""

    title: str
    sections: tuple[Section, ...]

    @property
    def tables(self) -> tuple[Table, ...]:
        """Return all tables, folded ones included, in reading order."""
        parts = _unfolded(part for section in self.sections for part in section.parts)
        return tuple(part for part in parts if isinstance(part, Table))

    @property
    def figures(self) -> tuple[Figure, ...]:
        """Return all figures, folded ones included, in reading order."""
        parts = _unfolded(part for section in self.sections for part in section.parts)
        return tuple(part for part in parts if isinstance(part, Figure))


def plain(text: Text) -> str:
    """Return a text without its markup."""
    return "".join(span if isinstance(span, str) else span.text for span in text)


def slug(*words: str) -> str:
    """Return a name for files and labels; words that had to be changed are told apart by a hash."""
    name = "-".join(words)
    safe = re.sub(r"[^A-Za-z0-9._]+", "-", name).strip("-.")[:80]
    return safe if safe == name else f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def named(name: str | None) -> Text:
    """Return a system's name: an adapter's, or the base's for None."""
    return (Strong("base"),) if name is None else (Code(name),)


def _unfolded(parts: Iterable[Part]) -> Iterator[Part]:
    for part in parts:
        if isinstance(part, Fold):
            yield from _unfolded(part.parts)
        else:
            yield part
