"""A user's own data: one JSON object per line, in a ``.jsonl`` or ``.jsonl.gz`` file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from peval.datasets import files
from peval.errors import DataError, TaskError
from peval.metrics import describes
from peval.types import Dataset, Sample, Task

KEYS = ("input", "turns", "output", "targets", "references", "choices", "task", "category", "split")
"""What a line may hold beside an id; other keys are one's own and are not read."""


@dataclass(frozen=True)
class _Row:
    """One line: its place for error messages, its number, and what it holds."""

    where: str
    number: int
    record: Mapping[str, Any]

    def text(self, key: str, default: str = "") -> str:
        """Return a text, or the default where the key is absent or null."""
        value = self.record.get(key)
        if value is None:
            return default
        if not isinstance(value, str):
            raise DataError(f"{self.where}: '{key}' must be text")
        return value


def read(task: Task) -> Dataset:
    """Return the samples of the file that ``task.source`` names.

    A line holds ``input`` and either ``output`` (text) or ``targets`` (text or a list of texts);
    multiple choice has ``choices``, a list of continuations, among them the targets, in every line
    of the file. Where the first line has neither ``output`` nor ``targets``, or has ``turns``, the
    file holds open prompts: references are optional, and ``turns`` (a list of texts) may stand for
    ``input``, to be asked one after the other, with ``references``, one for each. Optional are
    ``id`` (default: the line number), ``task`` (the cluster; default: the task's own name),
    ``category`` and ``split``; null counts as absent. A task whose split is neither empty nor
    "all" takes the lines of that split and those without one. Of each cluster
    at most ``profile.instances_per_task`` lines are kept, in file order.

    Raises
    ------
    DataError
        The file is missing, empty or malformed; the message begins with ``file:line``.
    """
    path = path_of(task)
    samples = tuple(_sample(row, task) for row in _kept(path, task))
    odd = next((s for s in samples if bool(s.choices) != bool(samples[0].choices)), None)
    if odd:
        raise DataError(f"{path}: '{odd.id}': 'choices' must stand in every line or in none")
    if not samples:
        wanted = f" of the split '{task.split}'" if task.split else ""
        raise DataError(f"{path}: no lines{wanted}; expected one JSON object per line")
    return Dataset(samples=samples, files=(path,))


def path_of(task: Task) -> Path:
    """Return the file that a task names."""
    if task.source is None:
        raise TaskError(f"{task.name}: the reader 'jsonl' needs 'source', a path to a .jsonl file")
    return Path(task.source)


def _kept(path: Path, task: Task) -> Iterator[_Row]:
    """Yield the rows of the task's split, up to its instances per cluster."""
    counts: Counter[str] = Counter()
    for row in _rows(path):
        if task.split not in ("", "all") and row.text("split", task.split) != task.split:
            continue
        counts[row.text("task")] += 1
        limit = task.profile.instances_per_task
        if limit is None or counts[row.text("task")] <= limit:
            yield row


def _rows(path: Path) -> Iterator[_Row]:
    """Yield every row; ids are checked over the whole file, whatever is kept of it."""
    lines: dict[str, int] = {}
    for where, number, text in files.read_lines(path):
        record = files.parse(text, where)
        if not isinstance(record, dict):
            raise DataError(f"{where}: must be a JSON object with 'input' and 'output'")
        row = _Row(where, number, record)
        _check_spelling(row)
        name = _id(row)
        if name in lines:
            raise DataError(f"{where}: the id '{name}' already stands in line {lines[name]}")
        lines[name] = number
        yield row


def _check_spelling(row: _Row) -> None:
    """Refuse a key that is all but one of ours where that one is absent: it would go unread."""
    for key in row.record.keys() - {*KEYS}:
        meant = _meant(key)
        if meant is not None and row.record.get(meant) is None:
            raise DataError(f"{row.where}: unknown field '{key}'; did you mean '{meant}'?")


@cache
def _meant(key: str) -> str | None:
    return next(iter(get_close_matches(key.lower(), KEYS, 1, 0.8)), None)


def is_open(path: Path) -> bool:
    """Tell whether a file's first line is an open prompt; raises what `read` raises."""
    row = next(_rows(path), None)
    return row is not None and _is_open(row)


def _is_open(row: _Row) -> bool:
    given = [key for key in ("output", "targets") if row.record.get(key) is not None]
    return not given or row.record.get("turns") is not None


