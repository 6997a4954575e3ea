"""HumanEval, MBPP, HumanEval+ and MBPP+ as checks that run apart from the program.

Each reader takes one record of the benchmark's own file, as `json.loads` gives it.
"""

from __future__ import annotations

import ast
import builtins
import json
import math
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from peval.errors import SandboxError

from .inside.codec import encode
from .inside.differential import NOT_NONE
from .inside.judge import TOO_LARGE
from .mbpp_inputs import restored
from .pool import Pool
from .programs import Differential, Limits, Program, Record, Script

Row = dict[str, Any]

# The reference of problem 123 alone takes about 3 s.
MBPP_LIMITS = Limits(cpu_s=10, wall_s=30)
# EvalPlus grants each input four times the reference's time, and allows 4 GB.
PLUS_CPU_FACTOR = 4
PLUS_MIN_CPU_S = 4
PLUS_MAX_CPU_S = 60
PLUS_MEMORY_MB = 4096
REFERENCE_CPU_S = 300
RECORD_VERSION = 2  # of the kept outputs: raise it with the codec or what a record holds

Recorded = dict[str, tuple[list[Any], float]]
"""A reference's outputs and CPU seconds, by check."""


@dataclass(frozen=True)
class Problem:
    """One problem of a benchmark.

    Attributes
    ----------
    prompt
        What a completion continues: a program is ``prompt + completion``. Empty for MBPP.
    reference
        The benchmark's own solution, a whole program.
    checks
        What a program has to meet, by name: ``base``, and for the Plus sets ``plus``, which
        counts only where ``base`` is met too.
    n_inputs_left_out
        Inputs of a Plus set whose reference output is too large to cross from one process to
        another; 5 inputs of MBPP+.
    """

    task_id: str
    prompt: str
    entry_point: str
    reference: str
    checks: dict[str, Script | Differential]
    limits: Limits = field(default_factory=Limits)
    n_inputs_left_out: int = 0

    def programs(self, key: str, code: str) -> Iterator[Program]:
        """Yield `code` with each check; keys are ``key/check``."""
        for name, check in self.checks.items():
            yield Program(f"{key}/{name}", code, check, self.limits)


def human_eval(row: Row) -> Problem:
    """Read a problem of HumanEval (openai/human-eval@6d43fb9).

    The prompt is also the test's setup: some tests use a helper that it defines, and take the
    benchmark's rather than the program's.
    """
    setup = _whole(row["prompt"])
    check = Script(row["entry_point"], row["test"], setup, calls_check=True)
    reference = row["prompt"] + row["canonical_solution"]
    return Problem(row["task_id"], row["prompt"], row["entry_point"], reference, {"base": check})


def _whole(prompt: str) -> str:
    """Return a prompt as code that compiles: its last function may lack even a docstring."""
    try:
        compile(prompt, "<prompt>", "exec", dont_inherit=True)
    except SyntaxError:
        return f"{prompt}    pass\n"
    return prompt


def mbpp(row: Row) -> Problem:
    """Read a problem of MBPP or sanitized MBPP (google-research/google-research, mbpp)."""
    entry_point = _entry_point(row)
    test = "\n".join([row.get("test_setup_code", ""), *row["test_list"]])
    check = Script(entry_point, test, setup="\n".join(row.get("test_imports", [])))
    checks: dict[str, Script | Differential] = {"base": check}
    return Problem(f"Mbpp/{row['task_id']}", "", entry_point, row["code"], checks, MBPP_LIMITS)


def _entry_point(row: Row) -> str:
    """Return the function that the tests call: the reference defines it."""
    defined = set(re.findall(r"^def\s+(\w+)", row["code"], re.MULTILINE))
    with warnings.catch_warnings():
        # Escape sequences in the benchmark's own tests.
        warnings.simplefilter("ignore")
        tests = ast.parse("\n".join(row["test_list"]))
    calls = [node.func for node in ast.walk(tests) if isinstance(node, ast.Call)]
    called = [function.id for function in calls if isinstance(function, ast.Name)]
    candidates = [name for name in called if not hasattr(builtins, name)] or called
    return next((name for name in candidates if name in defined), candidates[0])


READERS: dict[str, Callable[[Row], Problem]] = {
    "humaneval": human_eval,
    "mbpp": mbpp,
    "mbpp-sanitized": mbpp,
}
PLUS = {"humaneval-plus": "humaneval", "mbpp-plus": "mbpp"}
"""The Plus sets by name, with the name that EvalPlus's oracles know them by."""


