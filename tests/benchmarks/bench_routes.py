"""Batching LoRAs against merging each in turn: whole engines, from their launch to the last answer.

Each cell of the grid is answered twice, each time by a fresh vLLM. `peval.estimate` says which way
is faster; the last column is the time of its choice over the better of the two times. Requests are
counted per adapter. The engine's start counts: what merges starts beside it.

Usage: python tests/benchmarks/bench_routes.py [--adapters 1 4 --requests 10 1000] [--full]
"""

import argparse
import math
import random
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from safetensors.torch import load_file, save_file

from peval.adapters import load_adapter
from peval.bases import load_base, n_layers, weight_shapes
from peval.engines import SupervisedEngine
from peval.estimate import CPU, Work, merging_is_faster
from peval.types import MERGE, NATIVE, Adapter, Base, Decoding, EngineSpec, Request

TOY = Path(__file__).resolve().parents[1] / "toy"
FULL_ADAPTERS, FULL_REQUESTS = (1, 2, 4, 8, 16), (10, 50, 200, 800, 2000)
MAX_TOKENS = 32


def make_adapters(n: int, sources: list[Path], base: Base, folder: Path) -> list[Adapter]:
    """Return copies of some adapters; from the second turn on, scaled a little."""
    shapes, found = weight_shapes(base), []
    for number in range(n):
        turn, index = divmod(number, len(sources))
        path = shutil.copytree(sources[index], folder / f"adapter{number}")
        weights = path / "adapter_model.safetensors"
        tensors = {name: t * (1 + turn / 8) for name, t in load_file(weights).items()}
        save_file(tensors, weights, metadata={"format": "pt"})
        found.append(load_adapter(path, path.name, base, shapes, allow_base_mismatch=True))
    return found


def questions(adapters: list[Adapter], n: int, base: Base) -> list[Request]:
    """Return prompts of 20 to 200 random tokens, each put to every adapter."""
    rng = random.Random(0)
    words = range(10, base.vocabulary_size - 10)
    prompts = [tuple(rng.choices(words, k=rng.randint(20, 200))) for _ in range(n)]
    return [
        Request(f"{adapter.name}/{i}", "bench", str(i), adapter.name, prompt, Decoding(MAX_TOKENS))
        for i, prompt in enumerate(prompts)
        for adapter in adapters
    ]


def timed(route: str, adapters: list[Adapter], n: int, base: Base, log: Path) -> float:
    """Return seconds from an engine's launch to the last answer."""
    routed = tuple(replace(adapter, route=route) for adapter in adapters)
    requests = questions(adapters, n, base)
    if route == MERGE:  # in the order of a plan: one adapter after the other
        requests.sort(key=lambda r: [a.name for a in adapters].index(r.adapter))
    engine = SupervisedEngine(EngineSpec("vllm", base, routed, base.dtype, 2048, 0), log)
    start = time.perf_counter()
    try:
        answers = list(engine.complete(requests))
        end = time.perf_counter()
    finally:
        engine.close()
    assert all(a.finish_reason != "error" for a in answers), answers[0].error
    return end - start


def choice(adapters: list[Adapter], n: int, base: Base) -> str:
    """Return the route that peval would choose."""
    n_tokens = sum(len(r.prompt_token_ids) + MAX_TOKENS for r in questions(adapters[:1], n, base))
    n_parameters = sum(map(math.prod, weight_shapes(base).values()))
    work = Work(len(adapters), n_tokens, n_layers(base) or 1, n_parameters)
    return MERGE if merging_is_faster(work, CPU) else NATIVE


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", default=str(TOY / "base"))
    parser.add_argument("--adapter", nargs="+", type=Path, help="default: the toy's trained ones")
    parser.add_argument("--adapters", nargs="+", type=int, default=(1, 4))
    parser.add_argument("--requests", nargs="+", type=int, default=(10, 1000), help="per adapter")
    parser.add_argument("--full", action="store_true", help="the whole grid; about an hour")
    given = parser.parse_args()
    base = load_base(given.base)
    counts = FULL_ADAPTERS if given.full else given.adapters
    with tempfile.TemporaryDirectory() as folder:
        toys = [p for p in sorted((TOY / "adapters").iterdir()) if p.name != "noop"]
        adapters = make_adapters(max(counts), given.adapter or toys, base, Path(folder))
        log = Path(folder) / "engine.log"
        timed(NATIVE, adapters[:1], 1, base, log)  # fills caches on disk
        print("adapters  requests  batch s  merge s  chosen      ratio")
        for n_adapters in counts:
            for n in FULL_REQUESTS if given.full else given.requests:
                mine = adapters[:n_adapters]
                taken_s = {r: timed(r, mine, n, base, log) for r in (NATIVE, MERGE)}
                chosen = choice(mine, n, base)
                ratio = taken_s[chosen] / min(taken_s.values())
                times = f"{taken_s[NATIVE]:8.1f} {taken_s[MERGE]:8.1f}"
                print(f"{n_adapters:8} {n:9} {times}  {chosen:11} {ratio:5.2f}", flush=True)


if __name__ == "__main__":
    main()
