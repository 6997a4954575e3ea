"""LoRA on the CPU: peval's kernels against vLLM's own, one layer, tokens of four adapters mixed.

vLLM's are timed where they are right: no token belongs to the base.

Usage: python tests/benchmarks/bench_lora.py
"""

import statistics
import sys
import time
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

from peval.engines.vllm_cpu_lora import GroupedLora

N_ADAPTERS, RANK, N_ROUNDS = 4, 16, 7
LAYERS = {"toy": 128, "1B": 2048, "8B": 4096}


def seconds(kernel, layer) -> float:
    """Return the wall seconds of one application to a layer's output."""
    x, a, b, y = layer
    start = time.perf_counter()
    kernel.add_lora_linear(y, x, (a,), (b,), 1.0, (y.shape[1],))
    return time.perf_counter() - start


def measure(width: int, n_tokens: int) -> list[tuple[float, float]]:
    """Return seconds of both kernels for rounds taken in turn."""
    kernels = [kind(n_tokens, n_tokens, "cpu") for kind in (PunicaWrapperCPU, GroupedLora)]
    slots = tuple(torch.randint(1, N_ADAPTERS + 1, (n_tokens,)).tolist())
    batch = SimpleNamespace(index_mapping=slots, prompt_mapping=slots, is_prefill=True)
    for kernel in kernels:
        kernel.update_metadata(batch, list(range(1, N_ADAPTERS + 1)), N_ADAPTERS + 1, 1000)
    shapes = ((n_tokens, width), (N_ADAPTERS, 1, RANK, width), (N_ADAPTERS, 1, width, RANK))
    layer = [torch.randn(shape, dtype=torch.bfloat16) for shape in (*shapes, (n_tokens, width))]
    return [tuple(seconds(kernel, layer) for kernel in kernels) for _ in range(N_ROUNDS + 1)][1:]


def main() -> None:
    """Measure and print."""
    torch.manual_seed(0)
    print(f"{N_ADAPTERS} adapters of rank {RANK}, bfloat16, median of {N_ROUNDS} rounds, ms")
    print("layer  width  tokens    vLLM's    peval's   ratio")
    for name, width in LAYERS.items():
        for n_tokens in (64, 512):
            rounds = measure(width, n_tokens)
            theirs, ours = (1000 * statistics.median(r[who] for r in rounds) for who in (0, 1))
            row = f"{name:5} {width:6} {n_tokens:7} {theirs:9.2f} {ours:10.2f}"
            print(f"{row} {theirs / ours:6.1f}x")


if __name__ == "__main__":
    main()