@dataclass(frozen=True)
class _Plus:
    """A problem of EvalPlus, before its reference has run."""

    row: Row
    suite: str

    def inputs(self, name: str) -> list[Any]:
        rows = self.row[f"{name}_input"] or []
        if self.suite == "mbpp":
            rows = restored(self.row["task_id"], rows)
        return [encode(list(arguments)) for arguments in rows]

    def reference(self) -> str:
        code: str = self.row["prompt"] + self.row["canonical_solution"]
        return code

    def record(self, name: str) -> Program:
        entry_point = self.row["entry_point"]
        not_none = self.suite == "mbpp" and entry_point in NOT_NONE
        check = Record(entry_point, json.dumps(self.inputs(name)), not_none)
        limits = Limits(REFERENCE_CPU_S, 10 * REFERENCE_CPU_S, PLUS_MEMORY_MB)
        return Program(f"{self.row['task_id']}/{name}", self.reference(), check, limits)

    def problem(self, recorded: Recorded) -> Problem:
        slowest_s = max(cpu_s for _, cpu_s in recorded.values())
        cpu_s = min(PLUS_MAX_CPU_S, PLUS_MIN_CPU_S + math.ceil(PLUS_CPU_FACTOR * slowest_s))
        n_large = sum(outputs.count(TOO_LARGE) for outputs, _ in recorded.values())
        return Problem(
            self.row["task_id"],
            self.row["prompt"],
            self.row["entry_point"],
            self.reference(),
            {name: self._check(name, outputs) for name, (outputs, _) in recorded.items()},
            Limits(cpu_s, 10 * cpu_s, PLUS_MEMORY_MB),
            n_large,
        )

    def _check(self, name: str, outputs: list[Any]) -> Differential:
        entry_point = self.row["entry_point"]
        kept = [
            (arguments, output)
            for arguments, output in zip(self.inputs(name), outputs, strict=True)
            if output != TOO_LARGE
        ]
        return Differential(
            entry_point,
            json.dumps([arguments for arguments, _ in kept]),
            json.dumps([output for _, output in kept]),
            float(self.row["atol"]),
            f"{self.suite}:{entry_point}",
        )


class BrokenReferenceError(SandboxError):
    """A benchmark's reference solution does not run here."""


def human_eval_plus(rows: Iterable[Row], pool: Pool) -> list[Problem]:
    """Read HumanEval+ (evalplus/humanevalplus_release, v0.1.10), running its references."""
    return plus([{"benchmark": "humaneval-plus", "row": row} for row in rows], pool)


def mbpp_plus(rows: Iterable[Row], pool: Pool) -> list[Problem]:
    """Read MBPP+ (evalplus/mbppplus_release, v0.2.0), running its references."""
    return plus([{"benchmark": "mbpp-plus", "row": row} for row in rows], pool)


def plus(
    given: Sequence[Row],
    pool: Pool,
    recall: Callable[[str], Any] = lambda name: None,
    keep: Callable[[str, object], None] = lambda name, value: None,
) -> list[Problem]:
    """Read problems of the Plus sets, running the references whose outputs are not known yet.

    Parameters
    ----------
    given
        Each with its ``benchmark`` and its ``row``.
    recall, keep
        Give back and keep what a reference computed, under a name.
    """
    parts = [_Plus(one["row"], PLUS[one["benchmark"]]) for one in given]
    names = [json.dumps([RECORD_VERSION, sys.version, one], sort_keys=True) for one in given]
    known: list[Recorded | None] = [recall(name) for name in names]
    new = [part for part, found in zip(parts, known, strict=True) if found is None]
    fresh = _recorded(new, pool)
    for i, (part, name) in enumerate(zip(parts, names, strict=True)):
        if known[i] is None:
            known[i] = fresh[part.row["task_id"]]
            keep(name, known[i])
    return [part.problem(found) for part, found in zip(parts, known, strict=True) if found]


def _recorded(parts: Sequence[_Plus], pool: Pool) -> dict[str, Recorded]:
    """Run references on their inputs; return outputs and CPU time by check, by problem."""
    records = (part.record(name) for part in parts for name in ("base", "plus"))
    found: dict[str, Recorded] = {}
    for verdict in pool.judge(records):
        if not verdict.passed:
            raise BrokenReferenceError(
                f"{verdict.key}: the reference {verdict.reason}: {verdict.detail}"
            )
        task_id, _, name = verdict.key.rpartition("/")
        found.setdefault(task_id, {})[name] = (verdict.outputs, verdict.cpu_s)
    return {name: {check: found[name][check] for check in ("base", "plus")} for name in found}
