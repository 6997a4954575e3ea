"""GSM8K's reader and the Tulu subset."""

import json

import pytest
from tulu_oracles import fingerprint

from peval.datasets import gsm8k
from peval.errors import DataError


def write(folder, *records, split="test"):
    lines = [one if isinstance(one, str) else json.dumps(one) for one in records]
    (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_a_problem_has_its_number_without_separators(tmp_path):
    write(tmp_path, {"question": "How many? ", "answer": "Much.\n#### 1,234,567"}, split="train")
    (problem,) = gsm8k.read(tmp_path, "train")
    assert problem == gsm8k.Problem(
        "train-0", "How many? ", "Much.\n#### 1,234,567", target="1234567"
    )


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"answer": "#### 1"}, "field 'question' must be text that is not empty"),
        ({"question": "q", "answer": 3}, "field 'answer' must be text that is not empty"),
        ({"question": "q", "answer": "so 3"}, "field 'answer' must end with '#### NUMBER'"),
        ({"question": "q", "answer": "#### three"}, "field 'answer' must end with '#### NUMBER'"),
        ({"question": "q", "answer": "#### nan"}, "field 'answer' must end with '#### NUMBER'"),
        ([], "must be a JSON object with 'question' and 'answer'"),
        ('{"question":', "malformed JSON"),
    ],
)
def test_a_line_that_does_not_fit_is_named(tmp_path, record, message):
    write(tmp_path, {"question": "q", "answer": "#### 1"}, record)
    with pytest.raises(DataError, match=r"test\.jsonl:2: " + message):
        gsm8k.read(tmp_path)


def test_missing_or_empty_files_say_what_to_get(tmp_path):
    with pytest.raises(DataError, match=r"test\.jsonl: no such file; .*grade-school-math"):
        gsm8k.read(tmp_path)
    write(tmp_path, "")
    with pytest.raises(DataError, match=r"test\.jsonl: no lines"):
        gsm8k.read(tmp_path)


def test_the_tulu_subset_is_pinned(shared_data):
    problems = gsm8k.read(shared_data / "gsm8k")
    assert len(problems) == 1319
    subset = gsm8k.tulu_subset(problems)
    assert len({one.id for one in subset}) == 200
    assert [one.id for one in subset[:4]] == ["test-1309", "test-228", "test-51", "test-563"]
    assert fingerprint(subset) == (
        "8a326da2ddc3ec14bbe0db5b6f4884a2fc47baf487c27c9fa577de6868bab415"
    )
