"""What judges found: whether to believe them, null answers, lengths, wins and losses in words."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from peval.judging.template import visible
from peval.judging.wins import OWN_MODEL
from peval.report.document import (
    Bullets,
    Cell,
    Code,
    Column,
    Fold,
    Listing,
    Paragraph,
    Part,
    Section,
    Strong,
    Table,
    Text,
    Warning,
    slug,
)
from peval.report.flips import short
from peval.report.format import NONE, counted, percent
from peval.report.tables import count_cell, name_cell, number_cell, text_cell
from peval.report.view import View
from peval.results import Results

LONGEST_TEXT = 1200
LONGEST_WHY = 160
OWN_MARK = ", and not to be held against AlpacaEval's leaderboard"
WIDTH = 96
"""Characters in a listing's line."""

Found = Mapping[str, Any]


def sections(view: View) -> Iterator[Section]:
    """Yield the sections, where anybody judged."""
    judged = view.results.judged
    parts: list[Part] = []
    for one in judged.get("sections", []):
        parts += _judged(one)
    if parts:
        parts += [*_ratings(judged["ratings"]), *_agreement(judged["agreement"])]
        yield Section("What judges say", tuple(parts))


def terminal(results: Results) -> str:
    """Return what must be known of the judges, in plain lines."""
    lines = []
    for one in results.judged.get("sections", []):
        lines.append(f"{one['name']}: {_share(one)}")
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
        *against, f": {_share(one)}.", *_how(one),
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
    yield _systems(one)
    yield from _turns(one)
    yield from _nulls(one)
    yield from _examples(one)


def _share(one: Found) -> str:
    n_unscored = sum(one["unscored"].values())
    several = one["n_draws"] > 1
    what = counted(one["n_answers"], "answer" if several else "item")
    said = f"{one['n_scored']:,} of {what} judged"
    if several:
        said += f" ({one['n_draws']} to each of {counted(one['n_items'], 'item')})"
    if n_unscored:
        kinds = ", ".join(f"{n:,} {kind}" for kind, n in one["unscored"].items())
        said += f", {n_unscored:,} unscored ({kinds})"
    if one["n_pending"]:
        said += f", {one['n_pending']:,} still open"
    if one["spent_usd"]:
        said += f", ${one['spent_usd']:.2f} spent"
    return said


def _how(one: Found) -> Text:
    said = []
    if one["n_draws"] > 1:
        said.append(" Each answer was judged by itself; an item counts as the mean of its "
                    "answers.")  # fmt: skip
    orders, lengths = one["orders"], one["lengths"]
    if orders and orders["n_pairs"]:
        flips = percent(orders["n_flipped"] / orders["n_pairs"])
        said.append(
            f" Each pair was shown in both orders; {flips} % of the verdicts flip, and the "
            f"answer shown first gets {percent(orders['first_share'])} % of the preference."
        )
    if lengths["correlation"] is not None:
        said.append(
            f" Correlation with the length{' difference' if one['against'] else ''}: "
            f"{_two(lengths['correlation'])}."
        )
    models = _length_models(one)
    if models:
        said.append(f" The length-controlled win rate is by {' and '.join(models)}"
                    f"{OWN_MARK if OWN_MODEL in models else ''}.")  # fmt: skip
    if one["n_identical"]:
        said.append(f" {counted(one['n_identical'], 'pair')} of identical answers are ties that "
                    "nobody was asked about.")  # fmt: skip
    if one["fence"] == "none" and one["engine"] not in ("labels", "reward"):
        said.append(" The judge's prompt is as published: answers stand in it without fences.")
    return tuple(said)


def _length_models(one: Found) -> list[str]:
    """Return whose fits the length-controlled win rates are."""
    return sorted({row["length_controlled"]["model"] for row in one["systems"]
                   if row.get("length_controlled")})  # fmt: skip


def _systems(one: Found) -> Table:
    pairwise = one["kind"] == "pairwise"
    columns: tuple[Column, ...]
    has_bounds = bool(one["unscored"])
    if pairwise:
        columns = (
            Column(("win rate, %",), key="win_rate"), Column(("standard error",)),
            Column(("discrete, %",)), Column(("won / tied / lost",)),
            *([Column(("if all unscored were lost to won",))] if has_bounds else []),
            Column(("length-controlled, %",), ("standard_error",)), Column(("characters",)),
        )  # fmt: skip
    else:
        columns = (
            Column(("mean",), key="mean"), Column(("items",)),
            *([Column(("if all unscored were lowest to highest",))] if has_bounds else []),
            Column(("characters",)),
        )  # fmt: skip
    rows = tuple(
        (
            name_cell(row["system"]),
            *(_pair(row, has_bounds) if pairwise else _rated(row, has_bounds)),
        )
        for row in one["systems"]
    )
    what = "win rates" if pairwise else "mean verdicts"
    return Table(
        slug("judged", one["name"]), f"{one['name']}: {what}",
        (Column(("",), numeric=False), *columns), rows,
    )  # fmt: skip


