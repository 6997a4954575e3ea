"""Answers in somebody else's file, turn by turn: ``outputs``, or FastChat's ``choices``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from peval.errors import DataError


def turns_of(record: Mapping[str, Any], where: str) -> tuple[str, ...] | None:
    """Return a record's answer to each turn; None where it holds no conversation.

    ``outputs`` lists them; FastChat's ``choices`` hold conversations, each with its ``turns``.

    Raises
    ------
    DataError
        They are no texts, or there are several conversations.
    """
    if "choices" in record:
        choices = record["choices"]
        if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
            raise DataError(f"{where}: field 'choices' must hold one conversation, with its turns")
        turns, name = choices[0].get("turns"), "turns"
    elif "outputs" in record:
        turns, name = record["outputs"], "outputs"
    else:
        return None
    if not isinstance(turns, list) or not turns or not all(isinstance(t, str) for t in turns):
        raise DataError(f"{where}: field '{name}' must be a list of texts, one for each turn")
    return tuple(turns)
