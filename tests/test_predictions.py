"""Other people's predictions."""

import gzip
import json

import pytest

from peval.errors import DataError
from peval.predictions import read_predictions, score_predictions
from peval.scorers.extraction import RULES, score_answer
from peval.scorers.squad import score_squad

REFERENCES = {"a": ("1",), "b": ("2",), "c": ("3",)}


def write(path, *records):
    lines = [one if isinstance(one, str) else json.dumps(one) for one in records]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def number(key, prediction, targets):
    return score_answer(key, prediction, targets, RULES["tulu-gsm8k"])


def test_predictions_are_scored_in_the_order_of_the_references(tmp_path):
    path = write(
        tmp_path / "said.jsonl",
        {"id": "x", "prediction": "9"},
        {"id": "b", "prediction": "I make it 5", "model": "ours"},
        {"id": "a", "prediction": "so 1"},
        "",
    )
    found = score_predictions(path, REFERENCES, number)
    assert list(found.scores) == ["a", "b", "c"]
    assert found.scores["a"].values == {"exact_match": 1.0}
    assert found.scores["b"].values == {"exact_match": 0.0}
    assert (found.scores["c"].status, found.scores["c"].values) == ("failed", {})
    assert found.scores["c"].why == "no prediction in said.jsonl"
    assert (found.missing, found.unknown) == (("c",), ("x",))


def test_numbers_serve_as_ids_and_files_may_be_gzipped(tmp_path):
    path = tmp_path / "said.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"id": 7, "prediction": ""}\n'))
    assert read_predictions(path) == {"7": ""}
    (score,) = score_predictions(path, {"7": ("the",)}, score_squad).scores.values()
    assert score.values["exact_match"] == 1.0


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"id": "b"}, "field 'prediction' must be text"),
        ({"id": "b", "prediction": None}, "field 'prediction' must be text"),
        ({"prediction": "2"}, "field 'id' must be text or a whole number"),
        ({"id": True, "prediction": "2"}, "field 'id' must be text or a whole number"),
        ({"id": "a", "prediction": "2"}, "the id 'a' stands in an earlier line too"),
        (["b", "2"], "must be a JSON object with 'id' and 'prediction'"),
        ("{", "malformed JSON"),
    ],
)
def test_a_line_that_does_not_fit_is_named(tmp_path, record, message):
    path = write(tmp_path / "said.jsonl", {"id": "a", "prediction": "1"}, record)
    with pytest.raises(DataError, match=r"said\.jsonl:2: " + message):
        score_predictions(path, REFERENCES, number)


def test_a_file_that_belongs_elsewhere_is_refused(tmp_path):
    path = write(tmp_path / "said.jsonl", {"id": "test-0", "prediction": "1"})
    with pytest.raises(DataError, match=r"no id is known \(here 'test-0'; .* such as 'a'\)"):
        score_predictions(path, REFERENCES, number)
    with pytest.raises(DataError, match="no lines; expected objects with 'id' and 'prediction'"):
        read_predictions(write(tmp_path / "empty.jsonl", ""))
    with pytest.raises(DataError, match="cannot be read"):
        read_predictions(tmp_path / "absent.jsonl")
