"""vLLM behind the worker: one engine, the base and its adapters, each by its route."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import Any

from peval.engines import vllm_cpu, vllm_moments
from peval.engines.decoder import Decoders
from peval.engines.merger import Merger
from peval.engines.scratch import Scratch
from peval.engines.seeds import first_seed
from peval.engines.vllm_likelihood import LikelihoodRequests
from peval.engines.vllm_loras import Loras
from peval.engines.vllm_prompts import TrainedPrompts
from peval.engines.vllm_reads import Reads
from peval.engines.vllm_weights import LiveWeights, wait_for
from peval.engines.wire import Message, failed, joined
from peval.errors import EngineError
from peval.spelling import meant
from peval.types import MERGE, Adapter, Completion, Drawn, EngineSpec, LoraRoom, Request

_LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
_MAX_LORAS = 16
_OUTPUT = "lm_head"
_PATIENCE_S = 0.5


class VllmBackend:
    """An ``LLMEngine`` in which each adapter is applied by its route.

    The base, LoRAs and trained prompts share batches. Adapters on the route ``merge`` take the
    base's place in turn: their requests wait until all others in the engine are answered. One that
    is ``is_apart`` has this engine to itself.
    """

    def __init__(self, spec: EngineSpec, scratch: Scratch, tick: Callable[[], None]) -> None:
        on_cpu = prepare_platform()
        from vllm.engine.arg_utils import EngineArgs
        from vllm.usage.usage_lib import UsageContext
        from vllm.v1.engine.llm_engine import LLMEngine

        self._merged = {a.name for a in spec.adapters if a.route == MERGE and not a.is_apart}
        merger = Merger(spec, [a for a in spec.adapters if a.route == MERGE], scratch)
        self._spec, self._scratch = spec, scratch
        self._numbers: dict[str, int] = {}
        self._loras = Loras(spec, scratch)
        prompts = TrainedPrompts.of(spec)
        self._prompts = prompts
        known = [field.name for field in dataclasses.fields(EngineArgs)]
        as_loras = dataclasses.replace(spec, adapters=tuple(self._loras.adapters))
        arguments = engine_arguments(as_loras, on_cpu, known) | prompts.arguments(spec)
        apart = next((a for a in spec.adapters if a.route == MERGE and a.is_apart), None)
        if apart is not None:
            arguments |= {"model": str(wait_for(merger, apart.name, tick))}
            arguments |= {"tokenizer": str(spec.base.path)}
        # vLLM's defaults depend on who asks; those of its offline class have the largest batches.
        self._engine = LLMEngine.from_engine_args(
            EngineArgs(**arguments), usage_context=UsageContext.LLM_CLASS
        )
        self._loras.load(self._engine, self._numbers)
        self._decoders = Decoders(spec)
        self._merger = merger
        self._weights = LiveWeights(self._engine, spec.base.path, merger)
        self._requests: dict[str, Request] = {}
        self._later: dict[str | None, list[Request]] = {}
        on_output = _OUTPUT in _modules(as_loras.adapters, spec.room)
        self._reads = Reads()
        self._likelihoods = LikelihoodRequests(self._ask, self._install_moments, on_output)
        refused = self._loras.refused | prompts.refused
        self.ready = ready_message(self._engine.vllm_config, spec, on_cpu, refused)

    def adopt(self, adapters: tuple[Adapter, ...]) -> None:
        """Load these LoRAs in place of the ones before; weights that are loaded stay so."""
        self._loras = Loras(dataclasses.replace(self._spec, adapters=adapters), self._scratch)
        self._loras.load(self._engine, self._numbers)
        self._decoders.adopt(adapters)
        known = {adapter.name for adapter in self._loras.adapters} | {*self._loras.refused}
        others = {a.name: f"a running engine takes no {a.route}" for a in adapters
                  if a.name not in known}  # fmt: skip
        self.ready["refused"] = self._loras.refused | others

    def submit(self, request: Request) -> None:
        """Hand a request to the engine, or keep it until its weights have their turn."""
        turn = request.adapter if request.adapter in self._merged else None
        if turn == self._weights.current:
            self._begin(request)
        else:
            self._later.setdefault(turn, []).append(request)

    def _begin(self, request: Request) -> None:
        if request.choices:
            self._likelihoods.submit(request)
        else:
            self._requests[request.key] = request
            sampling = self._sampling(request)
            self._ask(request.key, request.prompt_token_ids, sampling, request.adapter)

    def _ask(self, name: str, ids: tuple[int, ...], sampling: Any, adapter: str | None) -> None:
        prompt: dict[str, Any] = {"prompt_token_ids": list(ids)}
        if adapter is not None and adapter in self._prompts:
            prompt = {"prompt_embeds": self._prompts.embedded(adapter, ids)}
        lora = self._loras.request_of(adapter)
        self._engine.add_request(name, prompt, sampling, lora_request=lora)

    def _turn(self) -> list[Completion]:
        """Give the next weights their turn; return the failures of weights that cannot have it."""
        name = next(iter(self._later))
        try:
            if self._weights.turn_to(name, _PATIENCE_S):
                for request in self._later.pop(name):
                    self._begin(request)
        except EngineError as error:
            return [failed(request, str(error)) for request in self._later.pop(name)]
        return []

    def _install_moments(self) -> None:
        self._engine.collective_rpc(vllm_moments.INSTALL)

    def has_work(self) -> bool:
        """Whether a request is unanswered."""
        return bool(self._is_busy() or self._later)

    def _is_busy(self) -> bool:
        return bool(self._requests or self._likelihoods)

    def step(self) -> list[Completion]:
        """Run one batch, or change the weights where there is nothing more to do with these."""
        if not self._is_busy():
            return self._turn()
        finished = [out for out in self._engine.step() if out.finished]
        for out in finished:
            self._reads.note(self._owner(out.request_id), out)
        found = [self._completion(out) for out in finished]
        return [self._reads.told(completion) for completion in found if completion]

    def _owner(self, name: str) -> str:
        """Return the key of our request that one of vLLM's is, or is a part of."""
        return name if name in self._requests else name.rpartition("/")[0]

    def _completion(self, output: Any) -> Completion | None:
        if output.request_id not in self._requests:
            return self._likelihoods.take(output)
        request = self._requests.pop(output.request_id)
        is_ours = request.adapter in self._prompts  # embeddings come back without token ids
        if not is_ours and tuple(output.prompt_token_ids) != request.prompt_token_ids:
            raise RuntimeError("engine poisoned: it answered another prompt than it was asked")
        drawn = [self._drawn(request, answer) for answer in output.outputs]
        why = next(filter(None, (self._complaint(request, one) for one in output.outputs)), None)
        if why is not None:
            return Completion(request.key, drawn[0].text, drawn[0].token_ids, "error", why)
        return joined(request.key, drawn)

    def _drawn(self, request: Request, answer: Any) -> Drawn:
        decoder, ids = self._decoders[request.adapter], tuple(map(int, answer.token_ids))
        reason = answer.finish_reason
        if decoder.is_own and (n := decoder.n_tokens(request, ids)) is not None:
            ids, reason = ids[:n], "stop"
        return Drawn(decoder.text(request, ids), ids, reason)

    def _complaint(self, request: Request, answer: Any) -> str | None:
        if answer.finish_reason not in ("stop", "length"):
            return f"the engine ended the request: {answer.finish_reason}"
        at_stop = isinstance(answer.stop_reason, str)
        if at_stop and not self._decoders[request.adapter].has_stop(request, answer.token_ids):
            return "the engine stopped at a stop string that the answer does not hold"
        return None

    def _sampling(self, request: Request) -> Any:
        """Return vLLM's parameters; it finds stop strings with the base's tokenizer alone."""
        decoder = self._decoders[request.adapter]
        return _sampling(request, decoder.eos, () if decoder.is_own else request.decoding.stop)

    def close(self) -> None:
        """End the engine's own processes."""
        self._merger.close()
        self._engine.engine_core.shutdown()


