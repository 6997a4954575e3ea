"""The report of a million stored answers (20 adapters x 50,000): seconds and peak memory.

From `results.json` and `completions.parquet` to report.md with its figures, and to one HTML page.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import pyarrow as pa
from made_runs import made_run
from pyarrow import parquet

WORDS = [f"word{i}" for i in range(2_000)]


def make(path: Path, n_adapters: int, n_items: int) -> None:
    """Write a run: results of a small made run, and as many answers as asked for."""
    rng = np.random.default_rng(0)
    names = [f"adapter-{i}" for i in range(n_adapters)]
    scores = {name: rng.random(400).round(2).tolist() for name in (None, *names)}
    made_run(path, {"task": scores}, n_per_cluster=4)
    file = path / "completions.parquet"
    schema = parquet.read_schema(file)
    ids = [f"task-{i}" for i in range(n_items)]
    inputs = [" ".join(rng.choice(WORDS, 60)) for _ in range(n_items)]
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for name in (None, *names):
            texts = [f"{name} {inputs[i][i % 200 :][:120]}" for i in range(n_items)]
            columns = {
                "task": ["task"] * n_items, "sample_id": ids, "adapter": [name] * n_items,
                "cluster": [str(i // 100) for i in range(n_items)], "input": inputs,
                "targets": [[text[:20]] for text in inputs], "text": texts,
                "status": ["ok"] * n_items, "rougeL": rng.random(n_items).round(2),
            }  # fmt: skip
            table = pa.table(
                {f.name: pa.array(columns.get(f.name, [None] * n_items), f.type) for f in schema}
            )
            writer.write_table(table, row_group_size=10_000)


def measure(run: Path, form: str) -> tuple[float, float]:
    """Return seconds and peak GB of ``peval report`` in a process of its own."""
    code = (
        "import json,resource,sys,time;from peval.api import report;t=time.perf_counter();"
        f"report({str(run)!r},{form!r});"
        "print(json.dumps([time.perf_counter()-t,resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1e6]))"
    )
    start = time.perf_counter()
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return time.perf_counter() - start, json.loads(out.stdout)[1]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--adapters", type=int, default=20)
    parser.add_argument("--items", type=int, default=50_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        make(run, arguments.adapters, arguments.items)
        n = arguments.adapters * arguments.items
        size = (run / "completions.parquet").stat().st_size / 1e6
        print(f"{n:,} answers of {arguments.adapters} adapters, {size:.0f} MB")
        for form in ("md", "html", "csv"):
            seconds, gigabytes = measure(run, form)
            print(f"{form:<5} {seconds:5.1f} s  {gigabytes:.2f} GB")


if __name__ == "__main__":
    main()
