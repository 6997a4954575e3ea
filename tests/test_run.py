"""From a job to a report with a scripted engine; real engines are in test_end_to_end.py."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pandas
import pytest
from scripted import TOY, ScriptedEngine

import peval
from peval import api, execute, outline
from peval.errors import EngineError, RunError, TaskError, UsageError
from peval.job import Job
from peval.prepare import Setup, prepare
from peval.progress import Silent
from peval.results import Results

SCHEMA = json.loads((Path(peval.__file__).parent / "results.schema.json").read_text())


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> list[ScriptedEngine]:
    """The engines to hand out, next last; those handed out are closed when a run ends."""
    queue: list[ScriptedEngine] = [ScriptedEngine()]
    monkeypatch.setattr(execute, "open_engine", lambda setup, progress: queue.pop())
    return queue


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    return {
        "adapters": [str(TOY / "adapters" / name) for name in ("generalist", "noop")],
        "suite": "superni",
        "data_dir": str(TOY / "data"),
        "limit": 4,
        "out": str(tmp_path / "run"),
    }


def test_a_run_leaves_every_stage_on_disk(
    engines: list[ScriptedEngine], options: dict[str, Any]
) -> None:
    engine = engines[0]
    results = peval.score(**options)
    out = Path(options["out"])
    assert results.complete
    assert engine.launched
    assert engine.closed
    names = {path.name for path in out.iterdir()}
    assert names >= {"manifest.json", "store.sqlite", "results.json", "report.md", "figures",
                     "completions.parquet"}  # fmt: skip
    jsonschema.validate(json.loads((out / "results.json").read_text()), SCHEMA)
    frame = pandas.read_parquet(out / "completions.parquet")
    assert len(frame) == results.run["n_requests"] == len(engine.asked)
    by_hand = frame[frame.adapter == "generalist"].rougeL.mean()
    assert results.estimate("superni", "rougeL", "generalist").value == pytest.approx(by_hand)
    assert peval.load(out).to_dict() == results.to_dict()


def test_what_was_spent_is_added_up_over_sittings(
    engines: list[ScriptedEngine], options: dict[str, Any]
) -> None:
    engines += [ScriptedEngine(stop_after=10)]
    with pytest.raises(KeyboardInterrupt):
        peval.score(**options)
    results = peval.score(**options)
    first, second = results.run["sittings"]
    assert first["n_answered"] == 10
    assert first["n_answered"] + second["n_answered"] == results.run["n_requests"]
    assert all(one["n_engine_starts"] == 1 for one in (first, second))
    assert all(0 <= one["starting_s"] <= one["wall_s"] for one in (first, second))
    assert second["n_prompt_tokens"] > second["n_tokens"] > 0
    report = (Path(options["out"]) / "report.md").read_text()
    assert "in 2 sittings" in report
    assert "2 engine starts" in report


def test_a_run_in_progress_is_reported_as_partial(
    engines: list[ScriptedEngine], options: dict[str, Any]
) -> None:
    engines += [ScriptedEngine(stop_after=40)]
    with pytest.raises(KeyboardInterrupt):
        peval.score(**options)
    text = api.report(options["out"]).read_text()
    n = peval.load(options["out"]).run["n_requests"]
    assert f"> **Partial.** 0 of {n} requests failed and {n - 40} are unanswered." in text
    assert peval.score(**options).complete
    assert "Partial" not in (Path(options["out"]) / "report.md").read_text()


def test_a_finished_run_starts_no_engine(
    engines: list[ScriptedEngine], options: dict[str, Any]
) -> None:
    first = peval.score(**options)
    assert engines == []
    assert peval.score(**options).to_dict() == first.to_dict()


def test_a_stopped_run_goes_on_where_it_stopped(
    engines: list[ScriptedEngine], options: dict[str, Any], tmp_path: Path
) -> None:
    undisturbed = peval.score(**options | {"out": str(tmp_path / "undisturbed")})
    stopped = ScriptedEngine(stop_after=10)
    rest = ScriptedEngine()
    engines += [rest, stopped]
    with pytest.raises(KeyboardInterrupt):
        peval.score(**options)
    assert stopped.closed
    results = peval.score(**options)
    asked = [request.key for request in stopped.asked + rest.asked]
    assert len(stopped.asked) == 10
    assert len(asked) == len(set(asked)) == results.run["n_requests"]
    assert results.estimates == undisturbed.estimates
    assert results.comparisons == undisturbed.comparisons


def test_failed_requests_are_not_averaged_and_are_asked_again(
    engines: list[ScriptedEngine], options: dict[str, Any]
) -> None:
    requests = outline.plan_requests(prepare(_job(options)))[1]
    broken = frozenset(r.key for r in requests[:3])
    rest = ScriptedEngine()
    engines[:] = [rest, ScriptedEngine(fail_keys=broken)]
    partial = peval.score(**options)
    assert (partial.complete, partial.run["n_failed"]) == (False, 3)
    assert sum(e.n_missing for e in partial.estimates if _whole(e, "rougeL")) == 3
    report = (Path(options["out"]) / "report.md").read_text()
    assert "**Partial.** 3 of" in report
    assert "engine_fault: scripted" in report
    again = peval.score(**options)
    assert again.complete
    assert {request.key for request in rest.asked} == broken


def test_rescoring_asks_no_engine_and_changes_nothing(
    engines: list[ScriptedEngine], options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = peval.score(**options)
    files = [Path(options["out"], name) for name in ("report.md", "completions.parquet")]
    before = [file.read_bytes() for file in files]
    for n_at_once in (1000, 3, 1):
        monkeypatch.setattr("peval.lineup.SAMPLES_AT_ONCE", n_at_once)
        assert api.rescore(options["out"]).to_dict() == first.to_dict()
        assert [file.read_bytes() for file in files] == before


def test_stored_scores_are_not_computed_again(
    engines: list[ScriptedEngine], options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = peval.score(**options)
    monkeypatch.setattr("peval.scoring._values", lambda *_: pytest.fail("scored again"))
    assert api.rescore(options["out"]).to_dict() == first.to_dict()


def test_what_is_noted_on_a_tasks_data_stands_in_results_and_report(
    engines: list[ScriptedEngine], options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    left_out = "prompts too long for the model are left out: context 0 (5 of 6 kept)"
    read = Setup.read
    monkeypatch.setattr(Setup, "read", lambda *to: replace(read(*to), notes=(left_out,)))
    assert peval.score(**options).tasks[0]["notes"] == [left_out]
    assert left_out in Path(options["out"], "report.md").read_text()
    jsonschema.validate(json.loads(Path(options["out"], "results.json").read_text()), SCHEMA)


def test_a_changed_scorer_rescores_without_an_engine(
    engines: list[ScriptedEngine], options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    peval.score(**options)
    for module in ("execute", "conclude", "scoring", "signature"):
        monkeypatch.setattr(f"peval.{module}.SCORER_VERSION", "test")
    engines.append(idle := ScriptedEngine())
    assert peval.score(**options).run["scorer"] == "test"
    assert not idle.launched
    assert not idle.asked


def test_replay_answers_from_a_recorded_run_and_nothing_else(
    engines: list[ScriptedEngine],
    options: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorded = peval.score(**options)
    monkeypatch.undo()
    replay = {"engine": "replay", "replay": options["out"], "out": str(tmp_path / "replayed")}
    again = peval.score(**options | replay)
    assert again.estimates == recorded.estimates
    with pytest.raises(EngineError, match="no completion was recorded for task superni"):
        peval.score(**options | replay | {"limit": 5, "out": str(tmp_path / "more")})


def test_completions_are_reused_across_runs(
    engines: list[ScriptedEngine], options: dict[str, Any], tmp_path: Path
) -> None:
    peval.score(**options)
    engines.append(ScriptedEngine())
    engine = engines[-1]
    wider = options | {"limit": 6, "out": str(tmp_path / "wider"), "reuse": [options["out"]]}
    results = peval.score(**wider)
    assert len(engine.asked) == results.run["n_requests"] - 4 * 3 * results.tasks[0]["n_clusters"]
    with pytest.raises(RunError, match="no peval run there"):
        engines.append(ScriptedEngine())
        peval.score(**wider | {"reuse": [str(tmp_path / "nothing*")], "out": str(tmp_path / "x")})
    assert not engine.launched  # there might have been nothing left to ask


def test_a_renamed_adapter_with_the_same_content_is_not_asked_again(
    engines: list[ScriptedEngine], options: dict[str, Any], tmp_path: Path
) -> None:
    shutil.copytree(TOY / "adapters" / "generalist", tmp_path / "twin")
    results = peval.score(
        **options | {"adapters": [options["adapters"][0], str(tmp_path / "twin")]},
        base=str(TOY / "base"),
    )
    one, other = (results.estimate("superni", "rougeL", n) for n in ("generalist", "twin"))
    assert (one.value, one.low) == (other.value, other.low)
    assert results.run["n_requests"] == 4 * 3 * results.tasks[0]["n_clusters"]


def test_without_the_base_there_is_nothing_to_compare(
    engines: list[ScriptedEngine], options: dict[str, Any]
) -> None:
    results = peval.score(**options, with_base=False)
    assert results.comparisons == ()
    assert {e.adapter for e in results.estimates} == {"generalist", "noop"}
    assert Path(options["out"], "report.md").exists()


def test_ones_own_file_is_scored_by_line(
    engines: list[ScriptedEngine], options: dict[str, Any], tmp_path: Path
) -> None:
    rows = [{"input": f"say {word}", "output": word} for word in ("alpha", "beta", "gamma")]
    file = tmp_path / "mine.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    results = peval.score(**options | {"suite": (), "tasks": [str(file)]})
    assert results.estimate("mine", "exact_match").n_clusters == 3
    assert {e.group for e in results.estimates} == {None}


def test_multiple_choice_is_scored_by_likelihood(
    engines: list[ScriptedEngine], options: dict[str, Any], tmp_path: Path
) -> None:
    rows = [
        {"input": f"The word is {word}.", "choices": [" yellow", " red", " green"], "output": word}
        for word in (" red", " green", " yellow", " green")
    ]
    file = tmp_path / "colours.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    results = peval.score(**options | {"suite": (), "tasks": [str(file)]})
    assert results.estimate("colours", "accuracy", "generalist").value == 1.0
    assert (results.estimate("colours", "accuracy").value or 0) < 1.0
    assert results.estimate("colours", "accuracy", "majority-target").value == 0.5
    assert {e.metric for e in results.estimates} == {"accuracy", "accuracy_norm"}
    frame = pandas.read_parquet(Path(options["out"]) / "completions.parquet")
    assert {len(logprobs) for logprobs in frame.logprobs} == {3}
    assert "green" in Path(options["out"], "report.md").read_text()


def test_changed_data_is_another_run(
    engines: list[ScriptedEngine], options: dict[str, Any], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(TOY / "data", data)
    peval.score(**options | {"data_dir": str(data)})
    file = next((data / "tasks").glob("task101*"))
    file.write_text(file.read_text().replace("Definition", "Definition", 1) + "\n")
    with pytest.raises(RunError, match="differs in data"):
        peval.score(**options | {"data_dir": str(data)})


def test_a_suite_can_be_narrowed_to_some_of_its_tasks(
    engines: list[ScriptedEngine], options: dict[str, Any]
) -> None:
    wanted = {"suite": "superni-all", "tasks": ["task001_*", "task002_last_word_extraction"]}
    results = peval.score(**options | wanted)
    assert [task["name"] for task in results.tasks] == ["superni-in-task", "superni-train"]
    assert {task["n_clusters"] for task in results.tasks} == {2}
    with pytest.raises(TaskError, match="no Super-NaturalInstructions task matches 'task00x'"):
        peval.score(**options | {"tasks": ["task101*", "task00x"], "out": "unused"})


def test_an_unknown_option_is_named() -> None:
    with pytest.raises(UsageError, match="no option 'limits'"):
        peval.score(limits=3)


def test_the_outline_counts_without_writing(
    engines: list[ScriptedEngine], options: dict[str, Any]
) -> None:
    found = outline.outline(prepare(_job(options)))
    n_clusters = 4 * 3
    assert found["n_requests"] % n_clusters == 0
    assert (found["n_held"], found["seconds"]) == (0, None)
    assert not Path(options["out"]).exists()
    assert "unknown: this machine has not run" in outline.text(found)
    peval.score(**options)
    after = outline.outline(prepare(_job(options)))
    assert after["n_held"] == after["n_distinct"]
    assert "time      none" in outline.text(after)


def test_two_runs_in_one_directory_share_their_answers(
    engines: list[ScriptedEngine], options: dict[str, Any]
) -> None:
    setup = prepare(_job(options))
    first = execute.score_job(setup, Silent(), ["one"])
    Path(options["out"], "results.json").unlink()
    engines.append(idle := ScriptedEngine())
    second = execute.score_job(setup, Silent(), ["two"])
    assert first.estimates == second.estimates
    assert not idle.asked


def _job(options: dict[str, Any]) -> Job:
    return Job(
        adapters=tuple(options["adapters"]), suites=("superni",), data_dir=options["data_dir"],
        limit=options["limit"], out=options["out"],
    )  # fmt: skip


def _whole(estimate: Any, metric: str) -> bool:
    return estimate.group is None and estimate.metric == metric


def test_results_know_what_they_do_not_hold(
    engines: list[ScriptedEngine], options: dict[str, Any]
) -> None:
    results: Results = peval.score(**options)
    with pytest.raises(KeyError):
        results.estimate("superni", "rougeL", "nobody")
    with pytest.raises(RunError, match="schema version 99"):
        Results.from_dict(results.to_dict() | {"schema_version": 99})
    noop = results.comparison("superni", "rougeL", "noop")
    assert noop.n_items > 0


def test_verdicts_and_facts_are_in_the_results(
    engines: list[ScriptedEngine], options: dict[str, Any], tmp_path: Path
) -> None:
    table = tmp_path / "facts.csv"
    table.write_text("adapter,seed,n_tasks\ngeneralist,3,11\n")
    first = peval.score(**options, facts=str(table), margins={"superni": 0.5})
    facts = {adapter["name"]: adapter["facts"] for adapter in first.adapters}
    assert facts["generalist"]["seed"] == 3
    assert facts["generalist"]["trainable_share"] == pytest.approx(0.1638, abs=0.01)
    noop = first.comparison("superni", "rougeL", "noop")
    assert (noop.retention, noop.margin) == ("kept", 0.5)
    jsonschema.validate(json.loads(json.dumps(first.to_dict())), SCHEMA)
    # Other margins and facts ask nothing again, and are taken over.
    table.write_text("adapter,seed\ngeneralist,4\n")
    second = peval.score(**options, facts=str(table), margins={"": 0.25})
    assert second.adapters[0]["facts"]["seed"] == 4
    assert second.comparison("superni", "rougeL", "noop").margin == 0.25
    assert second.run["sittings"] == first.run["sittings"]
    with pytest.raises(
        UsageError, match=r"--margin nope=0\.1: no such task here; there are superni"
    ):
        peval.score(**options, margins={"nope": 0.1})
    with pytest.raises(UsageError, match="give a loss of at least 0 and less than 1"):
        peval.score(**options, margins={"": 1.0})
