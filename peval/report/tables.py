"""The report's tables, from results alone."""

from __future__ import annotations

from typing import Any

from peval.report.format import cell, counted, difference, interval, mark, percent, table
from peval.results import Results
from peval.types import Estimate


def systems(results: Results) -> list[str | None]:
    """Return the base (None) and the adapters that were asked, in table order."""
    asked = [e.adapter for e in results.estimates]
    return list(dict.fromkeys(asked))


def is_predictions(results: Results) -> bool:
    """Tell whether no model was asked: the answers are predictions from elsewhere."""
    return bool(results.run["serving"]["engine"] == "predictions")


def headline(task: dict[str, Any]) -> str:
    """Return a task's headline metric."""
    return str(task["metrics"][0])


def adapter_table(results: Results) -> str:
    """Return what each adapter is and how it was applied, or which files held predictions."""
    if is_predictions(results):
        files = [[f"`{cell(a['name'])}`", f"`{a['sha256'][:12]}`"] for a in results.adapters]
        return table(["predictions", "sha256"], files, left=2)
    rows = [
        [
            f"`{cell(a['name'])}`",
            cell(a["method"]),
            str(a["rank"]),
            a["route"],
            f"`{a['sha256'][:12]}`",
            "its update is exactly zero" if a["changes_nothing"] else "",
        ]
        for a in results.adapters
    ]
    return table(["adapter", "method", "rank", "route", "sha256", "note"], rows, left=6)


def score_table(results: Results, metric: str | None = None) -> str:
    """Return systems x tasks: each score with its interval, each difference under it.

    ``metric`` of None takes each task's headline metric.
    """
    tasks = [t for t in results.tasks if metric is None or metric in t["metrics"]]
    header = ["", *(f"{cell(t['name'])} ({metric or headline(t)})" for t in tasks)]
    rows = []
    for system in systems(results):
        cells = [_score_cell(results, t["name"], metric or headline(t), system) for t in tasks]
        rows.append([f"`{cell(system)}`" if system else "**base**", *cells])
    for name in dict.fromkeys(e.adapter for e in results.baselines):
        cells = [_baseline_cell(results, t["name"], metric or headline(t), name) for t in tasks]
        rows.append([f"*{name}*", *cells])
    return table(header, rows)


def category_table(results: Results, task: dict[str, Any]) -> str | None:
    """Return categories x systems for one task, or None where it has no categories."""
    metric = headline(task)
    groups = list(
        dict.fromkeys(
            e.group
            for e in results.estimates
            if e.task == task["name"] and (e.group or "").startswith("category:")
        )
    )
    if not groups:
        return None
    names = systems(results)
    header = ["category", "n", *(f"`{cell(s)}`" if s else "**base**" for s in names)]
    rows = []
    for group in groups:
        found = [_find(results, task["name"], metric, s, group) for s in names]
        n_items = max((e.n_items for e in found if e), default=0)
        cells = [_marked(results, e) for e in found]
        rows.append([cell((group or "").removeprefix("category:")), f"{n_items:,}", *cells])
    return table(header, rows)


def trouble_table(results: Results) -> str | None:
    """Return what was cut, truncated, missing or absent; None where there is nothing."""
    rows = []
    for task in results.tasks:
        for system in systems(results):
            e = _find(results, task["name"], headline(task), system, None)
            if e and (e.n_truncated or e.n_prompts_cut or e.n_missing):
                name = f"`{cell(system)}`" if system else "**base**"
                counts = [e.n_truncated, e.n_prompts_cut, e.n_missing]
                total = e.n_items + e.n_missing
                rows.append([cell(task["name"]), name, *(f"{n:,} of {total:,}" for n in counts)])
    header = ["task", "adapter", "answers at the token limit", "prompts cut to fit", "failed"]
    return table(header, rows, left=2) if rows else None


def data_lines(results: Results) -> list[str]:
    """Return one line for each task on what data it had."""
    lines = []
    for task in results.tasks:
        n_found, absent = task["n_clusters"], task["absent"]
        single = n_found == task["n_samples"]
        of = f" of {n_found + len(absent):,}" if absent else ""
        clusters = "" if single else f" from {n_found:,}{of} tasks"
        line = f"- `{cell(task['name'])}`: {task['description']}; "
        line += (
            f"{counted(task['n_samples'], 'item')}{clusters}, profile `{task['profile']['name']}`"
        )
        if absent:
            line += f". **{counted(len(absent), 'listed task')} not in the data**"
        lines.append(line + ".")
    return lines


def _score_cell(results: Results, task: str, metric: str, system: str | None) -> str:
    estimate = _find(results, task, metric, system, None)
    if estimate is None:
        return "–"
    try:
        compared = results.comparison(task, metric, system) if system else None
    except KeyError:
        compared = None
    return interval(estimate) + (f"<br>{difference(compared)}" if compared else "")


def _baseline_cell(results: Results, task: str, metric: str, name: str | None) -> str:
    found = _find(results, task, metric, name, None)
    return interval(found) if found else "–"


def _marked(results: Results, e: Estimate | None) -> str:
    """Return a score with the mark of its difference to the base."""
    if e is None:
        return "–"
    if e.adapter is None:
        return percent(e.value)
    try:
        compared = results.comparison(e.task, e.metric, e.adapter, e.group)
    except KeyError:
        return percent(e.value)
    return f"{percent(e.value)} {mark(compared)}"


def _find(
    results: Results, task: str, metric: str, system: str | None, group: str | None
) -> Estimate | None:
    try:
        return results.estimate(task, metric, system, group)
    except KeyError:
        return None
