"""Classification heads in vLLM: its classification form of a model, one checkpoint at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from peval.engines.hf_heads import of_classes
from peval.engines.merger import Merger
from peval.engines.scratch import Scratch
from peval.engines.vllm_backend import engine_arguments, prepare_platform, ready_message
from peval.engines.vllm_weights import LiveWeights, wait_for
from peval.engines.wire import failed
from peval.errors import EngineError
from peval.types import Adapter, Completion, EngineSpec, Request

_PATIENCE_S = 0.5


class VllmHeadBackend:
    """An ``LLMEngine`` of vLLM's pooling runner that starts with the first adapter's checkpoint.

    The others take its place in turn, body and head; SEQ_CLS adapters are merged by PEFT before.
    All have as many classes (`peval.routing.specs`).
    """

    def __init__(self, spec: EngineSpec, scratch: Scratch, tick: Callable[[], None]) -> None:
        on_cpu = prepare_platform()
        from vllm.engine.arg_utils import EngineArgs
        from vllm.usage.usage_lib import UsageContext
        from vllm.v1.engine.llm_engine import LLMEngine

        self._merger = Merger(spec, spec.adapters, scratch)
        refused: dict[str, str] = {}
        first, place = _first(spec, self._merger, refused, tick)
        known = [field.name for field in dataclasses.fields(EngineArgs)]
        bare = dataclasses.replace(spec, adapters=(), room=None)
        arguments = engine_arguments(bare, on_cpu, known)
        arguments |= {"model": str(place), "tokenizer": str(spec.base.path)}
        arguments |= {"runner": "pooling", "convert": "classify"}
        self._engine = LLMEngine.from_engine_args(
            EngineArgs(**arguments), usage_context=UsageContext.LLM_CLASS
        )
        self._weights = LiveWeights(self._engine, place, self._merger, first)
        self._padding = _padding(place)
        self._requests: dict[str, Request] = {}
        self._later: dict[str, list[Request]] = {}
        self.ready = ready_message(self._engine.vllm_config, spec, on_cpu, refused)

    def adopt(self, adapters: tuple[Adapter, ...]) -> None:
        """Refuse: an engine of heads is started anew for others (`peval.engines.room`)."""
        raise EngineError(f"an engine of heads takes no others; got {len(adapters)}")

    def submit(self, request: Request) -> None:
        """Hand a request to the engine, or keep it until its weights have their turn."""
        if request.adapter is None or not request.of_head:
            raise EngineError("only classification heads are asked here")
        if request.adapter == self._weights.current:
            self._begin(request)
        else:
            self._later.setdefault(request.adapter, []).append(request)

    def _begin(self, request: Request) -> None:
        from vllm import PoolingParams

        self._requests[request.key] = request
        # Logits, not what vLLM makes of them: their log-probabilities are those of transformers.
        asks = PoolingParams(task="classify", use_activation=False)
        ids = without_padding(request.prompt_token_ids, self._padding)
        self._engine.add_request(request.key, {"prompt_token_ids": list(ids)}, asks)

    def has_work(self) -> bool:
        """Whether a request is unanswered."""
        return bool(self._requests or self._later)

    def step(self) -> list[Completion]:
        """Run one batch, or change the weights where there is nothing more to do with these."""
        if not self._requests:
            return self._turn()
        finished = [out for out in self._engine.step() if out.finished]
        return [self._completion(out) for out in finished]

    def _completion(self, output: Any) -> Completion:
        request = self._requests.pop(output.request_id)
        asked = without_padding(request.prompt_token_ids, self._padding)
        if tuple(output.prompt_token_ids) != asked:
            raise RuntimeError("engine poisoned: it answered another prompt than it was asked")
        return of_classes(request, output.outputs.data.float().log_softmax(-1).tolist())

    def _turn(self) -> list[Completion]:
        """Give the next head its turn; return the failures of one that cannot have it."""
        name = next(iter(self._later))
        try:
            if not self._weights.turn_to(name, _PATIENCE_S):
                return []
        except EngineError as error:
            return [failed(request, str(error)) for request in self._later.pop(name)]
        self._padding = _padding(self._merger.checkpoint(name, _PATIENCE_S))
        for request in self._later.pop(name):
            self._begin(request)
        return []

    def close(self) -> None:
        """End the engine's own processes."""
        self._merger.close()
        self._engine.engine_core.shutdown()


def _first(
    spec: EngineSpec, merger: Merger, refused: dict[str, str], tick: Callable[[], None]
) -> tuple[str, Path]:
    """Return the first adapter that has a checkpoint, and that; note the others before it."""
    for adapter in spec.adapters:
        try:
            return adapter.name, wait_for(merger, adapter.name, tick)
        except EngineError as error:
            refused[adapter.name] = str(error)
    raise EngineError(f"no head can be loaded: {refused[spec.adapters[-1].name]}")


def without_padding(ids: tuple[int, ...], padding: int | None) -> tuple[int, ...]:
    """Return a prompt up to the last token that is no padding, which transformers' heads read."""
    kept = len(ids)
    while kept > 1 and ids[kept - 1] == padding:
        kept -= 1
    return ids[:kept]


def _padding(checkpoint: Path | None) -> int | None:
    """Return the padding token that a checkpoint's head looks for."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(checkpoint, local_files_only=True)
    found: int | None = getattr(config.get_text_config(), "pad_token_id", None)
    return found
