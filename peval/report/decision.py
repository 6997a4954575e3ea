"""The page's first lines: what was decided, in three to six sentences with their numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from peval.report.described import in_short
from peval.report.document import Code, Strong, Text
from peval.report.format import OPEN, counted, is_same, mark
from peval.report.hygiene import trouble_words
from peval.report.phrases import be, several, sized, widest
from peval.report.proofs import without_effect
from peval.report.recall import recalled
from peval.report.retention import margin_of, verdicts
from peval.report.view import View

N_SENTENCES = 6


def decision(view: View) -> tuple[Text, ...]:
    """Return the sentences, the most weighty first; what may have spoilt a number always."""
    found = [text for say in SENTENCES for text in say(view)]
    spoilt = trouble_words(view)
    if spoilt is None:
        clean = "No answer was truncated or empty, no prompt was cut, and no request failed."
        return tuple([*found, (clean,)][:N_SENTENCES])
    return (*found[: N_SENTENCES - 1], (spoilt,))


def _not_believed(view: View) -> Iterator[Text]:
    """Say which judges' figures are none, and why."""
    found = [one for one in view.results.judged.get("sections", []) if one["why_no_headline"]]
    if found:
        first, *others = found
        more = f" (nor of {counted(len(others), 'other task')} judged)" if others else ""
        why = str(first["why_no_headline"][0])
        yield (Strong("No headline figure"), " of ", Code(first["name"]), f"{more}: {why}.")


def _gains(view: View) -> Iterator[Text]:
    """Say which adapters are better than the base, the one that gains most with its numbers."""
    winners = [a for a in view.adapters if view.better(a) and not view.worse(a)]
    if not winners:
        differing = [c for a in view.adapters for c in view.differences(a) if not is_same(c)]
        if differing:
            on = " without being worse anywhere" if any(map(view.better, view.adapters)) else ""
            lead = Strong(f"No adapter is shown to be better than the base{on}")
            yield (lead, *widest(differing), ".")
        return
    first, *others = sorted(winners, key=lambda a: -len(view.better(a)))
    gains, n_tasks = view.better(first), len(view.differences(first))
    where = f" on {_share(len(gains), n_tasks)}" if n_tasks > 1 else ""
    lead = Strong("is better than the base")
    yield (Code(first), " ", lead, f"{where}: ", *sized(gains), ".")
    if others:
        spread = sorted({len(view.better(a)) for a in others})
        span = _share(spread[0], n_tasks) if len(spread) == 1 else (
            f"{spread[0]} to {_share(spread[-1], n_tasks)}"
        )  # fmt: skip
        where = f", on {span}" if n_tasks > 1 else ""
        yield (
            *several(others), f" {be(others)} better too{where}; which of them is best is another "
            "question (", Code("peval compare --against"), ").",
        )  # fmt: skip


def _losses(view: View) -> Iterator[Text]:
    """Say which adapters are worse than the base."""
    losers = [a for a in view.adapters if view.worse(a) and not view.better(a)]
    if losers:
        losers.sort(key=lambda a: min(c.delta or 0.0 for c in view.worse(a)))
        deepest: Text = (", ", Code(losers[0]), " the most") if len(losers) > 1 else ()
        lead = Strong("worse than the base")
        yield (
            *several(losers), f" {be(losers)} ", lead, *deepest, ": ",
            *sized(view.worse(losers[0])), ".",
        )  # fmt: skip


def _mixed(view: View) -> Iterator[Text]:
    """Say which adapters gain here and lose there, the widest loss with its numbers."""
    mixed = [a for a in view.adapters if view.worse(a) and view.better(a)]
    if mixed:
        where = Strong("better on some tasks and worse on others")
        yield (*several(mixed), f" {be(mixed)} ", where, ".")


def _kept(view: View) -> Iterator[Text]:
    """Say how much was kept, as non-inferiority has it, and by whom all of it."""
    found = verdicts(view)
    counts = Counter(v for said in found.values() for v in said)
    total = sum(counts.values())
    if not total:
        return
    margins = sorted({100 * margin_of(t) for t in view.skills})
    span = " to ".join(f"{m:g}" for m in dict.fromkeys([margins[0], margins[-1]]))
    if counts["kept"] == total > 1:
        within = f" to within {span} points of the base's."
        yield f"All {total:,} scores are shown to be ", Strong("kept"), within
        return
    all_kept = [a for a, said in found.items() if set(said) == {"kept"}]
    who: Text = ("; ", *several(all_kept), " kept all of theirs") if all_kept else ()
    yield (
        f"Of {counted(total, 'score')}, {span} points of loss allowed: {counts['kept']:,} ",
        Strong("kept"), f", {counts['lost']:,} ", Strong("lost"),
        f", {counts['undecided']:,} undecided", *who, ".",
    )  # fmt: skip


def _undecided(view: View) -> Iterator[Text]:
    """Say for how many differences the data cannot tell, and what they could have told."""
    compared = [c for a in view.adapters for c in view.differences(a)]
    still_open = [c for c in compared if mark(c) == OPEN]
    if still_open and any(view.better(a) for a in view.adapters):
        yield (
            f"For {len(still_open):,} of {counted(len(compared), 'difference')} the data ",
            Strong("cannot tell"), *widest(still_open), ".",
        )  # fmt: skip


def _same(view: View) -> Iterator[Text]:
    """Say which adapters changed no answer, those aside that are known to have no effect."""
    told = without_effect(view)
    compared = {a: [*view.differences(a), *view.recall(a)] for a in view.adapters}
    same = [a for a, found in compared.items() if found and all(map(is_same, found))]
    names = [a for a in same if a not in told]
    if names:
        n = sum(c.n_items for c in compared[names[0]])
        many = len(names) > 1
        verb, update = ("give", "their updates are") if many else ("gives", "its update is")
        yield (
            *several(names),
            f" {verb} the base's answer to every one of {n:,} prompts: yet {update} not zero: "
            "check the training.",
        )


def _alone(view: View) -> Iterator[Text]:
    """Say that nothing was compared, where that is so."""
    if not view.results.comparisons:
        what = "only the base" if None in view.systems else "no base"
        yield (f"Nothing was compared: the run has {what}; differences need both.",)


def _share(n: int, n_tasks: int) -> str:
    return f"all {n_tasks:,} tasks" if n == n_tasks else f"{n:,} of {counted(n_tasks, 'task')}"


SENTENCES: tuple[Callable[[View], Iterator[Text]], ...] = (
    _not_believed, _gains, _losses, _mixed, recalled, _same, _kept, in_short, _undecided, _alone,
)  # fmt: skip
