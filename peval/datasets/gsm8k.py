"""GSM8K: grade-school word problems with worked solutions (Cobbe et al., arXiv 2110.14168)."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from peval.datasets import files, places
from peval.datasets.subsample import choose
from peval.errors import DataError

LAYOUT = "test.jsonl (github.com/openai/grade-school-math, grade_school_math/data)"

_COMMA_IN_NUMBER = re.compile(r"(\d),(\d)")
_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)")


@dataclass(frozen=True)
class Problem:
    """One problem; ``target`` is the number after ``####``, without thousands separators."""

    id: str
    question: str
    solution: str
    target: str


def read(folder: Path, split: Literal["test", "train"] = "test") -> tuple[Problem, ...]:
    """Return the problems of a split in stored order.

    Raises
    ------
    DataError
        The file is missing or malformed: the message names file, line and field.
    """
    path = places.require(folder / f"{split}.jsonl", LAYOUT)
    problems = tuple(
        _problem(files.parse(text, where), f"{split}-{index}", where)
        for index, (where, _, text) in enumerate(files.read_lines(path))
    )
    if not problems:
        raise DataError(f"{path}: no lines; expected objects with 'question' and 'answer'")
    return problems


def from_rows(
    rows: Iterable[tuple[str, Mapping[str, Any]]], split: Literal["test", "train"] = "test"
) -> tuple[Problem, ...]:
    """Return the problems of rows of openai/gsm8k, each with its place; raises as `read`."""
    return tuple(
        _problem(row, f"{split}-{index}", where) for index, (where, row) in enumerate(rows)
    )


def tulu_subset(problems: Sequence[Problem]) -> list[Problem]:
    """Return the 200 problems that the Tulu evaluations ask, in their order.

    References
    ----------
    .. [1] https://github.com/allenai/open-instruct, eval/gsm/run_eval.py and scripts/eval/gsm.sh
       at commit f745360: seed 42, 200 examples.
    """
    return choose(problems, 200, random.Random(42))


def _problem(record: Any, name: str, where: str) -> Problem:
    if not isinstance(record, Mapping):
        raise DataError(f"{where}: must be a JSON object with 'question' and 'answer'")
    for field in ("question", "answer"):
        if not isinstance(record.get(field), str) or not record[field].strip():
            raise DataError(f"{where}: field '{field}' must be text that is not empty")
    parts = record["answer"].split("####")
    target = _COMMA_IN_NUMBER.sub(r"\1\2", parts[1].strip()) if len(parts) > 1 else ""
    if not _NUMBER.fullmatch(target):
        raise DataError(f"{where}: field 'answer' must end with '#### NUMBER'")
    return Problem(name, record["question"], record["answer"], target)
