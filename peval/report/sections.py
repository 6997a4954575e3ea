"""The report, section by section; every section reads on its own, and one without content is none.

A new kind of finding is one more function in `SECTIONS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from peval.judging.template import visible
from peval.metrics import describes, is_share
from peval.report import (
    cost,
    described,
    domains,
    hygiene,
    instructions,
    judged,
    memory,
    opening,
    plots,
    programs,
    proofs,
    provenance,
    retention,
    sweeps,
    tables,
)
from peval.report.answers import Answers
from peval.report.decision import decision
from peval.report.document import (
    Bullets,
    Code,
    Document,
    Fold,
    Listing,
    Paragraph,
    Part,
    Quiet,
    Section,
    Span,
    Strong,
    Text,
)
from peval.report.flips import Flip, short
from peval.report.format import written
from peval.report.limits import limits
from peval.report.view import View, headline
from peval.results import Results


@dataclass(frozen=True)
class Found:
    """All that a section may tell of."""

    view: View
    answers: Answers
    flipped: tuple[Flip, ...]


def document(results: Results, answers: Answers, flipped: list[Flip]) -> Document:
    """Return a run's report."""
    found = Found(View(results), answers, tuple(flipped))
    sections = [section for build in SECTIONS for section in build(found)]
    return Document(
        opening.title(found.view), tuple(section for section in sections if section.parts)
    )


def _decision(found: Found) -> Iterator[Section]:
    view = found.view
    said = Bullets(decision(view))
    yield Section(
        "",
        (
            *programs.warnings(view.results),
            *opening.partial(view.results),
            *proofs.warnings(view),
            said,
            Paragraph(opening.asked(view)),
        ),
    )


def _pools(found: Found) -> Iterator[Section]:
    """Say what groups of tasks score, as lm-eval prints them."""
    first, *rest = tables.pool_tables(found.view) if found.view.pools else (None,)
    if first is None:
        return
    said = Paragraph((
        "The mean over the group's items, or over its tasks, as the group is defined; marks as "
        "below. Each of its tasks is listed below too.",
    ))  # fmt: skip
    folded = (Fold("Scores on the other groups", tuple(rest)),) if rest else ()
    yield Section("Groups of tasks", (said, first, *folded))


def _scores(found: Found) -> Iterator[Section]:
    view = found.view
    said: list[Span] = ["Shares in percent, with 95 % intervals."]
    if view.results.comparisons:
        said += [
            " Under each score: the paired difference to the base in points. ▲ better and ▼ worse "
            "(the interval excludes 0 and the adjusted p is at most 0.05), ", Code("·"),
            " not told apart, ", Code("="), " every answer is the base's",
            *_noise(view), ". Adapters stand in the order of their mean difference.",
        ]  # fmt: skip
    if view.baselines:
        said += [" ", Quiet("Italics"), " need no model: the input copied, the first "
                 "demonstration's output copied, each task's most frequent target (which looks at "
                 "the targets)."]  # fmt: skip
    if not view.skills:
        return
    first, *rest = tables.score_tables(view)
    folded = (Fold("Scores on the other tasks", tuple(rest)),) if rest else ()
    yield Section("Scores", (Paragraph(tuple(said)), first, *folded))


def _noise(view: View) -> Text:
    if not any(c.is_noise for c in view.results.comparisons):
        return ()
    return (", ", Code("≈"), " no larger than what the engine alone makes")


def _differences(found: Found) -> Iterator[Section]:
    if not any(map(found.view.differences, found.view.adapters)):
        return
    figures = plots.forests(found.view)
    parts: list[Part] = [*figures[:1]]
    if figures[1:]:
        parts.append(Fold("The other adapters and tasks", tuple(figures[1:])))
    table = tables.difference_table(found.view)
    would = (
        "A difference that would be found is one that four in five repetitions would find, in "
        "points; ", Code("none"), " means that so little data can find none.",
    )  # fmt: skip
    parts.append(Fold("Every difference with its p-value", (Paragraph(would), table)))
    yield Section("Differences to the base", tuple(parts))


def _programs(found: Found) -> Iterator[Section]:
    yield from programs.sections(found.view)


def _kept(found: Found) -> Iterator[Section]:
    yield from retention.sections(found.view)