def prepare_platform() -> bool:
    """Set what vLLM reads from the environment; return whether it will run on the CPU."""
    os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")  # a fork would keep our pipes
    # A NaN stays in the cache and spoils the rows that get its blocks; a dead engine is better.
    os.environ["VLLM_RAISE_ON_LOGIT_NANS"] = "1"
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return False
    vllm_cpu.prepare_process()
    return True


def ready_message(
    config: Any, spec: EngineSpec, on_cpu: bool, refused: Mapping[str, str]
) -> Message:
    """Return what an engine that is up says of itself.

    Parameters
    ----------
    config
        vLLM's own.
    refused
        Why, by adapter, it cannot answer for one.
    """
    import vllm

    n_sequences = config.scheduler_config.max_num_seqs
    return {
        "engine": "vllm",
        "version": vllm.__version__,
        "device": "cpu" if on_cpu else "cuda",
        "dtype": str(config.model_config.dtype).removeprefix("torch."),
        "max_model_len": spec.max_model_len,
        "max_num_seqs": n_sequences,
        "window": 4 * n_sequences,
        "refused": refused,
    }


def engine_arguments(spec: EngineSpec, on_cpu: bool, known: list[str]) -> dict[str, Any]:
    """Return vLLM's engine arguments; the user's options win.

    Raises
    ------
    EngineError
        An option that vLLM does not know, or an adapter of too high a rank.
    """
    for name in spec.options:
        if name not in known:
            raise EngineError(f"vLLM has no engine argument {name!r}; {meant(name, known)}")
    return {
        "model": str(spec.base.path),
        "dtype": spec.dtype,
        "max_model_len": spec.max_model_len,
        "seed": spec.seed,
        "generation_config": "vllm",  # else the model's own sampling defaults leak in
        "disable_log_stats": True,
        "worker_extension_cls": vllm_moments.EXTENSION,
        **(vllm_cpu.cpu_arguments(spec) if on_cpu else {}),
        **(lora_arguments(spec.adapters, spec.room) if spec.adapters or spec.room else {}),
        **spec.options,
    }


