"""Sentence classification in domain and out of domain: the table of a study, and its scatter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from peval.generalization import METRIC
from peval.report.charts import Domains, Line
from peval.report.document import (
    Cell,
    Code,
    Column,
    Figure,
    Fold,
    Paragraph,
    Part,
    Section,
    Span,
    Strong,
    Table,
    Text,
    slug,
)
from peval.report.format import NONE, counted
from peval.report.sweeps import copy_words
from peval.report.tables import N_OPEN, name_cell, text_cell, unbroken
from peval.report.view import View

GROUPS_DRAWN = 12
N_NAMED = 6
NAMES = ("method", "model")
FOLLOWS = ("target_modules", "bytes", "trainable_share", "alpha", "rank")

Record = dict[str, Any]


def sections(view: View) -> Iterator[Section]:
    """Yield the section where sentences are classified."""
    found = view.results.generalization
    if not found:
        return
    groups = _groups(view)
    parts: list[Part] = [*_below(found, groups), _how(view)]
    for pair in found["pairs"]:
        parts += _of_pair(pair, groups)
    parts.append(Fold("Gains over the majority class", tuple(_gains(found["majority"]))))
    yield Section("In domain and out of domain", tuple(parts))


def _groups(view: View) -> dict[str, list[str | None]]:
    """Return the runs of each setting by its name; without a sweep, every system alone."""
    sweep = view.results.sweep
    if not sweep:
        return {system or "base": [system] for system in view.systems}
    found: dict[str, list[str | None]] = {}
    if view.results.run["with_base"]:
        found["base"] = [None]
    settings = sweep["settings"]
    keys = _telling([setting["facts"] for setting in settings])
    for setting in settings:
        said = ", ".join(_fact(key, setting["facts"].get(key, NONE)) for key in keys)
        alone = not said or said in found
        found[setting["adapters"][0] if alone else said] = list(setting["adapters"])
    return found


def _telling(facts: Sequence[Record]) -> list[str]:
    """Return the facts that tell settings apart, less those that follow from the others."""
    keys = list(dict.fromkeys(key for one in facts for key in one))
    n = len({tuple(one.get(key) for key in keys) for one in facts})
    for key in [k for k in FOLLOWS if k in keys]:
        rest = [other for other in keys if other != key]
        if len({tuple(one.get(k) for k in rest) for one in facts}) == n:
            keys = rest
    return sorted(keys, key=lambda key: (key not in NAMES, key))


def _fact(key: str, value: object) -> str:
    return str(value) if key in NAMES else f"{key.replace('_', ' ')} {value}"


def _how(view: View) -> Paragraph:
    """Say which runs stand for what: checkpoints by a rule, copies once."""
    sweep = view.results.sweep
    said: list[Span] = ["Accuracy in percent. A gap is out of domain less in domain."]
    if sweep:
        rule = sweep["selection"]
        if rule["rule"] == "best":
            said += [" Of a series of checkpoints the best on ", Code(rule["split"]),
                     " stands for it, whose score there is too high."]  # fmt: skip
        elif rule["choices"]:
            said.append(" Of a series of checkpoints the last stands for it.")
        if sweep["duplicates"]:
            said += [" ", *copy_words(sweep)]
    if not view.results.run["with_base"]:
        said.append(" The base has no head, or was left out: nothing is held against it.")
    return Paragraph(tuple(said))


def _below(found: Record, groups: dict[str, list[str | None]]) -> Iterator[Paragraph]:
    """Yield warnings of means that the majority class beats."""
    for task in found["majority"]:
        gains = {g["adapter"]: g["value"] for g in task["gains"]}
        who: list[str] = []
        for name, runs in groups.items():
            values = [gains[run] for run in runs if gains.get(run) is not None]
            if values and sum(values) / len(values) < 0:
                who.append(name)
        if not who:
            continue
        more = f" and {len(who) - N_NAMED:,} more" if len(who) > N_NAMED else ""
        said: list[Span] = [Strong("Below the majority class"), " on ", Code(task["task"]),
                            f" ({100 * task['value']:.1f} %): "]  # fmt: skip
        for at, name in enumerate(who[:N_NAMED]):
            said += ["; " if at else "", Code(name)]
        yield Paragraph((*said, f"{more}. Answering one label always would score higher."))


def _of_pair(pair: Record, groups: dict[str, list[str | None]]) -> Iterator[Part]:
    rows = {row["adapter"]: row for row in pair["systems"]}
    kept = {
        name: [rows[run] for run in runs if run in rows] for name, runs in groups.items()
    }  # fmt: skip
    kept = {name: mine for name, mine in kept.items() if mine}
    if pair["n_shared"]:
        yield Paragraph((
            Strong("Overlap"), f": {pair['n_shared']:,} of ", counted(pair["n_out"], "sentence"),
            " of ",
            Code(pair["out_of_domain"]), " are in ", Code(pair["in_domain"]),
            " too, so it is not wholly out of domain, and the two are not independent.",
        ))  # fmt: skip
    if not kept:
        return
    yield _table(pair, kept)
    yield _figure(pair, kept)
    yield Fold(
        f"Every run on {pair['in_domain']} and {pair['out_of_domain']}", (_runs(pair),)
    )  # fmt: skip


def _table(pair: Record, kept: dict[str, list[Record]]) -> Table:
    fields = ("mean", "max", "std")
    columns = (
        Column(("setting",), numeric=False), Column(("runs",)),
        Column((f"{pair['in_domain']}, mean (max), std",), fields, key="in_domain"),
        Column((f"{pair['out_of_domain']}, mean (max), std",), fields, key="out_of_domain"),
        Column(("gap, points",), ("gap",), key="gap"),
    )  # fmt: skip
    body = tuple(
        (text_cell(name), Cell((str(len(rows)),), (len(rows),)),
         _spread([r["in_domain"] for r in rows]), _spread([r["out_of_domain"] for r in rows]),
         _points(sum(r["gap"] for r in rows) / len(rows)))
        for name, rows in kept.items()
    )  # fmt: skip
    return Table(
        slug("domains", pair["in_domain"], pair["out_of_domain"]),
        f"{METRIC} on {pair['in_domain']} and {pair['out_of_domain']}: mean, maximum and standard "
        "deviation over runs",
        columns, body, N_OPEN,
    )  # fmt: skip


def _spread(values: Sequence[float]) -> Cell:
    mean, n = sum(values) / len(values), len(values)
    sd = (sum((v - mean) ** 2 for v in values) / (n - 1)) ** 0.5 if n > 1 else None
    spread = NONE if sd is None else f"{100 * sd:.1f}"
    said = f"{100 * mean:.1f} ({100 * max(values):.1f}), {spread}"
    return Cell((unbroken(said),), (mean, max(values), sd))


def _points(value: float, low: float | None = None, high: float | None = None) -> Cell:
    said = f"{100 * value:+.1f}"
    if low is not None and high is not None:
        said += f" [{100 * low:+.1f}, {100 * high:+.1f}]"
    return Cell((unbroken(said),), (value,) if low is None else (value, low, high))


def _figure(pair: Record, kept: dict[str, list[Record]]) -> Figure:
    groups = tuple(
        Line(name, *(tuple(100 * r[key] for r in rows) for key in ("in_domain", "out_of_domain")))
        for name, rows in list(kept.items())[:GROUPS_DRAWN]
    )
    return Figure(
        slug("domains", pair["in_domain"], pair["out_of_domain"]),
        f"{METRIC} on {pair['out_of_domain']} against {pair['in_domain']}: a small point a run, a "
        "large one a mean; on the dashed line both are equal",
        Domains(f"{pair['in_domain']}, percent", f"{pair['out_of_domain']}, percent", groups),
    )


def _runs(pair: Record) -> Table:
    columns = (
        Column(("run",), numeric=False), Column(("in domain",)), Column(("out of domain",)),
        Column(("gap, points",), ("gap", "low", "high"), key="gap"),
    )  # fmt: skip
    body = tuple(
        (name_cell(r["adapter"]), _percent(r["in_domain"]), _percent(r["out_of_domain"]),
         _points(r["gap"], r["low"], r["high"]))
        for r in pair["systems"]
    )  # fmt: skip
    return Table(
        slug("gaps", pair["in_domain"], pair["out_of_domain"]),
        "Every run, with the 95 % interval of its gap", columns, body, N_OPEN,
    )  # fmt: skip


def _gains(tasks: Sequence[Record]) -> Iterator[Table]:
    for task in tasks:
        columns = (Column(("run",), numeric=False),
                   Column(("gain, points",), ("gain", "low", "high"), key="gain"))  # fmt: skip
        body = tuple(
            (name_cell(g["adapter"]), _points(g["value"], g["low"], g["high"]))
            for g in task["gains"]
            if g["value"] is not None
        )
        title: Text = (f"{task['task']}, where the majority class has {100 * task['value']:.1f} %",)
        yield Table(slug("gains", task["task"]), str(title[0]), columns, body, N_OPEN)


def _percent(value: float) -> Cell:
    return Cell((f"{100 * value:.1f}",), (value,))
