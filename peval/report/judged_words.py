"""One judge's work on one task in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from peval.judging.wins import OWN_MODEL
from peval.report.document import Text
from peval.report.format import counted, percent, two_places

OWN_MARK = ", and not to be held against AlpacaEval's leaderboard"

Found = Mapping[str, Any]
"""A section of what results hold of judges."""


def share(one: Found) -> str:
    """Return what share was judged, and at what cost."""
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


def how(one: Found) -> Text:
    """Return how it was judged, and what is known of the judge from that."""
    return tuple(
        sentence
        for part in (_of_draws, _of_orders, _of_lengths, _of_the_rest)
        for sentence in part(one)
    )


def _of_draws(one: Found) -> Iterator[str]:
    if one["n_draws"] > 1:
        yield " Each answer was judged by itself; an item counts as the mean of its answers."


def _of_orders(one: Found) -> Iterator[str]:
    orders = one["orders"]
    if orders and orders["n_pairs"]:
        flips = percent(orders["n_flipped"] / orders["n_pairs"])
        yield (
            f" Each pair was shown in both orders; {flips} % of the verdicts flip, and the "
            f"answer shown first gets {percent(orders['first_share'])} % of the preference."
        )


def _of_lengths(one: Found) -> Iterator[str]:
    correlation = one["lengths"]["correlation"]
    if correlation is not None:
        what = "length difference" if one["against"] else "length"
        yield f" Correlation with the {what}: {two_places(correlation)}."
    if models := _length_models(one):
        mark = OWN_MARK if OWN_MODEL in models else ""
        yield f" The length-controlled win rate is by {' and '.join(models)}{mark}."


def _of_the_rest(one: Found) -> Iterator[str]:
    if one["n_identical"]:
        pairs = counted(one["n_identical"], "pair")
        yield f" {pairs} of identical answers are ties that nobody was asked about."
    if one["fence"] == "none" and one["engine"] not in ("labels", "reward"):
        yield " The judge's prompt is as published: answers stand in it without fences."


def _length_models(one: Found) -> list[str]:
    """Return whose fits the length-controlled win rates are."""
    return sorted({row["length_controlled"]["model"] for row in one["systems"]
                   if row.get("length_controlled")})  # fmt: skip
