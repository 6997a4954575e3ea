"""Predictions that need no model: what an adapter has to beat before its score means anything.

Copy-input and copy-demonstration are the heuristic baselines of Super-NaturalInstructions (Wang et
al., 2022; https://github.com/yizhongw/Tk-Instruct, src/run_heuristics.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from peval.types import Sample

Baseline = Callable[[Sequence[Sample]], dict[str, str] | None]
"""From samples to a prediction for each by its id, or None where the baseline does not apply."""


def copy_input(samples: Sequence[Sample]) -> dict[str, str] | None:
    """Answer with the sample's own input; None where there are choices, which it is none of."""
    if any(sample.choices for sample in samples):
        return None
    return {sample.id: sample.input for sample in samples}


def copy_demonstration(samples: Sequence[Sample]) -> dict[str, str] | None:
    """Answer with the output of the first demonstration that belongs to the sample's instruction.

    None unless every sample has a demonstration: a score over some of them would not compare.
    """
    predictions = {}
    for sample in samples:
        if sample.instruction is None or not sample.instruction.examples:
            return None
        predictions[sample.id] = sample.instruction.examples[0].output
    return predictions


def majority_target(samples: Sequence[Sample]) -> dict[str, str]:
    """Answer with the target that the most samples of the same cluster have.

    A sample counts each of its distinct targets once; of equally frequent targets the first seen
    wins. It looks at the very targets it is scored on, so it stands for the best that one constant
    answer per cluster can do by exact match. Where every sample is a cluster of its own, or has a
    label, one answer serves them all.
    """
    is_alone = len({sample.cluster for sample in samples}) == len(samples) or all(
        sample.labelling for sample in samples
    )
    of = {sample.id: "" if is_alone else sample.cluster for sample in samples}
    counts: dict[str, Counter[str]] = {}
    for sample in samples:
        counts.setdefault(of[sample.id], Counter()).update(dict.fromkeys(sample.targets, 1))
    # max() keeps the first of equals, and a Counter its order of insertion.
    best = {cluster: max(count, key=count.__getitem__) for cluster, count in counts.items()}
    return {sample.id: best[of[sample.id]] for sample in samples}


BASELINES: Mapping[str, Baseline] = {
    "copy-input": copy_input,
    "copy-demonstration": copy_demonstration,
    "majority-target": majority_target,
}
