r"""Answers taken out of longer texts, and compared with a target.

Each rule is one published evaluation's, oddities included: what it finds, what stands in where it
finds nothing, and how it compares.

References
----------
.. [1] https://github.com/allenai/open-instruct, eval/gsm/run_eval.py and eval/bbh/run_eval.py, at
   commits 80a584b (``tulu1``) and f745360 (``tulu2``); its exact match is that of
   https://github.com/huggingface/evaluate, metrics/exact_match, without case and punctuation.
.. [2] https://github.com/openai/grade-school-math, grade_school_math/dataset.py at commit 3101c7d.
.. [3] https://github.com/suzgunmirac/BIG-Bench-Hard at commit 9ee07bd, whose published accuracies
   the rule ``bbh`` gives back.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from peval.errors import DataError
from peval.types import Score

SCORER_VERSION = "1"
"""Part of every extraction score's key: raise it with any change that could alter a value."""

Find = Callable[[str], str | None]
"""From a text to the answer in it, or None."""

_COMMA_IN_NUMBER = re.compile(r"(\d),(\d)")
_NUMBER = re.compile(r"[-+]?\d*\.\d+|\d+")
_MARKED_NUMBER = re.compile(r"(?:####|^A:) (-?[0-9.,]+)", re.MULTILINE)
_TULU1_ANSWER = re.compile(r"So the answer is (.*?)\.")
_TULU2_ANSWER = re.compile(r"[t|T]he answer is (.*?)\.")  # the bar is in the class, as published
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True)
class Rule:
    """How one evaluation reads and compares answers.

    ``otherwise`` makes the answer of a text in which ``find`` finds none. ``is_lenient`` compares
    without case and punctuation: "3.5" equals "35", and "-4" equals "4".
    """

    find: Find
    otherwise: Callable[[str], str]
    is_lenient: bool


def last_number(text: str) -> str | None:
    """Return the last number; integers lose their sign, decimals keep it.

    >>> last_number("So 1,200 of -5 make -2.5, that is -3")
    '3'
    """
    numbers = _NUMBER.findall(_without_commas(text))
    return numbers[-1] if numbers else None


def marked_number(text: str) -> str | None:
    r"""Return the first number after ``####``, or after ``A:`` at the start of a line.

    GSM8K's references mark their answer in the first way, its published model outputs in the other.

    >>> marked_number("Job A: 2000 hours\n#### 5,600")
    '5600'
    """
    match = _MARKED_NUMBER.search(text)
    return match.group(1).replace(",", "") if match else None


def last_stated_answer(text: str) -> str | None:
    """Return what follows the last "answer is ", without one final full stop.

    >>> last_stated_answer("The answer is no. So the answer is (B).")
    '(B)'
    """
    _, marker, rest = text.rpartition("answer is ")
    return rest.strip().removesuffix(".") if marker else None


def first_answer_tulu1(text: str) -> str | None:
    """Return what stands between the first "So the answer is" and a full stop, up to a blank line.

    >>> first_answer_tulu1("So the answer is (A). So the answer is (B).")
    '(A)'
    """
    match = _TULU1_ANSWER.search(_first_block(text))
    return match.group(1).strip() if match else None


def first_answer_tulu2(text: str) -> str | None:
    """Return what stands between the first "the answer is" and a full stop.

    >>> first_answer_tulu2("The answer is 3.5.")
    '3'
    """
    match = _TULU2_ANSWER.search(text)
    return match.group(1).strip() if match else None


def _without_commas(text: str) -> str:
    return _COMMA_IN_NUMBER.sub(r"\1\2", text)


def _first_block(text: str) -> str:
    return text.strip().split("\n\n")[0].strip()


def _without_full_stop(text: str) -> str:
    return text.strip().removesuffix(".")


def _or_whole(find: Find, whole: Callable[[str], str]) -> Find:
    """Take a text without the marker as the answer: what a direct prompt asks for."""

    def found(text: str) -> str | None:
        answer = find(text)
        return whole(text) if answer is None else answer

    return found


RULES: dict[str, Rule] = {
    "tulu-gsm8k": Rule(last_number, _without_commas, is_lenient=True),
    "tulu1-bbh": Rule(first_answer_tulu1, _first_block, is_lenient=True),
    "tulu2-bbh": Rule(first_answer_tulu2, str.strip, is_lenient=True),
    "tulu1-bbh-direct": Rule(
        _or_whole(first_answer_tulu1, _first_block), _first_block, is_lenient=True
    ),
    "tulu2-bbh-direct": Rule(_or_whole(first_answer_tulu2, str.strip), str.strip, is_lenient=True),
    "gsm8k": Rule(marked_number, lambda text: "", is_lenient=False),
    "bbh": Rule(last_stated_answer, _without_full_stop, is_lenient=False),
}
"""The rules by name; those that end in "-direct" are for prompts that ask for the answer alone."""


def score_answer(key: str, prediction: str, targets: Sequence[str], rule: Rule) -> Score:
    """Score one answer: ``exact_match`` is 1 if it equals any target.

    A wrong answer in which the rule found nothing has the status "unparsed".

    Raises
    ------
    DataError
        There is no target.

    Examples
    --------
    >>> score_answer("q1", "5 + 5 is 1,0", ["10"], RULES["tulu-gsm8k"]).values
    {'exact_match': 1.0}
    """
    if not targets:
        raise DataError(f"{key}: no target to score against: give it one or leave it out")
    found = rule.find(prediction)
    answer = rule.otherwise(prediction) if found is None else found
    form = _lenient if rule.is_lenient else str
    is_right = form(answer) in [form(target) for target in targets]
    if found is None and not is_right:
        return Score(key, {"exact_match": 0.0}, "unparsed", answer, "no answer found in the text")
    return Score(key, {"exact_match": float(is_right)}, extracted=answer)


def _lenient(text: str) -> str:
    return text.lower().translate(_NO_PUNCTUATION)
