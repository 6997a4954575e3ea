"""The benchmarks' own solutions pass; what they fail, they fail for the right reason."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from peval.sandbox.inside.differential import Comparison, is_close
from peval.sandbox.mbpp_inputs import restored
from peval.sandbox.pool import Pool
from peval.sandbox.programs import Program, Script, Status, Verdict
from peval.sandbox.suites import Problem, human_eval, human_eval_plus, mbpp, mbpp_plus

# Inputs of each Plus problem that the tests try; with PEVAL_SLOW=1 all of them, in both tiers.
IS_SLOW = os.environ.get("PEVAL_SLOW") == "1"
N_PLUS = None if IS_SLOW else 8


def rows(path: Path) -> list[dict[str, Any]]:
    data = path.read_bytes()
    text = gzip.decompress(data) if path.suffix == ".gz" else data
    return [json.loads(line) for line in text.splitlines()]


def few(records: list[dict[str, Any]], tier: str) -> list[dict[str, Any]]:
    step = 1 if IS_SLOW or tier == "namespaces" else 8
    return [{**row, "plus_input": (row["plus_input"] or [])[:N_PLUS]} for row in records[::step]]


def verdicts(pool: Pool, problems: Iterable[Problem]) -> list[Verdict]:
    programs = (q for p in problems for q in p.programs(p.task_id, p.reference))
    return list(pool.judge(programs))


def failures(found: list[Verdict]) -> list[Verdict]:
    return [verdict for verdict in found if not verdict.passed]


def test_references_of_human_eval_pass(pool: Pool, shared_data: Path) -> None:
    problems = [human_eval(row) for row in rows(shared_data / "human_eval/HumanEval.jsonl.gz")]
    found = verdicts(pool, problems)
    assert (len(found), failures(found)) == (164, [])
    assert {verdict.form for verdict in found} == {"values"}


def test_references_of_mbpp_pass(pool: Pool, shared_data: Path) -> None:
    found = verdicts(pool, [mbpp(row) for row in rows(shared_data / "mbpp/mbpp.jsonl")])
    assert (len(found), failures(found)) == (974, [])
    weaker = {verdict.key for verdict in found if verdict.form == "objects"}
    assert weaker == {"Mbpp/367/base", "Mbpp/601/base", "Mbpp/927/base"}


def test_references_of_sanitized_mbpp_pass(pool: Pool, shared_data: Path) -> None:
    records = json.loads((shared_data / "mbpp/sanitized-mbpp.json").read_text())
    found = verdicts(pool, [mbpp(row) for row in records])
    assert (len(found), failures(found)) == (427, [])


@pytest.mark.timeout(3600)
def test_references_of_the_plus_sets_pass(pool: Pool, tier: str, shared_data: Path) -> None:
    human = few(rows(shared_data / "human_eval_plus/HumanEvalPlus.jsonl.gz"), tier)
    basic = few(rows(shared_data / "mbpp_plus/MbppPlus.jsonl.gz"), tier)
    problems = human_eval_plus(human, pool) + mbpp_plus(basic, pool)
    found = verdicts(pool, problems)
    assert (len(found), failures(found)) == (2 * (len(human) + len(basic)), [])


def test_wrong_programs_fail_the_real_tests(pool: Pool, shared_data: Path) -> None:
    problems = [human_eval(row) for row in rows(shared_data / "human_eval/HumanEval.jsonl.gz")]
    empty = [q for p in problems for q in p.programs(p.task_id, p.prompt + "    return None\n")]
    found = list(pool.judge(empty))
    assert [verdict.key for verdict in found if verdict.passed] == []
    assert {verdict.status for verdict in found} == {Status.FAILED}


def test_inputs_of_mbpp_plus_are_restored_as_evalplus_does(shared_data: Path) -> None:
    digest = hashlib.sha256()
    for row in rows(shared_data / "mbpp_plus/MbppPlus.jsonl.gz"):
        for name in ("base_input", "plus_input"):
            lists = [list(arguments) for arguments in restored(row["task_id"], row[name] or [])]
            digest.update(plain(lists).encode())
    assert digest.hexdigest() == EVALPLUS_INPUTS_SHA256


# Of the same text made with mbpp_deserialize_inputs of evalplus 0.3.1.
EVALPLUS_INPUTS_SHA256 = "ee6abd2d8583072f3d3a5d46ae080a14e095ca093d3e9a7737e502a85745ed9f"


def plain(value: Any) -> str:
    """A text that tells types apart and does not depend on the order of sets."""
    if isinstance(value, (list, tuple)):
        return f"{type(value).__name__}({','.join(map(plain, value))})"
    if isinstance(value, (set, dict)):
        items = value.items() if isinstance(value, dict) else value
        return f"{type(value).__name__}({','.join(sorted(map(plain, items)))})"
    return f"{type(value).__name__}:{value!r}" if not isinstance(value, int) else f"int:{value:x}"


# A small set made for these tests, which needs no data.

HUMAN = {
    "task_id": "Made/0",
    "prompt": 'import math\n\ndef half(x):\n    return x / 2\n\ndef root(x):\n    """Doc."""\n',
    "entry_point": "root",
    "canonical_solution": "    return math.sqrt(x)\n",
    "test": "def check(candidate):\n    assert candidate(4) == half(4)\n    assert root(9) == 3",
    "base_input": [[4], [9]],
    "plus_input": [[2], [10**6]],
    "atol": 0,
}
MBPP = {
    "task_id": 1,
    "code": "def tops(t):\n    return t[0] + t[1]\ndef other(): pass",
    "test_setup_code": "",
    "test_list": ["assert sorted([tops((1, 2))]) == [3]", "assert math.floor(tops((1.5, 2))) == 3"],
}
PLUS = {
    "task_id": "Mbpp/2",
    "prompt": '"""Doc."""\n',
    "entry_point": "similar_elements",
    "canonical_solution": "\ndef similar_elements(a, b):\n  return tuple(set(a) & set(b))\n",
    "base_input": [[[3, 4], [4, 3]]],
    "plus_input": [[[], [1]], [[1, 2], [2, 1]]],
    "atol": 0,
}


def status(pool: Pool, problem: Problem, code: str) -> dict[str, str]:
    found = pool.judge(problem.programs("made", code))
    return {verdict.key: verdict.reason or "passed" for verdict in found}


def test_a_made_problem_of_human_eval(pool: Pool) -> None:
    problem = human_eval(HUMAN)
    assert status(pool, problem, problem.reference) == {"made/base": "passed"}
    assert status(pool, problem, problem.prompt + "    return 2") == {"made/base": "wrong"}
    # The tests use the benchmark's helper, whatever the program makes of it.
    cheat = problem.prompt + "    return 7\ndef half(x): return 7"
    assert status(pool, problem, cheat) == {"made/base": "wrong"}


def test_a_made_problem_of_mbpp(pool: Pool) -> None:
    problem = mbpp(MBPP)
    assert problem.entry_point == "tops"
    assert status(pool, problem, problem.reference) == {"made/base": "passed"}
    assert status(pool, problem, "def tops(t): return 3") == {"made/base": "passed"}
    assert status(pool, problem, "def other(t): return 3") == {"made/base": "missing"}


def test_made_problems_of_the_plus_sets(pool: Pool) -> None:
    (problem,) = human_eval_plus([HUMAN], pool)
    passed = {"made/base": "passed", "made/plus": "passed"}
    assert status(pool, problem, problem.reference) == passed
    close = "def root(x): return x ** 0.5 + 1e-9"
    assert status(pool, problem, close) == passed
    base_only = "def root(x): return x ** 0.5 if x < 10 and x != 2 else 0.0"
    assert status(pool, problem, base_only) == {"made/base": "passed", "made/plus": "wrong"}
    (problem,) = mbpp_plus([PLUS], pool)
    any_order = (
        "def similar_elements(a, b):\n    assert type(a) is tuple\n    return [*b] if a else []"
    )
    assert status(pool, problem, any_order) == passed


@pytest.mark.parametrize(
    ("oracle", "tolerance", "inputs", "got", "wanted", "right"),
    [
        ("mbpp:x", 0, [], 1, 1, True),
        ("mbpp:x", 0, [], True, 1, True),
        ("mbpp:x", 0, [], [1], (1,), False),
        ("mbpp:x", 0, [], 1.0 + 1e-7, 1.0, True),
        ("mbpp:x", 0, [], 1 + 1e-7, 1, False),
        ("mbpp:x", 0, [], 1, 1.0000001, False),
        ("mbpp:x", 0, [], [1.0, 2.0], [1.0, 2.0000001], True),
        ("mbpp:x", 1e-4, [], "a", "b", False),
        ("mbpp:x", 1e-4, [], None, 1.0, False),
        ("mbpp:x", 1e-4, [], float("nan"), 1.0, False),
        ("mbpp:are_equivalent", 0, [1, 2], "anything", True, True),
        ("mbpp:sum_div", 0, [8], 0, 7, True),
        ("mbpp:surface_Area", 0, [3, 4], 35, 33, True),
        ("mbpp:surface_Area", 0, [3, 4], 34, 33, False),
        ("mbpp:digit_distance_nums", 0, [1, 23], 4, 99, True),
        ("mbpp:Diff", 0, [], [1, 2, 2], [2, 1], True),
        ("mbpp:check_str", 0, [], "match", True, True),
        ("mbpp:check_str", 0, [], None, True, False),
        ("mbpp:check_str", 0, [], False, False, True),
        ("humaneval:find_zero", 1e-4, [[1, 2]], -0.5, 9.0, True),
        ("humaneval:find_zero", 1e-4, [[1, 2]], 0.5, 0.5, False),
    ],
)
def test_evalplus_rules(
    oracle: str, tolerance: float, inputs: list[Any], got: Any, wanted: Any, right: bool
) -> None:
    assert Comparison(oracle, tolerance).accepts(inputs, got, wanted) is right


def test_closeness_is_numpys() -> None:
    import numpy as np

    values = [0, 1, 1 + 1e-6, -1.0, 1e300, float("inf"), -float("inf"), float("nan"), True, 2j]
    for a in values:
        for b in values:
            with np.errstate(invalid="ignore"):
                expected = bool(np.allclose(a, b, rtol=1e-7, atol=1e-6))
            assert is_close(a, b, 1e-6) is expected, (a, b)


def test_a_program_that_reads_its_tests_from_memory_finds_none(pool: Pool) -> None:
    code = """
import gc
def f(x):
    texts = [v for o in gc.get_objects() if type(o) is dict for v in list(o.values())]
    return any(type(t) is str and "MARK" + "ED" in t for t in texts)
"""
    check = Script("f", "# MARKED\nassert f(1)")
    (verdict,) = pool.judge([Program("a", code, check)])
    assert verdict.reason == "wrong"