def lora_arguments(adapters: tuple[Adapter, ...], room: LoraRoom | None = None) -> dict[str, Any]:
    """Return the arguments that make room for these adapters and, if wanted, for later ones."""
    room = room or LoraRoom(0, 0, ())
    rank = max([room.rank, *(adapter.rank for adapter in adapters)])
    n_adapters = max(room.n_adapters, len(adapters))
    if rank > _LORA_RANKS[-1]:
        raise EngineError(f"an adapter has rank {rank}; vLLM's limit is {_LORA_RANKS[-1]}")
    return {
        "enable_lora": True,
        "max_loras": min(n_adapters, _MAX_LORAS),
        "max_cpu_loras": n_adapters,
        "max_lora_rank": next(legal for legal in _LORA_RANKS if legal >= rank),
        "lora_target_modules": sorted(_modules(adapters, room)),
    }


def _modules(adapters: tuple[Adapter, ...], room: LoraRoom | None) -> set[str]:
    names = {name for adapter in adapters for name in adapter.target_modules}
    return set(map(_last_part, names | set(room.target_modules if room else ())))


def _last_part(module: str) -> str:
    return module.rpartition(".")[2]


def _sampling(request: Request, eos: tuple[int, ...], stop: tuple[str, ...]) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    decoding = request.decoding
    return SamplingParams(
        n=decoding.n,
        temperature=decoding.temperature,
        top_p=decoding.top_p,
        top_k=decoding.top_k,
        max_tokens=decoding.max_tokens,
        stop=list(stop),
        stop_token_ids=list(eos),
        seed=first_seed(request) if decoding.temperature > 0 else None,
        detokenize=bool(stop),
        skip_special_tokens=True,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )
