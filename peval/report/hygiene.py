"""What can spoil a number without showing in it: cut, truncated, unparsed, failed, absent."""

from __future__ import annotations

from collections.abc import Iterator

from peval.report.answers import Answers
from peval.report.document import Cell, Column, Table
from peval.report.format import counted, listed
from peval.report.tables import N_OPEN, name_cell, text_cell
from peval.report.view import View, headline

COLUMNS = ("answers at the token limit", "prompts cut to fit", "no answer found", "failed")


def trouble_table(view: View, answers: Answers) -> Table | None:
    """Return the counts of every system and task that has any, the most first; None for none."""
    rows = sorted(_troubles(view, answers), key=lambda row: -max(row[2]))
    if not rows:
        return None
    columns = (
        Column(("task",), numeric=False), Column(("adapter",), numeric=False),
        *(Column((title,), ("of",)) for title in COLUMNS),
    )  # fmt: skip
    cells = (
        (text_cell(task), name_cell(system), *(_count(n, total) for n in counts))
        for task, system, counts, total in rows
    )
    return Table("hygiene", "Answers to look at before trusting a score", columns, tuple(cells),
                 N_OPEN)  # fmt: skip


def trouble_words(view: View, answers: Answers) -> str | None:
    """Return one sentence on all of it, or None where there is nothing."""
    rows = list(_troubles(view, answers))
    totals = [sum(row[2][i] for row in rows) for i in range(len(COLUMNS))]
    n = view.results.run["n_requests"]
    nouns = ("answer that ran into the token limit", "prompt that was cut to fit",
             "answer in which none was found", "request that failed")  # fmt: skip
    plurals = ("answers that ran into the token limit", "prompts that were cut to fit",
               "answers in which none was found", "requests that failed")  # fmt: skip
    said = [
        f"{count:,} {one if count == 1 else many}"
        for count, one, many in zip(totals, nouns, plurals, strict=True)
        if count
    ]
    return f"Of {counted(n, 'request')} there are {listed(said)}." if said else None


def _troubles(
    view: View, answers: Answers
) -> Iterator[tuple[str, str | None, tuple[int, ...], int]]:
    """Yield task, system, counts in the columns' order, and of how many."""
    for task in view.tasks:
        for system in view.systems:
            e = view.estimate(task["name"], headline(task), system)
            if e is None:
                continue
            block = answers.blocks.get((e.task, system))
            n_unparsed = block.n_unparsed if block else 0
            counts = (e.n_truncated, e.n_prompts_cut, n_unparsed, e.n_missing)
            if any(counts):
                yield e.task, system, counts, e.n_items + e.n_missing


def _count(n: int, total: int) -> Cell:
    return Cell((f"{n:,} of {total:,}" if n else "0",), (n, total))
