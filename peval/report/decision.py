"""The page's first lines: what was decided, in three to six sentences with their numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from peval.metrics import is_share
from peval.report.document import Code, Strong, Text, named
from peval.report.format import OPEN, bounds, counted, delta, is_same, mark, p_value
from peval.report.hygiene import trouble_words
from peval.report.retention import margin_of, verdicts
from peval.report.tables import findable
from peval.report.view import View
from peval.types import Comparison

N_NAMED = 3
N_SENTENCES = 6


def decision(view: View) -> tuple[Text, ...]:
    """Return the sentences, the most weighty first; what may have spoilt a number always."""
    found = [text for say in SENTENCES for text in say(view)]
    spoilt = trouble_words(view)
    if spoilt is None:
        clean = "No answer was truncated or empty, no prompt was cut, and no request failed."
        return tuple([*found, (clean,)][:N_SENTENCES])
    return (*found[: N_SENTENCES - 1], (spoilt,))


def _gains(view: View) -> Iterator[Text]:
    """Say which adapters are better than the base, the one that gains most with its numbers."""
    winners = [a for a in view.adapters if view.better(a) and not view.worse(a)]
    if not winners:
        differing = [c for a in view.adapters for c in view.differences(a) if not is_same(c)]
        if differing:
            on = " without being worse anywhere" if any(map(view.better, view.adapters)) else ""
            lead = Strong(f"No adapter is shown to be better than the base{on}")
            yield (lead, *_widest(differing), ".")
        return
    first, *others = sorted(winners, key=lambda a: -len(view.better(a)))
    gains, n_tasks = view.better(first), len(view.differences(first))
    where = f" on {_share(len(gains), n_tasks)}" if n_tasks > 1 else ""
    lead = Strong("is better than the base")
    yield (Code(first), " ", lead, f"{where}: ", *_sized(gains), ".")
    if others:
        spread = sorted({len(view.better(a)) for a in others})
        span = _share(spread[0], n_tasks) if len(spread) == 1 else (
            f"{spread[0]} to {_share(spread[-1], n_tasks)}"
        )  # fmt: skip
        where = f", on {span}" if n_tasks > 1 else ""
        yield (
            *_names(others), f" {_be(others)} better too{where}; which of them is best is another "
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
            *_names(losers), f" {_be(losers)} ", lead, *deepest, ": ",
            *_sized(view.worse(losers[0])), ".",
        )  # fmt: skip


def _mixed(view: View) -> Iterator[Text]:
    """Say which adapters gain here and lose there, the widest loss with its numbers."""
    mixed = [a for a in view.adapters if view.worse(a) and view.better(a)]
    if mixed:
        where = Strong("better on some tasks and worse on others")
        yield (*_names(mixed), f" {_be(mixed)} ", where, ".")


def _kept(view: View) -> Iterator[Text]:
    """Say how much was kept, as non-inferiority has it, and by whom all of it."""
    found = verdicts(view)
    counts = Counter(v for said in found.values() for v in said)
    total = sum(counts.values())
    if not total:
        return
    margins = sorted({100 * margin_of(t) for t in view.skills})
    span = " to ".join(f"{m:g}" for m in dict.fromkeys([margins[0], margins[-1]]))
    all_kept = [a for a, said in found.items() if set(said) == {"kept"}]
    who: Text = ("; ", *_names(all_kept), " kept all of theirs") if all_kept else ()
    yield (
        f"Of {counted(total, 'score')} {counts['kept']:,} are shown to be ", Strong("kept"),
        f" to within {span} points of the base's, {counts['lost']:,} are ", Strong("lost"),
        f" and {counts['undecided']:,} undecided", *who, ".",
    )  # fmt: skip


def _undecided(view: View) -> Iterator[Text]:
    """Say for how many differences the data cannot tell, and what they could have told."""
    compared = [c for a in view.adapters for c in view.differences(a)]
    still_open = [c for c in compared if mark(c) == OPEN]
    if still_open and any(view.better(a) for a in view.adapters):
        yield (
            f"For {len(still_open):,} of {counted(len(compared), 'difference')} the data ",
            Strong("cannot tell"), *_widest(still_open), ".",
        )  # fmt: skip


def _same(view: View) -> Iterator[Text]:
    """Say which adapters changed no answer at all."""
    zero = {a["name"] for a in view.results.adapters if a["changes_nothing"]}
    same = [
        a for a in view.adapters if view.differences(a) and all(map(is_same, view.differences(a)))
    ]
    for names, why in (
        ([a for a in same if a in zero], "the update it holds is exactly zero"),
        (
            [a for a in same if a not in zero],
            "yet its update is not zero: check that it is trained",
        ),
    ):
        if names:
            n = sum(c.n_items for c in view.differences(names[0]))
            verb = "gives" if len(names) == 1 else "give"
            yield (
                *_names(names),
                f" {verb} the base's answer to every one of {n:,} prompts: {why}.",
            )


def _alone(view: View) -> Iterator[Text]:
    """Say that nothing was compared, where that is so."""
    if not view.results.comparisons:
        what = "only the base" if None in view.systems else "no base"
        yield (f"Nothing was compared: the run has {what}; differences need both.",)


def _sized(found: list[Comparison]) -> Iterator[str | Code]:
    """Yield differences with their numbers: the widest three."""
    shown = sorted(found, key=lambda c: -abs(c.delta or 0.0))[:N_NAMED]
    for at, c in enumerate(shown):
        unit = " points" if at == 0 and is_share(c.metric) else ""
        p = p_value(c.p_adjusted)
        tested = f", p {p if p.startswith('<') else f'= {p}'}" if c.p_adjusted is not None else ""
        metric = "" if is_share(c.metric) else f" {c.metric}"
        yield f"{', ' if at else ''}{delta(c)}{unit}{metric} on "
        yield Code(c.task)
        yield f" ({bounds(c)}{tested})"
    if len(found) > len(shown):
        yield f", and {len(found) - len(shown):,} more"


def _widest(found: list[Comparison]) -> Text:
    """Return what would have been found, at best and at worst."""
    sizes = sorted((c.mde, findable(c)) for c in found if c.mde is not None and is_share(c.metric))
    if not sizes:
        return ()
    least, most = sizes[0][1], sizes[-1][1]
    if least == "none":
        return ("; on so little data no difference could have been found",)
    span = least if least == most else f"{least} to {most}"
    if most == "none":
        span = f"{least} or more"
    return (f"; four times in five it would have found one of {span} points",)


def _share(n: int, n_tasks: int) -> str:
    return f"all {n_tasks:,} tasks" if n == n_tasks else f"{n:,} of {counted(n_tasks, 'task')}"


def _be(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _names(names: list[str]) -> Text:
    """Return a few names, the rest counted."""
    shown = names[: N_NAMED + 1] if len(names) == N_NAMED + 1 else names[:N_NAMED]
    rest = len(names) - len(shown)
    text: list[str | Code | Strong] = []
    for at, name in enumerate(shown):
        last = at == len(shown) - 1 and not rest
        text += ["" if not at else " and " if last else ", ", *named(name)]  # type: ignore[list-item]
    return (*text, f" and {counted(rest, 'more adapter')}") if rest else tuple(text)


SENTENCES: tuple[Callable[[View], Iterator[Text]], ...] = (
    _gains, _losses, _mixed, _same, _kept, _undecided, _alone,
)  # fmt: skip
