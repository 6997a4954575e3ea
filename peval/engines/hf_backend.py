"""Plain transformers and peft behind the worker: slow, simple, and the check on vLLM."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from peval.engines.decoder import Decoders
from peval.engines.hf_likelihood import likelihoods
from peval.engines.hf_models import HfModels
from peval.engines.hf_queue import HfQueue
from peval.engines.seeds import first_seed
from peval.engines.wire import NO_NUMBERS, failed, joined
from peval.types import Completion, Drawn, EngineSpec, Request

_BATCH = 16
_WINDOW = 256


class HfBackend(HfQueue):
    """The base and each adapter in a model of their own; see `hf_models`."""

    def __init__(self, spec: EngineSpec, tick: Callable[[], None]) -> None:
        super().__init__(spec, tick)
        self._decoders = Decoders(spec)
        self._models = HfModels(spec, self._device)
        self.ready = self._greeting(self._models.dtype, _WINDOW, self._models.refused)

    def step(self) -> list[Completion]:
        """Answer the oldest request and others like it."""
        first = self._waiting[0]
        if first.choices:
            self._tick()
            return [self._scored(self._waiting.pop(0))]
        alike = [request for request in self._waiting if self._may_share(first, request)]
        # A sampled answer has its own seed, so it is drawn alone.
        if first.decoding.temperature > 0:
            batch = alike[:1]
            done = [self._drawn(first)]
        else:
            batch = alike[:_BATCH]
            answers = self._answer(batch, first.decoding.seed)
            done = [_joined(r, [a]) for r, a in zip(batch, answers, strict=True)]
        self._forget(batch)
        return done

    def _scored(self, request: Request) -> Completion:
        return self._likelihoods(self._models, request)

    def _likelihoods(self, models: HfModels, request: Request) -> Completion:
        return likelihoods(models.of(request.adapter), request, self._device)

    def _drawn(self, request: Request) -> Completion:
        """Draw a request's answers, a batch at a time."""
        seed, n = first_seed(request), request.decoding.n
        starts = range(0, n, _BATCH)
        batches = (self._answer([request] * min(_BATCH, n - at), seed + at) for at in starts)
        return _joined(request, [drawn for batch in batches for drawn in batch])

    def _may_share(self, first: Request, other: Request) -> bool:
        """Tell whether two requests can be answered in one batch."""
        alike = (other.adapter, other.decoding) == (first.adapter, first.decoding)
        if not alike or other.choices:
            return False
        may_pad = self._models.is_encoder_decoder or self._models.of(first.adapter).may_pad
        return may_pad or len(other.prompt_token_ids) == len(first.prompt_token_ids)

    def _answer(self, batch: list[Request], seed: int) -> list[Drawn | None]:
        """Return what is written for each request; None where the model computed no number."""
        import torch
        from transformers import LogitsProcessorList

        applied = self._models.of(batch[0].adapter)
        ids, mask = self._padded(batch)
        # An encoder-decoder's answer begins after its start token, another's after the prompt.
        start = 1 if self._models.is_encoder_decoder else ids.shape[1]
        torch.manual_seed(seed)
        spoilt = torch.zeros(len(batch), dtype=torch.bool, device=self._device)

        def look(input_ids: Any, scores: Any) -> Any:
            nonlocal spoilt
            spoilt |= scores.isnan().any(-1)
            return scores

        with torch.inference_mode():
            output = applied.model.generate(
                input_ids=ids.to(self._device),
                attention_mask=mask.to(self._device),
                generation_config=self._generation(batch[0]),
                stopping_criteria=[self._stopper(batch, start)],
                logits_processor=LogitsProcessorList([look]),
                **applied.extra,
            )
        answers = output[:, start:].tolist()
        rows = zip(batch, answers, spoilt.tolist(), strict=True)
        return [None if is_spoilt else self._one(r, a) for r, a, is_spoilt in rows]

    def _padded(self, batch: list[Request]) -> tuple[Any, Any]:
        """Return prompts of one width and what of them counts: (batch, width) each.

        Padding stands before a prompt that is gone on with, and after one that is encoded.
        """
        import torch

        width = max(len(request.prompt_token_ids) for request in batch)
        ids = torch.zeros((len(batch), width), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, request in enumerate(batch):
            n = len(request.prompt_token_ids)
            place = slice(n) if self._models.is_encoder_decoder else slice(width - n, width)
            ids[row, place] = torch.tensor(request.prompt_token_ids)
            mask[row, place] = 1
        return ids, mask

    def _generation(self, request: Request) -> Any:
        from transformers import GenerationConfig

        decoding, eos = request.decoding, self._decoders[request.adapter].eos
        sampled: dict[str, Any] = {"do_sample": False}
        if decoding.temperature > 0:
            sampled = {
                "do_sample": True,
                "temperature": decoding.temperature,
                "top_k": decoding.top_k,
                "top_p": decoding.top_p,
            }
        return GenerationConfig(
            max_new_tokens=decoding.max_tokens,
            eos_token_id=list(eos) or None,
            pad_token_id=eos[0] if eos else 0,
            decoder_start_token_id=self._models.decoder_start,
            **sampled,
        )

    def _stopper(self, batch: list[Request], start: int) -> Callable[..., Any]:
        """Return a criterion that ends the rows whose text holds a stop string, and ticks."""
        import torch

        def stop(input_ids: Any, scores: Any, **kwargs: Any) -> Any:
            self._tick()
            answers = input_ids[:, start:].tolist()
            rows = [
                self._decoders[r.adapter].has_stop(r, a)
                for r, a in zip(batch, answers, strict=True)
            ]
            return torch.tensor(rows, device=input_ids.device)

        return stop

    def _one(self, request: Request, answer: list[int]) -> Drawn:
        decoder = self._decoders[request.adapter]
        n = decoder.n_tokens(request, answer)
        reason: Literal["stop", "length"] = "length" if n is None else "stop"
        ids = answer[:n]
        return Drawn(decoder.text(request, ids), tuple(ids), reason)


def _joined(request: Request, drawn: Sequence[Drawn | None]) -> Completion:
    """Return a request's completion; it fails where any of its answers does."""
    whole = [one for one in drawn if one is not None]
    return joined(request.key, whole) if len(whole) == len(drawn) else failed(request, NO_NUMBERS)