def _turns(row: _Row) -> tuple[str, ...]:
    """Return what a user says, turn by turn."""
    value = row.record.get("turns")
    if value is None:
        if row.record.get("input") is None:
            held = ", ".join(f"'{key}'" for key in row.record) or "nothing"
            raise DataError(f"{row.where}: key 'input' (or 'turns') is missing; it holds {held}")
        return (row.text("input"),)
    texts = isinstance(value, list) and all(isinstance(v, str) and v.strip() for v in value)
    if not value or not texts:
        raise DataError(f"{row.where}: 'turns' must be a list of texts that are not empty")
    if row.record.get("input") is not None or row.record.get("choices") is not None:
        raise DataError(f"{row.where}: 'turns' stand beside neither 'input' nor 'choices'")
    return tuple(value)


def _id(row: _Row) -> str:
    """Return a row's id as text; a whole number may serve as one."""
    value = row.record.get("id")
    if value is None:
        return str(row.number)
    if isinstance(value, bool) or not isinstance(value, (str, int)) or value == "":
        raise DataError(f"{row.where}: 'id' must be text or a whole number")
    return str(value)


def _sample(row: _Row, task: Task) -> Sample:
    """Return the sample that a row describes."""
    turns, is_open = _turns(row), describes(task.metrics[0])
    if is_open and not turns[0].strip():
        raise DataError(f"{row.where}: the prompt is empty")
    if len(turns) > 1:
        return _conversation(row, turns, task)
    is_bare = is_open and all(row.record.get(key) is None for key in ("output", "targets"))
    return Sample(
        id=_id(row),
        input=turns[0],
        targets=() if is_bare else _targets(row),
        cluster=row.text("task") or task.name,
        category=row.text("category"),
        choices=_choices(row),
    )


def _conversation(row: _Row, turns: tuple[str, ...], task: Task) -> Sample:
    """Return a sample of several turns; references, one for each, are kept as FastChat's are."""
    if not describes(task.metrics[0]):
        raise DataError(f"{row.where}: 'turns' in a file whose first line is no open prompt; "
                        "give open prompts a file of their own")  # fmt: skip
    if any(row.record.get(key) is not None for key in ("output", "targets")):
        raise DataError(f"{row.where}: several turns take 'references', a text for each turn")
    given = row.record.get("references")
    fits = isinstance(given, list) and len(given) == len(turns)
    if given is not None and not (fits and all(isinstance(one, str) for one in given)):
        raise DataError(f"{row.where}: 'references' must be {len(turns)} texts, one for each turn")
    return Sample(
        id=_id(row),
        input=turns[0],
        follow_ups=turns[1:],
        targets=tuple(given[:1]) if given else (),
        cluster=row.text("task") or task.name,
        category=row.text("category"),
        problem=json.dumps({"references": given}) if given else "",
    )


def has_choices(path: Path) -> bool:
    """Tell whether a file's first line offers choices; raises what `read` raises."""
    row = next(_rows(path), None)
    return row is not None and row.record.get("choices") is not None


def _choices(row: _Row) -> tuple[str, ...]:
    """Return the continuations to choose from, or nothing; a target must be one of them."""
    value = row.record.get("choices")
    if value is None:
        return ()
    if not (isinstance(value, list) and len(set(map(str, value))) == len(value) > 1):
        raise DataError(f"{row.where}: 'choices' must be a list of two or more different texts")
    if not all(isinstance(one, str) and one for one in value):
        raise DataError(f"{row.where}: 'choices' must be texts that are not empty")
    for target in set(_targets(row)) - set(value):
        raise DataError(f"{row.where}: the target {target!r} is not among the 'choices'")
    return tuple(value)


def _targets(row: _Row) -> tuple[str, ...]:
    """Return the accepted answers, which stand in one of two keys."""
    given = [key for key in ("output", "targets") if row.record.get(key) is not None]
    if len(given) != 1:
        raise DataError(f"{row.where}: needs either 'output' or 'targets'")
    value = row.record[given[0]]
    if given == ["output"] or isinstance(value, str):
        return (row.text(given[0]),)
    if not (isinstance(value, list) and value and all(isinstance(one, str) for one in value)):
        raise DataError(f"{row.where}: 'targets' must be text or a list of texts")
    return tuple(value)
