"""Coverage of every interval and false positives of every test on simulated data, as a table.

The cases are those of tests/stats/test_simulations.py with more draws and other seeds: nominally
95 % of intervals cover the truth, and at most 5 % of families of null adapters give any finding.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "stats"))

import numpy as np
from test_simulations import CASES, null_differences

from peval.stats import benjamini_hochberg, holm, max_t, paired_test

SEED = 2026


def covered(case: str, n_draws: int) -> float:
    """Return the share of a case's intervals that cover the truth."""
    draw, truth = CASES[case]
    rng = np.random.default_rng(SEED)
    intervals = [draw(rng) for _ in range(n_draws)]
    return float(np.mean([i.low <= truth <= i.high for i in intervals]))


def false_positives(n_adapters: int, n_clusters: int, n_families: int) -> dict[str, float]:
    """Return the share of families of null adapters in which each method finds anything."""
    rng = np.random.default_rng(SEED)
    found = dict.fromkeys(("none", "Holm", "max-T", "BH"), 0)
    for _ in range(n_families):
        d, names = null_differences(rng, n_clusters, n_adapters)
        p = [paired_test(column, names).p_value for column in d.T]
        found["none"] += min(p) <= 0.05
        found["Holm"] += holm(p).min() <= 0.05
        found["BH"] += benjamini_hochberg(p).min() <= 0.05
        found["max-T"] += max_t([(d, names)], seed=0)[0].min() <= 0.05
    return {method: n / n_families for method, n in found.items()}


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--draws", type=int, default=5000)
    parser.add_argument("--families", type=int, default=20_000)
    arguments = parser.parse_args()
    error = (0.95 * 0.05 / arguments.draws) ** 0.5
    print(f"{arguments.draws:,} draws, standard error {100 * error:.1f} points")
    for case in CASES:
        print(f"{100 * covered(case, arguments.draws):5.1f} %  {case}")
    error = (0.95 * 0.05 / arguments.families) ** 0.5
    print(
        f"{arguments.families:,} families of null adapters with any finding, "
        f"standard error {100 * error:.1f} points"
    )
    for n_adapters, n_clusters in ((1, 12), (12, 12), (12, 40)):
        shares = false_positives(n_adapters, n_clusters, arguments.families)
        said = ", ".join(f"{method} {100 * share:.1f} %" for method, share in shares.items())
        print(f"{n_adapters} adapters, {n_clusters} clusters: {said}")


if __name__ == "__main__":
    main()
