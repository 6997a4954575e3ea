"""AlpacaEval's own length-controlled win rate, by its package and its data, where both are here.

Source: github.com/tatsu-lab/alpaca_eval, ``metrics/glm_winrate.py``; Dubois et al., arXiv
2404.04475. Its model has a difficulty for each instruction of the set, fitted on the leaderboard's
systems, which lie in the file ``df_gamed.csv`` of the hub's ``tatsu-lab/alpaca_eval``.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from peval.judging.outcomes import Outcomes, worth
from peval.judging.shown import Shown
from peval.judging.wins import LengthControlled
from peval.types import Task

N_INSTRUCTIONS = 805
REPOSITORY, DATA = "tatsu-lab/alpaca_eval", "df_gamed.csv"


@dataclass(frozen=True)
class Pair:
    """One instruction: the share of the preference for an answer, and both answers."""

    value: float
    answer: str
    baseline: str


def applies(task: Task, against: str | None, n_items: int, n_draws: int) -> bool:
    """Tell whether pairs are those of AlpacaEval 2: all of its set, once, against its baseline."""
    is_set = task.reader == "prompts" and task.split == "alpaca-eval-2" and n_draws == 1
    return is_set and against == "targets" and n_items == N_INSTRUCTIONS


def control_lengths(finding: Mapping[str, Any], found: Outcomes, shown: Shown) -> None:
    """Put AlpacaEval's own length-controlled win rates in the place of ours, where they are whole.

    Parameters
    ----------
    finding
        What `peval.judging.findings` found; its rows on systems are changed.
    """
    for row in finding["systems"]:
        name, by_id = row["system"], found[row["system"]]
        pairs = [
            Pair(value, shown.answer(name, item, 0)[0], shown.opponent(item, 0)[0])
            for item in shown.samples
            if item in by_id and (value := worth(by_id[item])) is not None
        ]
        if len(pairs) == len(shown.samples) and (own := length_controlled(pairs)):
            row["length_controlled"] = asdict(own)


def length_controlled(pairs: Sequence[Pair]) -> LengthControlled | None:
    """Return the package's figure for all pairs in the set's order; None where it is not at hand.

    The package is asked only where its data were downloaded before: this never uses the network.
    """
    release = _release()
    if release is None or not _has_data():
        return None
    import pandas as pd
    from alpaca_eval.metrics import get_length_controlled_winrate

    table = pd.DataFrame({
        "preference": [1 + pair.value for pair in pairs],
        "output_1": [pair.baseline for pair in pairs],
        "output_2": [pair.answer for pair in pairs],
        "generator_1": "baseline", "generator_2": "system", "annotator": "judge",
    })  # fmt: skip
    with warnings.catch_warnings():  # of scikit-learn's next versions
        warnings.simplefilter("ignore", FutureWarning)
        found = get_length_controlled_winrate(
            table, save_weights_dir=None, is_warn_extreme_changes=False
        )
    rate, error = (
        float(found[name]) / 100 for name in ("length_controlled_winrate", "lc_standard_error")
    )
    return LengthControlled(rate, error, None, f"alpaca-eval {release}")


def _release() -> str | None:
    try:
        return version("alpaca-eval")
    except PackageNotFoundError:
        return None


def _has_data() -> bool:
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(REPOSITORY, DATA, repo_type="dataset"), str)
