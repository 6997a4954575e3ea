"""Sentence classification in domain and out of domain: the table of a study, and its scatter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from peval.report.document import Code, Fold, Paragraph, Part, Section, Span, Strong
from peval.report.domain_parts import agreement, figure, gains, runs, table
from peval.report.format import NONE, counted
from peval.report.sweeps import copy_words
from peval.report.view import View

N_NAMED = 6
NAMES = ("method", "model")
FOLLOWS = ("target_modules", "bytes", "trainable_share", "alpha", "rank")

_ABOVE = Paragraph((
    "Gains over the majority class, in points with 95 % intervals: item by item, against answering "
    "one label always.",
))  # fmt: skip

Record = dict[str, Any]


def sections(view: View) -> Iterator[Section]:
    """Yield the section where sentences are classified."""
    found = view.results.generalization
    if not found:
        return
    groups = _groups(view)
    parts: list[Part] = [*_below(found, groups), _how(view)]
    majority = {task["task"]: task["value"] for task in found["majority"]}
    for pair in found["pairs"]:
        parts += _of_pair(pair, groups, majority)
    parts += [_ABOVE, gains(found["majority"])]
    parts += [part for one in found.get("agreement", []) for part in agreement(one)]
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
    if view.results.generalization["pairs"]:
        said.append(" In the drawings a small point is a run and a large one a mean.")
    if sweep:
        rule = sweep["selection"]
        if rule["choices"] and rule["rule"] == "best":
            said += [" Of a series of checkpoints the best on ", Code(rule["split"]),
                     " stands for it, whose score there is too high."]  # fmt: skip
        elif rule["choices"]:
            said.append(" Of a series of checkpoints the last stands for it.")
        if sweep["duplicates"]:
            said += [" ", *copy_words(sweep)]
    if not view.results.run["with_base"] and not view.is_predictions:
        said.append(" The base has no head, or was left out: nothing is held against it.")
    return Paragraph(tuple(said))


def _below(found: Record, groups: dict[str, list[str | None]]) -> Iterator[Paragraph]:
    """Yield warnings of means that the majority class beats; tasks of the same ones share one."""
    tasks: dict[tuple[str, ...], list[Record]] = {}
    for task in found["majority"]:
        gains = {g["adapter"]: g["value"] for g in task["gains"]}
        who = tuple(name for name, runs in groups.items() if _is_below(runs, gains))
        if who:
            tasks.setdefault(who, []).append(task)
    for who, many in tasks.items():
        said: list[Span] = [Strong("Below the majority class")]
        for at, task in enumerate(many):
            said += [", " if at else " on ", Code(task["task"]), f" ({100 * task['value']:.1f} %)"]
        for at, name in enumerate(who[:N_NAMED]):
            said += ["; " if at else ": ", Code(name)]
        more = f" and {len(who) - N_NAMED:,} more" if len(who) > N_NAMED else ""
        yield Paragraph((*said, f"{more}. Answering one label always would score higher."))


def _is_below(runs: Sequence[str | None], gains: dict[str | None, Any]) -> bool:
    values = [gains[run] for run in runs if gains.get(run) is not None]
    return bool(values) and sum(values) < 0


def _of_pair(
    pair: Record, groups: dict[str, list[str | None]], majority: dict[str, float]
) -> Iterator[Part]:
    rows = {row["adapter"]: row for row in pair["systems"]}
    found = {name: [rows[run] for run in runs if run in rows] for name, runs in groups.items()}
    kept = {name: _points_of(mine) for name, mine in found.items() if mine}
    if pair["n_shared"]:
        yield Paragraph((
            Strong("Overlap"), f": {pair['n_shared']:,} of ", counted(pair["n_out"], "sentence"),
            " of ",
            Code(pair["out_of_domain"]), " are in ", Code(pair["in_domain"]),
            " too, so it is not wholly out of domain, and the two are not independent.",
        ))  # fmt: skip
    if not kept:
        return
    yield table(pair, kept)
    yield figure(pair, kept, majority)
    yield Fold(
        f"Every run on {pair['in_domain']} and {pair['out_of_domain']}", (runs(pair),)
    )  # fmt: skip


def _points_of(rows: Sequence[Record]) -> list[Record]:
    """Return the runs behind a mean: adapters, or the contexts of a system that stands alone."""
    alone = rows[0].get("contexts", []) if len(rows) == 1 else []
    return [one | {"gap": one["out_of_domain"] - one["in_domain"]} for one in alone] or list(rows)
