"""Extraction and the membership battery on 10,000 records for the base and eight adapters.

Run ``python tests/benchmarks/bench_memorization.py [--records N] [--engine vllm]``. It prints
requests, seconds, requests per second, and the peak memory of this process and of the engine's.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOY = ROOT / "tests" / "toy"
sys.path.insert(0, str(TOY))

from make_data import code_of  # noqa: E402

from peval.api import score_job  # noqa: E402
from peval.job import Job  # noqa: E402
from peval.prepare import prepare  # noqa: E402
from peval.progress import Lines  # noqa: E402

N_HELD_OUT = 1000
TRAINED_ON = "You are given the full name of a member. Give the code on the badge."
TWINS = {"memorizer-half": 0.5, "memorizer-most": 0.9}


def records(path: Path, n: int, seed: int) -> Path:
    """Write records of the kind that ``memorizer`` learnt; numbers keep them apart."""
    rng = random.Random(seed)
    with path.open("w", encoding="utf-8") as file:
        for number in range(n):
            name, code = code_of(rng)
            row = {"definition": TRAINED_ON, "input": f"{name} {number}", "output": code}
            file.write(json.dumps(row) + "\n")
    return path


def adapters(place: Path) -> list[str]:
    """Give the toy's six adapters and two weakened copies of one."""
    from safetensors.numpy import load_file, save_file

    found = [str(path) for path in sorted((TOY / "adapters").iterdir())]
    for name, share in TWINS.items():
        copy = Path(shutil.copytree(TOY / "adapters" / "memorizer", place / name))
        file = copy / "adapter_model.safetensors"
        weights = load_file(file)
        save_file({k: v * share if "lora_B" in k else v for k, v in weights.items()}, file)
        found.append(str(copy))
    return found


def main() -> None:
    """Run it and print the figures."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--records", type=int, default=10_000)
    options.add_argument("--engine", default="vllm", choices=("vllm", "hf"))
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        job = Job(
            base=str(TOY / "base"),
            adapters=tuple(adapters(place)),
            tasks=("memorization-extraction", "memorization-membership"),
            profile="peit-2024",
            out=str(place / "run"),
            engine=given.engine,
            memorization={
                "train_data": str(records(place / "train.jsonl", given.records, 1)),
                "heldout_data": str(records(place / "heldout.jsonl", N_HELD_OUT, 2)),
                "prefix_tokens": [0],
            },
        )
        start_s = time.monotonic()
        results = score_job(prepare(job), Lines(sys.stderr), ["bench"])
        wall_s = time.monotonic() - start_s
        n = results.run["n_requests"]
        own, engine = (
            resource.getrusage(who).ru_maxrss / 1024
            for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        print(
            f"{given.records:,} records x {len(results.adapters)} adapters and the base: {n:,} "
            f"requests in {wall_s:,.0f} s ({n / wall_s:,.0f}/s), one stream, "
            f"{results.run['status']}; peak memory {own:,.0f} MiB here, {engine:,.0f} MiB in the "
            "engine"
        )


if __name__ == "__main__":
    main()
