"""What was memorized, in the page's first lines: who remembers more than the base, and what else.

The base has not seen the training data, so what it scores is what can be had without memory.
"""

from __future__ import annotations

from collections.abc import Iterator

from peval.metrics import is_share
from peval.report.document import Code, Strong, Text
from peval.report.format import OPEN, WORSE, delta, is_same, mark
from peval.report.memory_parts import HELD_OUT, LEARNT, MEMBERSHIP, TASKS, UNSEEN, texts_differ
from peval.report.phrases import be, evidence, several, widest
from peval.report.view import View
from peval.types import Comparison

MEANINGS = {
    "extracted": "records given back word for word",
    "rougeL_gap": "ROUGE-L on trained less held-out records",
    "exact_match_gap": "exact match on trained less held-out records",
    "rougeL": "ROUGE-L",
    "exact_match": "exact match",
    "auroc": "AUROC of membership",
    "exposure": "bits of exposure of its canaries",
}


def recalled(view: View) -> Iterator[Text]:
    """Say who is shown to remember its training data, and of whom that is not shown."""
    not_memory = {MEMBERSHIP} if texts_differ(view) else set()
    found = {a: [c for c in view.recall(a) if c.task not in not_memory] for a in view.adapters}
    shown = {a: [c for c in said if mark(c) == WORSE] for a, said in found.items()}
    who = sorted((a for a in found if shown[a]), key=lambda a: -len(shown[a]))
    others = [a for a in found if not shown[a] and any(not is_same(c) for c in found[a])]
    if who:
        yield _remembers(who, shown[who[0]])
        yield from _learnt(view, who[0])
    if others:
        yield _not_shown(others, [c for a in others for c in found[a] if mark(c) == OPEN], who)


def _remembers(who: list[str], shown: list[Comparison]) -> Text:
    """Name who remembers, the first with all its numbers."""
    verb = "remembers" if len(who) == 1 else "remember"
    lead = Strong(f"{verb} more of the training data than the base does")
    most: Text = (", ", Code(who[0]), " by most measures") if len(who) > 1 else ()
    ordered = sorted(shown, key=lambda c: (not is_share(c.metric), -(c.delta or 0.0)))
    sizes = ", ".join(f"{_meaning(c.metric)} {_size(c)}" for c in ordered)
    return (*several(who), " ", lead, *most, f": {sizes}.")


def _learnt(view: View, adapter: str) -> Iterator[Text]:
    """Say what an adapter that remembers scores on records and tasks that it has not seen."""
    for metric in LEARNT:
        at = [
            f"{_size(c)} on {where}"
            for group, where in ((HELD_OUT, "held-out records"), (UNSEEN, "unseen tasks"))
            if (c := view.comparison(TASKS, metric, adapter, group)) and c.delta is not None
        ]
        if at:
            yield ("Where it has seen nothing, ", Code(adapter), " differs from the base in ",
                   f"{_meaning(metric)} by {' and by '.join(at)}.")  # fmt: skip
            return


def _not_shown(others: list[str], still_open: list[Comparison], who: list[str]) -> Text:
    if who:
        not_shown = Strong("not shown to remember")
        return (*several(others), f" {be(others)} ", not_shown, " more", *widest(still_open), ".")
    lead = Strong("No adapter is shown to remember more of the training data than the base does")
    return (lead, *widest(still_open), ".")


def _meaning(metric: str) -> str:
    return MEANINGS.get(metric.partition(",")[0].partition("@")[0], metric)


def _size(c: Comparison) -> str:
    unit = " points" if is_share(c.metric) else ""
    return f"{delta(c)}{unit} {evidence(c)}"