def _pair(row: Found, has_bounds: bool) -> tuple[Cell, ...]:
    if row["mean"] is None:
        return tuple(text_cell(NONE) for _ in range(6 + has_bounds))
    controlled = row["length_controlled"]
    low, high = row["bounds"]
    return (
        number_cell(row["win_rate"], percent(row["win_rate"], 2)),
        number_cell(row["standard_error"], percent(row["standard_error"], 2)),
        number_cell(row["discrete_win_rate"], percent(row["discrete_win_rate"], 2)),
        text_cell(f"{row['n_wins']:,} / {row['n_ties']:,} / {row['n_losses']:,}"),
        *([text_cell(f"{percent(low)} to {percent(high)}")] if has_bounds else []),
        Cell((f"{percent(controlled['win_rate'])} ± {percent(controlled['standard_error'])}",),
             (controlled["win_rate"], controlled["standard_error"]))
        if controlled else Cell((NONE,), (None, None)),
        number_cell(row["mean_length"], f"{row['mean_length']:,.0f}"),
    )  # fmt: skip


def _rated(row: Found, has_bounds: bool) -> tuple[Cell, ...]:
    if row["mean"] is None:
        return tuple(text_cell(NONE) for _ in range(3 + has_bounds))
    bounds = row.get("bounds")
    shown = f"{bounds[0]:.2f} to {bounds[1]:.2f}" if bounds and row["n_unscored"] else NONE
    return (
        number_cell(row["mean"], f"{row['mean']:.2f}"), count_cell(row["n_scored"]),
        *([text_cell(shown)] if has_bounds else []),
        number_cell(row["mean_length"], f"{row['mean_length']:,.0f}"),
    )  # fmt: skip


def _turns(one: Found) -> Iterator[Part]:
    """Yield means turn by turn, over all at once and by category on demand."""
    rows = [(row["system"], turn) for row in one["systems"] for turn in row["by_turn"]]
    whole = [(name, turn) for name, turn in rows if turn["category"] is None]
    parts = [(name, turn) for name, turn in rows if turn["category"] is not None]
    if whole:
        yield _turn_table(one, "turn by turn", whole)
    if parts:
        yield Fold(f"{one['name']}, turn by turn and by category",
                   (_turn_table(one, "turn by turn and by category", parts),))  # fmt: skip


def _turn_table(one: Found, what: str, found: Sequence[tuple[str | None, Found]]) -> Table:
    """Return a row for each system and category with a column for each turn's mean."""
    turns = sorted({turn["turn"] for _, turn in found})
    is_pair = one["kind"] == "pairwise"
    groups: dict[tuple[str | None, str | None], dict[int, Found]] = {}
    for name, turn in found:
        groups.setdefault((name, turn["category"]), {})[turn["turn"]] = turn
    return Table(
        slug("judged", what, one["name"]), f"{one['name']}, {what}",
        (Column(("",), numeric=False), Column(("category",), numeric=False),
         *(Column((f"turn {n}{', %' if is_pair else ''}",)) for n in turns), Column(("dropped",))),
        tuple((name_cell(name), text_cell(category or "all"),
               *(_turn_cell(by_turn[n]["mean"], is_pair) for n in turns),
               count_cell(sum(turn["n_dropped"] for turn in by_turn.values())))
              for (name, category), by_turn in groups.items()),
    )  # fmt: skip


def _turn_cell(mean: float | None, is_pair: bool) -> Cell:
    return number_cell(mean, percent(mean) if is_pair and mean is not None else _two(mean))


