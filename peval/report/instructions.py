"""IFEval: which instructions were followed, as four accuracies and by type."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from peval.report.document import Code, Fold, Paragraph, Part, Section, slug
from peval.report.tables import metric_tables, score_table
from peval.report.view import View
from peval.scorers.ifeval import LEVELS, TYPES


def is_told(metric: str) -> bool:
    """Tell whether a metric is one of this section's."""
    return metric in LEVELS or metric.partition("@")[2] in TYPES


def sections(view: View) -> Iterator[Section]:
    """Yield the section, where instructions were checked."""
    tasks = [t for t in view.tasks if set(LEVELS) <= set(t["metrics"])]
    if not tasks:
        return
    parts: list[Part] = [Paragraph((
        "A prompt counts where all its instructions are followed, an instruction by itself. ",
        Code("strict"), " takes an answer as it is; ", Code("loose"), " also without its first "
        "line, its last, both, and without asterisks, and counts the best. Prompts are what "
        "intervals draw: those of one prompt are answered together.",
    ))]  # fmt: skip
    for task in tasks:
        name = str(task["name"])
        parts.append(score_table(view, slug("instructions", name), [(name, m) for m in LEVELS]))
        parts += [_by_type(view, task, how) for how in ("strict", "loose")]
    yield Section("Instructions followed", tuple(parts))


def _by_type(view: View, task: dict[str, Any], how: str) -> Fold:
    """Return all types of instruction, with the number of prompts that ask for each."""
    labels = {}
    for kind in TYPES:
        metric = f"{how}@{kind}"
        found = [view.estimate(task["name"], metric, system) for system in view.systems]
        n = max((e.n_items + e.n_missing for e in found if e), default=0)
        if n:
            labels[metric] = f"{kind} ({n:,})"
    tables = metric_tables(view, task, list(labels), labels)
    return Fold(f"{task['name']}, {how}, by type of instruction (prompts)", tuple(tables))
