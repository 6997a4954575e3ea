"""Multiple choice by likelihood: the likeliest continuation is the answer."""

from __future__ import annotations

from collections.abc import Sequence

from peval.types import Likelihood, Sample

CHOICE_METRICS = ("accuracy", "accuracy_norm")


def score_choice(
    likelihoods: Sequence[Likelihood], sample: Sample, metrics: Sequence[str]
) -> dict[str, float]:
    """Return each metric's value for one sample.

    Parameters
    ----------
    likelihoods
        One per choice of the sample, in their order.
    metrics
        "accuracy": the choice of the highest log-probability is a target. "accuracy_norm": the
        same after dividing by the choice's length in characters, as lm-evaluation-harness does
        (EleutherAI/lm-evaluation-harness v0.4.13, ``acc`` and ``acc_norm``).
    """
    lengths = {"accuracy": None, "accuracy_norm": [len(choice) for choice in sample.choices]}
    return {
        metric: float(sample.choices[likeliest(likelihoods, lengths[metric])] in sample.targets)
        for metric in metrics
    }


def likeliest(likelihoods: Sequence[Likelihood], lengths: Sequence[int] | None = None) -> int:
    """Return the index of the highest log-probability, per unit of length; the first of equals."""
    totals = [one.total for one in likelihoods]
    if lengths is not None:
        totals = [total / length for total, length in zip(totals, lengths, strict=True)]
    return totals.index(max(totals))
