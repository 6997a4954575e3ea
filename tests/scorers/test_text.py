import json
import os
import random
import re
import string
import subprocess
import sys
from itertools import islice, pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peval.errors import DataError, TaskError
from peval.scorers.text import (
    METRICS,
    default_tokenize,
    official_metrics,
    score_text,
    subword_tokenize,
)

REPOSITORY = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("PEVAL_DATA", REPOSITORY / "../shared/data"))
SUPERNI_TEST = DATA / "super_natural_instructions" / "test_tasks"
ROUGE = ("rougeL", "rouge1")

WORDS = re.findall(
    r"\S+",
    "the cat cats running runner flies dies skies news relational hopping hopefully argued 12 1999 "
    "3.5 a I x2 don't e-mail U.S. naïve Straße İstanbul 中文 Ελλάδα yyyy ing ies sses !? ... "
    "\u212a abababs national generously \u00bd succeed innings",
)
SPACES = (" ", " ", " ", "  ", "\n", "\t", " -- ", "\u00a0", "_", "")


def random_text(rng, n_words):
    return "".join(rng.choice(WORDS) + rng.choice(SPACES) for _ in range(n_words))


def random_pairs(n_pairs, seed, long=150):
    """Mostly short texts, every 40th long; half of the predictions share most of the target."""
    rng = random.Random(seed)
    for i in range(n_pairs):
        longest = long if i % 40 == 0 else 12
        target = random_text(rng, rng.randint(0, longest))
        if rng.random() < 0.5:
            kept = [word for word in target.split(" ") if rng.random() < 0.8]
            yield " ".join(kept), target
        else:
            yield random_text(rng, rng.randint(0, longest)), target


def real_pairs():
    """Targets of one instance against the next one's target and against its own input."""
    if not SUPERNI_TEST.is_dir():
        pytest.skip("no Super-NaturalInstructions tasks: set PEVAL_DATA to the benchmark data")
    for path in sorted(SUPERNI_TEST.glob("*.json")):
        instances = json.loads(path.read_text(encoding="utf-8"))["Instances"][:52]
        for one, other in pairwise(instances):
            yield other["output"][0], one["output"][0]
            yield one["input"][:400], one["output"][-1]


