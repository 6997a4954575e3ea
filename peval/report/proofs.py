"""Whether the adapters were applied: which have no effect, and how near the engine is to PEFT."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from peval.proof import TIMES
from peval.report.document import (
    Cell,
    Code,
    Column,
    Paragraph,
    Section,
    Strong,
    Table,
    Text,
    Warning,
    named,
)
from peval.report.tables import N_OPEN, name_cell, number_cell, text_cell
from peval.report.view import View


def without_effect(view: View) -> dict[str, str]:
    """Return the adapters that change nothing, with what shows it."""
    zero = "the update it holds is exactly zero"
    bare = "all of it but its head is the base"
    idle = [a for a in view.results.adapters if a["changes_nothing"]]
    found = {a["name"]: bare if a.get("labels") else zero for a in idle}
    found = {name: why for name, why in found.items() if name in view.adapters}
    for one in view.results.proofs:
        if one["adapter"] in view.adapters and one["has_effect"] is False:
            seen = f"on {one['n_tokens']} tokens its log-probabilities are the base's"
            also = found.get(one["adapter"])
            found[one["adapter"]] = f"{seen}; {also}" if also else seen
    return found


def warnings(view: View) -> Iterator[Warning]:
    """Yield what must be read before any score."""
    for name, why in without_effect(view).items():
        yield Warning((Strong("No effect."), " ", Code(name), f": {why}."))
    for one in _apart(view):
        who = named(one["adapter"])
        yield Warning((Strong("Not as trained."), " ", *who, f": {_distance(one)}."))


def lines(view: View) -> list[str]:
    """Return the same for a terminal."""
    said = [f"NO EFFECT  {name}: {why}" for name, why in without_effect(view).items()]
    return said + [
        f"NOT AS TRAINED  {one['adapter'] or 'base'}: {_distance(one)}" for one in _apart(view)
    ]


def sections(view: View) -> Iterator[Section]:
    """Yield the section with every adapter's proof; none where nothing was proven."""
    order = {name: place for place, name in enumerate(view.systems)}
    proofs = sorted(view.results.proofs, key=lambda one: order.get(one["adapter"], 0))
    if not proofs:
        return
    said: Text = (
        "Before anything of an adapter was scored, four fixed texts were asked of the engine and "
        "of transformers with PEFT. Differences are means of absolute differences of "
        "log-probabilities, per token in nat: to the base, which shows an effect, and to "
        f"transformers in float32 (with the largest), which may be {TIMES} times what rounding to "
        "the engine's own dtype makes in transformers itself, and a little. A single unlikely "
        "token may be further off in both. Greedy tokens are counted as far as they are alike.",
    )  # fmt: skip
    titles = ("adapter", "to base", "to float32", "largest", "allowed", "greedy", "note")
    columns = tuple(Column((title,), numeric=title not in ("adapter", "note")) for title in titles)
    table = Table("proofs", "Proof of application", columns, tuple(map(_row, proofs)), N_OPEN)
    yield Section("Were the adapters applied", (Paragraph(said), table))


def _row(one: dict[str, Any]) -> tuple[Cell, ...]:
    n, total = one["n_greedy_equal"], one["n_greedy"]
    keys = ("base_nat", "mean_nat", "max_nat", "allowed_nat")
    numbers = (_nat(one[key]) for key in keys)
    alike = Cell(("" if n is None else f"{n} of {total}",), (n,))
    return (name_cell(one["adapter"]), *numbers, alike, text_cell(_note(one)))


def _nat(value: float | None) -> Cell:
    return number_cell(value, "" if value is None else f"{value:.2g}")


def _note(one: dict[str, Any]) -> str:
    said = [
        "no effect" if one["has_effect"] is False else "",
        "not as trained" if one["agrees"] is False else "",
        "no more than rounding could hide" if _is_hidden(one) else "",
        f"not compared: {one['why_none']}" if one["why_none"] else "",
        "proven by an earlier run" if one["is_cached"] else "",
    ]
    return "; ".join(filter(None, said))


def _is_hidden(one: dict[str, Any]) -> bool:
    """Whether an adapter could be missing and still be as near the reference as it has to be."""
    effect, allowed = one["base_nat"], one["allowed_nat"]
    return bool(one["has_effect"]) and None not in (effect, allowed) and effect <= allowed


def _apart(view: View) -> list[dict[str, Any]]:
    return [one for one in view.results.proofs if one["agrees"] is False]


def _distance(one: dict[str, Any]) -> str:
    alike = f"{one['n_greedy_equal']} of {one['n_greedy']} greedy tokens are those of transformers"
    if one["mean_nat"] is None:
        return alike
    return (
        f"its log-probabilities are {one['mean_nat']:.2g} nat from those of transformers and PEFT "
        f"in float32, of which rounding explains {one['allowed_nat']:.2g}; {alike}"
    )
