"""Intervals, paired tests and multiplicity that respect clusters.

Items of one cluster (a Super-NaturalInstructions task) resemble each other, so the clusters are
the sample, not the items (Miller, arXiv 2411.00640). With a single cluster the items are the
sample, and the result speaks of that cluster alone. Whatever rests on few clusters uses Student's
t or an exact test, never the plain normal.
"""

from peval.stats.auroc import auroc_interval
from peval.stats.bootstrap import bootstrap_interval, bootstrap_means
from peval.stats.intervals import (
    CONFIDENCE,
    INTERVAL,
    Interval,
    amount_interval,
    difference_interval,
    mean_interval,
)
from peval.stats.maxt import max_t
from peval.stats.multiplicity import benjamini_hochberg, holm
from peval.stats.paired import Test, mcnemar, paired_test, sign_flip_test
from peval.stats.passk import pass_at_k, pass_at_k_interval
from peval.stats.power import minimum_detectable_effect
from peval.stats.repeats import Repeated, repeated_interval
from peval.stats.retention import Verdict, retention
from peval.stats.strata import stratified_difference, stratified_interval

__all__ = [
    "CONFIDENCE",
    "INTERVAL",
    "Interval",
    "Repeated",
    "Test",
    "Verdict",
    "amount_interval",
    "auroc_interval",
    "benjamini_hochberg",
    "bootstrap_interval",
    "bootstrap_means",
    "difference_interval",
    "holm",
    "max_t",
    "mcnemar",
    "mean_interval",
    "minimum_detectable_effect",
    "paired_test",
    "pass_at_k",
    "pass_at_k_interval",
    "repeated_interval",
    "retention",
    "sign_flip_test",
    "stratified_difference",
    "stratified_interval",
]
