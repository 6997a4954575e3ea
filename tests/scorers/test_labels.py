"""Matthews' correlation and F1 against scikit-learn; what counts as a label."""

from __future__ import annotations

import random

import pytest
from sklearn.metrics import f1_score, matthews_corrcoef

from peval.scorers.labels import macro_f1, matthews, micro_f1, named, score_label
from peval.types import Likelihood, Sample


@pytest.mark.filterwarnings("ignore:A single label")
@pytest.mark.parametrize("seed", range(60))
def test_metrics_equal_scikit_learns(seed: int) -> None:
    source = random.Random(seed)
    labels = ["a", "b", "c"][: source.choice([1, 2, 3])]
    pairs = [[source.choice(labels), source.choice(labels)] for _ in range(source.randint(1, 40))]
    gold, chosen = zip(*pairs, strict=True)
    assert matthews(pairs) == pytest.approx(matthews_corrcoef(gold, chosen), abs=1e-12)
    for ours, average in ((macro_f1, "macro"), (micro_f1, "micro")):
        theirs = f1_score(gold, chosen, average=average)
        assert ours(pairs) == pytest.approx(theirs, abs=1e-12)


def scored(*likelihoods: Likelihood) -> dict[str, object]:
    sample = Sample("1", "", ("yes",), "1", choices=("yes", "no"))
    return score_label(likelihoods, sample)


def test_the_whole_vocabulary_is_another_question() -> None:
    likely, unlikely = Likelihood((-1.0,), False), Likelihood((-2.0,), False)
    best = Likelihood((-0.1,), True)
    found = scored(likely, unlikely)
    assert (found["accuracy"], found["accuracy_full_vocabulary"], found["no_label"]) == (1, 0, 1)
    found = scored(best, unlikely)
    assert (found["accuracy"], found["accuracy_full_vocabulary"], found["no_label"]) == (1, 1, 0)
    found = scored(likely, best)
    assert (found["accuracy"], found["accuracy_full_vocabulary"], found["no_label"]) == (0, 0, 0)
    assert found["mcc"] == ["yes", "no"]


def test_whatever_is_no_entailment_is_its_absence() -> None:
    hans = ("entailment", "non-entailment")
    assert [named(text, hans) for text in ("neutral", "Contradiction", "non-entailment")] == [
        "non-entailment"
    ] * 3
    assert named("Entailment", hans) == "entailment"
    assert named("maybe", hans) == "maybe"
    assert named("neutral", ("entailment", "neutral", "contradiction")) == "neutral"