def _nulls(one: Found) -> Iterator[Part]:
    if not one["nulls"]:
        return
    columns = (
        Column(("null answer",), numeric=False), Column(("wins, %",)), Column(("items",)),
        *([Column(("preferred when first, %",))] if one["orders"] else []),
    )  # fmt: skip
    rows = tuple(
        (text_cell(row["name"]), number_cell(row["win_rate"], percent(row["win_rate"])),
         count_cell(row["n_scored"]),
         *([number_cell(row["first_share"], percent(row["first_share"]))] if one["orders"] else []))
        for row in one["nulls"]
    )  # fmt: skip
    said = "Answers that deserve no win: nothing, a lone colon, one sentence for every request."
    if one["kind"] == "pairwise":
        said += " The opponent's own answer stands beside them and should be half of a win."
    yield Paragraph((said,))
    yield Table(slug("judged-nulls", one["name"]), f"{one['name']}: null answers", columns, rows)


def _examples(one: Found) -> Iterator[Part]:
    parts = [part for row in one["examples"] for part in _example(one, row)]
    if parts:
        yield Fold(f"Clearest verdicts of {one['name']}, with the judge's words", tuple(parts))


def _example(one: Found, row: Found) -> Iterator[Part]:
    """Yield what was asked, both answers side by side and what the judge said of them."""
    is_pair, value, name = one["kind"] == "pairwise", row["value"], row["system"] or "base"
    which = f", draw {row['draw']}" if one["n_draws"] > 1 else ""
    verdict = (
        "won" if value > 0.5 else "lost" if value < 0.5 else "tied"
    ) if is_pair else f"rated {value:g}"  # fmt: skip
    yield Paragraph((Code(name), " ", Strong(verdict), " on ", Code(row["sample_id"]), which))
    said = [(name, row["answer"])] + ([("opponent", row["opponent"])] if is_pair else [])
    yield Listing((
        *beside([("request", row["question"])]), "", *beside(said), "",
        *beside([("judge", row["reply"])]),
    ))  # fmt: skip


def beside(texts: Sequence[tuple[str, str]]) -> list[str]:
    """Return headed texts as columns of one listing, wrapped to its width.

    >>> beside([("a", "red blue"), ("b", "green")])[2].split()
    ['red', 'blue', 'green']
    """
    width = (WIDTH - 3 * (len(texts) - 1)) // len(texts)
    columns = [
        [short(head, width), "-" * min(len(head), width), *_wrapped(text, width)]
        for head, text in texts
    ]
    lines = zip_longest(*columns, fillvalue="")
    return ["   ".join(cell.ljust(width) for cell in line).rstrip() for line in lines]


def _wrapped(text: str, width: int) -> list[str]:
    """Return a text's lines, none longer than the width; characters without a form are named."""
    lines = visible(short(text, LONGEST_TEXT)).expandtabs(4).splitlines()
    return [part for line in lines for part in textwrap.wrap(line, width) or [""]]


def _ratings(rows: list[Found]) -> Iterator[Part]:
    for task in dict.fromkeys((row["task"], row["judge"]) for row in rows):
        some = [row for row in rows if (row["task"], row["judge"]) == task]
        yield Paragraph((
            "Every system met every other on ", Strong(task[0]), ", judged by ", Code(task[1]),
            ". Bradley-Terry ratings in Elo points around 0, with 95 % bootstrap intervals over "
            "items:",
        ))  # fmt: skip
        yield Table(
            slug("judged-ratings", *task),
            f"Bradley-Terry ratings on {task[0]} by {task[1]}",
            (Column(("",), numeric=False), Column(("rating",), ("low", "high"))),
            tuple((name_cell(row["system"]),
                   Cell((f"{row['elo']:+.0f} [{row['low']:+.0f}, {row['high']:+.0f}]"
                         .replace("-", "−"),), (row["elo"], row["low"], row["high"])))
                  for row in some),
        )  # fmt: skip


def _agreement(rows: list[Found]) -> Iterator[Part]:
    if not rows:
        return
    columns = (
        Column(("judges",), numeric=False), Column(("items",)), Column(("agree, %",)),
        Column(("Cohen's κ",)), Column(("Krippendorff's α",)),
    )  # fmt: skip
    yield Paragraph(("How far judges agree on the same pairs, chance taken out by the last two "
                     "columns:",))  # fmt: skip
    yield Table("judged-agreement", "How far judges agree", columns, tuple(
        (text_cell(" and ".join(row["judges"])), count_cell(row["n"]),
         number_cell(row["agreement"], percent(row["agreement"])),
         number_cell(row["kappa"], _two(row["kappa"])),
         number_cell(row["alpha"], _two(row["alpha"]))) for row in rows
    ))  # fmt: skip


def _two(value: float | None) -> str:
    return NONE if value is None else f"{value:.2f}".replace("-", "−")
