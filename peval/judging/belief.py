"""Whether a judge's figures are to be believed: what keeps them from being scores, and warnings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from peval.judging.judges import Judge

MOST_UNSCORED = 0.01
MOST_NULL_WINS = 0.05
POSITION_BIAS = 0.1
LENGTH_BIAS = 0.3
LONGER_BIAS = 0.2
MANY_FLIPS = 0.2
ENOUGH = 10

Record = Mapping[str, Any]
"""What `peval.judging.findings` counted."""


def has_orders(judge: Judge) -> bool:
    """Tell whether the order in which answers were shown is known and ours; people's is not."""
    return judge.kind == "pairwise" and judge.engine != "labels"


def why_no_headline(record: Record) -> list[str]:
    """Return why there is no headline figure; nothing where there is one."""
    why = []
    n_unscored = sum(record["unscored"].values())
    n_judged = record["n_scored"] + n_unscored
    if n_judged and n_unscored > MOST_UNSCORED * n_judged:
        why.append(
            f"{n_unscored:,} of {n_judged:,} verdicts are unscored, more than "
            f"{100 * MOST_UNSCORED:.0f} %: only bounds can be given"
        )
    for null in record["nulls"]:
        rate = null["win_rate"]
        if null["name"] != "reference" and rate is not None and rate > MOST_NULL_WINS:
            why.append(
                f"the null answer {null['name']!r} wins {100 * rate:.1f} % of its "
                f"{null['n_scored']:,} items, more than {100 * MOST_NULL_WINS:.0f} %"
            )
    return why


def warnings(judge: Judge, record: Record) -> Iterator[str]:
    """Yield what speaks against the judge."""
    if record["orders"] and record["orders"]["n_calls"] >= ENOUGH:
        yield from _of_orders(record["orders"])
    if record["lengths"]["n"] >= ENOUGH:
        yield from _of_lengths(record["lengths"])
    if judge.orders == "once" and has_orders(judge):
        yield "each pair was shown in one random order only"
    if not record["nulls"] and judge.engine != "labels":
        yield "no null answers were judged: nothing shows that a constant one would lose"


def _of_orders(orders: Record) -> Iterator[str]:
    share = orders["first_share"]
    if abs(share - 0.5) > POSITION_BIAS:
        side, mine = ("first", share) if share > 0.5 else ("second", 1 - share)
        yield f"position bias: the answer shown {side} gets {100 * mine:.0f} % of the preference"
    if orders["n_pairs"] and orders["n_flipped"] > MANY_FLIPS * orders["n_pairs"]:
        yield (
            f"{orders['n_flipped']:,} of {orders['n_pairs']:,} verdicts flip when the order is "
            "swapped"
        )


def _of_lengths(lengths: Record) -> Iterator[str]:
    found, longer = lengths["correlation"], lengths["longer_wins"]
    by_correlation = found is not None and abs(found) > LENGTH_BIAS
    by_wins = longer is not None and abs(longer - 0.5) > LONGER_BIAS
    if not by_correlation and not by_wins:
        return
    which = "longer" if (longer > 0.5 if by_wins else found > 0) else "shorter"
    facts = [f"correlation {found:.2f}".replace("-", "−")] if found is not None else []
    facts += [f"the longer answer wins {100 * longer:.0f} %"] if longer is not None else []
    yield f"length: the judge prefers {which} answers ({', '.join(facts)})"
