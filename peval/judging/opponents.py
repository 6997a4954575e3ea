"""Answers from elsewhere that a run's answers are held against."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from peval.errors import DataError
from peval.judging.questions import Item


def read_reference(path: Path, items: Sequence[Item]) -> dict[str, tuple[str, ...]]:
    """Read reference answers, as JSON (AlpacaEval's model outputs) or JSON lines.

    A record has ``output`` (or ``outputs``, one for each turn) and either ``id`` or
    ``instruction``, which must be the sample's own words; a record with both must agree.

    Raises
    ------
    DataError
        The file is malformed, or was made for other prompts.
    """
    by_id: dict[str, tuple[str, ...]] = {}
    by_prompt: dict[str, tuple[str, ...]] = {}
    prompt_of: dict[str, str] = {}
    for at, record in enumerate(_records(path), start=1):
        texts = record.get("outputs", [record.get("output")])
        if not (isinstance(texts, list) and texts and all(isinstance(t, str) for t in texts)):
            raise DataError(f"{path}: record {at} has no output")
        if "id" in record:
            by_id[str(record["id"])] = tuple(texts)
        if isinstance(record.get("instruction"), str):
            by_prompt[_plain(record["instruction"])] = tuple(texts)
            if "id" in record:
                prompt_of[str(record["id"])] = _plain(record["instruction"])
    found = {}
    missing, other = [], []
    for item in items:
        name, asked = item.sample.id, {_plain(item.turns[0]), _plain(item.sample.input)}
        if name in by_id and prompt_of.get(name, next(iter(asked))) not in asked:
            other.append(name)
        elif name in by_id:
            found[name] = by_id[name]
        elif prompt := next((p for p in asked if p in by_prompt), None):
            found[name] = by_prompt[prompt]
        else:
            missing.append(name)
    if other or missing:
        n, names = len(other) + len(missing), [*other, *missing]
        what = "answers other prompts" if other else "has no answer"
        raise DataError(
            f"{path}: {what} for {n:,} of {len(items):,} samples, such as {names[0]!r}; give the "
            "reference answers to this very task"
        )
    return found


def _records(path: Path) -> list[dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
        records = (
            json.loads(text) if text.lstrip().startswith("[")
            else [json.loads(line) for line in text.splitlines() if line.strip()]
        )  # fmt: skip
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as JSON or JSON lines ({error})") from error
    if not records or not all(isinstance(record, dict) for record in records):
        raise DataError(f"{path}: holds no records with an output")
    return list(records)


def _plain(text: str) -> str:
    return " ".join(text.split())
