"""Answers from elsewhere that a run's answers are held against."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from peval.errors import DataError
from peval.judging.questions import Item
from peval.spoken import turns_of


def read_reference(path: Path, items: Sequence[Item]) -> dict[str, tuple[str, ...]]:
    """Read reference answers, as JSON (AlpacaEval's model outputs) or JSON lines (FastChat's).

    A record has ``output`` (or ``outputs``, one for each turn, or FastChat's ``choices``) and
    either ``id`` (``question_id``) or ``instruction``, which must be the sample's own words; a
    record with both must agree.

    Raises
    ------
    DataError
        The file is malformed, or was made for other prompts.
    """
    by_id: dict[str, tuple[str, ...]] = {}
    by_prompt: dict[str, tuple[str, ...]] = {}
    prompt_of: dict[str, str] = {}
    for at, record in enumerate(_records(path), start=1):
        texts = turns_of(record, f"{path}: record {at}")
        if texts is None:
            if not isinstance(record.get("output"), str):
                raise DataError(f"{path}: record {at} has no output")
            texts = (record["output"],)
        name = record.get("id", record.get("question_id"))
        if name is not None:
            by_id[str(name)] = texts
        if isinstance(record.get("instruction"), str):
            by_prompt[_plain(record["instruction"])] = texts
            if name is not None:
                prompt_of[str(name)] = _plain(record["instruction"])
    found: dict[str, tuple[str, ...]] = {}
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
    for item in items:
        n, n_turns = len(found[item.sample.id]), len(item.turns)
        if n != n_turns:
            raise DataError(
                f"{path}: sample {item.sample.id!r} has {n_turns} turns, and here {n} answers; "
                "list the answer to each turn in 'outputs'"
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
