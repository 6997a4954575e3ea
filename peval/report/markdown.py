"""`report.md`: what was run, what came out, what that says and what it cannot say."""

from __future__ import annotations

import shlex
from pathlib import Path

from peval.report import tables, words
from peval.report.figures import draw_differences
from peval.report.flips import Flip, flips, short
from peval.report.format import cell, counted, points
from peval.results import Results
from peval.rundir import RunDir, write_text
from peval.store import Store

FIGURE = Path("figures") / "differences.png"


def write_report(rundir: RunDir, results: Results) -> None:
    """Write ``report.md`` and its figures into a run directory."""
    figure = rundir.path / FIGURE
    figure.parent.mkdir(exist_ok=True)
    drawn = draw_differences(results, figure)
    with Store(rundir.store) as store:
        flipped = flips(results, store)
    write_text(rundir.report, markdown(results, flipped, FIGURE if drawn else None))


def markdown(results: Results, flipped: list[Flip], figure: Path | None) -> str:
    """Return the report's text; every section reads on its own."""
    sections = [
        _opening(results),
        _scores(results, figure),
        _meaning(results),
        _categories(results),
        _other_metrics(results),
        _flips(flipped),
        _troubles(results),
        _repeating(results),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _opening(results: Results) -> str:
    run = results.run
    title, asked = _predictions(results) if tables.is_predictions(results) else _systems(results)
    partial = "" if results.complete else _partial(results)
    parts = [f"# {title}{partial}", asked, "\n".join(tables.data_lines(results))]
    left_out = {name: n for name, n in run.get("left_out", {}).items() if n}
    if left_out:
        counts = ", ".join(f"`{cell(name)}` {n:,}" for name, n in left_out.items())
        parts.append(f"Predictions for items that the task does not ask were left out: {counts}.")
    if results.adapters:
        parts.append(tables.adapter_table(results))
    return "\n\n".join(parts)


def _systems(results: Results) -> tuple[str, str]:
    """Return the title and the first sentence of a run of models."""
    run, n_adapters = results.run, len(results.adapters)
    control = ", with the base as the control," if run["with_base"] and n_adapters else ""
    systems = counted(n_adapters, "adapter") if n_adapters else "the base alone"
    systems = systems[0].upper() + systems[1:]
    return (
        f"{systems} on {cell(Path(run['base']['name']).name)}",
        f"{systems} of `{cell(run['base']['name'])}`{control} "
        f"on {counted(len(results.tasks), 'task')}: {run['n_requests']:,} requests, "
        f"answered by {run['serving']['engine']} in {run['serving']['dtype']}.",
    )


def _predictions(results: Results) -> tuple[str, str]:
    """Return the title and the first sentence of a run of predictions from elsewhere."""
    files = counted(len(results.adapters), "file")
    n_items = results.tasks[0]["n_samples"]
    asked = f"{files} with predictions for {counted(n_items, 'item')}, scored without any model."
    return f"Predictions for {cell(results.tasks[0]['name'])}", asked


def _partial(results: Results) -> str:
    run = results.run
    n_failed, n_open = run["n_failed"], run["n_unanswered"]
    if tables.is_predictions(results):
        return (
            f"\n\n> **Partial.** {n_open:,} of {run['n_requests']:,} items have no prediction. "
            "They are left out of every score, not counted as wrong."
        )
    said = (
        f"\n\n> **Partial.** {n_failed:,} of {run['n_requests']:,} requests failed and "
        f"{n_open:,} are unanswered. They are left out of every score, not counted as wrong. "
        "The same command asks them again."
    )
    return said + "".join(f"\n> - {cell(why)[:300]}" for why in run["failures"][:5])


def _scores(results: Results, figure: Path | None) -> str:
    parts = ["## Scores", "Percent, with 95 % intervals."]
    if results.comparisons:
        parts[1] += (
            " Under each score: the paired difference to the base in points. ▲ better and ▼ worse "
            "(the interval excludes 0 and the adjusted p is at most 0.05), `·` not told apart, "
            "`=` every answer is the base's."
        )
    parts.append(tables.score_table(results))
    if results.baselines:
        parts.append(
            "*Italics* need no model: the input copied, the first demonstration's output copied, "
            "and each task's most frequent target (which looks at the targets it is scored on)."
        )
    if figure:
        parts.append(f"![Differences to the base with 95 % intervals]({figure.as_posix()})")
    return "\n\n".join(parts)


def _meaning(results: Results) -> str:
    findings = words.findings(results)
    said = ["## What the numbers say", "\n".join(findings)] if findings else []
    return "\n\n".join([*said, "## What they cannot say", "\n".join(words.limits(results))])


def _categories(results: Results) -> str:
    parts = []
    for task in results.tasks:
        table = tables.category_table(results, task)
        if table:
            parts += [f"### {cell(task['name'])} ({tables.headline(task)})", table]
    return "\n\n".join(["## By category", *parts]) if parts else ""


def _other_metrics(results: Results) -> str:
    shown = {tables.headline(task) for task in results.tasks}
    others = [m for t in results.tasks for m in t["metrics"] if m not in shown]
    parts = [
        f"<details><summary>{metric}</summary>\n\n{tables.score_table(results, metric)}\n\n"
        "</details>"
        for metric in dict.fromkeys(others)
    ]
    return "\n\n".join(["## Other metrics", *parts]) if parts else ""


def _flips(flipped: list[Flip]) -> str:
    if not flipped:
        return ""
    intro = "Items with the widest gains and losses, to look at, not to count."
    return "\n\n".join(["## Where answers part", intro, *map(_flip, flipped)])


def _flip(flip: Flip) -> str:
    where = "" if flip.sample.cluster == flip.sample.id else f", {cell(flip.sample.cluster)}"
    title = (
        f"**`{cell(flip.adapter)}` against the base: {points(flip.delta)} points** "
        f"({cell(flip.task)}{where}, `{cell(flip.sample.id)}`)"
    )
    rows = [
        ("input", flip.sample.input),
        ("target", " | ".join(flip.sample.targets[:3])),
        ("base", flip.base_text),
        (flip.adapter, flip.adapter_text),
    ]
    width = max(len(label) for label, _ in rows)
    lines = [f"{label:<{width}}  {' '.join(short(text).split())}" for label, text in rows]
    return f"{title}\n\n{_fenced(lines)}"


def _fenced(lines: list[str]) -> str:
    """Return a code block whose fence no line can close: models write backticks too."""
    fence = "`" * 3
    while any(fence in line for line in lines):
        fence += "`"
    return "\n".join([f"{fence}text", *lines, fence])


def _troubles(results: Results) -> str:
    table = tables.trouble_table(results)
    said = table or "Nothing: no answer ran into the token limit, no prompt was cut, none failed."
    return f"## Cut, truncated, failed\n\n{said}"


def _repeating(results: Results) -> str:
    run = results.run
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    lines = [
        "## How to repeat this",
        _fenced([shlex.join(run["command"])]).replace("text\n", "sh\n", 1),
        *([] if tables.is_predictions(results) else [f"- base sha256 `{run['base']['sha256']}`"]),
        f"- seed {run['seed']}, peval {run['peval']}, scorer {run['scorer']}",
        f"- {versions}",
    ]
    signatures = [e.signature for e in results.estimates if e.group is None][:1]
    lines += [f"- signature of the first score: `{signature}`" for signature in signatures]
    return "\n\n".join([lines[0], lines[1], "\n".join(lines[2:])])
