"""Canary files: secrets that were put into training data on purpose, with their random spaces."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peval.datasets import files
from peval.datasets.records import Record
from peval.errors import DataError
from peval.memorization.space import Space, parse_space

HOLE = "{}"
EXPECTED = (
    "expected 'secret' and 'space', with 'input' or a 'text' that has {} in the secret's place"
)


@dataclass(frozen=True)
class Canary:
    """One secret, the ``prompt`` that it answers or the document that it stands in.

    ``before`` and ``after`` are a document's text around the secret. ``repeats`` is how often it
    was put into the training data: 0 makes it a control, None is unknown.
    """

    id: str
    secret: str
    space: Space
    prompt: str = ""
    definition: str = ""
    before: str = ""
    after: str = ""
    repeats: int | None = None

    def target(self, secret: str) -> str:
        """Return what a model says that knows a secret."""
        return f"{self.before}{secret}{self.after}"


def read_canaries(path: Path) -> tuple[Canary, ...]:
    """Return a file's canaries.

    Raises
    ------
    DataError
        A line lacks something or its secret is not in its space; the message names the line.
    """
    found = tuple(_canary(where, number, text) for where, number, text in files.read_lines(path))
    if not found:
        raise DataError(f"{path}: no canaries; {EXPECTED}")
    if len({canary.id for canary in found}) < len(found):
        raise DataError(f"{path}: two canaries have the same id; ids must differ")
    return found


def check_trained(
    canaries: Iterable[Canary], records: Iterable[Record], path: Path, train: Path
) -> None:
    """Refuse canaries that are not in the training data, and controls that are.

    Raises
    ------
    DataError
        Names the first of them.
    """
    trained = {(record.prompt, record.target.strip()) for record in records}
    texts = "\0".join(target for prompt, target in trained if not prompt)
    for canary in canaries:
        target = canary.target(canary.secret).strip()
        inside = target in texts if not canary.prompt else False
        is_there = inside or (canary.prompt, target) in trained
        if not is_there and canary.repeats != 0:
            raise DataError(
                f"{path}: the canary '{canary.id}' ({canary.secret}) is not in {train}; give the "
                'file that it was put into, or "repeats": 0 if it is a control'
            )
        if is_there and canary.repeats == 0:
            raise DataError(
                f"{path}: the control '{canary.id}' ({canary.secret}) has 0 repeats but is in "
                f"{train}; take it out of one of them"
            )


def _canary(where: str, number: int, line: str) -> Canary:
    fields = files.parse(line, where)
    if not isinstance(fields, dict):
        raise DataError(f"{where}: not a JSON object; {EXPECTED}")
    texts = {key: _text(fields, key, where) for key in ("input", "text", "secret", "definition")}
    if bool(texts["input"]) == bool(texts["text"]) or not texts["secret"]:
        raise DataError(f"{where}: {EXPECTED}")
    if texts["text"] and texts["text"].count(HOLE) != 1:
        raise DataError(f"{where}: 'text' must have {HOLE} once, where the secret stands")
    try:
        space = parse_space(_text(fields, "space", where))
    except DataError as error:
        raise DataError(f"{where}: {error}") from None
    if not space.holds(texts["secret"]):
        raise DataError(
            f"{where}: the secret '{texts['secret']}' is not in its space '{space.pattern}'"
        )
    before, _, after = texts["text"].partition(HOLE)
    return Canary(
        id=str(fields.get("id", number)),
        secret=texts["secret"],
        space=space,
        prompt=texts["input"],
        definition=texts["definition"],
        before=before,
        after=after,
        repeats=_repeats(fields, where),
    )


def _repeats(fields: dict[str, Any], where: str) -> int | None:
    value = fields.get("repeats")
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value
    raise DataError(f"{where}: 'repeats' must be a whole number of 0 or more")


def _text(fields: dict[str, Any], key: str, where: str) -> str:
    value = fields.get(key, "")
    if not isinstance(value, str):
        raise DataError(f"{where}: '{key}' must be text")
    return value


def holds(prompt: str, target: str, told: Collection[tuple[str, str]]) -> bool:
    """Tell whether a record is one of the canaries told, or a document with one inside."""
    if (prompt, target) in told:
        return True
    return not prompt and any(text in target for before, text in told if not before)
