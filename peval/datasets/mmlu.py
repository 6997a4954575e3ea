"""MMLU: four-choice questions on 57 subjects (Hendrycks et al., arXiv 2009.03300).

Two layouts of ``{test,dev}/SUBJECT_{test,dev}.csv`` are read: the original of
github.com/hendrycks/test, without a header and with a letter as the answer, and the re-export with
the header ``question,choice0,...,choice3,answer`` and a digit.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from peval.datasets import files
from peval.errors import DataError
from peval.shipped import shipped

LETTERS = ("A", "B", "C", "D")
LAYOUT = "test/SUBJECT_test.csv and dev/SUBJECT_dev.csv (github.com/hendrycks/test)"

_FIELDS = ("question", "choice0", "choice1", "choice2", "choice3", "answer")
_DIGITS = ("0", "1", "2", "3")


@dataclass(frozen=True)
class Question:
    """One question; ``answer`` is the letter of the right choice."""

    id: str
    subject: str
    text: str
    choices: tuple[str, str, str, str]
    answer: str


@dataclass(frozen=True)
class Subject:
    """Where a subject belongs: one of 17 subcategories, one of 4 categories."""

    name: str
    subcategory: str
    category: str


@lru_cache(maxsize=1)
def subjects() -> dict[str, Subject]:
    """Return the 57 subjects by name, sorted, with the categories of the authors' own table.

    References
    ----------
    .. [1] https://github.com/hendrycks/test, categories.py at commit 4450500.
    """
    table = json.loads((shipped("tasks") / "tulu" / "mmlu_subjects.json").read_text("utf-8"))
    found = [
        Subject(name, subcategory, category)
        for category, subcategories in table["categories"].items()
        for subcategory, names in subcategories.items()
        for name in names
    ]
    return {one.name: one for one in sorted(found, key=lambda one: one.name)}


def read(
    folder: Path, split: Literal["test", "dev"], only: Sequence[str] | None = None
) -> dict[str, tuple[Question, ...]]:
    """Return the questions of each subject, subjects sorted, questions in stored order.

    Parameters
    ----------
    folder
        Holds ``test`` and ``dev``; files may be gzipped.
    only
        Subjects to read; None means those that the folder has.

    Raises
    ------
    DataError
        A file is missing or malformed: the message names file, row and field.
    """
    paths = files_of(folder, split, only)
    return {subject: _questions(path, subject, split) for subject, path in paths.items()}


def from_rows(
    rows: Iterable[tuple[str, Mapping[str, Any]]], split: Literal["test", "dev"]
) -> dict[str, tuple[Question, ...]]:
    """Return the questions of the hub's rows (cais/mmlu), each with its place; raises as `read`."""
    found: dict[str, list[Question]] = {}
    for where, row in rows:
        subject, choices, answer = row["subject"], row["choices"], row["answer"]
        if subject not in subjects():
            raise DataError(f"{where}: field 'subject' is {subject!r}, none of MMLU's 57")
        if not (isinstance(choices, list) and len(choices) == len(LETTERS)):
            raise DataError(f"{where}: field 'choices' must be four texts")
        _check([row["question"], *choices, str(answer)], where, _DIGITS)
        mine = found.setdefault(subject, [])
        mine.append(
            Question(
                id=f"{subject}/{split}/{len(mine)}",
                subject=subject,
                text=row["question"],
                choices=(choices[0], choices[1], choices[2], choices[3]),
                answer=LETTERS[int(answer)],
            )
        )
    return {subject: tuple(found[subject]) for subject in sorted(found)}


def files_of(folder: Path, split: str, only: Sequence[str] | None = None) -> dict[str, Path]:
    """Return the file of each subject, unread; raises as `read` does."""
    tail = f"_{split}.csv"
    found = {
        path.name.removesuffix(".gz").removesuffix(tail): path
        for suffix in (tail + ".gz", tail)  # the plain file wins where both exist
        for path in (folder / split).glob("*" + suffix)
    }
    if not found:
        raise DataError(f"{folder / split}: no *{tail}; set --data-dir to a folder with {LAYOUT}")
    wanted = sorted(found if only is None else only)
    for subject in wanted:
        if subject not in subjects():
            raise DataError(f"'{subject}' ({folder / split}) is not one of MMLU's 57 subjects")
        if subject not in found:
            raise DataError(f"{folder / split / (subject + tail)}: no such file; get {LAYOUT}")
    return {subject: found[subject] for subject in wanted}


def _questions(path: Path, subject: str, split: str) -> tuple[Question, ...]:
    text = files.decode(files.read_bytes(path), str(path))
    try:
        rows = list(csv.reader(io.StringIO(text, newline="")))
    except csv.Error as error:
        raise DataError(f"{path}: not CSV ({error})") from error
    has_header = bool(rows) and tuple(rows[0]) == _FIELDS
    answers = _DIGITS if has_header else LETTERS
    body = rows[1:] if has_header else rows
    if not body:
        raise DataError(f"{path}: no rows; expected {', '.join(_FIELDS)}")
    for number, row in enumerate(body, start=1 + has_header):
        _check(row, f"{path}: row {number}", answers)
    return tuple(
        Question(
            id=f"{subject}/{split}/{index}",
            subject=subject,
            text=row[0],
            choices=(row[1], row[2], row[3], row[4]),
            answer=LETTERS[answers.index(row[5])],
        )
        for index, row in enumerate(body)
    )


def _check(row: Sequence[str], where: str, answers: Sequence[str]) -> None:
    if len(row) != len(_FIELDS):
        raise DataError(f"{where}: {len(row)} fields; expected {', '.join(_FIELDS)}")
    for name, value in zip(_FIELDS, row, strict=True):
        if not isinstance(value, str) or not value.strip():
            raise DataError(f"{where}: field '{name}' is empty")
    if row[-1] not in answers:
        raise DataError(
            f"{where}: field 'answer' is {row[-1]!r}; expected one of {', '.join(answers)}"
        )
