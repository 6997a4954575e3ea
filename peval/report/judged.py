"""What judges found, and whether to believe them: the section of the report, and the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from peval.judging.template import visible
from peval.report.document import Bullets, Code, Paragraph, Part, Section, Strong, Text, Warning
from peval.report.flips import short
from peval.report.format import NONE
from peval.report.judged_examples import examples
from peval.report.judged_tables import by_turn, nulls, systems
from peval.report.judged_together import agreement, ratings
from peval.report.judged_words import Found, how, share
from peval.report.view import View
from peval.results import Results

LONGEST_WHY = 160


def sections(view: View) -> Iterator[Section]:
    """Yield the sections, where anybody judged."""
    judged = view.results.judged
    parts: list[Part] = []
    for one in judged.get("sections", []):
        parts += _judged(one)
    if parts:
        parts += [*ratings(judged["ratings"]), *agreement(judged["agreement"])]
        yield Section("What judges say", tuple(parts))


def terminal(results: Results) -> str:
    """Return what must be known of the judges, in plain lines."""
    lines = []
    for one in results.judged.get("sections", []):
        lines.append(f"{one['name']}: {share(one)}")
        for row in one["systems"]:
            name = row["system"] or "base"
            mean = NONE if row["mean"] is None else f"{row['mean']:.4f}"
            lines.append(f"  {name}: {mean} on {row['n_scored']:,} items")
        lines += [f"  {kind}, for example: {short(visible(why), LONGEST_WHY)}"
                  for kind, why in one["unscored_said"].items()]  # fmt: skip
        lines += [f"  NO HEADLINE: {why}" for why in one["why_no_headline"]]
        lines += [f"  WARNING: {said}" for said in one["warnings"]]
        if one["stopped"]:
            lines.append(f"  STOPPED: {one['stopped']}")
    return "\n".join(lines)


def _judged(one: Found) -> Iterator[Part]:
    against: Text = (" against ", Code(str(one["against"]))) if one["against"] else ()
    model: Text = (" (", Code(one["model"]), ")") if one["model"] else ()
    yield Paragraph((
        Strong(one["task"]), ", judged by ", Code(f"{one['judge']}.v{one['version']}"), *model,
        *against, f": {share(one)}.", *how(one),
    ))  # fmt: skip
    if one["stopped"]:
        yield Warning((Strong("Judging stopped."), f" {one['stopped']}. What is judged is a random "
                       "part of the items, and the intervals speak of it."))  # fmt: skip
    if one["why_no_headline"]:
        yield Warning(
            (Strong("No headline figure."), " The numbers below are not to be used as scores."),
            tuple((why,) for why in one["why_no_headline"]),
        )
    if one["unscored_said"]:
        yield Bullets(tuple(
            (f"One that is {kind}: ", Code(short(visible(why), LONGEST_WHY) or "an empty reply"))
            for kind, why in one["unscored_said"].items()
        ))  # fmt: skip
    if one["warnings"]:
        yield Bullets(tuple((said[0].upper() + said[1:] + ".",) for said in one["warnings"]))
    yield systems(one)
    yield from by_turn(one)
    yield from nulls(one)
    yield from examples(one)
