"""SQuAD's F1 and exact match."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peval.errors import DataError
from peval.scorers.squad import METRICS, score_squad


@pytest.mark.parametrize(
    ("prediction", "targets", "f1", "exact_match", "recall"),
    [
        ("The Cat!", ["cat"], 1, 1, 1),
        ("cat dog", ["cat"], 2 / 3, 0, 1),
        ("a b b c", ["b b d"], 4 / 6, 0, 0),  # "a" is an article; "b" counts twice
        ("cats", ["cat"], 0, 0, 1),
        ("", ["the"], 0, 1, 0),  # nothing equals nothing, yet shares no word
        ("dog", ["cat", "dog"], 1, 1, 1),
        ("군사령관", ["군사령관"], 1, 1, 1),
        ("1,000", ["1000"], 1, 1, 0),
        ("it is ANNA ", [" Anna"], 0.5, 0, 1),
        ("«anna»", ["anna"], 0, 0, 1),  # only ASCII punctuation goes
    ],
)
def test_score_squad(prediction, targets, f1, exact_match, recall):
    found = score_squad("q", prediction, targets)
    assert tuple(found.values) == METRICS
    assert found.values == pytest.approx({"f1": f1, "exact_match": exact_match, "recall": recall})


def test_no_target_is_an_error():
    with pytest.raises(DataError, match="q: no target"):
        score_squad("q", "cat", [])


@given(st.text(), st.lists(st.text(), min_size=1, max_size=4))
def test_scores_are_bounded_and_targets_have_no_order(prediction, targets):
    values = score_squad("q", prediction, targets).values
    assert all(0 <= value <= 1 for value in values.values())
    assert values == score_squad("q", prediction, targets[::-1]).values
    more = score_squad("q", prediction, [*targets, prediction]).values
    assert more["exact_match"] == more["recall"] == 1
    assert more["f1"] >= values["f1"]


def test_published_predictions_in_nine_languages(shared_data):
    """The values are those of Hugging Face's ``squad`` metric on the same files."""
    folder = shared_data / "tydiqa_goldp" / "xtreme_mock"
    expected = dict.fromkeys(("ar", "bn", "en", "fi", "ko", "ru", "sw", "te"), (1, 1.0, 1.0))
    expected["id"] = (1, 0.75, 0.0)
    for language, (n_items, f1, exact_match) in expected.items():
        labels = json.loads((folder / "labels" / f"test-{language}.json").read_text())
        said = json.loads((folder / "predictions" / f"test-{language}.json").read_text())
        scores = [
            score_squad(qa["id"], said[qa["id"]], [one["text"] for one in qa["answers"]]).values
            for article in labels["data"]
            for paragraph in article["paragraphs"]
            for qa in paragraph["qas"]
        ]
        assert len(scores) == n_items
        assert sum(one["f1"] for one in scores) / n_items == pytest.approx(f1, abs=1e-12)
        assert sum(one["exact_match"] for one in scores) / n_items == exact_match
