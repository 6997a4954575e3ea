"""The proof of application: what it costs, and how far engines round apart from float32.

The toy's base and adapters in every dtype and route; see `peval.proof`.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import peval
from peval.results import Results

TOY = Path(__file__).parents[1] / "toy"
WAYS = (
    ("float32", "native-lora"),
    ("float32", "merge"),
    ("bfloat16", "native-lora"),
    ("bfloat16", "merge"),
)


def main() -> None:
    """Print times and distances."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times-only", action="store_true", help="leave the distances out")
    only_times = parser.parse_args().times_only
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder  # nothing is proven yet
        run(folder, "off", "bfloat16", "native-lora")  # what is read first comes from disk
        off_s, _ = run(folder, "off", "bfloat16", "native-lora")
        first_s, _ = run(folder, "stop", "bfloat16", "native-lora")
        again_s, _ = run(folder, "stop", "bfloat16", "native-lora")
        n = len(list((TOY / "adapters").iterdir()))
        print(f"{n} adapters and the base, one item of each task; whole runs")
        print(f"without proof     {off_s:5.1f} s")
        print(f"with proof        {first_s:5.1f} s  ({first_s - off_s:+.1f} s)")
        print(f"proven before     {again_s:5.1f} s  ({again_s - off_s:+.1f} s)")
        if only_times:
            return
        print(
            "dtype     route        adapter        mean nat  transformers'  ratio  max nat  greedy"
        )
        for dtype, route in WAYS:
            os.environ["XDG_CACHE_HOME"] = f"{folder}/{dtype}-{route}"
            for one in run(folder, "warn", dtype, route)[1].proofs:
                tell(dtype, route, one)


def run(folder: str, proof: str, dtype: str, route: str) -> tuple[float, Results]:
    """Score one item of each task; return how long it took, too."""
    began_s = time.monotonic()
    results = peval.score(
        base=str(TOY / "base"), adapters=[str(TOY / "adapters")], suite="superni",
        data_dir=str(TOY / "data"), limit=1, out=tempfile.mkdtemp(dir=folder) + "/run",
        dtype=dtype, routes=(route,), proof=proof,
    )  # fmt: skip
    return time.monotonic() - began_s, results


def tell(dtype: str, route: str, one: dict[str, object]) -> None:
    """Print one system's distances."""
    mean, rounding, most = (float(str(one[k])) for k in ("mean_nat", "rounding_nat", "max_nat"))
    ratio = f"{mean / rounding:5.2f}" if rounding else "     "
    print(
        f"{dtype:9} {route:12} {one['adapter'] or 'base':14} {mean:8.2g} {rounding:14.2g}  "
        f"{ratio} {most:8.2g}  {one['n_greedy_equal']} of {one['n_greedy']}"
    )


if __name__ == "__main__":
    main()
