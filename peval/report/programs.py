"""What became of the programs that systems wrote: how they ran, kinds of failure, pass@k."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from peval.coding import UNSANDBOXED
from peval.programs import NO_CODE, PASSED
from peval.report.charts import Line, Lines
from peval.report.document import (
    Cell,
    Code,
    Column,
    Figure,
    Fold,
    Paragraph,
    Part,
    Section,
    Strong,
    Table,
    Text,
    Warning,
    slug,
)
from peval.report.format import NONE, percent
from peval.report.tables import count_cell, name_cell, number_cell, text_cell
from peval.report.view import View, chunks
from peval.results import Results

N_KINDS = 12
SYSTEMS_ACROSS = 7
LINES_DRAWN = 8

SPREADS = {
    "item_variance": "standard deviation between problems",
    "sampling_variance": "standard deviation of one program",
}

WARNING = (
    "Programs that models wrote ran without a sandbox (--allow-unsandboxed-code). They could read, "
    "write and send what the person who ran them can, and could forge their verdicts."
)


def warnings(results: Results) -> tuple[Warning, ...]:
    """Return what must be said before anything else."""
    return (Warning((Strong(WARNING),)),) if is_unsandboxed(results) else ()


def is_unsandboxed(results: Results) -> bool:
    """Tell whether programs ran without a sandbox."""
    return any(task.get("settings", {}).get(UNSANDBOXED) for task in results.tasks)


def sections(view: View) -> Iterator[Section]:
    """Yield the section on programs, where any were asked for."""
    parts: list[Part] = []
    for task in view.tasks:
        found = [row for row in view.results.programs if row["task"] == task["name"]]
        rows = sorted(found, key=lambda row: view.systems.index(row["adapter"]))
        if rows:
            first, *rest = outcome_tables(task["name"], rows)
            parts += [*curves(task["name"], rows), first]
            parts += [Fold(f"More systems on {task['name']}", tuple(rest))] if rest else []
    if parts:
        yield Section("Programs", (Paragraph(_how(view.results)), *parts))


def _how(results: Results) -> Text:
    sandbox = results.run.get("sandbox")
    if sandbox is None:
        return ("No program was run.",)
    if is_unsandboxed(results):
        return (Strong(WARNING),)
    landlock = f" with Landlock {sandbox['landlock_abi']}" if sandbox["landlock_abi"] else ""
    n_weak = sum(row["n_passed_weakly"] for row in results.programs)
    weak = (
        f" Of those that passed, {n_weak:,} met tests that use the program's own objects, which "
        "prove less."
    )
    several = (
        " Of the two standard deviations, more programs for each problem make only the second "
        "matter less."
    )
    return (
        "Programs ran in the sandbox tier ", Code(sandbox["tier"]), f"{landlock}, and their tests "
        "in a process of their own. Shares of programs in percent; what timed out was run once "
        "more alone. An interval is over problems.", weak if n_weak else "",
        several if any(row.get("sampling_variance") for row in results.programs) else "",
    )  # fmt: skip


def outcome_tables(task: str, rows: Sequence[dict[str, Any]]) -> Iterator[Table]:
    """Yield kinds of outcome x systems for one task, no wider than a page."""
    total: Counter[str] = Counter()
    for row in rows:
        total.update(row["outcomes"])
    failures = [kind for kind, _ in total.most_common() if kind not in (PASSED, NO_CODE)]
    kinds = [(kind, [kind]) for kind in (PASSED, NO_CODE, *failures[:N_KINDS])]
    if rest := failures[N_KINDS:]:
        kinds.append((f"{len(rest)} other kinds", rest))
    for at, some in enumerate(chunks(rows, SYSTEMS_ACROSS), start=1):
        columns = (Column(name_cell(row["adapter"]).text) for row in some)
        lines = [
            (text_cell(name), *(_share(row, members) for row in some)) for name, members in kinds
        ]
        lines.append((text_cell("programs"), *(count_cell(row["n_programs"]) for row in some)))
        lines += _spreads(some)
        yield Table(
            slug("programs", task, *([str(at)] if at > 1 else [])),
            f"What became of the programs on {task}, percent",
            (Column(("outcome on ", Code(task)), numeric=False), *columns),
            tuple(lines),
        )


def _spreads(rows: Sequence[dict[str, Any]]) -> Iterator[tuple[Cell, ...]]:
    """Yield what differs between problems and between programs for one, where there are several."""
    for key, name in SPREADS.items():
        sds = [None if row.get(key) is None else row[key] ** 0.5 for row in rows]
        if any(sd is not None for sd in sds):
            cells = (number_cell(sd, NONE if sd is None else percent(sd)) for sd in sds)
            yield text_cell(name), *cells


def _share(row: dict[str, Any], kinds: Sequence[str]) -> Cell:
    if not row["n_programs"]:
        return number_cell(None, NONE)
    share = sum(row["outcomes"].get(kind, 0) for kind in kinds) / row["n_programs"]
    return number_cell(share, percent(share))


def curves(task: str, rows: Sequence[dict[str, Any]]) -> Iterator[Figure]:
    """Yield pass@k over k, where problems have several programs; the base stands in each figure."""
    drawn = [row for row in rows if len(row["curve"]) > 1]
    base = [row for row in drawn if row["adapter"] is None]
    adapters = [row for row in drawn if row["adapter"] is not None]
    for at, some in enumerate(list(chunks(adapters, LINES_DRAWN - 1)) or [[]], start=1):
        lines = tuple(_line(row) for row in [*base, *some])
        if lines:
            yield Figure(
                slug("pass-at-k", task, *([str(at)] if at > 1 else [])),
                f"pass@k on {task} for every k, with 95 % intervals over problems",
                Lines("k", f"{task}: pass@k, percent", lines),
            )


def _line(row: dict[str, Any]) -> Line:
    ks = tuple(float(point["k"]) for point in row["curve"])
    values, lows, highs = (
        tuple(100 * point[name] for point in row["curve"]) for name in ("value", "low", "high")
    )
    return Line(row["adapter"] or "base", ks, values, tuple(zip(lows, highs, strict=True)))