class GptTokenizer:
    """What the oracle is given for the xlingual track."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer

    def tokenize(self, text):
        return [re.sub("^Ġ+", "", token) for token in self.tokenizer.tokenize(text)]


@pytest.fixture(scope="module")
def byte_level_bpe():
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator([pair[0] for pair in random_pairs(500, seed=9)], trainer)

    class Subwords:
        def tokenize(self, text):
            return bpe.encode(text).tokens

    return Subwords()


@pytest.fixture(scope="module")
def oracle():
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(list(ROUGE), use_stemmer=True)


@pytest.fixture(scope="module")
def subword_oracle(byte_level_bpe):
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(list(ROUGE), tokenizer=GptTokenizer(byte_level_bpe))


def mismatches(pairs, oracle, tokenize=default_tokenize):
    found = []
    for prediction, target in pairs:
        expected = oracle.score(target=target, prediction=prediction)
        ours = score_text(prediction, (target,), ROUGE, tokenize)
        if any(ours[name] != expected[name].fmeasure for name in ROUGE):
            found.append((prediction, target, ours, expected))
    return found


def test_rouge_equals_the_reference_library_on_random_pairs(oracle):
    assert mismatches(random_pairs(10_000, seed=0), oracle) == []


def test_rouge_equals_the_reference_library_on_real_pairs(oracle):
    pairs = list(islice(real_pairs(), 1000))
    assert len(pairs) == 1000
    assert mismatches(pairs, oracle) == []


def test_subword_rouge_equals_the_reference_library_on_random_pairs(byte_level_bpe, subword_oracle):
    pairs = random_pairs(10_000, seed=1, long=40)
    assert mismatches(pairs, subword_oracle, subword_tokenize(byte_level_bpe)) == []


def test_subword_rouge_equals_the_reference_library_on_real_pairs(byte_level_bpe, subword_oracle):
    pairs = [(prediction[:100], target[:100]) for prediction, target in islice(real_pairs(), 1000)]
    assert len(pairs) == 1000
    assert mismatches(pairs, subword_oracle, subword_tokenize(byte_level_bpe)) == []


@pytest.mark.parametrize("n_words", [63, 64, 65, 127, 128, 129, 500])
def test_long_texts_stay_exact(oracle, n_words):
    rng = random.Random(n_words)
    pairs = [(random_text(rng, n_words), random_text(rng, n_words + shift)) for shift in (0, 1)]
    assert mismatches(pairs, oracle) == []


def test_subwords_lose_their_leading_space_marks_only():
    class Fixed:
        def tokenize(self, text):
            return ["Ġthe", "ĠĠcat", "Ġ", "aĠ", "b"]

    assert subword_tokenize(Fixed())("ignored") == ["the", "cat", "", "aĠ", "b"]


@pytest.mark.parametrize(
    ("prediction", "target", "expected"),
    [
        ("Yes.", "yes", 1.0),
        ("  New\tYork \n", "new york", 1.0),
        ("the cat", "cat", 0.0),
        ("it's 3.5", "its 35", 1.0),
        ("", "...", 1.0),
        ("well-known", "well known", 0.0),
        ("“yes”", "yes", 0.0),
        ("İ", "i", 0.0),
    ],
)
def test_exact_match_ignores_case_ascii_punctuation_and_white_space(prediction, target, expected):
    assert score_text(prediction, (target,), ("exact_match",)) == {"exact_match": expected}


def matches_exactly(one, other):
    """Compare in a way that shares no code with the scorer: words of kept characters."""
    words = [
        re.split(r"\s+", "".join(re.findall(f"[^{re.escape(string.punctuation)}]", text.lower())))
        for text in (one, other)
    ]
    return [w for w in words[0] if w] == [w for w in words[1] if w]


@given(
    st.text(alphabet="aB .,-'\n\u00a0É\u1680", max_size=8),
    st.text(alphabet="aB .,-'\n\u00a0É\u1680", max_size=8),
)
def test_exact_match_agrees_with_an_independent_definition(one, other):
    assert score_text(one, (other,), ("exact_match",))["exact_match"] == matches_exactly(one, other)


def test_the_best_target_counts_for_each_metric_apart():
    scores = score_text("a b c d", ("a b c d e e e e", "d c b a", "x"), ROUGE)
    assert scores == {"rougeL": 2 * 1.0 * 0.5 / 1.5, "rouge1": 1.0}


def test_values_come_in_the_order_asked_for():
    assert list(score_text("a", ("a",), ("exact_match", "rougeL"))) == ["exact_match", "rougeL"]


def test_a_tokenizer_is_not_given_what_another_one_made_of_a_target():
    words, letters = (
        score_text("ab", ("a b",), ("rouge1",)),
        score_text("ab", ("a b",), ("rouge1",), lambda text: [c for c in text if c != " "]),
    )
    assert (words["rouge1"], letters["rouge1"]) == (0.0, 1.0)


def test_an_unknown_metric_is_named_with_its_nearest():
    with pytest.raises(TaskError, match="'rouge_l'; did you mean rouge") as error:
        score_text("a", ("a",), ("exact_match", "rouge_l"))
    assert "\n" not in str(error.value)


def test_an_item_without_targets_is_an_error_not_a_zero():
    with pytest.raises(DataError, match="no targets"):
        score_text("a", (), METRICS)


def test_a_runaway_answer_is_scored():
    assert score_text("y" * 50_000, ("yes",), METRICS) == dict.fromkeys(METRICS, 0.0)


texts = st.text(alphabet="abcdeyYS 1.é\n", max_size=30)


@given(texts)
def test_a_text_scores_one_against_itself_unless_it_has_no_tokens(text):
    scores = score_text(text, (text,), METRICS)
    overlap = 1.0 if default_tokenize(text) else 0.0
    assert scores == {"rougeL": overlap, "rouge1": overlap, "exact_match": 1.0}


@given(texts, st.lists(texts, min_size=1, max_size=4))
def test_scores_are_fractions_and_rouge_1_bounds_rouge_l(prediction, targets):
    scores = score_text(prediction, targets, METRICS)
    assert all(0.0 <= value <= 1.0 for value in scores.values())
    assert scores["rougeL"] <= scores["rouge1"]


@given(texts, st.lists(texts, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_the_order_of_targets_changes_nothing(prediction, targets, rng):
    shuffled = rng.sample(targets, len(targets))
    assert score_text(prediction, shuffled, METRICS) == score_text(prediction, targets, METRICS)


def official_by_hand(oracle, items):
    """Percent over (prediction, targets), rounded, straight from the reference library."""
    totals = {"exact_match": 0, "rouge1": 0, "rougeL": 0}
    for prediction, targets in items:
        scores = [oracle.score(target=target, prediction=prediction) for target in targets]
        for name in ROUGE:
            totals[name] += max(score[name].fmeasure for score in scores)
        totals["exact_match"] += any(matches_exactly(prediction, target) for target in targets)
    return {name: round(100.0 * total / len(items), 4) for name, total in totals.items()}


def test_official_metrics_equal_a_computation_by_the_reference_library(oracle):
    rng = random.Random(4)
    pairs = list(random_pairs(300, seed=5))
    references = {f"i{n}": (target, random_text(rng, 5)) for n, (_, target) in enumerate(pairs)}
    predictions = {f"i{n}": prediction for n, (prediction, _) in enumerate(pairs) if n % 7}
    groups = {item: rng.choice(("z", "a", "m")) for item in references}

    rows = {item: (predictions.get(item, ""), references[item]) for item in references}
    expected = official_by_hand(oracle, list(rows.values()))
    for group in dict.fromkeys(groups.values()):
        members = [row for item, row in rows.items() if groups[item] == group]
        by_hand = official_by_hand(oracle, members)
        expected |= {f"{name}_for_{group}": value for name, value in by_hand.items()}

    found = official_metrics(predictions | {"unasked": "x"}, references, groups)
    assert list(found.items()) == list(expected.items())


def test_official_metrics_without_groups_have_three_keys():
    found = official_metrics({}, {"i": ("a",)})
    assert found == {"exact_match": 0.0, "rouge1": 0.0, "rougeL": 0.0}


def test_official_metrics_use_the_given_tokenizer(byte_level_bpe):
    tokenize = subword_tokenize(byte_level_bpe)
    found = official_metrics({"i": "中文"}, {"i": ("中文",)}, tokenize=tokenize)
    assert found["rougeL"] == 100.0
    assert official_metrics({"i": "中文"}, {"i": ("中文",)})["rougeL"] == 0.0


def test_official_metrics_refuse_what_they_cannot_average():
    with pytest.raises(DataError, match="no references"):
        official_metrics({"i": "a"}, {})
    with pytest.raises(DataError, match="'j' has no group"):
        official_metrics({}, {"i": ("a",), "j": ("b",)}, {"i": "g"})


def test_importing_the_scorer_loads_nothing_heavy():
    code = "import sys, peval.scorers.text, peval.baselines; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    heavy = {"nltk", "numpy", "scipy", "torch", "transformers", "pandas"}
    assert heavy.isdisjoint(done.stdout.split())
