"""A judge's outcomes as scores, like those of any other task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from peval.judging.judges import Judge
from peval.judging.outcomes import Outcome, Outcomes, worth
from peval.judging.wins import wins
from peval.types import Asked, Sample, Score

METRICS = {
    "pairwise": ("win_rate", "discrete_win_rate"),
    "rating": ("rating",),
    "rubric": ("criteria_met",),
}


def scores(
    judge: Judge,
    found: Outcomes,
    samples: Sequence[Sample],
    asked: Mapping[str | None, Sequence[Asked]],
    has_headline: bool,
) -> dict[str | None, list[Score | None]]:
    """Return each system's scores in the samples' order; without a headline they have no values.

    Parameters
    ----------
    asked
        By system, what it was asked of each sample.
    """
    return {
        system: [
            _score(judge, found.get(system, {}).get(sample.id, ()), request[0].key, has_headline)
            for sample, request in zip(samples, mine, strict=True)
        ]
        for system, mine in asked.items()
    }


def _score(judge: Judge, drawn: Sequence[Outcome], key: str, has_headline: bool) -> Score | None:
    """Return an item's score; one without a verdict that counts has no values."""
    metrics = METRICS[judge.kind]
    if not drawn or any(one.pending for one in drawn):
        return None
    value = worth(drawn)
    if value is None or not has_headline:
        unscored = next((one.unscored for one in drawn if one.unscored), None)
        return Score(key, dict.fromkeys(metrics), why=f"unscored: {unscored}")
    values = {metrics[0]: value}
    if judge.kind == "pairwise":
        kept = [one.value for one in drawn if one.value is not None]
        values["discrete_win_rate"] = wins(kept).discrete_win_rate
    reply = next((one.reply for one in drawn if one.reply), None)
    return Score(key, values, extracted=f"{value:g}", why=reply)
