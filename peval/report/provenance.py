"""Where the numbers come from: data, adapters, command, versions, hashes."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from peval.report.document import (
    Bullets,
    Cell,
    Code,
    Column,
    Listing,
    Part,
    Section,
    Strong,
    Table,
    Text,
)
from peval.report.format import counted
from peval.report.tables import N_OPEN, name_cell, text_cell
from peval.report.view import View
from peval.types import CONTROL

N_ABSENT_NAMED = 9


def sections(view: View) -> Iterator[Section]:
    """Yield the section."""
    run = view.results.run
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    facts: list[Text] = [
        *([] if view.is_predictions else [("base sha256 ", Code(run["base"]["sha256"]))]),
        (f"seed {run['seed']}, peval {run['peval']}, scorer {run['scorer']}",),
        (versions,),
    ]
    signatures = [e.signature for e in view.results.estimates if e.group is None][:1]
    facts += [("signature of the first score: ", Code(signature)) for signature in signatures]
    parts: list[Part] = [Bullets(tuple(data_lines(view)))]
    if view.adapters:
        parts.append(adapter_table(view))
    parts += [Listing((shlex.join(run["command"]),), "sh"), Bullets(tuple(facts))]
    yield Section("Where the numbers come from", tuple(parts))


def _absent(names: Sequence[str]) -> str:
    """Say what is not in the data: a few by their names, many by their number."""
    if len(names) > N_ABSENT_NAMED:
        return f"{counted(len(names), 'listed task')} not in the data"
    return f"not in the data: {', '.join(names)}"


def adapter_table(view: View) -> Table:
    """Return what each adapter is and how it was applied, or which files held predictions."""
    by_name = {a["name"]: a for a in view.results.adapters}
    titles: tuple[str, ...] = ("adapter", "method", "rank", "route", "sha256", "note")
    row = _adapter_row
    if view.is_predictions:
        titles, row = ("predictions", "sha256"), _file_row
    columns = tuple(Column((title,), numeric=title == "rank") for title in titles)
    rows = tuple(row(by_name[name]) for name in [*view.controls, *view.adapters])
    return Table("adapters", "What was scored", columns, rows, N_OPEN)


def _file_row(a: dict[str, Any]) -> tuple[Cell, ...]:
    return (name_cell(a["name"]), Cell((Code(a["sha256"][:12]),), (a["sha256"],)))


def _note(a: dict[str, Any]) -> str:
    if a["method"] == CONTROL:
        return "the base in transformers: adapters of the route hf are held against it"
    return "its update is exactly zero" if a["changes_nothing"] else ""


def _adapter_row(a: dict[str, Any]) -> tuple[Cell, ...]:
    return (
        name_cell(a["name"]),
        text_cell(a["method"]),
        Cell((str(a["rank"]),), (a["rank"],)),
        text_cell(a["route"]),
        Cell((Code(a["sha256"][:12]),), (a["sha256"],)),
        text_cell(_note(a)),
    )


def data_lines(view: View) -> list[Text]:
    """Return one line for each task on what data it had."""
    lines: list[Text] = []
    for task in view.tasks:
        n_found, absent = task["n_clusters"], task["absent"]
        of = f" of {n_found + len(absent):,}" if absent else ""
        clusters = "" if n_found == task["n_samples"] else f" from {n_found:,}{of} tasks"
        lines.append((
            Code(task["name"]),
            f": {task['description']}; {counted(task['n_samples'], 'item')}{clusters}, profile ",
            Code(task["profile"]["name"]),
            *((". ", Strong(_absent(absent))) if absent
              else ()),
            ".",
            *(part for note in task.get("notes", ()) for part in (" ", Strong(f"{note}."))),
        ))  # fmt: skip
    return lines
