"""What a report is about: models that were asked, or predictions from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from peval.report.document import Code, Strong, Text, Warning
from peval.report.format import counted
from peval.report.view import View
from peval.results import Results

N_FAILURES = 5


def title(view: View) -> str:
    """Return the report's title."""
    if view.is_predictions:
        return f"Predictions for {view.tasks[0]['name']}"
    n = len(view.adapters)
    what = counted(n, "adapter") if n else "the base alone"
    return f"{what[0].upper()}{what[1:]} on {Path(view.results.run['base']['name']).name}"


def asked(view: View) -> Text:
    """Return what was asked and who answered."""
    run, n = view.results.run, len(view.adapters)
    left_out = {name: count for name, count in run.get("left_out", {}).items() if count}
    if view.is_predictions:
        items = counted(view.tasks[0]["n_samples"], "item")
        return (
            f"{counted(n, 'file')} with predictions for {items}, scored without any model.",
            *_strangers(left_out),
        )
    base = Code(run["base"]["name"])
    control = ", with the base as the control," if run["with_base"] and n else ""
    who: Text = (f"{counted(n, 'adapter')} of ", base) if n else (base, " alone")
    return (
        *who,
        f"{control} on {counted(len(view.tasks), 'task')}: {counted(run['n_requests'], 'request')}"
        f", answered by {run['serving']['engine']} in {run['serving']['dtype']}.",
    )


def _strangers(left_out: Mapping[str, int]) -> Text:
    """Return how many predictions were for items that nobody asked."""
    said: list[str | Code] = []
    for name, n in left_out.items():
        said += [", " if said else "", Code(name), f" {n:,}"]
    lead = " Predictions for items that the task does not ask were left out: "
    return (lead, *said, ".") if said else ()


def partial(results: Results) -> tuple[Warning, ...]:
    """Return what is missing of a run that is not complete."""
    if results.complete:
        return ()
    run = results.run
    if View(results).is_predictions:
        said = (
            f" {run['n_unanswered']:,} of {run['n_requests']:,} items have no prediction. They are "
            "left out of every score, not counted as wrong."
        )
        return (Warning((Strong("Partial."), said)),)
    said = (
        f" {run['n_failed']:,} of {run['n_requests']:,} requests failed and "
        f"{run['n_unanswered']:,} are unanswered. They are left out of every score, not counted as "
        "wrong. The same command asks them again."
    )
    why = tuple((text[:300],) for text in run["failures"][:N_FAILURES])
    return (Warning((Strong("Partial."), said), why),)
