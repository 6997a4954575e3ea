"""What open answers are like, without a judge: lengths, loops, refusals, variety."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from peval.metrics import describes, is_share
from peval.report.document import (
    Code,
    Column,
    Fold,
    Paragraph,
    Part,
    Section,
    Strong,
    Table,
    Text,
    slug,
)
from peval.report.format import WORSE, counted, mark
from peval.report.phrases import be, several, sized
from peval.report.tables import (
    ESTIMATED,
    N_OPEN,
    category_tables,
    metric_tables,
    name_cell,
    short_cell,
)
from peval.report.view import View

N_NAMED = 3
DEFECTS = {
    "loops": "end in loops more often",
    "refusals": "refuse more often",
    "truncated": "run into the token limit more often",
}
BY_CATEGORY = ("characters", "tokens")  # the last that was measured


def sections(view: View) -> Iterator[Section]:
    """Yield the section, where answers are described."""
    if not view.described:
        return
    parts: list[Part] = [Paragraph((
        "Said without a judge: what answers are like, not how good they are. A prompt's value is "
        "the mean over its answers, all turns and draws; shares in percent. ▲ fewer and ▼ more "
        "loops, refusals or answers at the token limit than the base has; ↑ more and ↓ less of "
        "what is neither better nor worse; ", Code("·"), " not told apart; ",
        Code("="), " every answer is the base's.",
    ))]  # fmt: skip
    for task in view.described:
        metrics = measured(view, task)
        n = counted(task["n_samples"], "prompt")
        parts += [Paragraph((Strong(task["name"]), f", {n}")), _table(view, task)]
        parts.append(Fold(f"{task['name']} with intervals", tuple(_details(view, task, metrics))))
    yield Section("What answers are like", tuple(parts))


def in_short(view: View) -> Iterator[Text]:
    """Yield a report's first lines: what nobody judged, and whose answers have which defects."""
    judged = {one["task"] for one in view.results.judged.get("sections", [])}
    left = [Code(t["name"]) for t in view.unjudged if t["name"] not in judged]
    if left:
        named = [span for one in left[:N_NAMED] for span in (", ", one)][1:]
        more = f" and {len(left) - N_NAMED:,} more" if len(left) > N_NAMED else ""
        yield ("Answers to ", *named, f"{more} are ", Strong("described, not judged"), ": nothing "
               "here says which are better (", Code("peval judge"), " can).")  # fmt: skip
    for metric, what in DEFECTS.items():
        found = {
            a: [c for t in view.described
                if (c := view.comparison(t["name"], metric, a)) and mark(c) == WORSE]
            for a in view.adapters
        }  # fmt: skip
        who = sorted((a for a in found if found[a]), key=lambda a: -len(found[a]))
        if who:
            yield (*several(who), f" {be(who)} shown to ", Strong(what), " than the base: ",
                   *sized(found[who[0]]), ".")  # fmt: skip


def measured(view: View, task: dict[str, Any]) -> list[str]:
    """Return the describing metrics that have a value; others' answers come without tokens."""
    found = [m for m in task["metrics"] if describes(m)]
    return [
        m for m in found
        if any((e := view.estimate(task["name"], m, s)) and e.value is not None
               for s in view.systems)
    ]  # fmt: skip


def shown(view: View, task: dict[str, Any]) -> list[str]:
    """Return what a narrow table has room for: one measure of length."""
    found = measured(view, task)
    return [m for m in found if m != "characters" or "tokens" not in found]


def _table(view: View, task: dict[str, Any]) -> Table:
    name, metrics = str(task["name"]), shown(view, task)
    columns = (Column((m + (", %" if is_share(m) else ""),), ESTIMATED, key=m) for m in metrics)
    rows = (
        (name_cell(s), *(short_cell(view, (name, m, s, None)) for m in metrics))
        for s in view.systems
    )
    return Table(
        slug("described", name), f"What answers to {name} are like",
        (Column(("",), numeric=False), *columns), tuple(rows), N_OPEN + 1,
    )  # fmt: skip


def _details(view: View, task: dict[str, Any], metrics: list[str]) -> Iterator[Part]:
    yield from metric_tables(view, task, metrics)
    length = [m for m in BY_CATEGORY if m in metrics][-1:]
    by_category = [t for m in length for t in category_tables(view, task, m)]
    if by_category:
        yield Paragraph((f"{length[0]} by category (and number of prompts):".capitalize(),))
        yield from by_category
