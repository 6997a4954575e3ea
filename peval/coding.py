"""Programs to scores: what a text holds is run in the sandbox, against its problem's tests."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from peval.errors import SandboxError, TaskError
from peval.machine import keep, recall
from peval.sandbox import canaries, suites
from peval.sandbox.inside.isolation import NO_SANDBOX
from peval.sandbox.pool import Pool
from peval.sandbox.programs import Program, Status, Verdict
from peval.sandbox.suites import Problem
from peval.scorers import code
from peval.stats.passk import pass_at_k
from peval.types import Completion, Judged, Sample, Score, Task

JUDGE_VERSION = "2"
"""Part of every program score's key: raise it with any change that could alter a verdict."""

UNSANDBOXED = "unsandboxed"
"""The task setting that says that programs ran without a sandbox."""

_METRIC = re.compile(r"(base-)?pass@([1-9][0-9]*)")
_TIMEOUTS = ("cpu", "wall")
_VIOLATIONS = ("protocol", "disk", "threads", "system_call", "not_permitted")
_CRASHES = ("exit", "signal")

Asked = tuple[Sample, Completion]


def is_code(task: Task) -> bool:
    """Tell whether a task asks for programs."""
    return task.reader == "code"


def programs_allowed(
    tasks: Sequence[Task],
    allow_code_execution: bool = False,
    allow_unsandboxed_code: bool = False,
) -> tuple[Task, ...]:
    """Return the tasks, those of code marked where their programs run without a sandbox.

    Raises
    ------
    SandboxError
        Nobody allowed programs to run, or no sandbox holds on this machine.
    """
    coding = [task for task in tasks if is_code(task)]
    if coding and not (allow_code_execution or allow_unsandboxed_code):
        raise SandboxError(f"{coding[0].name}: {CONSENT}")
    if coding:
        choose_tier(allow_unsandboxed_code)
    if not allow_unsandboxed_code:
        return tuple(tasks)
    return tuple(
        replace(task, settings={**task.settings, UNSANDBOXED: True}) if is_code(task) else task
        for task in tasks
    )


def check_metrics(task: Task) -> None:
    """Refuse metrics that a task's number of draws cannot give.

    Raises
    ------
    TaskError
        A metric is no pass@k, or its k is larger than the profile's n.
    """
    n = task.profile.decoding.n
    for metric in task.metrics:
        if (k := k_of(metric)) > n:
            raise TaskError(
                f"{task.name}: {metric} needs at least {k} programs for each problem, and the "
                f"profile '{task.profile.name}' draws {n}"
            )


def k_of(metric: str) -> int:
    """Return the k of pass@k or base-pass@k.

    Raises
    ------
    TaskError
        The metric is neither.
    """
    match = _METRIC.fullmatch(metric)
    if match is None:
        raise TaskError(f"no metric {metric!r} of programs; known: pass@K, base-pass@K")
    return int(match[2])


def score_version(task: Task) -> list[object]:
    """Return what, beside texts and problem, can change a program's score."""
    return [JUDGE_VERSION, code.SCORER_VERSION, task.profile.prompt, dict(task.settings)]


@dataclass
class Sandbox:
    """Judges programs; a context manager that starts its workers when they are first needed.

    Parameters
    ----------
    consent
        Whether a person allowed model-written code to run.
    unsandboxed
        Run it without a sandbox, which nothing but a person's word can justify.
    n_workers
        None for one on each processor.
    """

    consent: bool
    unsandboxed: bool = False
    n_workers: int | None = None
    tier: str | None = None
    abi: int = 0
    _pool: Pool | None = None
    _problems: dict[str, Problem] = field(default_factory=dict)

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def open(self) -> Pool:
        """Return the workers, in the strongest tier that holds here.

        Raises
        ------
        SandboxError
            Nobody allowed it, or no tier holds.
        """
        if not self.consent:
            raise SandboxError(CONSENT)
        if self._pool is None:
            self.tier, self.abi = choose_tier(self.unsandboxed)
            self._pool = Pool(self.tier, self.n_workers)
        return self._pool

    def scores(self, task: Task, asked: Sequence[Asked]) -> list[Score]:
        """Return one score for each sample with its completion; equal programs run once."""
        pool = self.open()
        problems = self._of([sample for sample, _ in asked], pool)
        programs = [_programs(task, s, c, p) for (s, c), p in zip(asked, problems, strict=True)]
        distinct = [list(dict.fromkeys(p for p in many if p is not None)) for many in programs]
        verdicts = _verdicts(pool, problems, distinct)
        return [
            _score(task, completion, many, verdicts[i])
            for i, ((_, completion), many) in enumerate(zip(asked, programs, strict=True))
        ]

    def _of(self, samples: Sequence[Sample], pool: Pool) -> list[Problem]:
        """Return the problems of samples; the Plus sets' references run once on a machine."""
        new = {s.problem: json.loads(s.problem) for s in samples if s.problem not in self._problems}
        for text, given in new.items():
            if given["benchmark"] not in suites.PLUS:
                self._problems[text] = suites.READERS[given["benchmark"]](given["row"])
        plus = {text: given for text, given in new.items() if text not in self._problems}
        found = suites.plus(list(plus.values()), pool, recall, keep)
        self._problems |= dict(zip(plus, found, strict=True))
        return [self._problems[sample.problem] for sample in samples]


