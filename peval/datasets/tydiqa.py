"""TyDi QA, gold passage: questions in nine languages, SQuAD's schema (arXiv 2003.05002).

Read are the official files, ``tydiqa-goldp-v1.1-{dev,train}.json`` with all languages, and files by
language, ``LANGUAGE_tydiqa_{dev,train}.json``; either may be gzipped.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from peval.datasets import files, places
from peval.datasets.subsample import choose
from peval.errors import DataError

LANGUAGES = (
    "arabic", "bengali", "english", "finnish", "indonesian", "korean", "russian", "swahili",
    "telugu",
)  # fmt: skip
LAYOUT = (
    "tydiqa-goldp-v1.1-dev.json and tydiqa-goldp-v1.1-train.json "
    "(storage.googleapis.com/tydiqa/v1.1), or LANGUAGE_tydiqa_dev.json and _train.json"
)

OFFICIAL_SIZES = {
    "dev": (921, 113, 440, 782, 565, 276, 812, 499, 669),
    "train": (14805, 2390, 3696, 6855, 5702, 1625, 6490, 2755, 5563),
}
"""Questions of each of ``LANGUAGES`` in the official files: the seeded choice depends on them."""


@dataclass(frozen=True)
class Question:
    """One question with its gold passage; ``answers`` are alternatives."""

    id: str
    language: str
    context: str
    text: str
    answers: tuple[str, ...]


@dataclass(frozen=True)
class Choice:
    """What one language is asked: its questions, and the one that demonstrates."""

    questions: tuple[Question, ...]
    demonstration: Question


def read(folder: Path, split: Literal["dev", "train"]) -> dict[str, tuple[Question, ...]]:
    """Return the questions of each language that the folder has, languages sorted, in stored order.

    Raises
    ------
    DataError
        There is no file, or one is malformed: the message names file, question and field.
    """
    found: dict[str, list[Question]] = {}
    for path, language in files_of(folder, split):
        for question in _questions(path):
            if language not in (None, question.language):
                raise DataError(
                    f"{path}: field 'id' of {question.id!r}: not a question in {language}"
                )
            found.setdefault(question.language, []).append(question)
    return {language: tuple(found[language]) for language in sorted(found)}


def from_rows(rows: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, tuple[Question, ...]]:
    """Return the questions of the hub's rows (secondary_task), each with its place.

    Raises as `read` does.
    """
    found: dict[str, list[Question]] = {}
    for where, row in rows:
        texts = row["answers"].get("text") if isinstance(row["answers"], Mapping) else None
        answers = [{"text": text} for text in texts or []]
        question = _question({**row, "answers": answers}, _text(row, "context", where), where)
        found.setdefault(question.language, []).append(question)
    return {language: tuple(found[language]) for language in sorted(found)}


def files_of(folder: Path, split: str) -> list[tuple[Path, str | None]]:
    """Return the files of a split, each with its language; None: the official file with all."""
    official = places.either(folder / f"tydiqa-goldp-v1.1-{split}.json")
    if official:
        return [(official, None)]
    named = [(places.either(folder / f"{one}_tydiqa_{split}.json"), one) for one in LANGUAGES]
    found: list[tuple[Path, str | None]] = [(path, one) for path, one in named if path]
    if not found:
        raise DataError(
            f"{folder}: no TyDi QA file of the {split} split; set --data-dir to a folder with "
            f"{LAYOUT}"
        )
    return found


def tulu_subset(
    dev: Mapping[str, Sequence[Question]],
    train: Mapping[str, Sequence[Question]],
    languages: Sequence[str] = LANGUAGES,
) -> dict[str, Choice]:
    """Return what the Tulu evaluations ask in each of the languages, and the demonstration.

    One generator (seed 42) first draws the questions of all nine languages in the order of their
    names, then one demonstration for each. A language that is not asked, or not there, still takes
    its turn, at its official size: leaving one out moves nothing for the others.

    Raises
    ------
    DataError
        One of ``languages`` has no questions, or no training questions to demonstrate with.

    References
    ----------
    .. [1] https://github.com/allenai/open-instruct, eval/tydiqa/run_eval.py and
       scripts/eval/tydiqa.sh at commit f745360. At 80a584b (Tulu 1) the languages came in the
       arbitrary order of a set, so its subset cannot be had again.
    """
    for language in languages:
        for split, questions in (("dev", dev), ("train", train)):
            if not questions.get(language):
                raise DataError(
                    f"TyDi QA: no {split} questions in '{language}': get {LAYOUT}, or leave the "
                    "language out"
                )
    source = random.Random(42)
    turns = list(enumerate(LANGUAGES))
    asked = {one: choose(range(_size(dev, "dev", one, turn)), 100, source) for turn, one in turns}
    shown = {
        one: source.sample(range(_size(train, "train", one, turn)), 1)[0] for turn, one in turns
    }
    return {
        one: Choice(tuple(dev[one][index] for index in asked[one]), train[one][shown[one]])
        for one in languages
    }


def _size(found: Mapping[str, Sequence[Question]], split: str, language: str, turn: int) -> int:
    return len(found.get(language, ())) or OFFICIAL_SIZES[split][turn]


def _questions(path: Path) -> list[Question]:
    content = files.parse(files.decode(files.read_bytes(path), str(path)), str(path))
    where = str(path)
    return [
        _question(qa, context, place)
        for article, spot in _members(content, "data", where)
        for paragraph, place in _members(article, "paragraphs", spot)
        for context in (_text(paragraph, "context", place),)
        for qa, place in _members(paragraph, "qas", place)
    ]


def _members(parent: Any, field: str, where: str) -> list[tuple[Any, str]]:
    """Return the members of a list field, each with its place."""
    value = parent.get(field) if isinstance(parent, Mapping) else None
    if not isinstance(value, list) or not value:
        raise DataError(f"{where}: field '{field}' must be a list that is not empty")
    return [(member, f"{where}: {field}[{index}]") for index, member in enumerate(value)]


def _text(record: Any, field: str, where: str) -> str:
    value = record.get(field) if isinstance(record, Mapping) else None
    if not isinstance(value, str) or not value:
        raise DataError(f"{where}: field '{field}' must be text that is not empty")
    return value


def _question(qa: Any, context: str, where: str) -> Question:
    name = _text(qa, "id", where)
    language = name.split("-")[0]
    if language not in LANGUAGES:
        raise DataError(f"{where}: field 'id' is {name!r}; expected LANGUAGE-NUMBER-NUMBER")
    answers = tuple(
        _text(answer, "text", place) for answer, place in _members(qa, "answers", where)
    )
    return Question(name, language, context, _text(qa, "question", where), answers)
