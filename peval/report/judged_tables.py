"""One judge's figures on one task as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from peval.report.document import Cell, Column, Fold, Paragraph, Part, Table, slug
from peval.report.format import NONE, percent, two_places
from peval.report.judged_words import Found
from peval.report.tables import count_cell, name_cell, number_cell, text_cell

_LOST_TO_WON = Column(("if all unscored were lost to won",))
_LOWEST_TO_HIGHEST = Column(("if all unscored were lowest to highest",))
_PAIR = (
    Column(("win rate, %",), key="win_rate"), Column(("standard error",)),
    Column(("discrete, %",)), Column(("won / tied / lost",)), _LOST_TO_WON,
    Column(("length-controlled, %",), ("standard_error",)), Column(("characters",)),
)  # fmt: skip
_RATED = (
    Column(("mean",), key="mean"), Column(("items",)), _LOWEST_TO_HIGHEST, Column(("characters",)),
)  # fmt: skip


def systems(one: Found) -> Table:
    """Return win rates, or mean verdicts, system by system."""
    is_pair, has_bounds = one["kind"] == "pairwise", bool(one["unscored"])
    columns, cells = (_PAIR, _pair) if is_pair else (_RATED, _rated)
    bounds = (_LOST_TO_WON, _LOWEST_TO_HIGHEST)
    wanted = [column for column in columns if has_bounds or column not in bounds]
    rows = tuple((name_cell(row["system"]), *cells(row, has_bounds)) for row in one["systems"])
    what = "win rates" if is_pair else "mean verdicts"
    return Table(
        slug("judged", one["name"]), f"{one['name']}: {what}",
        (Column(("",), numeric=False), *wanted), rows,
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


def by_turn(one: Found) -> Iterator[Part]:
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
               *(_turn_cell(its[n]["mean"], is_pair) for n in turns),
               count_cell(sum(turn["n_dropped"] for turn in its.values())))
              for (name, category), its in groups.items()),
    )  # fmt: skip


def _turn_cell(mean: float | None, is_pair: bool) -> Cell:
    return number_cell(mean, percent(mean) if is_pair and mean is not None else two_places(mean))


def nulls(one: Found) -> Iterator[Part]:
    """Yield how null answers fared, where there were any."""
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
