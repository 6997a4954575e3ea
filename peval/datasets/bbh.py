"""BIG-Bench Hard: 27 tasks with worked demonstrations (Suzgun et al., arXiv 2210.09261)."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peval.datasets import files, places
from peval.datasets.subsample import choose
from peval.errors import DataError

LAYOUT = "bbh/TASK.json and cot-prompts/TASK.txt (github.com/suzgunmirac/BIG-Bench-Hard at 9ee07bd)"

_HEADER_LINES = 2


@dataclass(frozen=True)
class Problem:
    """One problem of one task."""

    id: str
    task: str
    input: str
    target: str


@dataclass(frozen=True)
class BbhTask:
    """A task: its problems, and the demonstrations with reasoning, as published."""

    name: str
    demonstrations: str
    problems: tuple[Problem, ...]


def read(folder: Path) -> dict[str, BbhTask]:
    """Return the tasks of a folder by name, sorted; files may be gzipped.

    Raises
    ------
    DataError
        A file is missing or malformed: the message names file, example and field.
    """
    found = {
        path.name.removesuffix(".gz").removesuffix(".json"): path
        for suffix in (".json.gz", ".json")  # the plain file wins where both exist
        for path in (folder / "bbh").glob("*" + suffix)
    }
    if not found:
        raise DataError(f"{folder / 'bbh'}: no *.json; set --data-dir to a folder with {LAYOUT}")
    return {
        name: BbhTask(name, _demonstrations(folder, name), _problems(found[name], name))
        for name in sorted(found)
    }


def tulu_subset(tasks: Mapping[str, BbhTask]) -> dict[str, tuple[Problem, ...]]:
    """Return 40 problems of each task, seed 42, tasks drawn in the order of their names.

    The reference draws from one generator in the order in which its file system lists the files, so
    that the published subset differs from machine to machine and cannot be had again; the sorted
    order is ours.

    References
    ----------
    .. [1] https://github.com/allenai/open-instruct, eval/bbh/run_eval.py and scripts/eval/bbh.sh
       at commit f745360.
    """
    source = random.Random(42)
    return {name: tuple(choose(tasks[name].problems, 40, source)) for name in sorted(tasks)}


def _demonstrations(folder: Path, name: str) -> str:
    """Return a task's published prompt without its header: a canary and a line of dashes."""
    path = places.require(folder / "cot-prompts" / f"{name}.txt", LAYOUT)
    text = files.decode(files.read_bytes(path), str(path)).replace("\r\n", "\n")
    lines = text.split("\n")
    if len(lines) <= _HEADER_LINES or set(lines[_HEADER_LINES - 1].strip()) != {"-"}:
        raise DataError(f"{path}: row 2 must be a line of dashes that ends the header")
    return "\n".join(lines[_HEADER_LINES:])


def _problems(path: Path, name: str) -> tuple[Problem, ...]:
    content = files.parse(files.decode(files.read_bytes(path), str(path)), str(path))
    examples = content.get("examples") if isinstance(content, Mapping) else None
    if not isinstance(examples, list) or not examples:
        raise DataError(f"{path}: field 'examples' must be a list that is not empty")
    return tuple(
        _problem(example, name, index, f"{path}: example {index}")
        for index, example in enumerate(examples)
    )


def _problem(example: Any, name: str, index: int, where: str) -> Problem:
    if not isinstance(example, Mapping):
        raise DataError(f"{where}: must be a JSON object with 'input' and 'target'")
    for field in ("input", "target"):
        if not isinstance(example.get(field), str) or not example[field]:
            raise DataError(f"{where}: field '{field}' must be text that is not empty")
    return Problem(f"{name}-{index}", name, example["input"], example["target"])
