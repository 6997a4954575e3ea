"""Reading benchmark files: plain or gzipped UTF-8, with errors that name the file and the line."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from peval.errors import DataError


def read_bytes(path: Path) -> bytes:
    """Return a file's bytes, unpacked when its name ends in ``.gz``."""
    try:
        packed = path.read_bytes()
        return gzip.decompress(packed) if path.suffix == ".gz" else packed
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{path}: cannot be read ({reason}); check the file") from error


def decode(raw: bytes, where: str) -> str:
    """Return UTF-8 text without a byte order mark; ``where`` names the place in the error."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: not UTF-8 text; save the file as UTF-8") from error


def parse(text: str, where: str) -> Any:
    """Return the JSON value that the text holds."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno}"
        raise DataError(f"{where}: malformed JSON ({error.msg}, {place})") from error


def read_lines(path: Path) -> Iterator[tuple[str, int, str]]:
    """Yield ``("file:line", line number, text)`` of each line that is not blank."""
    for number, raw in enumerate(read_bytes(path).split(b"\n"), start=1):
        where = f"{path}:{number}"
        if text := decode(raw, where).strip():
            yield where, number, text
