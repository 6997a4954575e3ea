"""MMLU's two layouts."""

import csv
import gzip
from collections import Counter

import pytest

from peval.datasets import mmlu
from peval.errors import DataError

HEADER = ["question", "choice0", "choice1", "choice2", "choice3", "answer"]
ROWS = [
    ["Two\nlines, and a comma", "x", "y, z", 'a "quoted" word', "None", "C"],
    ["Second ", "0", "1", "2", "3", "A"],
]


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def digits(rows):
    return [HEADER, *([*row[:-1], str("ABCD".index(row[-1]))] for row in rows)]


def test_both_layouts_give_the_same_questions(tmp_path):
    write(tmp_path / "letters" / "test" / "anatomy_test.csv", ROWS)
    write(tmp_path / "digits" / "test" / "anatomy_test.csv", digits(ROWS))
    found = mmlu.read(tmp_path / "letters", "test")
    assert found == mmlu.read(tmp_path / "digits", "test")
    first, second = found["anatomy"]
    assert first == mmlu.Question(
        id="anatomy/test/0",
        subject="anatomy",
        text="Two\nlines, and a comma",
        choices=("x", "y, z", 'a "quoted" word', "None"),
        answer="C",
    )
    assert (second.id, second.text, second.answer) == ("anatomy/test/1", "Second ", "A")


def test_subjects_are_sorted_gzipped_or_not_and_may_be_chosen(tmp_path):
    write(tmp_path / "dev" / "virology_dev.csv", ROWS)
    write(tmp_path / "dev" / "anatomy_dev.csv", ROWS)
    plain = (tmp_path / "dev" / "anatomy_dev.csv").read_bytes()
    (tmp_path / "dev" / "anatomy_dev.csv").unlink()
    (tmp_path / "dev" / "anatomy_dev.csv.gz").write_bytes(gzip.compress(plain))
    assert list(mmlu.read(tmp_path, "dev")) == ["anatomy", "virology"]
    assert list(mmlu.read(tmp_path, "dev", ["virology"])) == ["virology"]
    with pytest.raises(DataError, match=r"astronomy_dev\.csv: no such file; get test/SUBJECT"):
        mmlu.read(tmp_path, "dev", ["astronomy"])
    with pytest.raises(DataError, match=r"test: no \*_test\.csv; set --data-dir"):
        mmlu.read(tmp_path, "test")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([ROWS[0], ROWS[1][:5]], r"row 2: 5 fields; expected question, choice0"),
        ([[*ROWS[0][:5], "1"]], r"row 1: field 'answer' is '1'; expected one of A, B, C, D"),
        ([HEADER, ROWS[0]], r"row 2: field 'answer' is 'C'; expected one of 0, 1, 2, 3"),
        ([HEADER, ["q", "a", " ", "c", "d", "0"]], r"row 2: field 'choice1' is empty"),
        ([["", "a", "b", "c", "d", "A"]], r"row 1: field 'question' is empty"),
        ([HEADER], r"no rows; expected question"),
        ([], r"no rows; expected question"),
    ],
)
def test_a_row_that_does_not_fit_is_named(tmp_path, rows, message):
    write(tmp_path / "test" / "anatomy_test.csv", rows)
    with pytest.raises(DataError, match=r"anatomy_test\.csv: " + message) as caught:
        mmlu.read(tmp_path, "test")
    assert "\n" not in str(caught.value)


def test_a_subject_that_is_not_mmlus_is_refused(tmp_path):
    write(tmp_path / "test" / "alchemy_test.csv", ROWS)
    with pytest.raises(DataError, match=r"'alchemy' .* is not one of MMLU's 57 subjects"):
        mmlu.read(tmp_path, "test")


def test_categories_are_the_published_ones():
    subjects = mmlu.subjects().values()
    assert Counter(one.category for one in subjects) == {
        "STEM": 18,
        "humanities": 13,
        "social sciences": 12,
        "other (business, health, misc.)": 14,
    }
    assert len({one.subcategory for one in subjects}) == 17
    physics = ["astronomy", "college_physics", "conceptual_physics", "high_school_physics"]
    assert [one.name for one in subjects if one.subcategory == "physics"] == physics
    assert list(mmlu.subjects()) == sorted(mmlu.subjects())


def test_real_data_in_both_layouts(shared_data, tmp_path):
    test = mmlu.read(shared_data / "mmlu", "test")
    dev = mmlu.read(shared_data / "mmlu", "dev")
    assert list(test) == list(dev) == list(mmlu.subjects())
    assert sum(map(len, test.values())) == 14042
    assert {len(questions) for questions in dev.values()} == {5}
    for subject, questions in test.items():
        rows = [[q.text, *q.choices, q.answer] for q in questions]
        write(tmp_path / "test" / f"{subject}_test.csv", rows)
    assert mmlu.read(tmp_path, "test") == test
