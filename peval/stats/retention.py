"""Was anything forgotten? A question of non-inferiority, which needs a stated margin."""

from __future__ import annotations

from typing import Literal

from peval.stats.intervals import Interval

Verdict = Literal["kept", "lost", "undecided"]


def retention(difference: Interval, margin: float) -> Verdict:
    """Tell whether a score was kept to within a margin of the base's.

    Parameters
    ----------
    difference
        Adapter minus base with its 95 % interval.
    margin
        The largest loss that does not matter, >= 0.

    Returns
    -------
    str
        "kept" where no part of the interval lies below a loss of `margin` (one-sided 2.5 %), "lost"
        where all of it lies below, else "undecided". That no drop was found is no evidence that
        there is none.

    References
    ----------
    Piaggio et al. (CONSORT), JAMA 308 (2012) 2594-2604.
    """
    if margin < 0:
        raise ValueError("a margin is the size of a loss: 0 or more")
    if difference.low >= -margin:
        return "kept"
    return "lost" if difference.high < -margin else "undecided"
