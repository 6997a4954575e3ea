"""What scores amount to: means and differences with their intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Pool:
    """A group of tasks with one number of its own: the mean of a metric of theirs.

    Every item counts alike with ``by_size``, else every task.
    """

    name: str
    metric: str
    tasks: tuple[str, ...]
    by_size: bool


@dataclass(frozen=True)
class Estimate:
    """A mean over items with its 95 % interval.

    ``adapter`` is None for the base; ``group`` is None for the whole task, else
    ``category:NAME`` or ``task:NAME``. ``n_items`` were scored, ``n_missing`` failed,
    ``n_truncated`` answers ran into the token limit, ``n_prompts_cut`` prompts did not fit;
    ``n_empty`` answers were nothing but white space, and in ``n_unparsed`` no answer was found
    (they count as wrong).
    """

    task: str
    metric: str
    adapter: str | None
    group: str | None
    value: float | None
    low: float | None
    high: float | None
    n_items: int
    n_clusters: int
    n_missing: int
    n_truncated: int
    n_prompts_cut: int
    signature: str
    n_empty: int = 0
    n_unparsed: int = 0


@dataclass(frozen=True)
class Comparison:
    """A paired difference on identical items: ``adapter`` minus ``against`` (None: the base).

    ``p_adjusted`` is the p-value adjusted within ``family``: "primary" or "exploratory".
    ``mde`` is the minimum detectable effect: the true difference that would be found (adjusted)
    in 80 % of repetitions. All three are None where nothing was tested.

    ``retention`` says whether the base's score was kept to within ``margin``, on whole tasks.
    ``noise_floor`` is the difference that the engine alone makes between two scorings of equal
    systems in 95 % of cases; None where that was not measured.
    """

    task: str
    metric: str
    adapter: str
    against: str | None
    group: str | None
    delta: float | None
    low: float | None
    high: float | None
    p_value: float | None
    test: str
    n_items: int
    n_clusters: int
    n_identical: int
    p_adjusted: float | None = None
    family: str | None = None
    mde: float | None = None
    margin: float | None = None
    retention: Literal["kept", "lost", "undecided"] | None = None
    noise_floor: float | None = None

    @property
    def is_noise(self) -> bool:
        """Whether the engine alone may have made this difference."""
        return bool(self.noise_floor) and abs(self.delta or 0.0) <= (self.noise_floor or 0.0)
