"""How often a second a classification head of OPT-125M's size answers, by engine and dtype.

    python tests/benchmarks/bench_heads.py [--prompts 2000] [--engine hf vllm] [--dtype float32]

Weights and prompts are random; the prompts have the lengths of HANS's. Two heads are asked, so
that the second figure has a change of weights in it.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import lowres

from peval.adapters import load_adapter
from peval.bases import load_base, weight_shapes
from peval.engines import open_engine
from peval.routing import routed
from peval.types import Base, Decoding, EngineSpec, Request

N_WORDS = 50_272


def main() -> None:
    """Print a line for each engine and dtype."""
    asked = argparse.ArgumentParser()
    asked.add_argument("--prompts", type=int, default=2000)
    asked.add_argument("--engine", nargs="+", default=["hf", "vllm"])
    asked.add_argument("--dtype", nargs="+", default=["float32", "bfloat16"])
    chosen = asked.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base, heads = make(Path(folder))
        for dtype in chosen.dtype:
            for engine in chosen.engine:
                measure(base, heads, engine, dtype, chosen.prompts)


def make(folder: Path) -> tuple[Base, list[Path]]:
    """Save a random base of OPT-125M's shape and two heads on it."""
    import torch
    import transformers

    torch.manual_seed(0)
    base = folder / "base"
    model = transformers.OPTForCausalLM(transformers.OPTConfig(vocab_size=N_WORDS))
    model.save_pretrained(base)
    lowres.write_tokenizer(base)
    heads = [lowres.train_head(base, folder / f"head-{n}", [], n, lora=False) for n in (0, 1)]
    return load_base(str(base)), heads


def measure(base: Base, heads: list[Path], engine: str, dtype: str, n_prompts: int) -> None:
    """Ask each head as many prompts; print the seconds to the first answer and the rates."""
    loaded = [load_adapter(p, p.name, base, weight_shapes(base)) for p in heads]
    spec = EngineSpec(engine, base, routed(loaded, [], engine), dtype, 512, 0)  # type: ignore[arg-type]
    source = random.Random(0)
    requests = []
    for number in range(n_prompts):
        n_tokens = max(5, int(source.gauss(26, 8)))
        ids = (2, *(source.randrange(10, N_WORDS) for _ in range(n_tokens)))
        first = Request(f"0/{number}", "t", str(number), loaded[0].name, ids, Decoding(0),
                        choices=((0,), (1,)), of_head=True)  # fmt: skip
        requests += [first, replace(first, key=f"1/{number}", adapter=loaded[1].name)]
    requests.sort(key=lambda request: request.key[0])
    began_s, ends_s = time.monotonic(), []
    with closing(open_engine([spec], Path(tempfile.mkdtemp()) / "log")) as opened:
        for completion in opened.complete(requests):
            assert completion.error is None, completion.error
            ends_s.append(time.monotonic())
    first_s, half_s = ends_s[0] - began_s, ends_s[n_prompts - 1] - ends_s[0]
    rest_s = ends_s[-1] - ends_s[n_prompts - 1]
    rates = n_prompts / half_s, n_prompts / rest_s
    print(f"{engine:5} {dtype:9} first answers after {first_s:.1f} s, {rates[0]:.0f} prompts/s; "
          f"the second head {rates[1]:.0f} prompts/s", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
