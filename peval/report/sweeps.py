"""A sweep in figures: score against rank by learning rate, over steps, over seeds; copies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from peval.metrics import is_share
from peval.report.document import (
    Code,
    Fold,
    Paragraph,
    Part,
    Section,
    Span,
    Strong,
    Text,
)
from peval.report.format import counted
from peval.report.sweep_parts import RATE, pivot, ranks, seeds, setting_tables, steps
from peval.report.view import View, headline
from peval.sweeps.settings import FEW_SEEDS

N_COPIES = 4

Record = dict[str, Any]


def sections(view: View) -> Iterator[Section]:
    """Yield the section, where the training of adapters is known and varies, or some are copies."""
    found = view.results.sweep
    if not found:
        return
    copies = [Paragraph(copy_words(found))] if found["duplicates"] else []
    tasks = [t for t in view.skills if is_share(headline(t))]
    if not tasks or not _is_sweep(found):
        if copies:
            yield Section("Copies", tuple(copies))
        return
    first, *rest = (_of_task(view, task) for task in tasks)
    parts: list[Part] = [*_words(found), *copies, *first, *setting_tables(found, tasks)]
    folded = tuple(part for many in rest for part in many)
    if folded:
        parts.append(Fold("The sweep on the other tasks", folded))
    yield Section("The sweep", tuple(parts))


def _is_sweep(found: Record) -> bool:
    """Tell whether more is known than ranks, which alone do not make adapters alike."""
    settings = found["settings"]
    trained = any(s["seeds"] or RATE in s["facts"] for s in settings)
    return bool(found["curves"]) or (trained and any(s["facts"] for s in settings))


def copy_words(found: Record) -> Text:
    """Return which adapters are copies, and how many there are without them."""
    said: list[Span] = [
        f"Of {counted(found['n_adapters'], 'adapter')} there are {found['n_effective']:,} "
        "different ones; copies count once"
    ]  # fmt: skip
    for copy in found["duplicates"][:N_COPIES]:
        said += ["; ", Code(copy["adapters"][0])]
        for name in copy["adapters"][1:]:
            said += [" = ", Code(name)]
        said.append(f" in {copy['alike_in']}")
    more = len(found["duplicates"]) - N_COPIES
    return (*said, f"; and {more:,} more groups." if more > 0 else ".")


def _words(found: Record) -> Iterator[Part]:
    """Yield how checkpoints were chosen and what the settings can speak of."""
    rule = found["selection"]
    said: list[Span] = ["A setting is all that is known of an adapter's training but the seed."]
    if rule["choices"] and rule["rule"] == "best":
        said += [
            " Of a series of checkpoints the best on ", Code(rule["split"]), " stands for it: its "
            "scores there are the best of several, and ", Strong("too high for it"), ".",
        ]  # fmt: skip
    elif rule["choices"]:
        said.append(" Of a series of checkpoints the last stands for it, whatever it scored.")
    few = [s for s in found["settings"] if s["speaks_of"] == "adapter"]
    if few:
        n = len(found["settings"])
        who = "Every setting has" if len(few) == n else f"{len(few):,} of {n:,} settings have"
        said.append(
            f" {who} fewer than {FEW_SEEDS} seeds: what is found there is about these adapters, "
            "not about the way in which they were trained."
        )
    yield Paragraph(tuple(said))


def _of_task(view: View, task: Record) -> list[Part]:
    found = (ranks(view, task), steps(view, task), seeds(view, task), pivot(view, task))
    return [part for part in found if part is not None]
