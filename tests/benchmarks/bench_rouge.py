"""How much faster our ROUGE-L is than rouge-score on real pairs; all timed in one run.

Needs the Super-NaturalInstructions tasks of the benchmark data (PEVAL_DATA or ../shared/data).
Usage: python tests/benchmarks/bench_rouge.py
"""

import json
import os
import sys
import time
from pathlib import Path

from rouge_score.rouge_scorer import RougeScorer

from peval.scorers.text import _target_tokens, score_text

DATA = Path(os.environ.get("PEVAL_DATA", Path(__file__).resolve().parents[2] / "../shared/data"))
N_ADAPTERS = 3
REPEATS = 3

Item = tuple[str, list[str]]


def load_tasks():
    """Yield the first 100 instances of each test task."""
    for path in sorted((DATA / "super_natural_instructions" / "test_tasks").glob("*.json")):
        yield json.loads(path.read_text(encoding="utf-8"))["Instances"][:100]


def items_of(kind) -> list[Item]:
    """Pair predictions of one kind with the targets of their items.

    A neighbour's target is about as long as an answer, a copied input about as long as a ramble.
    """
    items = []
    for instances in load_tasks():
        for this, other in zip(instances, instances[1:] + instances[:1], strict=True):
            prediction = other["output"][0] if kind == "answers" else this["input"]
            items.append((prediction, this["output"]))
    return items


def reference_values(items, make_scorer):
    """Score with rouge-score, asking for a scorer before each pair."""
    return [
        max(make_scorer().score(target=t, prediction=said)["rougeL"].fmeasure for t in targets)
        for said, targets in items
    ]


def our_values(items):
    """Score with peval."""
    return [score_text(said, targets, ("rougeL",))["rougeL"] for said, targets in items]


def seconds(score):
    """Return the least processor time of several runs, and the values."""
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        values = score()
        times.append(time.process_time() - start)
    return min(times), values


def cold(items):
    """Score targets that were never seen."""
    _target_tokens.cache_clear()
    return our_values(items)


def compare(kind):
    """Print one line of the table for one kind of prediction."""
    items = items_of(kind)
    once = RougeScorer(["rougeL"], use_stemmer=True)
    built_once_s, expected = seconds(lambda: reference_values(items, lambda: once))
    built_per_call_s, _ = seconds(
        lambda: reference_values(items, lambda: RougeScorer(["rougeL"], use_stemmer=True))
    )
    cold_s, values = seconds(lambda: cold(items))
    warm_s, _ = seconds(lambda: our_values(items))
    if values != expected:
        sys.exit("values differ from rouge-score: the times mean nothing")
    # Each further adapter meets targets that are known already.
    ours_s = (cold_s + (N_ADAPTERS - 1) * warm_s) / N_ADAPTERS
    n_pairs = sum(len(targets) for _, targets in items)
    row = [built_once_s, built_per_call_s, cold_s, warm_s]
    times = "".join(f"{1e6 * value / n_pairs:>12.1f}" for value in row)
    ratios = "".join(f"{value / ours_s:>14.1f}x" for value in row[:2])
    print(f"{kind:<10}{n_pairs:>7}{times}{ratios}{built_once_s / cold_s:>13.1f}x")


def main():
    """Print microseconds per pair and how many times faster we are."""
    if not any(load_tasks()):
        sys.exit(f"no Super-NaturalInstructions tasks under {DATA}: set PEVAL_DATA")
    our_values([("warm up the stemmer's import, and it only", ["warming"])])
    print(f"ROUGE-L, processor microseconds per pair; least of {REPEATS} runs; values are equal")
    print(
        f"{'':17}{'rouge-score':>24}{'peval, targets':>24}{f'ours ({N_ADAPTERS} adapters) vs':>30}"
    )
    print(
        f"{'kind':<10}{'pairs':>7}{'built once':>12}{'per call':>12}{'new':>12}{'known':>12}"
        f"{'built once':>15}{'per call':>15}{'new vs once':>14}"
    )
    for kind in ("answers", "inputs"):
        compare(kind)


if __name__ == "__main__":
    main()
