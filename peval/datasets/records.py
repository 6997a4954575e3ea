"""What an adapter was trained on: one JSON object per line, in the forms that trainers read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peval.datasets import files
from peval.errors import DataError

FORMS = (("input", "output"), ("input", "targets"), ("prompt", "completion"))
EXPECTED = "expected 'input' and 'output', 'prompt' and 'completion', 'messages', or 'text'"


@dataclass(frozen=True)
class Record:
    """One training example; a whole document has its text as target and no prompt."""

    id: str
    prompt: str
    target: str
    task: str
    definition: str = ""

    @property
    def words(self) -> str:
        """Return what the record says, prompt first."""
        return f"{self.prompt}\n{self.target}" if self.prompt else self.target


def read_records(path: Path) -> tuple[Record, ...]:
    """Return a file's records in order.

    A line holds ``input`` and ``output`` (or ``targets``, of which the first counts), or ``prompt``
    and ``completion``, or ``messages`` of a user and an assistant, or ``text``; optional are ``id``
    (default: the line's number), ``task`` and ``definition``.

    Raises
    ------
    DataError
        The file is missing or empty, or a line has other keys; the message names the line.
    """
    found = tuple(_record(where, number, text) for where, number, text in files.read_lines(path))
    if not found:
        raise DataError(f"{path}: no records; {EXPECTED} in each line")
    name, count = Counter(record.id for record in found).most_common(1)[0]
    if count > 1:
        raise DataError(f"{path}: the id '{name}' stands in {count} lines; ids must differ")
    kinds = {bool(record.prompt) for record in found}
    if len(kinds) > 1:
        raise DataError(f"{path}: whole texts and prompts with answers are mixed; use one form")
    return found


def _record(where: str, number: int, line: str) -> Record:
    fields = files.parse(line, where)
    if not isinstance(fields, dict):
        raise DataError(f"{where}: not a JSON object; {EXPECTED}")
    prompt, target = _pair(fields, where)
    extra = {name: _text(fields, name, where) for name in ("task", "definition")}
    name = fields.get("id", number)
    if isinstance(name, bool) or not isinstance(name, str | int) or name == "":
        raise DataError(f"{where}: 'id' must be text or a whole number")
    if not target.strip():
        raise DataError(f"{where}: nothing was to be learnt: the text or answer is empty")
    return Record(str(name), prompt, target, extra["task"], extra["definition"])


def _pair(fields: Mapping[str, Any], where: str) -> tuple[str, str]:
    """Return prompt and target of the one form that a line has."""
    given = [form for form in FORMS if all(fields.get(key) is not None for key in form)]
    alone = [key for key in ("text", "messages") if fields.get(key) is not None]
    if len(given) + len(alone) != 1:
        keys = ", ".join(map(repr, fields)) or "none"
        raise DataError(f"{where}: {EXPECTED}; the keys are {keys}")
    if alone == ["text"]:
        return "", _text(fields, "text", where)
    if alone == ["messages"]:
        return _turns(fields["messages"], where)
    ask, answer = given[0]
    if answer == "targets" and isinstance(fields[answer], list) and fields[answer]:
        fields = {**fields, answer: fields[answer][0]}
    prompt = _text(fields, ask, where)
    if not prompt:
        raise DataError(f"{where}: '{ask}' is empty; give whole texts as 'text'")
    return prompt, _text(fields, answer, where)


def _turns(messages: Any, where: str) -> tuple[str, str]:
    """Return the two turns of a conversation; longer ones have several targets."""
    roles = ["user", "assistant"]
    turns = messages if isinstance(messages, list) else []
    if [turn.get("role") for turn in turns if isinstance(turn, dict)] != roles:
        raise DataError(
            f"{where}: 'messages' must be a user's turn and an assistant's; give longer "
            "conversations as 'prompt' and 'completion'"
        )
    prompt, target = (_text(turn, "content", where) for turn in turns)
    if not prompt:
        raise DataError(f"{where}: the user's turn is empty")
    return prompt, target


def _text(fields: Mapping[str, Any], key: str, where: str) -> str:
    value = fields.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataError(f"{where}: '{key}' must be text")
    return value


def first_of_each_task(records: tuple[Record, ...], limit: int | None) -> Iterator[Record]:
    """Yield the first records of each task, at most ``limit`` of it."""
    counts: Counter[str] = Counter()
    for record in records:
        counts[record.task] += 1
        if limit is None or counts[record.task] <= limit:
            yield record
