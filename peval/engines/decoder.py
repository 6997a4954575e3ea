"""From an answer's token ids to its text, alike for every engine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from peval.types import Request

_CONTEXT_TOKENS = 6
_HALF_CHARACTER = "\N{REPLACEMENT CHARACTER}"


class AnswerDecoder:
    """Decodes answers with a base model's tokenizer.

    vLLM's own streaming decoder is not used: after a prompt that ends inside a multi-byte
    character it puts the prompt's text before the answer's (seen in vLLM 0.32).
    """

    def __init__(self, base_path: Path) -> None:
        from transformers import AutoTokenizer

        self._tokenizer: Any = AutoTokenizer.from_pretrained(str(base_path))
        self.eos = eos_token_ids(base_path)

    def text(self, request: Request, answer: Sequence[int]) -> str:
        """Return an answer's text without its end token, up to its first stop string."""
        text = self._spelled(request, self._without_end(answer))
        at = first_stop(text, request.decoding.stop)
        return text if at is None else text[:at]

    def has_stop(self, request: Request, answer: Sequence[int]) -> bool:
        """Whether an answer holds one of its request's stop strings."""
        stop = request.decoding.stop
        text = self._spelled(request, self._without_end(answer)) if stop else ""
        return first_stop(text, stop) is not None

    def _without_end(self, answer: Sequence[int]) -> list[int]:
        ended = bool(answer) and answer[-1] in self.eos
        return list(answer[:-1] if ended else answer)

    def _spelled(self, request: Request, answer: list[int]) -> str:
        """Decode as what follows the prompt: some tokenizers drop a text's leading space."""
        context = list(request.prompt_token_ids[-_CONTEXT_TOKENS:])
        before, whole = self._decode(context), self._decode(context + answer)
        if before.endswith(_HALF_CHARACTER) or not whole.startswith(before):
            return self._decode(answer)
        return whole[len(before) :]

    def _decode(self, ids: list[int]) -> str:
        text: str = self._tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text


def first_stop(text: str, stop: Sequence[str]) -> int | None:
    """Return where the first stop string begins, or None."""
    return min((at for s in stop if (at := text.find(s)) >= 0), default=None)


def eos_token_ids(base_path: Path) -> tuple[int, ...]:
    """Return the ids that end an answer; chat models often list several.

    ``generation_config.json`` has the last word, as in transformers; nothing else in that file
    (temperature, penalties) may reach an evaluation.
    """
    for name in ("generation_config.json", "config.json"):
        path = base_path / name
        config = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        ids = config.get("eos_token_id")
        if ids is not None:
            return tuple(ids) if isinstance(ids, list) else (int(ids),)
    return ()
