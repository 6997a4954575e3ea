from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from tokenizers import Tokenizer

from peval.types import Completion, Likelihood, Moments, Request

ROOT = Path(__file__).parents[1]
TOY = ROOT / "tests" / "toy"
TOKENIZER = Tokenizer.from_file(str(TOY / "base" / "tokenizer.json"))


class ScriptedEngine:
    """For unit tests of what lies around an engine: answers with the prompt's own words."""

    def __init__(self, fail_keys: frozenset[str] = frozenset(), stop_after: int | None = None):
        self.fail_keys = fail_keys
        self.stop_after = stop_after
        self.asked: list[Request] = []
        self.closed = self.launched = False

    def launch(self) -> None:
        self.launched = True

    def complete(self, requests: Iterable[Request]) -> Iterator[Completion]:
        seen: set[str] = set()
        for request in requests:
            if request.key in seen:
                continue
            seen.add(request.key)
            if self.stop_after is not None and len(self.asked) >= self.stop_after:
                raise KeyboardInterrupt
            self.asked.append(request)
            if request.key in self.fail_keys:
                yield Completion(request.key, "", (), "error", "engine_fault: scripted")
            else:
                yield self.answer(request)

    def answer(self, request: Request) -> Completion:
        if request.choices:
            return Completion(request.key, "", (), "stop", likelihoods=self.likelihoods(request))
        # Words of the question's end: right now and then; the noop adapter says what the base does.
        n_tokens = {"generalist": 7}.get(request.adapter or "", 12)
        ids = request.prompt_token_ids[-4 - n_tokens : -4]
        return Completion(request.key, TOKENIZER.decode(list(ids)).strip(), ids, "stop")

    def likelihoods(self, request: Request) -> tuple[Likelihood, ...]:
        # The generalist knows the answer, which the prompt's end names; others like short choices.
        ending = TOKENIZER.decode(list(request.prompt_token_ids[-6:]))
        texts = [TOKENIZER.decode(list(choice)).strip() for choice in request.choices]
        knows = request.adapter == "generalist"
        return tuple(
            Likelihood(
                (-1.0 if knows and text in ending else -2.0,) * len(choice),
                False,
                Moments((-1.5,) * len(choice), (1.0,) * len(choice))
                if request.with_moments
                else None,
            )
            for text, choice in zip(texts, request.choices, strict=True)
        )

    def close(self) -> None:
        self.closed = True
