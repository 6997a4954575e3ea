"""`report.md`: GitHub's markdown; text that models or people wrote cannot leave its place."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from peval.report.document import (
    Bullets,
    Cell,
    Code,
    Document,
    Figure,
    Fold,
    Listing,
    Paragraph,
    Part,
    Quiet,
    Section,
    Span,
    Strong,
    Table,
    Text,
    Warning,
)

FIGURES = "figures"
# Inside words GitHub leaves _ alone; [ matters only where ]( may follow.
_SPECIAL = re.compile(r"[\\`*<>&|~]|(?<!\w)_|_(?!\w)|\](?=[(\[:])")


def markdown(document: Document) -> str:
    """Return a report's text; its figures lie in ``figures/NAME-light.svg`` and ``-dark.svg``."""
    blocks = [f"# {escaped(document.title)}"]
    for section in document.sections:
        blocks += _section(section)
    return "\n\n".join(blocks) + "\n"


def escaped(text: str) -> str:
    """Return text that markdown shows as it is."""
    return _SPECIAL.sub(lambda found: f"\\{found.group(0)}", text)


def _section(section: Section) -> list[str]:
    title = [f"{'#' * (section.level + 1)} {escaped(section.title)}"] if section.title else []
    return [*title, *map(_part, section.parts)]


def _part(part: Part) -> str:
    match part:
        case Paragraph(text):
            return inline(text)
        case Bullets(items):
            return "\n".join(f"- {inline(item)}" for item in items)
        case Listing(lines, language):
            return fenced(lines, language)
        case Warning(text, items):
            return "\n".join([f"> {inline(text)}", *(f"> - {inline(item)}" for item in items)])
        case Fold(title, parts):
            return _folded(title, [_part(inner) for inner in parts])
        case Table():
            return _table(part)
        case Figure():
            return _figure(part)


def inline(text: Text, in_table: bool = False) -> str:
    """Return a text's spans; in a table's cell a line feed is a break, elsewhere a space."""
    said = "".join(_span(span, in_table) for span in text).strip()
    return said.replace("\n", "<br>" if in_table else " ")


def _span(span: Span, in_table: bool) -> str:
    match span:
        case Code(text):
            return _code(text, in_table)
        case Strong(text):
            return f"**{escaped(text)}**"
        case Quiet(text):
            return f"*{escaped(text)}*"
        case str():
            return escaped(span)


def _code(text: str, in_table: bool) -> str:
    """Return a code span with a fence that the text does not hold."""
    text = " ".join(text.split())
    runs = [len(run) for run in re.findall("`+", text)]
    fence = "`" * next(n for n in range(1, len(runs) + 2) if n not in runs)
    space = " " if text.startswith("`") or text.endswith("`") else ""
    said = f"{fence}{space}{text}{space}{fence}"
    return said.replace("|", "\\|") if in_table else said


def fenced(lines: Sequence[str], language: str) -> str:
    """Return a code block whose fence no line can close: models write backticks too."""
    fence = "`" * 3
    while any(fence in line for line in lines):
        fence += "`"
    return "\n".join([f"{fence}{language}", *lines, fence])


def _folded(title: str, blocks: list[str]) -> str:
    return "\n\n".join([f"<details><summary>{html.escape(title)}</summary>", *blocks, "</details>"])


def _table(table: Table) -> str:
    """Return a table; rows beyond those to be seen at once are folded away."""
    first = table.rows[: table.n_open]
    rest = table.rows[len(first) :]
    said = _rows(table, first)
    if rest:
        said += "\n\n" + _folded(f"{len(rest):,} more", [_rows(table, rest)])
    return said


def _rows(table: Table, rows: Sequence[tuple[Cell, ...]]) -> str:
    header = [inline(column.title, in_table=True) for column in table.columns]
    rule = ["--:" if column.numeric else ":--" for column in table.columns]
    body = [[inline(cell.text, in_table=True) for cell in row] for row in rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *body])


def _figure(figure: Figure) -> str:
    place = f"{FIGURES}/{figure.name}"
    alt = html.escape(figure.alt)
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{place}-dark.svg">'
        f'<img alt="{alt}" src="{place}-light.svg"></picture>'
    )
