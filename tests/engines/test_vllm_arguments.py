from __future__ import annotations

from pathlib import Path

import pytest
from scripted import TOY

from peval.engines.vllm_backend import engine_arguments, lora_arguments
from peval.engines.wire import decode, encode, read_spec, spec_message
from peval.errors import EngineError
from peval.types import Adapter, Base, EngineSpec

KNOWN = ["max_num_seqs", "gpu_memory_utilization", "kv_cache_memory_bytes", "enforce_eager"]
SPLIT = [*KNOWN, "tensor_parallel_size"]


def adapter(name: str, rank: int, *targets: str) -> Adapter:
    return Adapter(name, Path("/a") / name, name * 8, "lora", rank, targets, None, False)


def spec(*adapters: Adapter, **options: object) -> EngineSpec:
    base = Base("b", TOY / "base", "0" * 64, "bfloat16", 2048, 1000)
    return EngineSpec("vllm", base, adapters, "bfloat16", 512, 3, options)


def test_an_unknown_option_names_the_nearest() -> None:
    with pytest.raises(
        EngineError, match="no engine argument 'max_seqs'; did you mean max_num_seqs"
    ):
        engine_arguments(spec(max_seqs=3), False, KNOWN)


def test_the_users_options_win() -> None:
    arguments = engine_arguments(spec(max_num_seqs=7, enforce_eager=False), True, KNOWN)
    assert arguments["max_num_seqs"] == 7
    assert arguments["enforce_eager"] is False
    n_tokens, bytes_per_token = 7 * 512, 2 * 4 * 4 * 32 * 2  # keys and values, layers, heads...
    assert arguments["kv_cache_memory_bytes"] == n_tokens * bytes_per_token
    assert arguments["generation_config"] == "vllm"


def test_a_users_memory_setting_replaces_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = engine_arguments(spec(gpu_memory_utilization=0.5), True, KNOWN)
    assert "kv_cache_memory_bytes" not in arguments
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "2")
    assert "kv_cache_memory_bytes" not in engine_arguments(spec(), True, KNOWN)


def test_adapters_on_a_split_cpu_engine_are_refused() -> None:
    with pytest.raises(EngineError, match="tensor_parallel_size on a CPU"):
        engine_arguments(spec(adapter("a", 8, "q_proj"), tensor_parallel_size=2), True, SPLIT)
    assert engine_arguments(spec(tensor_parallel_size=2), True, SPLIT)["tensor_parallel_size"] == 2


def test_no_adapters_no_lora() -> None:
    assert "enable_lora" not in engine_arguments(spec(), False, KNOWN)


@pytest.mark.parametrize(("rank", "legal"), [(1, 1), (2, 8), (16, 16), (17, 32), (300, 320)])
def test_the_smallest_legal_rank_is_chosen(rank: int, legal: int) -> None:
    assert lora_arguments((adapter("a", 1), adapter("b", rank)))["max_lora_rank"] == legal


def test_a_rank_beyond_the_limit_is_refused() -> None:
    with pytest.raises(EngineError, match="rank 513; vLLM's limit is 512"):
        lora_arguments((adapter("a", 513),))


def test_room_is_made_for_all_adapters_and_their_modules() -> None:
    many = tuple(adapter(f"a{i}", 8, "model.layers.0.q_proj", "v_proj") for i in range(20))
    arguments = lora_arguments(many)
    assert (arguments["max_loras"], arguments["max_cpu_loras"]) == (16, 20)
    assert arguments["lora_target_modules"] == ["q_proj", "v_proj"]


def test_a_spec_survives_the_wire() -> None:
    sent = spec(adapter("a", 8, "q_proj"), max_num_seqs=7)
    assert read_spec(decode(encode(spec_message(sent)))) == sent