CONSENT = (
    "coding tasks run programs that a model wrote: allow it with --allow-code-execution (they run "
    "in a sandbox; see `peval sandbox-check`), or leave these tasks out"
)


def choose_tier(unsandboxed: bool) -> tuple[str, int]:
    """Return the strongest tier that holds here with its Landlock version.

    Raises
    ------
    SandboxError
        None does.
    """
    if unsandboxed:
        return NO_SANDBOX, 0
    tier, reports = canaries.strongest()
    if tier is None:
        raise SandboxError(canaries.refusal(reports))
    return tier, reports[-1].landlock_abi


def _programs(
    task: Task, sample: Sample, completion: Completion, problem: Problem
) -> list[str | None]:
    """Return the program in each of a completion's texts."""
    texts = [one.text for one in completion.drawn]
    if task.profile.prompt == "codex":
        return [code.completed(text, problem.prompt) for text in texts]
    prompt = sample.input.strip() + "\n"
    return [code.found(text, prompt, problem.entry_point) for text in texts]


def _verdicts(
    pool: Pool, problems: Sequence[Problem], programs: Sequence[Sequence[str]]
) -> list[dict[str, dict[str, Verdict]]]:
    """Return verdicts by problem, program and check; a check runs where those before are met."""
    found: list[dict[str, dict[str, Verdict]]] = [{p: {} for p in many} for many in programs]
    for number in range(max(len(problem.checks) for problem in problems)):
        pending = _pending(problems, found, number)
        where = {program.key: (i, program.code) for i, program in pending}
        for verdict in pool.judge(program for _, program in pending):
            i, text = where[verdict.key]
            found[i][text][verdict.key.rpartition("/")[2]] = verdict
    return found


def _pending(
    problems: Sequence[Problem], found: Sequence[Mapping[str, Mapping[str, Verdict]]], number: int
) -> list[tuple[int, Program]]:
    """Return the programs that have met all checks before this one."""
    return [
        (i, Program(f"{i}/{j}/{name}", text, check, problem.limits))
        for i, problem in enumerate(problems)
        for name, check in list(problem.checks.items())[number : number + 1]
        for j, (text, verdicts) in enumerate(found[i].items())
        if all(verdict.passed for verdict in verdicts.values())
    ]


def _score(
    task: Task,
    completion: Completion,
    programs: Sequence[str | None],
    verdicts: Mapping[str, Mapping[str, Verdict]],
) -> Score:
    """Return a problem's score; a fault of the sandbox's fails it, as it says nothing of it."""
    mine = [verdicts[program] if program is not None else {} for program in programs]
    for many in mine:
        for verdict in many.values():
            if verdict.status is Status.FAULT:
                why = f"sandbox: {verdict.reason}: {verdict.detail}"
                return Score(completion.key, {}, "failed", why=why)
    judged = tuple(_judged(p, v) for p, v in zip(programs, mine, strict=True))
    n, n_base = len(judged), sum("base" in v and v["base"].passed for v in mine)
    n_passed = sum(one.outcome == "passed" for one in judged)
    values = {
        metric: float(pass_at_k([n], [n_base if "base" in metric else n_passed], k_of(metric))[0])
        for metric in task.metrics
    }
    no_code = all(program is None for program in programs)
    return Score(completion.key, values, "unparsed" if no_code else "ok", judged=judged)


def _judged(program: str | None, verdicts: Mapping[str, Verdict]) -> Judged:
    if program is None:
        return Judged("no code")
    name, last = list(verdicts.items())[-1]
    if last.passed:
        weaker = any(verdict.form == "objects" for verdict in verdicts.values())
        return Judged("passed", program, "its own objects took part in the test" if weaker else "")
    where = "" if name == "base" else f"{name}: "
    return Judged(_kind(last), program, where + last.detail)


def _kind(verdict: Verdict) -> str:
    """Return the kind of a failure, in the words of the report."""
    reason = verdict.reason
    if reason == "exception":
        name = verdict.detail.partition(":")[0]
        return f"exception: {name if name.isidentifier() else 'of no proper name'}"[:80]
    if reason in _TIMEOUTS:
        return "timeout"
    if reason in _VIOLATIONS:
        return "violation"
    if reason in _CRASHES:
        return "crash"
    kinds = {"wrong": "wrong answer", "missing": "no such function", "value_limit": "huge value"}
    return kinds.get(reason, reason)
