"""JSON objects from files that nobody vouches for: bounded in size, every fault one line."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from peval.errors import PevalError
from peval.garbage import uncollected

MAX_SHOWN = 120
_MAX_VALUES = 3_000_000  # a tokenizer of 256,000 words and 580,000 merges has 2.3 million


def show(value: object) -> str:
    """Quote a value for a message: printable, on one line, at most 120 characters."""
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "..."


def parse_object(data: bytes, where: str, error: type[PevalError]) -> dict[str, Any]:
    """Parse ``data`` as a JSON object; ``where`` opens the message of any ``error``."""
    n_values = sum(map(data.count, (b",", b"[", b"{")))
    if n_values > _MAX_VALUES:  # each takes up to a hundred times the bytes that it is written in
        raise error(f"{where}: holds more than {_MAX_VALUES} values")
    try:
        with uncollected():
            value = json.loads(data.decode("utf-8"), object_pairs_hook=_unique)
    except RecursionError:
        raise error(f"{where}: JSON nested too deeply") from None
    except UnicodeDecodeError:
        raise error(f"{where}: not UTF-8 text") from None
    except ValueError as fault:
        raise error(f"{where}: not valid JSON ({show(str(fault))})") from None
    if not isinstance(value, dict):
        raise error(f"{where}: a JSON object is needed, found {type(value).__name__}")
    return value


def read_object(path: Path, error: type[PevalError], max_bytes: int = 1 << 20) -> dict[str, Any]:
    """Read the JSON object in ``path``, a regular file of at most ``max_bytes``."""
    if not path.is_file():  # also keeps a named pipe from blocking us
        raise error(f"{path}: no such file")
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as fault:
        raise error(f"{path}: cannot be read ({fault.strerror})") from None
    if len(data) > max_bytes:
        raise error(f"{path}: larger than the {max_bytes} bytes such a file may have")
    return parse_object(data, str(path), error)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse repeated keys: readers differ in which of the values they take."""
    found = dict(pairs)
    if len(found) != len(pairs):
        repeated, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"key {show(repeated)} appears twice")
    return found
