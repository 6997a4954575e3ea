"""People's verdicts from a CSV file: each row on one system's answer to one sample."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from peval.errors import DataError
from peval.judging.judges import Judge
from peval.judging.opponents import BASE
from peval.judging.parts import Part
from peval.types import Request

Row = tuple[str | None, str, str, int | None]
"""Task, system, sample id and which of several answers it is; None where the file does not say."""

_COLUMNS = ("id", "system", "verdict")


def read_verdicts(path: Path, judge: Judge) -> dict[Row, str]:
    """Read a file with ``id``, ``system`` and ``verdict``, and ``task`` where ids need it.

    ``draw`` tells several answers to one sample apart, from 0 on, as the answers' table does. For
    pairs a verdict is win, loss or tie (of the system against its opponent), else a number.

    Raises
    ------
    DataError
        The file is malformed, or says two things of one answer.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            rows, columns = list(reader), list(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as CSV ({error})") from error
    if lacking := [name for name in _COLUMNS if name not in columns]:
        listed = ", ".join(columns)[:80] or "nothing"
        raise DataError(
            f"{path}: line 1: no column {lacking[0]!r}; needed are {', '.join(_COLUMNS)}, with "
            f"commas between, and found is {listed!r}"
        )
    found: dict[Row, str] = {}
    for at, row in enumerate(rows, start=2):
        where = f"{path}: line {at}"
        try:
            name, system, verdict = (row[c].strip() for c in _COLUMNS)
        except AttributeError:
            raise DataError(f"{where}: needs {', '.join(_COLUMNS)}") from None
        if judge.kind == "pairwise" and verdict.lower() not in ("win", "loss", "tie"):
            raise DataError(f"{where}: verdict {verdict!r} is not win, loss or tie")
        task, draw = ((row.get(c) or "").strip() or None for c in ("task", "draw"))
        if draw is not None and not (draw.isascii() and draw.isdecimal()):
            raise DataError(f"{where}: draw {draw!r} is no whole number from 0 on")
        key = (task, system, name, None if draw is None else int(draw))
        if found.setdefault(key, verdict.lower()) != verdict.lower():
            raise DataError(f"{where}: {verdict!r}, and another verdict on this answer before; "
                            "give each annotator a file")  # fmt: skip
    return found


def matched(
    verdicts: Mapping[Row, str], judge: Judge, requests: Sequence[Request]
) -> tuple[dict[str, str], int]:
    """Return verdicts by request key, in a judge's words, and how many rows fit no request.

    Raises
    ------
    DataError
        A row does not say which of several answers it is on.
    """
    said, used = {}, set()
    several = {(r.task, r.adapter, r.sample_id) for r in requests if Part.of(r.part).draw}
    for request in requests:
        is_one_of_several = (request.task, request.adapter, request.sample_id) in several
        for row in _rows_of(request):
            if row in verdicts:
                if is_one_of_several and row[-1] is None:
                    raise DataError(
                        f"sample {request.sample_id!r} has several answers: say which, from 0 on, "
                        "in a column 'draw'"
                    )
                said[request.key] = _worded(judge, verdicts[row], request.part)
                used.add(row)
                break
    return said, len(verdicts) - len(used)


def _rows_of(request: Request) -> Iterator[Row]:
    draw = Part.of(request.part).draw
    for task in (request.task, None):
        for which in (draw, None):
            yield task, request.adapter or BASE, request.sample_id, which


def _worded(judge: Judge, verdict: str, part: int) -> str:
    """Return a verdict in the words of a judge who saw the answers in a request's order."""
    if judge.kind != "pairwise":
        return verdict
    if verdict == "tie":
        return "[[C]]"
    is_first = Part.of(part).swapped
    return judge.labels[0] if (verdict == "win") == is_first else judge.labels[1]
