"""Which tokens end an answer, read from a base model's files."""

from __future__ import annotations

import json
from pathlib import Path


def eos_token_ids(base_path: Path) -> tuple[int, ...]:
    """Return the ids that end an answer; chat models often list several.

    ``generation_config.json`` has the last word, as in ``transformers``; nothing else in that
    file (temperature, penalties) may reach an evaluation.
    """
    for name in ("generation_config.json", "config.json"):
        path = base_path / name
        config = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        ids = config.get("eos_token_id")
        if ids is not None:
            return tuple(ids) if isinstance(ids, list) else (int(ids),)
    return ()
