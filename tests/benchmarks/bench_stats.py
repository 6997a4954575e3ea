"""How long intervals and tests take; prints one line each.

Usage: python tests/benchmarks/bench_stats.py
"""

import time

import numpy as np

from peval import stats

REPEATS = 3


def seconds(work) -> float:
    """Return the least wall time of several runs."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def names(n_items: int, n_clusters: int) -> list[str]:
    """Return cluster names of equal clusters."""
    return [str(i * n_clusters // n_items) for i in range(n_items)]


def main() -> None:
    """Print the table."""
    rng = np.random.default_rng(0)
    n = 100_000
    continuous, binary = rng.random(n), (rng.random(n) < 0.3) * 1.0
    d, flips = rng.normal(0.002, 0.3, n).clip(-1, 1), rng.choice([-1.0, 0, 1], n)
    many = rng.normal(0, 0.3, (n, 20))
    cases = {}
    for n_clusters in (n, 4000, 119):
        clusters = names(n, n_clusters)
        label = f"{n:,} items in {n_clusters:,} clusters"
        cases |= {
            f"bootstrap, 10,000 resamples of {label}": lambda c=clusters: stats.bootstrap_interval(
                continuous, c, 0
            ),
            f"interval of {label}": lambda c=clusters: stats.mean_interval(continuous, c),
            f"sign-flip test of {label}": lambda c=clusters: stats.paired_test(d, c),
        }
    clusters, items = names(n, 119), names(n, n)
    cases |= {
        f"bootstrap, 10,000 resamples of {n:,} binary items": lambda: stats.bootstrap_interval(
            binary, items, 0
        ),
        f"McNemar of {n:,} items": lambda: stats.paired_test(flips, items),
        f"max-T of 20 adapters, {n:,} items in 119 clusters": lambda: stats.max_t(
            [(many, clusters)], 0
        ),
    }
    for label, work in cases.items():
        print(f"{seconds(work):8.3f} s  {label}")


if __name__ == "__main__":
    main()
