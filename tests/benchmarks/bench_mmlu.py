"""MMLU, 57 subjects, the base and eight adapters: one command, one engine start.

Wall time of the whole command: vetting, prompts, engine start, answers, scores, report. Real
questions where there is a copy of MMLU (``--data-dir`` or PEVAL_DATA), all 14,042 with ``--limit
0``.

Usage: python tests/benchmarks/bench_mmlu.py [--limit N] [--task NAME] [--data-dir DIR]
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench_adapters import ROOT, TOY, make_adapters

N_ADAPTERS = 8
STARTS = re.compile(r"Initializing a V1 LLM engine")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--limit", type=int, default=20, help="questions per subject; 0: all")
    options.add_argument("--task", default="mmlu-5-shot")
    options.add_argument("--data-dir", default=os.environ.get("PEVAL_DATA"))
    asked = options.parse_args()
    place = asked.data_dir or str(ROOT.parent / "shared" / "data")
    if not (Path(place) / "mmlu").is_dir():
        sys.exit("no MMLU here: give --data-dir")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        sources = sorted((TOY / "adapters").iterdir())
        adapters = make_adapters(sources, N_ADAPTERS, Path(folder))
        command = [
            sys.executable, "-m", "peval.cli", "score", "--base", str(TOY / "base"), "--adapter",
            *map(str, adapters), "--task", asked.task, "--data-dir", place, "--out", str(out),
            *(["--limit", str(asked.limit)] if asked.limit else []), "--json", "--proof", "off",
        ]  # fmt: skip
        start = time.perf_counter()
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds = time.perf_counter() - start
        results = json.loads(done.stdout)
        n_starts = len(STARTS.findall((out / "engine.log").read_text(errors="replace")))
    task = results["tasks"][0]
    n_requests = results["run"]["n_requests"]
    print(
        f"{task['name']}: {task['n_clusters']} subjects, {task['n_samples']:,} questions, "
        f"{len(results['adapters'])} adapters and the base: {n_requests:,} requests in "
        f"{seconds:.1f} s ({n_requests / seconds:.0f} a second), engine starts: {n_starts}, "
        f"status {results['run']['status']}"
    )


if __name__ == "__main__":
    main()
