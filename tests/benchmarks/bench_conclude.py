"""A million stored answers (20 adapters x 50,000, and the base) to results.json: seconds and GB.

The store holds completions. The first `rescore` scores and keeps the scores, the second reads them;
both estimate, compare, and write completions.parquet, results.json and the report. `compare` has
the statistics from the scores in completions.parquet; `report` writes the report from both files.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from made_runs import PROFILE, SERVING, adapter

from peval.plan import ADAPTERS_PER_BATCH
from peval.rundir import RunDir, record
from peval.store import Store
from peval.types import Completion, Decoding, Request, Sample, Task

WORDS = [f"word{i}" for i in range(2_000)]
HOW = Decoding(max_tokens=4)


def key(name: str | None, sample: Sample) -> str:
    """Return a key that, as real ones, says nothing of its neighbours."""
    return hashlib.sha256(f"{name} {sample.id}".encode()).hexdigest()


def request(name: str | None, sample: Sample) -> Request:
    return Request(key(name, sample), "task", sample.id, name, tuple(sample.input.encode()), HOW)


def make(path: Path, n_adapters: int, n_items: int) -> None:
    """Write a run that is answered, but not scored."""
    rng = np.random.default_rng(0)
    task = Task("task", 1, "made", "jsonl", "test", PROFILE, ("rougeL", "exact_match"))
    texts = [" ".join(rng.choice(WORDS, 30)) for _ in range(500)]
    samples = [
        Sample(f"task-{i}", texts[i % 500], (texts[-i % 500][:20],), f"c{i // 500}", f"k{i % 8}")
        for i in range(n_items)
    ]
    names = [None, *(f"adapter-{i}" for i in range(n_adapters))]
    adapters = [adapter(name) for name in names if name]
    rundir = RunDir(path)
    rundir.claim({})
    with Store(rundir.store) as store:
        for first in range(0, len(names), ADAPTERS_PER_BATCH + 1):  # as `peval.plan` orders them
            members = list(enumerate(names))[first : first + ADAPTERS_PER_BATCH + 1]
            store.put_plan({"task": samples}, [request(n, s) for s in samples for _, n in members])
            for i, sample in enumerate(samples):
                for number, name in members:
                    text = texts[(i * 7 + number) % 500][: 40 + i % 60]
                    store.add(Completion(key(name, sample), text, tuple(range(12)), "stop"))
    rundir.write_manifest(
        {
            "status": "running",
            "command": [],
            "config": {},
            "absent": {"task": []},
            "notes": {},
            "base": {"name": "base", "path": "base", "sha256": "0" * 64, "dtype": "float32"},
            "adapters": [record(one) for one in adapters],
            "tasks": [record(task)],
            "job": {"seed": 0, "with_base": True},
            "serving": SERVING,
            "versions": {},
        }
    )


def measure(call: str, run: Path) -> tuple[float, float]:
    """Return seconds and peak GB of a function of `peval.api` in a process of its own."""
    code = (
        f"import json,pathlib,re,time;from peval.api import {call}\n"
        "t=time.perf_counter()\n"
        f"{call}({str(run)!r})\n"
        # Not `ru_maxrss`, which remembers the parent that made the run.
        "status=pathlib.Path('/proc/self/status').read_text()\n"
        "peak_kb=int(re.search(r'VmHWM:\\s+(\\d+)',status)[1])\n"
        "print(json.dumps([time.perf_counter()-t,peak_kb/1e6]))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, gigabytes = json.loads(out.stdout)
    return seconds, gigabytes


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--adapters", type=int, default=20)
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument("--keep", metavar="DIR", help="make the run here, or use the one there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = Path(arguments.keep or folder) / "run"
        if not run.exists():
            started_s = time.perf_counter()
            make(run, arguments.adapters, arguments.items)
            print(f"made in {time.perf_counter() - started_s:.0f} s")
        print(f"{(arguments.adapters + 1) * arguments.items:,} answers")
        for call in ("rescore", "rescore", "compare", "report"):
            seconds, gigabytes = measure(call, run)
            print(f"{call:<8} {seconds:6.1f} s  {gigabytes:.2f} GB")


if __name__ == "__main__":
    main()
