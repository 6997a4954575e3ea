"""Prompts of the Tulu evaluations, character by character: pure functions from records to text.

Profiles: ``tulu1`` is allenai/open-instruct at 80a584b (August 2023), ``tulu2`` at f745360
(February 2024). Both begin with no BOS: the tokenizer adds exactly one.

Oddities of the reference are kept, because the published numbers contain them: two spaces before
MMLU's subject, "Quesion" in GSM8K's direct demonstrations, an empty line between TyDi QA's question
and the assistant's turn in ``tulu2``. One is not: under pandas 2 or newer the reference reads the
choice "None" (10 in MMLU's test questions) as a missing value and asks "nan"; here it stays.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from peval.datasets import bbh, gsm8k, mmlu, tydiqa
from peval.errors import DataError, TaskError
from peval.shipped import shipped
from peval.types import Decoding

Profile = Literal["tulu1", "tulu2"]
Suite = Literal["gsm8k", "bbh", "tydiqa"]

MMLU_MAX_PROMPT_TOKENS = 2048
"""Demonstrations are left out until a prompt has at most so many tokens, BOS not counted."""

TYDIQA_MAX_CONTEXT_TOKENS = 512

CHOICES: dict[Profile, tuple[str, ...]] = {
    "tulu1": mmlu.LETTERS,
    "tulu2": tuple(f" {letter}" for letter in mmlu.LETTERS),
}
"""MMLU's continuations, in the order of the letters."""

_MAX_TOKENS: dict[Suite, int] = {"gsm8k": 512, "bbh": 512, "tydiqa": 50}
_N_BBH_DEMONSTRATIONS = 3


@dataclass(frozen=True)
class Prompt:
    """One prompt in both forms.

    With a chat template: ``user`` is the user's turn, ``cue`` begins the assistant's. ``plain`` is
    the whole text for a model that is asked without one.
    """

    user: str
    cue: str
    plain: str


def decoding(profile: Profile, suite: Suite, chat: bool) -> Decoding:
    r"""Return how answers are generated: greedily, with the suite's limit and stop strings.

    ``tulu1`` stopped GSM8K and TyDi QA at a line break with and without a chat format, and BBH
    nowhere (its stop was of a form that never matched, and answers were cut afterwards: see
    `peval.scorers.extraction`). ``tulu2`` stops at a line break only without a chat format, and BBH
    always at an empty line.
    """
    if suite not in _MAX_TOKENS:
        raise TaskError(f"'{suite}' generates no answers; known: {', '.join(_MAX_TOKENS)}")
    if suite == "bbh":
        stop: tuple[str, ...] = () if profile == "tulu1" else ("\n\n",)
    else:
        stop = ("\n",) if profile == "tulu1" or not chat else ()
    return Decoding(max_tokens=_MAX_TOKENS[suite], stop=stop)


def mmlu_prompt(question: mmlu.Question, shots: Sequence[mmlu.Question]) -> Prompt:
    """Return a question after its demonstrations; its answer is the likeliest of ``CHOICES``."""
    subject = question.subject.replace("_", " ")
    intro = f"The following are multiple choice questions (with answers) about  {subject}.\n\n"
    shown = "".join(f"{_multiple_choice(shot)} {shot.answer}\n\n" for shot in shots)
    text = intro + shown + _multiple_choice(question)
    return Prompt(user=text, cue="The answer is:", plain=text)


def gsm8k_prompt(problem: gsm8k.Problem, reasoning: bool) -> Prompt:
    """Return a problem after the eight demonstrations, with their reasoning or direct."""
    text = f"{_gsm8k_demonstrations(reasoning)}Question: {problem.question.strip()}"
    return Prompt(user=text, cue="Answer:", plain=f"{text}\nAnswer:")


def bbh_prompt(task: bbh.BbhTask, problem: bbh.Problem, reasoning: bool) -> Prompt:
    """Return a problem after the task's three demonstrations, with their reasoning or direct.

    Raises
    ------
    DataError
        The task's demonstrations are not of the published form.
    """
    shown = _bbh_demonstrations(task.name, task.demonstrations, reasoning)
    text = f"{shown}\n\nQ: {problem.input}"
    return Prompt(user=text, cue="A:", plain=f"{text}\nA:")


def tydiqa_prompt(
    profile: Profile, question: tydiqa.Question, demonstration: tydiqa.Question, passage: str | None
) -> Prompt:
    """Return a question after one demonstration, worded in its language.

    Parameters
    ----------
    passage
        What stands for the passages of the demonstration and of the question, in this order, to be
        put there once they are cut to ``TYDIQA_MAX_CONTEXT_TOKENS``; None asks without passages.
    """
    words = _tydiqa_words()[question.language]
    shown = "" if passage is None else f"{words['passage']} {passage}\n"
    intro = words["without_passage" if passage is None else "with_passage"]
    shot = f"{shown}{words['question']} {demonstration.text}\n"
    asked = f"{shown}{words['question']} {question.text}\n"
    text = f"{intro}\n\n{shot}{words['answer']} {demonstration.answers[0]}\n\n{asked}"
    user = text.strip() if profile == "tulu1" else text
    return Prompt(user=user, cue=words["answer"], plain=text + words["answer"])


def _multiple_choice(question: mmlu.Question) -> str:
    choices = zip(mmlu.LETTERS, question.choices, strict=True)
    return "\n".join([question.text, *(f"{a}. {choice}" for a, choice in choices), "Answer:"])


@lru_cache(maxsize=2)
def _gsm8k_demonstrations(reasoning: bool) -> str:
    shots = _data("gsm8k_exemplars")["exemplars"]
    asks, answers = ("Question", "reasoning") if reasoning else ("Quesion", "answer")
    shown = [f"{asks}: {shot['question']}\nAnswer: {shot[answers]}\n\n" for shot in shots]
    return "Answer the following questions.\n\n" + "".join(shown)


@lru_cache(maxsize=64)
def _bbh_demonstrations(name: str, published: str, reasoning: bool) -> str:
    blocks = published.split("\n\n")
    n_shown = sum(block.startswith("Q:") for block in blocks)
    if n_shown != _N_BBH_DEMONSTRATIONS:
        raise DataError(
            f"BBH {name}: {n_shown} demonstrations that begin with 'Q:' after an empty line; "
            f"expected {_N_BBH_DEMONSTRATIONS}; check cot-prompts/{name}.txt"
        )
    if not reasoning:
        blocks = [_without_reasoning(block, name) for block in blocks]
    return "\n\n".join(blocks).strip()


def _without_reasoning(block: str, task: str) -> str:
    """Return a demonstration with its answer alone; other blocks as they are."""
    if not block.startswith("Q:"):
        return block
    question, found, rest = block.partition("\nA:")
    _, marked, answer = rest.rpartition("So the answer is")
    if not (found and marked):
        raise DataError(
            f"BBH {task}: a demonstration without 'A:' or 'So the answer is'; check "
            f"cot-prompts/{task}.txt"
        )
    return f"{question.strip()}\nA: {answer.strip()}"


@lru_cache(maxsize=1)
def _tydiqa_words() -> dict[str, dict[str, str]]:
    words: dict[str, dict[str, str]] = _data("tydiqa_wordings")["languages"]
    return words


def _data(name: str) -> Any:
    return json.loads((shipped("tasks") / "tulu" / f"{name}.json").read_text("utf-8"))
