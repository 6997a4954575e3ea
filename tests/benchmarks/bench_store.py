"""Rows written per second, and how soon a run of a million rows resumes, against plain JSONL.

Run as ``python tests/benchmarks/bench_store.py [--rows N]``. The JSONL file is synced as often as
the store commits, every 256 rows, and resumes by reading every line for its key. Ratios of the two
in one run hold better across machines than the figures themselves.
"""

import argparse
import hashlib
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from peval.store import COMMIT_ROWS, Store
from peval.types import Completion

WORDS = ("the", "of", "and", "answer", "is", "number", "model", "word", "because", "therefore")


def key_of(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def completions(n_rows: int) -> Iterator[Completion]:
    """Answers of about 100 words and 128 token ids, cut from one long random text."""
    draw = random.Random(0)
    text = " ".join(draw.choice(WORDS) for _ in range(100_000))
    tokens = tuple(draw.randrange(32_000) for _ in range(100_000))
    for number in range(n_rows):
        start = draw.randrange(99_000)
        cut = text[start : start + 550]
        yield Completion(key_of(number), cut, tokens[start : start + 128], "stop")


def seconds(action: Callable[[], None]) -> float:
    start_s = time.perf_counter()
    action()
    return time.perf_counter() - start_s


def write_store(path: Path, n_rows: int) -> None:
    with Store(path) as store:
        for completion in completions(n_rows):
            store.add(completion)


def write_jsonl(path: Path, n_rows: int) -> None:
    with path.open("w") as file:
        for number, completion in enumerate(completions(n_rows), 1):
            file.write(json.dumps(vars(completion)) + "\n")
            if number % COMMIT_ROWS == 0:
                file.flush()
                os.fsync(file.fileno())


def resume_store(path: Path, keys: list[str]) -> None:
    with Store(path) as store:
        assert len(store.done(keys)) == len(keys)


def resume_jsonl(path: Path, keys: list[str]) -> None:
    with path.open() as file:
        held = {json.loads(line)["key"] for line in file}
    assert len(held.intersection(keys)) == len(keys)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    n_rows = parser.parse_args().rows
    keys = [key_of(number) for number in range(n_rows)]
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as directory:
        store, jsonl = Path(directory, "store.sqlite"), Path(directory, "rows.jsonl")
        make_s = seconds(lambda: [None for _ in completions(n_rows)] and None)
        store_s = seconds(lambda: write_store(store, n_rows)) - make_s
        jsonl_s = seconds(lambda: write_jsonl(jsonl, n_rows)) - make_s
        store_resume_s = seconds(lambda: resume_store(store, keys))
        jsonl_resume_s = seconds(lambda: resume_jsonl(jsonl, keys))
        store_mb, jsonl_mb = (file.stat().st_size / 1e6 for file in (store, jsonl))
    print(f"{n_rows:,} rows, commit every {COMMIT_ROWS}; ratio is store / JSONL")
    for name, ours, theirs in (
        ("write, rows/s", n_rows / store_s, n_rows / jsonl_s),
        ("resume, s", store_resume_s, jsonl_resume_s),
        ("size, MB", store_mb, jsonl_mb),
    ):
        print(f"{name:14} store {ours:>10,.2f}  JSONL {theirs:>10,.2f}  ratio {ours / theirs:.3f}")


if __name__ == "__main__":
    main()
