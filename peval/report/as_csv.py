"""The tables for machines: every value of a cell in a column of its own, as precise as known."""

from __future__ import annotations

import csv
import io

from peval.report.document import Cell, Column, Table, Value, plain


def csv_text(table: Table) -> str:
    """Return one table."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(name for column in table.columns for name in _names(column))
    for row in table.rows:
        cells = zip(table.columns, row, strict=True)
        writer.writerow(_harmless(v) for column, cell in cells for v in _values(column, cell))
    return out.getvalue()


def _names(column: Column) -> tuple[str, ...]:
    title = column.key or plain(column.title) or "name"
    return (title, *(f"{title} {field}" for field in column.fields))


def _values(column: Column, cell: Cell) -> tuple[Value, ...]:
    n = 1 + len(column.fields)
    values = cell.values or (cell.plain,)
    return (*values, *([None] * n))[:n]


def _harmless(value: Value) -> Value:
    """Return text that a spreadsheet does not take for a formula."""
    if isinstance(value, str) and len(value) > 1 and value[0] in "=+@\t":
        return f"'{value}"
    return value
