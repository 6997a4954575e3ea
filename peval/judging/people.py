"""People's verdicts from a CSV file: each row on one system's answer to one sample."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from peval.errors import DataError
from peval.judging.concluded import BASE
from peval.judging.judges import Judge
from peval.types import Request

Row = tuple[str | None, str, str]
"""Task (None where the file names none), system and sample id."""


def read_verdicts(path: Path, judge: Judge) -> dict[Row, str]:
    """Read a file with ``id``, ``system`` and ``verdict``, and ``task`` where ids need it.

    For pairs a verdict is win, loss or tie (of the system against its opponent), else a number.

    Raises
    ------
    DataError
        The file is malformed, or says two things of one answer.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as CSV ({error})") from error
    found: dict[Row, str] = {}
    for at, row in enumerate(rows, start=2):
        where = f"{path}: line {at}"
        try:
            name, system, verdict = (row[c].strip() for c in ("id", "system", "verdict"))
        except (KeyError, AttributeError):
            raise DataError(f"{where}: needs id, system and verdict") from None
        if judge.kind == "pairwise" and verdict.lower() not in ("win", "loss", "tie"):
            raise DataError(f"{where}: verdict {verdict!r} is not win, loss or tie")
        key = ((row.get("task") or "").strip() or None, system, name)
        if found.setdefault(key, verdict.lower()) != verdict.lower():
            raise DataError(f"{where}: {verdict!r}, and another verdict on this answer before; "
                            "give each annotator a file")  # fmt: skip
    return found


def matched(
    verdicts: Mapping[Row, str], judge: Judge, requests: Sequence[Request]
) -> tuple[dict[str, str], int]:
    """Return verdicts by request key, in a judge's words, and how many rows fit no request."""
    said, used = {}, set()
    for request in requests:
        for row in _rows_of(request):
            if row in verdicts:
                said[request.key] = _worded(judge, verdicts[row], request.part)
                used.add(row)
                break
    return said, len(verdicts) - len(used)


def _rows_of(request: Request) -> Iterator[Row]:
    for task in (request.task, None):
        yield task, request.adapter or BASE, request.sample_id


def _worded(judge: Judge, verdict: str, part: int) -> str:
    """Return a verdict in the words of a judge who saw the answers in a request's order."""
    if judge.kind != "pairwise":
        return verdict
    if verdict == "tie":
        return "[[C]]"
    is_first = part % 2 == 1  # the opponent comes first in an even part
    return judge.labels[0] if (verdict == "win") == is_first else judge.labels[1]
