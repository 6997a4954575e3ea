"""What can spoil a number without showing in it: cut, truncated, empty, unparsed, failed."""

from __future__ import annotations

from collections.abc import Iterator

from peval.report.document import Cell, Column, Strong, Table
from peval.report.format import counted, listed, percent
from peval.report.tables import N_OPEN, name_cell, text_cell
from peval.report.view import View, headline
from peval.types import Estimate

NOTABLE = 0.01
"""The share of samples above which a trouble is said aloud."""
N_NAMED = 2

KINDS = {
    "n_truncated": ("answers at the token limit", "answer that ran into the token limit",
                    "answers that ran into the token limit"),
    "n_empty": ("empty answers", "empty answer", "empty answers"),
    "n_unparsed": ("no answer found", "answer in which none was found",
                   "answers in which none was found"),
    "n_prompts_cut": ("prompts cut to fit", "prompt that was cut to fit",
                      "prompts that were cut to fit"),
    "n_missing": ("failed or unanswered", "request that failed or is unanswered",
                  "requests that failed or are unanswered"),
}  # fmt: skip
"""By the field of an estimate that counts it: a column's title, one of them, several of them."""

SEVERAL = (
    "A sample with several answers counts once: as truncated or empty if any of them was, and as "
    "one in which no answer was found if none was found in any."
)


def are_several(view: View) -> bool:
    """Tell whether a sample of any task may have several answers."""
    return any(
        task["reader"] == "code" if view.is_predictions else task["profile"]["decoding"]["n"] > 1
        for task in view.tasks
    )


def trouble_table(view: View) -> Table | None:
    """Return the counts of every system and task that has any, the most first; None for none.

    Counts of more than 1 % are set in bold.
    """
    found = list(_troubles(view))
    found.sort(key=lambda e: -max(getattr(e, kind) for kind in KINDS))
    if not found:
        return None
    columns = (
        Column(("task",), numeric=False), Column(("adapter",), numeric=False),
        *(Column((title,), ("of",)) for title, _, _ in KINDS.values()),
    )  # fmt: skip
    cells = tuple(
        (text_cell(e.task), name_cell(e.adapter), *(_count(e, kind) for kind in KINDS))
        for e in found
    )
    return Table("hygiene", "Answers to look at before trusting a score", columns, cells, N_OPEN)


def trouble_words(view: View) -> str | None:
    """Return a sentence or two on all of it, or None where there is nothing."""
    found = list(_troubles(view))
    totals = {kind: sum(getattr(e, kind) for e in found) for kind in KINDS}
    said = [
        f"{totals[kind]:,} {one if totals[kind] == 1 else many}"
        for kind, (_, one, many) in KINDS.items()
        if totals[kind]
    ]
    if not said:
        return None
    n = view.results.run["n_requests"]
    aloud = "; ".join(notes(view))
    return f"Of {counted(n, 'request')} there are {listed(said)}." + (
        f" More than 1 %: {aloud}." if aloud else ""
    )


def notes(view: View) -> list[str]:
    """Return, for each kind of trouble, who had it in more than 1 % of a task's samples."""
    lines = []
    for kind, (title, _, _) in KINDS.items():
        who = [
            f"{e.adapter or 'base'} {percent(getattr(e, kind) / _total(e))} % on {e.task}"
            for e in _troubles(view)
            if _is_notable(e, kind)
        ]
        more = f" and {len(who) - N_NAMED:,} more" if len(who) > N_NAMED else ""
        if who:
            lines.append(f"{title}: {', '.join(who[:N_NAMED])}{more}")
    return lines


def _troubles(view: View) -> Iterator[Estimate]:
    """Yield the headline estimates of systems and tasks that had any trouble.

    Judges look at the same answers again, and their section says what they left open.
    """
    for task in (one for one in view.tasks if one["reader"] != "judge"):
        for system in view.systems:
            e = view.estimate(task["name"], headline(task), system)
            if e is not None and any(getattr(e, kind) for kind in KINDS):
                yield e


def _count(e: Estimate, kind: str) -> Cell:
    n = getattr(e, kind)
    text = f"{n:,} of {_total(e):,}" if n else "0"
    return Cell((Strong(text) if _is_notable(e, kind) else text,), (n, _total(e)))


def _is_notable(e: Estimate, kind: str) -> bool:
    return bool(getattr(e, kind) > NOTABLE * _total(e))


def _total(e: Estimate) -> int:
    return e.n_items + e.n_missing
