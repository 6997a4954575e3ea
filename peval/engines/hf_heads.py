"""Classification heads in transformers and peft: one model and one length of prompts at a time.

Nothing is padded: a decoder's head reads the last token, and padding would move it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from peval.engines.hf_queue import HfQueue
from peval.errors import EngineError
from peval.types import Adapter, Completion, EngineSpec, Likelihood, Request

_BATCH = 32
_WINDOW = 1024


class HeadBackend(HfQueue):
    """The heads of a spec's adapters, each loaded when it is asked and let go of for the next."""

    def __init__(self, spec: EngineSpec, tick: Callable[[], None]) -> None:
        super().__init__(spec, tick)
        self._adapters = {adapter.name: adapter for adapter in spec.adapters}
        self._loaded: tuple[str, Any] | None = None
        self._base: Any = None
        self.ready = self._greeting(spec.dtype, _WINDOW, {})

    def step(self) -> list[Completion]:
        """Answer the oldest request and others of the same head and length."""
        self._tick()
        first = self._waiting[0]
        alike = [r for r in self._waiting if _shape(r) == _shape(first)][:_BATCH]
        self._forget(alike)
        try:
            model = self._of(first)
        except Exception as error:  # peft raises anything; only this adapter fails
            why = " ".join(str(error).split())[:300]
            return [Completion(r.key, "", (), "error", why) for r in alike]
        return classified(model, alike, self._device)

    def _of(self, request: Request) -> Any:
        name = request.adapter
        if name is None or not request.of_head:
            raise EngineError("only classification heads are asked here")
        if self._loaded is None or self._loaded[0] != name:
            self._loaded = None  # freed before the next is made
            model = self._load(self._adapters[name])
            self._loaded = (name, model.to(self._device).eval().requires_grad_(False))
        return self._loaded[1]

    def _load(self, adapter: Adapter) -> Any:
        """Return the model of an adapter; what PEFT changes is a copy of the base."""
        import peft
        import transformers

        auto: Any = transformers.AutoModelForSequenceClassification
        if not (adapter.path / "adapter_config.json").exists():
            return auto.from_pretrained(str(adapter.path), dtype=self._spec.dtype)
        n = len(adapter.labels)
        if self._base is None or self._base.config.num_labels != n:
            self._base = auto.from_pretrained(
                str(self._spec.base.path), dtype=self._spec.dtype, num_labels=n
            )
        model: Any = peft.PeftModelForSequenceClassification
        return model.from_pretrained(copy.deepcopy(self._base), str(adapter.path))


class HeadReference(HeadBackend):
    """Heads with the likelihoods of each choice in the spec's dtype, then all in float32."""

    def __init__(self, spec: EngineSpec, tick: Callable[[], None]) -> None:
        if (threads := spec.options.get("threads")) is not None:
            import torch

            torch.set_num_threads(int(str(threads)))
        super().__init__(replace(spec, options={}), tick)
        self._exact = HeadBackend(replace(spec, options={}, dtype="float32"), tick)

    def submit(self, request: Request) -> None:
        """Queue a request for both."""
        super().submit(request)
        self._exact.submit(request)

    def step(self) -> list[Completion]:
        """Answer requests of one head and length, in both dtypes."""
        pairs = zip(super().step(), self._exact.step(), strict=True)
        return [
            replace(one, likelihoods=one.likelihoods + exact.likelihoods) for one, exact in pairs
        ]


def classified(model: Any, requests: list[Request], device: str) -> list[Completion]:
    """Return how likely a head finds each group of classes, for prompts of one length.

    A group is as likely as its likeliest class; log-probabilities are those of float32 logits.
    """
    import torch

    if model.config.pad_token_id is None:
        model.config.pad_token_id = -1  # a batch needs one, though nothing is padded
    ids = torch.tensor([request.prompt_token_ids for request in requests], device=device)
    with torch.inference_mode():
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.float()
    rows = logits.log_softmax(-1).tolist()
    return [of_classes(request, row) for request, row in zip(requests, rows, strict=True)]


def of_classes(request: Request, row: list[float]) -> Completion:
    """Return a request's completion from the log-probabilities of a head's classes."""
    best = row.index(max(row))
    found = (
        Likelihood((max(row[place] for place in group),), best in group)
        for group in request.choices
    )
    return Completion(request.key, "", (), "stop", likelihoods=tuple(found))


def _shape(request: Request) -> tuple[str | None, int]:
    return request.adapter, len(request.prompt_token_ids)