def _sweep(found: Found) -> Iterator[Section]:
    yield from sweeps.sections(found.view)


def _domains(found: Found) -> Iterator[Section]:
    yield from domains.sections(found.view)


def _instructions(found: Found) -> Iterator[Section]:
    yield from instructions.sections(found.view)


def _described(found: Found) -> Iterator[Section]:
    yield from described.sections(found.view)


def _memory(found: Found) -> Iterator[Section]:
    yield from memory.sections(found.view)


def _judged(found: Found) -> Iterator[Section]:
    yield from judged.sections(found.view)


def _categories(found: Found) -> Iterator[Section]:
    parts: list[Part] = []
    for task in found.view.skills:
        listed = tuple(tables.category_tables(found.view, task))
        if not listed:
            continue
        figures = [*plots.heats(found.view, task)]
        parts += figures[:1]
        parts.append(Fold(f"Scores on {task['name']} by category", (*figures[1:], *listed)))
    if parts:
        parts.insert(0, Paragraph((
            "Numbers are points against the base; marks as above, adjusted for exploring.",
        )))  # fmt: skip
    yield Section("By category", tuple(parts))


def _other_metrics(found: Found) -> Iterator[Section]:
    view = found.view
    shown = {headline(task) for task in view.skills}
    others = dict.fromkeys(
        m for t in view.skills for m in t["metrics"]
        if m not in shown and not describes(m) and not instructions.is_told(m)
    )  # fmt: skip
    yield Section(
        "Other metrics", tuple(Fold(m, tuple(tables.score_tables(view, m))) for m in others)
    )


def _flips(found: Found) -> Iterator[Section]:
    if found.flipped:
        intro = Paragraph(("Items with the widest gains and losses, to look at, not to count.",))
        parts = [part for flip in found.flipped for part in _flip(found.view, flip)]
        yield Section("Where answers part", (intro, *parts))


def _flip(view: View, flip: Flip) -> tuple[Part, ...]:
    one = flip.adapter
    metric = next(headline(t) for t in view.tasks if t["name"] == one.task)
    where = "" if one.cluster == one.sample_id else f", {one.cluster}"
    title: Text = (
        Code(one.system or "base"), " against the base: ",
        Strong(f"{written(flip.delta, metric, 0, '+')}{' points' if is_share(metric) else ''}"),
        f" ({one.task}{where}, ",
        Code(one.sample_id), ")",
    )  # fmt: skip
    base_said, said = flip.base.text, one.text
    if not base_said and not said:  # likelihoods were asked for
        base_said, said = (
            f"(scored {written(score, metric, 0)})" for score in (flip.base_score, flip.score)
        )
    rows = [
        ("input", one.input),
        ("target", " | ".join(one.targets[:3])),
        ("base", base_said),
        (one.system or "adapter", said),
    ]
    width = max(len(label) for label, _ in rows)
    lines = [f"{label:<{width}}  {' '.join(visible(short(text)).split())}" for label, text in rows]
    return Paragraph(title), Listing(tuple(lines))


def _cost(found: Found) -> Iterator[Section]:
    yield from cost.sections(found.view, found.answers)


def _hygiene(found: Found) -> Iterator[Section]:
    table = hygiene.trouble_table(found.view)
    nothing = "Nothing: no answer ran into the token limit or was empty, no prompt was cut, none "
    nothing += "failed, and an answer was found in each."
    yield Section("Cut, truncated, empty, unparsed, failed", (table or Paragraph((nothing,)),))


def _limits(found: Found) -> Iterator[Section]:
    yield Section("What the numbers cannot say", (Bullets(limits(found.view)),))


def _proofs(found: Found) -> Iterator[Section]:
    yield from proofs.sections(found.view)


def _provenance(found: Found) -> Iterator[Section]:
    yield from provenance.sections(found.view)


SECTIONS: tuple[Callable[[Found], Iterator[Section]], ...] = (
    _decision, _pools, _scores, _differences, _kept, _judged, _instructions, _described, _memory,
    _domains, _sweep, _programs, _categories, _other_metrics, _flips, _cost, _hygiene, _limits,
    _proofs, _provenance,
)  # fmt: skip
