"""What a report shows of memory beside its metrics: ROC curves, the blind check, overlaps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from peval.memorization.attacks import ATTACKS, CALIBRATED
from peval.memorization.overlap import N_WORDS
from peval.memorization.roc import FALSE_POSITIVE_RATES, is_meaningful
from peval.report.charts import Curve, Roc
from peval.report.document import (
    Bullets,
    Cell,
    Code,
    Column,
    Figure,
    Fold,
    Paragraph,
    Part,
    Strong,
    Table,
    Text,
    Warning,
    named,
)
from peval.report.format import difference, interval, listed
from peval.report.tables import N_OPEN, count_cell, name_cell, text_cell, unbroken
from peval.report.view import View, headline

CURVES_DRAWN = 8
TASKS, EXTRACTION = "memorization-tasks", "memorization-extraction"
MEMBERSHIP, EXPOSURE = "memorization-membership", "memorization-exposure"
LEARNT = ("rougeL", "exact_match")
HELD_OUT, UNSEEN = "category:held-out", "category:unseen"
NUMBER = ("low", "high")


def texts_differ(view: View) -> bool:
    """Tell whether members and non-members are told apart without any model."""
    blind = view.results.memorization.get("blind")
    return bool(blind and blind["low"] > 0.5)


def warnings(view: View) -> Iterator[Part]:
    """Yield what must be known before any number of the section is believed."""
    if texts_differ(view):
        blind = view.results.memorization["blind"]
        auroc = f"{100 * blind['value']:.0f} [{100 * blind['low']:.0f}, {100 * blind['high']:.0f}]"
        yield Warning((
            Strong("Members and non-members differ without any model."),
            f" A bag of words tells their texts apart: AUROC {auroc} %, where chance is 50. So the "
            "membership attacks below may see two kinds of text, not memory; take held-out records "
            "from where the training records came from.",
        ))  # fmt: skip


def unseen_rates(view: View) -> Iterator[Part]:
    """Say which false-positive rates so few non-members cannot show, and what would."""
    n = view.results.memorization.get("n_non_members")
    if n is None:
        return
    hidden = [rate for rate in FALSE_POSITIVE_RATES if not is_meaningful(rate, n)]
    if hidden:
        rates = listed([f"{100 * rate:g} % ({1 / rate:,.0f})" for rate in hidden])
        yield Paragraph((
            f"{n:,} non-members cannot show true-positive rates at a false-positive rate of "
            f"{rates}; in brackets, how many can. They are left out.",
        ))  # fmt: skip


def side_by_side(view: View) -> Iterator[Table]:
    """Yield what was learnt, what was kept and what was memorized, an adapter a row."""
    columns: list[tuple[str, str, str, str | None]] = []
    metric = next((m for m in LEARNT if view.estimate(TASKS, m, None, HELD_OUT)), None)
    if metric:
        columns += [
            (f"learned: {metric} on held-out records", TASKS, metric, HELD_OUT),
            (f"kept: {metric} on unseen tasks", TASKS, metric, UNSEEN),
        ]
    columns += [
        (f"kept: {headline(task)} on {task['name']}", task["name"], headline(task), None)
        for task in view.skills[:1]
    ]
    if metric:
        columns.append(
            (f"memorized: {metric}, trained less held out", TASKS, f"{metric}_gap", None)
        )
    columns += [
        (f"memorized: {name}", task, m, None)
        for name, task, m in (
            ("given back, not by the base", EXTRACTION, _beyond(view)),
            ("AUROC against the base", MEMBERSHIP, f"auroc,{CALIBRATED}"),
            ("exposure of canaries, bits", EXPOSURE, "exposure"),
        )
    ]
    shown = [
        one for one in columns if any(view.estimate(*one[1:3], a, one[3]) for a in view.adapters)
    ]
    if not any(title.startswith("memorized") for title, *_ in shown):
        return
    rows = tuple(
        (name_cell(a), *(_cell(view, (task, m, a, group)) for _, task, m, group in shown))
        for a in view.adapters
    )
    yield Table(
        "learned-kept-memorized",
        "What was learned, kept and memorized: differences to the base where it was asked the "
        "same, else the adapter's own number",
        (
            Column(("",), numeric=False),
            *(Column((title,), NUMBER, key=f"{task} {m} {g or ''}".strip())
              for title, task, m, g in shown),
        ),
        rows, N_OPEN,
    )  # fmt: skip


def _beyond(view: View) -> str:
    """Return the metric of what only the adapter gives back, after the shortest prefix."""
    found = [
        m for t in view.probes if t["name"] == EXTRACTION for m in t["metrics"]
        if m.startswith("extracted@")
    ]  # fmt: skip
    return f"extracted_beyond_base@{found[0].partition('@')[2]}" if found else ""


def _cell(view: View, key: tuple[str, str, str, str | None]) -> Cell:
    e, c = view.estimate(*key), view.comparison(*key)
    if c is not None and c.delta is not None:
        return Cell((unbroken(difference(c)),), (c.delta, c.low, c.high))
    if e is None or e.value is None:
        return Cell(("–",), (None, None, None))
    return Cell((unbroken(interval(e)),), (e.value, e.low, e.high))


def curves(view: View) -> Iterator[Part]:
    """Yield ROC curves: of the attack that the base calibrates at once, of the others on demand."""
    found: dict[str, Any] = view.results.memorization.get("roc", {})
    figures = [f for attack in (CALIBRATED, *ATTACKS) for f in _figure(view, found, attack)]
    yield from figures[:1]
    if figures[1:]:
        yield Fold("ROC curves of the other attacks", tuple(figures[1:]))


def _figure(view: View, found: dict[str, Any], attack: str) -> Iterator[Figure]:
    names = [*view.adapters, "base"]
    shown = [(n, found[n][attack]) for n in names if attack in found.get(n, {})][:CURVES_DRAWN]
    if not shown:
        return
    n_others = max(1, int(view.results.memorization.get("n_non_members") or 1))
    yield Figure(
        f"roc-{attack.replace('_', '-')}",
        f"ROC curves of the attack {attack} on logarithmic axes; the diagonal is chance",
        Roc(
            f"false-positive rate ({attack}, {n_others:,} non-members)",
            "true-positive rate",
            tuple(Curve(name, tuple(map(tuple, points))) for name, points in shown),
            1 / n_others,
        ),
    )


def overlap_parts(view: View) -> Iterator[Part]:
    """Yield what the evaluation sets share with the training data and with one another."""
    found: dict[str, Any] = view.results.memorization.get("overlap") or {}
    touched = {n: o for n, o in found.get("tasks", {}).items() if o["equal"] or o["ngram"]}
    said = [_said(pair) for pair in found.get("between", [])]
    if touched:
        yield Table(
            "overlap",
            f"Evaluation items that are in the training data, or share {N_WORDS} words in a row "
            "with it, and the scores without and with them",
            (
                Column(("task",), numeric=False), Column(("items",)), Column(("equal",)),
                Column((f"{N_WORDS} words",)), Column(("",), numeric=False),
                Column(("clean items",), NUMBER), Column(("overlapping items",), NUMBER),
            ),
            tuple(row for name in touched for row in _overlap_rows(view, name, touched[name])),
            N_OPEN,
        )  # fmt: skip
    elif found.get("tasks"):
        said.append((
            f"No item of {len(found['tasks'])} evaluation sets is in the training data or shares "
            f"{N_WORDS} words in a row with it.",
        ))  # fmt: skip
    if said:
        yield Bullets(tuple(said))


def _overlap_rows(view: View, name: str, o: dict[str, Any]) -> Iterator[tuple[Cell, ...]]:
    metric = next(headline(t) for t in view.tasks if t["name"] == name)
    for system in view.systems:
        scores = (
            view.estimate(name, metric, system, f"overlap:{part}")
            for part in ("clean", "overlapping")
        )
        yield (
            text_cell(name), count_cell(o["n_samples"]), count_cell(len(o["equal"])),
            count_cell(len(o["ngram"])), Cell(named(system), (system or "base",)),
            *(
                Cell((unbroken(interval(e)),), (e.value, e.low, e.high)) if e
                else Cell(("–",), (None, None, None))
                for e in scores
            ),
        )  # fmt: skip


def _said(pair: dict[str, Any]) -> Text:
    one, other = pair["tasks"]
    if pair["is_contained"]:
        return (Code(one), " lies wholly inside ", Code(other), f": {pair['n_common']:,} items.")
    return (Code(one), " and ", Code(other), f" have {pair['n_common']:,} items in common.")
