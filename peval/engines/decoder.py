"""From an answer's token ids to its text, alike for every engine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

from peval.adapters.own_tokenizer import end_ids, load_own
from peval.types import Adapter, EngineSpec, Request

_CONTEXT_TOKENS = 6
_HALF_CHARACTER = "\N{REPLACEMENT CHARACTER}"


class Decoders:
    """The decoders of a base and of the adapters with words of their own.

    An answer ends with the base's end tokens, or with those of a whole checkpoint in its place, and
    with the end token of the adapter's own tokenizer, which it was trained to write.
    """

    def __init__(self, spec: EngineSpec) -> None:
        self._encodes = spec.base.is_encoder_decoder
        self._base = AnswerDecoder.of(spec.base.path, self._encodes)
        self._own: dict[str, AnswerDecoder] = {}
        self.adopt(spec.adapters)

    def adopt(self, adapters: Iterable[Adapter]) -> None:
        """Decode for these adapters from now on."""
        self._own = {a.name: self._decoder_of(a.path) for a in adapters if a.own_words}

    def __getitem__(self, adapter: str | None) -> AnswerDecoder:
        return self._own.get(adapter or "", self._base)

    def _decoder_of(self, path: Path) -> AnswerDecoder:
        tokenizer = load_own(self._base.tokenizer, path)
        own = () if tokenizer is self._base.tokenizer else (tokenizer.eos_token_id,)
        ends = dict.fromkeys((*(end_ids(path) or self._base.eos), *own))
        eos = tuple(n for n in ends if n is not None)
        return AnswerDecoder(tokenizer, eos, self._encodes, is_own=True)


class AnswerDecoder:
    """Decodes answers with one tokenizer; ``eos`` are the token ids that end them.

    ``encodes`` says that the answer is a text of its own, and continues no prompt.
    ``is_own`` says that the tokenizer is an adapter's, which its engine knows nothing of.

    vLLM's own streaming decoder is not used: after a prompt that ends inside a multi-byte
    character it puts the prompt's text before the answer's (seen in vLLM 0.32).
    """

    def __init__(
        self, tokenizer: Any, eos: tuple[int, ...], encodes: bool = False, is_own: bool = False
    ) -> None:
        self.tokenizer = tokenizer
        self.eos = eos
        self._encodes = encodes
        self.is_own = is_own

    @classmethod
    def of(cls, path: Path, encodes: bool = False) -> Self:
        """Return the decoder of a base model's answers."""
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(str(path), local_files_only=True)
        return cls(tokenizer, tuple(end_ids(path) or ()), encodes)

    def n_tokens(self, request: Request, answer: Sequence[int]) -> int | None:
        """Return after how many tokens an answer ended, or None where it did not."""
        for n, token in enumerate(answer, start=1):
            if token in self.eos or self.has_stop(request, answer[:n]):
                return n
        return None

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
        if self._encodes:
            return self._decode(answer)
        context = list(request.prompt_token_ids[-_CONTEXT_TOKENS:])
        before, whole = self._decode(context), self._decode(context + answer)
        if before.endswith(_HALF_CHARACTER) or not whole.startswith(before):
            return self._decode(answer)
        return whole[len(before) :]

    def _decode(self, ids: list[int]) -> str:
        text: str = self.tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text


def first_stop(text: str, stop: Sequence[str]) -> int | None:
    """Return where the first stop string begins, or None."""
    return min((at for s in stop if (at := text.find(s)) >= 0), default=None)
