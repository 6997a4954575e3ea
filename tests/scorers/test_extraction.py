"""Answers taken out of longer texts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peval.datasets import gsm8k
from peval.errors import DataError
from peval.scorers.extraction import RULES, score_answer


def score(text, target, rule):
    return score_answer("q", text, [target], RULES[rule])


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("So the answer is 8.", "8"),
        ("The total is 1,234,567 dollars", "1234567"),
        ("1,2,3", "3"),  # only one of two neighbouring commas goes
        ("4 and 1,2,3", "3"),
        ("it is -5", "5"),  # an integer loses its sign
        ("it is -5.0", "-5.0"),
        ("it is +.5", "+.5"),
        ("3.", "3"),
        ("$3.50 or 10%", "10"),
        ("6/7", "7"),
        ("1e3", "3"),
        ("٣", "٣"),
    ],
)
def test_last_number(text, answer):
    assert score(text, "x", "tulu-gsm8k").extracted == answer


@pytest.mark.parametrize(
    ("text", "target", "is_right"),
    [
        ("3.5", "35", True),  # punctuation is ignored, the point too
        ("-2.0", "20", True),
        ("8.00", "8", False),
        ("-4", "4", True),
        ("7 then 8", "7", False),
    ],
)
def test_exact_match_of_numbers_has_its_oddities(text, target, is_right):
    assert score(text, target, "tulu-gsm8k").values == {"exact_match": float(is_right)}


def test_a_text_without_a_number_is_unparsed():
    found = score("I do, not know", "7", "tulu-gsm8k")
    assert (found.status, found.values, found.extracted) == (
        "unparsed",
        {"exact_match": 0.0},
        "I do, not know",
    )
    assert score("", "7", "tulu-gsm8k").status == "unparsed"


@pytest.mark.parametrize(
    ("text", "answer", "status"),
    [
        ("5 + 5 = 10\n#### 10", "10", "ok"),
        ("#### 10\n#### 11", "10", "ok"),
        ("so\nA: 1,000", "1000", "ok"),
        ("at Job A: 2000 hours\nA: 8400", "8400", "ok"),
        ("#### -3", "-3", "ok"),
        ("####10", "", "unparsed"),
        ("it is 10", "", "unparsed"),
    ],
)
def test_marked_number(text, answer, status):
    found = score(text, "?", "gsm8k")
    assert (found.extracted, found.status) == (answer, status)


@pytest.mark.parametrize(
    ("rule", "text", "answer"),
    [
        ("tulu1-bbh", "Hm. So the answer is (A). So the answer is (B).", "(A)"),
        ("tulu1-bbh", "\n\nSo the answer is  yes .\n\nQ: next", "yes"),
        ("tulu1-bbh", "First.\n\nSo the answer is (A).", "First."),
        ("tulu1-bbh", "The answer is (A).", "The answer is (A)."),
        ("tulu2-bbh", "First.\n\nso the answer is (A).", "(A)"),
        ("tulu2-bbh", "|he answer is 3.5.", "3"),
        ("tulu2-bbh", "The answer is\n(A).", "The answer is\n(A)."),
        ("tulu2-bbh", " (A) ", "(A)"),
        ("tulu2-bbh", "the answer is (A)", "the answer is (A)"),
        ("bbh", "So the answer is (A). So the answer is (B).", "(B)"),
        ("bbh", "the answer is 3.5..\n", "3.5."),
        ("bbh", " valid.\n", "valid"),
    ],
)
def test_stated_answers(rule, text, answer):
    assert score(text, "?", rule).extracted == answer


@pytest.mark.parametrize(
    ("rule", "text", "target", "status", "value"),
    [
        ("tulu2-bbh", "(a)", "(A)", "ok", 1.0),
        ("tulu2-bbh", "maybe", "(A)", "unparsed", 0.0),
        ("tulu2-bbh-direct", "maybe", "(A)", "ok", 0.0),
        ("tulu1-bbh-direct", "(A).\n\nQ: next", "(A)", "ok", 1.0),
        ("tulu1-bbh-direct", "So the answer is no. Yes", "no", "ok", 1.0),
        ("bbh", "the answer is (a).", "(A)", "ok", 0.0),
        ("tulu2-bbh", "The answer is .", "-", "ok", 1.0),  # nothing but punctuation equals nothing
    ],
)
def test_status_and_value(rule, text, target, status, value):
    found = score(text, target, rule)
    assert (found.status, found.values["exact_match"]) == (status, value)


def test_any_target_is_right_and_none_is_an_error():
    assert score_answer("q", "7", ["6", "7"], RULES["tulu-gsm8k"]).values["exact_match"] == 1.0
    with pytest.raises(DataError, match="q: no target"):
        score_answer("q", "7", [], RULES["tulu-gsm8k"])


@given(st.text(), st.text(), st.sampled_from(sorted(RULES)))
def test_any_text_gets_a_score(text, target, rule):
    found = score(text, target, rule)
    assert found.values["exact_match"] in (0.0, 1.0)
    assert isinstance(found.extracted, str)
    assert (found.why is None) == (found.status == "ok")
    assert found.status == "ok" or found.values["exact_match"] == 0.0


@given(st.integers(0, 10**12), st.text(alphabet="ab c.\n"))
def test_a_number_at_the_end_is_found_however_it_is_written(number, before):
    for written in (str(number), f"{number:,}"):
        assert score(f"{before} {written}", str(number), "tulu-gsm8k").values["exact_match"] == 1.0
        assert score(f"{before}\n#### {written}", str(number), "gsm8k").extracted == str(number)


def test_gsm8k_references_are_right_by_both_rules(shared_data):
    for problem in gsm8k.read(shared_data / "gsm8k"):
        for rule in ("gsm8k", "tulu-gsm8k"):
            assert score(problem.solution, problem.target, rule).values["exact_match"] == 1.0
