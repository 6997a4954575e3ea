"""The report, section by section; every section reads on its own, and one without content is none.

A new kind of finding is one more line in `_sections`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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


def document(results: Results, answers: Answers, flipped: Sequence[Flip]) -> Document:
    """Return a run's report."""
    view = View(results)
    sections = tuple(one for one in _sections(view, answers, flipped) if one.parts)
    return Document(opening.title(view), sections)


def _sections(view: View, answers: Answers, flipped: Sequence[Flip]) -> Iterator[Section]:
    yield from _decision(view)
    yield from _pools(view)
    yield from _scores(view)
    yield from _differences(view)
    yield from retention.sections(view)
    yield from judged.sections(view)
    yield from instructions.sections(view)
    yield from described.sections(view)
    yield from memory.sections(view)
    yield from domains.sections(view)
    yield from sweeps.sections(view)
    yield from programs.sections(view)
    yield from _categories(view)
    yield from _other_metrics(view)
    yield from _flips(view, flipped)
    yield from cost.sections(view, answers)
    yield from _hygiene(view)
    yield from _limits(view)
    yield from proofs.sections(view)
    yield from provenance.sections(view)


def _decision(view: View) -> Iterator[Section]:
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


def _pools(view: View) -> Iterator[Section]:
    """Say what groups of tasks score, as lm-eval prints them."""
    first, *rest = tables.pool_tables(view) if view.pools else (None,)
    if first is None:
        return
    said = Paragraph((
        "The mean over the group's items, or over its tasks, as the group is defined; marks as "
        "below. Each of its tasks is listed below too.",
    ))  # fmt: skip
    folded = (Fold("Scores on the other groups", tuple(rest)),) if rest else ()
    yield Section("Groups of tasks", (said, first, *folded))


def _scores(view: View) -> Iterator[Section]:
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


def _differences(view: View) -> Iterator[Section]:
    if not any(map(view.differences, view.adapters)):
        return
    figures = plots.forests(view)
    parts: list[Part] = [*figures[:1]]
    if figures[1:]:
        parts.append(Fold("The other adapters and tasks", tuple(figures[1:])))
    table = tables.difference_table(view)
    would = (
        "A difference that would be found is one that four in five repetitions would find, in "
        "points; ", Code("none"), " means that so little data can find none.",
    )  # fmt: skip
    parts.append(Fold("Every difference with its p-value", (Paragraph(would), table)))
    yield Section("Differences to the base", tuple(parts))


def _categories(view: View) -> Iterator[Section]:
    parts: list[Part] = []
    for task in view.skills:
        listed = tuple(tables.category_tables(view, task))
        if not listed:
            continue
        figures = [*plots.heats(view, task)]
        parts += figures[:1]
        parts.append(Fold(f"Scores on {task['name']} by category", (*figures[1:], *listed)))
    if parts:
        parts.insert(0, Paragraph((
            "Numbers are points against the base; marks as above, adjusted for exploring.",
        )))  # fmt: skip
    yield Section("By category", tuple(parts))


def _other_metrics(view: View) -> Iterator[Section]:
    shown = {headline(task) for task in view.skills}
    others = dict.fromkeys(
        m for t in view.skills for m in t["metrics"]
        if m not in shown and not describes(m) and not instructions.is_told(m)
    )  # fmt: skip
    yield Section(
        "Other metrics", tuple(Fold(m, tuple(tables.score_tables(view, m))) for m in others)
    )


def _flips(view: View, flipped: Sequence[Flip]) -> Iterator[Section]:
    if flipped:
        intro = Paragraph(("Items with the widest gains and losses, to look at, not to count.",))
        parts = [part for flip in flipped for part in _flip(view, flip)]
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


def _hygiene(view: View) -> Iterator[Section]:
    table = hygiene.trouble_table(view)
    nothing = "Nothing: no answer ran into the token limit or was empty, no prompt was cut, none "
    nothing += "failed, and an answer was found in each."
    several = (Paragraph((hygiene.SEVERAL,)),) if hygiene.are_several(view) else ()
    parts = (table, *several) if table else (Paragraph((nothing,)),)
    yield Section("Cut, truncated, empty, unparsed, failed", parts)


def _limits(view: View) -> Iterator[Section]:
    yield Section("What the numbers cannot say", (Bullets(limits(view)),))
