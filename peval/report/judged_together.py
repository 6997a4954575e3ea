"""What all judges say together: ratings of systems, agreement of judges."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from peval.report.document import Cell, Code, Column, Paragraph, Part, Strong, Table, slug
from peval.report.format import percent, two_places
from peval.report.judged_words import Found
from peval.report.tables import count_cell, name_cell, number_cell, text_cell


def ratings(rows: Sequence[Found]) -> Iterator[Part]:
    """Yield Bradley and Terry's ratings, task by task."""
    for task in dict.fromkeys((row["task"], row["judge"]) for row in rows):
        some = [row for row in rows if (row["task"], row["judge"]) == task]
        yield Paragraph((
            "Every system met every other on ", Strong(task[0]), ", judged by ", Code(task[1]),
            ". Bradley-Terry ratings in Elo points around 0, with 95 % bootstrap intervals over "
            "items:",
        ))  # fmt: skip
        yield Table(
            slug("judged-ratings", *task),
            f"Bradley-Terry ratings on {task[0]} by {task[1]}",
            (Column(("",), numeric=False), Column(("rating",), ("low", "high"))),
            tuple((name_cell(row["system"]),
                   Cell((f"{row['elo']:+.0f} [{row['low']:+.0f}, {row['high']:+.0f}]"
                         .replace("-", "−"),), (row["elo"], row["low"], row["high"])))
                  for row in some),
        )  # fmt: skip


def agreement(rows: Sequence[Found]) -> Iterator[Part]:
    """Yield how far every two judges agree, where several judged the same."""
    if not rows:
        return
    columns = (
        Column(("judges",), numeric=False), Column(("items",)), Column(("agree, %",)),
        Column(("Cohen's κ",)), Column(("Krippendorff's α",)),
    )  # fmt: skip
    yield Paragraph(("How far judges agree on the same pairs, chance taken out by the last two "
                     "columns:",))  # fmt: skip
    yield Table("judged-agreement", "How far judges agree", columns, tuple(
        (text_cell(" and ".join(row["judges"])), count_cell(row["n"]),
         number_cell(row["agreement"], percent(row["agreement"])),
         number_cell(row["kappa"], two_places(row["kappa"])),
         number_cell(row["alpha"], two_places(row["alpha"]))) for row in rows
    ))  # fmt: skip
