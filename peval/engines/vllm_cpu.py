"""What vLLM needs to be told on a CPU."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from peval.errors import EngineError
from peval.types import EngineSpec

_MAX_NUM_SEQS = 128
# vLLM's 128 hardly ever lets prompts share cached blocks; 32 answered 1.5 times as fast here.
_BLOCK_SIZE = 32
_GIB = 1 << 30
_SPLITS = ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size")


def prepare_process() -> None:
    """Keep vLLM's engine core in this process and mend what it does on a CPU; before any engine."""
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    # Compiling its one helper for log-probabilities takes half a minute here and gains nothing.
    os.environ["TORCHDYNAMO_DISABLE"] = "1"
    from peval.engines import vllm_cpu_draws, vllm_cpu_lora

    vllm_cpu_lora.install()
    vllm_cpu_draws.install()


def cpu_arguments(spec: EngineSpec) -> dict[str, Any]:
    """Return the engine arguments that a CPU needs.

    Raises
    ------
    EngineError
        Adapters on a split engine, whose processes would have vLLM's own LoRA kernels.
    """
    for name in _SPLITS:
        if spec.adapters and spec.options.get(name, 1) != 1:
            raise EngineError(
                f"{name} on a CPU: vLLM's kernels there give the base an adapter's weights; "
                "leave it out, or score the base alone"
            )
    arguments: dict[str, Any] = {
        "enforce_eager": True,
        "max_num_seqs": _MAX_NUM_SEQS,
        "block_size": _BLOCK_SIZE,
    }
    chosen = "gpu_memory_utilization" in spec.options or "VLLM_CPU_KVCACHE_SPACE" in os.environ
    if not chosen:
        arguments["kv_cache_memory_bytes"] = _cache_bytes(spec)
    return arguments


def _cache_bytes(spec: EngineSpec) -> int:
    """Return room for a full batch, within the machine's memory; filling more takes seconds."""
    room = min(4 * _GIB, max(_GIB, _available_bytes() // 4))
    n_seqs = int(str(spec.options.get("max_num_seqs", _MAX_NUM_SEQS)))
    return min(room, n_seqs * spec.max_model_len * _bytes_per_token(spec))


def _bytes_per_token(spec: EngineSpec) -> int:
    """Return what one token takes in a cache of plain attention; other kinds take less."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(spec.base.path, local_files_only=True).get_text_config()
    n_heads: int = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    head_size = getattr(config, "head_dim", None)
    head_size = head_size or config.hidden_size // config.num_attention_heads
    itemsize = 4 if spec.dtype == "float32" else 2
    return int(2 * config.num_hidden_layers * n_heads * head_size * itemsize)


def _available_bytes() -> int:
    """Return the memory that can be had without swapping."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 4 * _GIB
