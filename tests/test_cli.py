"""Flags, exit codes and one-line errors; nothing here starts an engine."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from scripted import ROOT, TOY, ScriptedEngine

from peval import execute
from peval.cli import kebab, main
from peval.commands import COMMANDS, engine_options
from peval.errors import UsageError
from peval.flags import parser

GENERALIST = str(TOY / "adapters" / "generalist")
DATA = str(TOY / "data")
SCORE = ["score", "--adapter", GENERALIST, "--suite", "superni", "--data-dir", DATA]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(execute, "open_engine", lambda setup, progress: ScriptedEngine())


def broken(tmp_path: Path, name: str) -> Path:
    """A copy of an adapter to break."""
    return Path(shutil.copytree(GENERALIST, tmp_path / name))


def truncated(tmp_path: Path) -> str:
    path = broken(tmp_path, "truncated") / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    return str(path.parent)


def other_base(tmp_path: Path) -> str:
    path = broken(tmp_path, "other") / "adapter_config.json"
    config = json.loads(path.read_text()) | {"base_model_name_or_path": "some/other-model"}
    path.write_text(json.dumps(config))
    return str(path.parent)


def empty_data(tmp_path: Path) -> str:
    (tmp_path / "nothing").mkdir()
    return str(tmp_path / "nothing")


def malformed_rows(tmp_path: Path) -> str:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"input": "a", "output": "b"}\n{"input": "a"}\n')
    return str(path)


def not_an_adapter(tmp_path: Path) -> str:
    (tmp_path / "photos").mkdir()
    return str(tmp_path / "photos")


def strangers(tmp_path: Path) -> str:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("years of work")
    return str(tmp_path / "home")


BAD_INPUT = {
    "missing adapter": (["score", "--adapter", "./no/such", "--suite", "superni"], "no/such"),
    "no adapter": (lambda t: [*SCORE, "--adapter", not_an_adapter(t)], "photos"),
    "truncated weights": (
        lambda t: [*SCORE, "--adapter", truncated(t), "--base", str(TOY / "base")],
        "truncated/adapter_model.safetensors",
    ),
    "another base": (
        lambda t: [*SCORE, "--adapter", other_base(t), "--base", str(TOY / "base")],
        "--allow-base-mismatch",
    ),
    "missing base": ([*SCORE, "--base", "./no/base"], "--base './no/base'"),
    "hub unreachable": ([*SCORE, "--base", "org/model"], "the Hub cannot be reached"),
    "unknown suite": (["score", "--adapter", GENERALIST, "--suite", "superny"], "did you mean"),
    "unknown task": ([*SCORE, "--task", "task101_opening_entri"], "task101_opening_entry"),
    "unknown profile": ([*SCORE, "--profile", "tk"], "tk-instruct"),
    "no GPT-2 tokenizer": ([*SCORE, "--task", "superni-xlingual"], "tokens of openai-community"),
    "no data": (["score", "--adapter", GENERALIST, "--suite", "superni"], "--data-dir"),
    "empty data": (lambda t: [*SCORE[:-1], empty_data(t)], "splits/default"),
    "malformed rows": (
        lambda t: ["score", "--adapter", GENERALIST, "--task", malformed_rows(t)],
        "rows.jsonl:2",
    ),
    "missing rows": (["score", "--adapter", GENERALIST, "--task", "none.jsonl"], "none.jsonl"),
    "nothing to score": (["score", "--suite", "superni"], "--adapter"),
    "nothing to score on": (["score", "--adapter", GENERALIST], "--suite or --task"),
    "no base, no adapter": (["score", "--base", "x", "--no-base", "--suite", "superni"], "nothing"),
    "limit": ([*SCORE, "--limit", "0"], "--limit 0"),
    "engine argument": ([*SCORE, "--engine-arg", "tensor_parallel_size"], "KEY=VALUE"),
    "replay of nothing": ([*SCORE, "--engine", "replay"], "--replay RUN"),
    "replay of no run": ([*SCORE, "--engine", "replay", "--replay", "x"], "is this a peval run"),
    "strangers' directory": (lambda t: [*SCORE, "--out", strangers(t)], "thesis.tex"),
    "context too short": ([*SCORE, "--max-model-len", "100"], "leaves no room"),
    "report of nothing": (["report", "nowhere"], "nowhere"),
    "rescore of nothing": (["rescore", "nowhere"], "nowhere"),
    "inspect nothing": (["inspect", "./nowhere"], "nowhere"),
    "unknown name": (["tasks", "superny"], "superni"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_one_line_and_exit_2(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv, expected = BAD_INPUT[case]
    assert main(argv if isinstance(argv, list) else argv(tmp_path)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("peval: ")
    assert err.count("\n") == 1
    assert expected in err


MISUSES = {
    "no command": ([], "peval: error: ", "COMMAND"),
    "misspelt command": (["scor"], "peval: error: ", "did you mean score"),
    "unlike any command": (["xyzzy"], "peval: error: ", "known: canaries, card"),
    "flag before the command": (["--wat", "doctor"], "peval: error: ", "--wat"),
    "half a flag": (["score", "--allow"], "peval score: error: ", "could match"),
    "no whole number": (["score", "--limit", "x"], "peval score: error: ", "--limit: invalid int"),
    "no value": (["score", "--adapter"], "peval score: error: ", "--adapter: expected"),
    "misspelt choice": (["score", "--engine", "vlm"], "peval score: error: ", "mean vllm?"),
    "two runs": (["rescore", "a", "b"], "peval rescore: error: ", "'b' is one argument too many"),
    "two lines": (["rescore", "a", "b\nc"], "peval rescore: error: ", "'b\\nc'"),
    "misspelt in snake case": (
        ["rescore", "--predicton=x"], "peval rescore: error: ", "did you mean --predictions",
    ),
    "misspelt and so missing": (
        ["gate", "run", "--rulez", "x"], "peval gate: error: ", "mean --rules?",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MISUSES)
def test_arguments_that_are_wrong_are_one_line_and_exit_2(
    case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    argv, begins, expected = MISUSES[case]
    line = complaint(argv, capsys)
    assert line.startswith(begins)
    assert expected in line


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_answers_a_flag_it_lacks_in_one_line(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    help_line = f"; see `peval {command} --help`\n"
    line = complaint([command, "--qqqqqqqq"], capsys)
    assert line == f"peval {command}: error: no flag '--qqqqqqqq'{help_line}"
    line = complaint([command, "--jsom"], capsys)
    assert line.startswith(f"peval {command}: error: no flag '--jsom': did you mean --json")
    assert complaint([command, "x", "y", "z", "-q"], capsys).endswith(("?\n", help_line))


def complaint(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What the command line says to wrong arguments: one line, and exit code 2."""
    with pytest.raises(SystemExit) as stopped:
        main(argv)
    assert stopped.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.endswith(("?\n", "--help`\n"))
    return str(err)


def test_a_value_may_look_like_a_flag() -> None:
    found = parser().parse_args([*SCORE, "--system-instruction", "--be brief"])
    assert found.system_instruction == "--be brief"


def test_another_configuration_in_the_same_directory(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SCORE, "--limit", "2", "--out", "run"]) == 0
    before = Path("run/results.json").read_bytes()
    assert main([*SCORE, "--limit", "3", "--out", "run"]) == 2
    assert "--reuse run" in capsys.readouterr().err
    assert Path("run/results.json").read_bytes() == before


def test_score_prints_a_table_and_the_reports_path(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SCORE, "--limit", "2", "--out", "run"]) == 0
    out, err = capsys.readouterr()
    assert "report: run/report.md" in out
    assert "generalist" in out
    assert all(line.startswith("peval: ") for line in err.splitlines())


def test_score_prints_json_alone_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SCORE, "--limit", "2", "--out", "run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["run"]["status"] == "complete"
    assert main(["rescore", "run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["run"]["status"] == "complete"


def test_a_partial_run_exits_with_3(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Failing(ScriptedEngine):
        def complete(self, requests):  # type: ignore[no-untyped-def]
            requests = list(requests)
            self.fail_keys = frozenset({requests[0].key})
            return super().complete(requests)

    monkeypatch.setattr(execute, "open_engine", lambda setup, progress: Failing())
    assert main([*SCORE, "--limit", "2", "--out", "run"]) == 3
    assert "PARTIAL: 1 of" in capsys.readouterr().out


def test_ctrl_c_keeps_what_was_answered(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stopping = ScriptedEngine(stop_after=5)
    monkeypatch.setattr(execute, "open_engine", lambda setup, progress: stopping)
    assert main([*SCORE, "--limit", "2", "--out", "run"]) == 130
    assert "the same command goes on" in capsys.readouterr().err
    rest = ScriptedEngine()
    monkeypatch.setattr(execute, "open_engine", lambda setup, progress: rest)
    assert main([*SCORE, "--limit", "2", "--out", "run"]) == 0
    assert not {r.key for r in stopping.asked} & {r.key for r in rest.asked}


def test_a_folder_of_adapters_and_a_glob_are_expanded(capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(TOY / "adapters")
    for given in ([folder], [f"{folder}/*"]):
        argv = ["score", "--adapter", *given, "--suite", "superni", "--data-dir", DATA,
                "--limit", "1", "--dry-run", "--json"]  # fmt: skip
        assert main(argv) == 0
        names = [a["name"] for a in json.loads(capsys.readouterr().out)["adapters"]]
        assert set(names) >= {"generalist", "memorizer", "narrow", "noop"}


def test_underscore_spellings_are_accepted() -> None:
    assert kebab(["score", "--data_dir", "a_b", "--engine_arg=max_num_seqs=2", "task_1"]) == [
        "score", "--data-dir", "a_b", "--engine-arg=max_num_seqs=2", "task_1",
    ]  # fmt: skip


def test_engine_arguments_have_their_types() -> None:
    pairs = ["a=2", "b=0.5", "c=true", "d=False", "e=None!", "f-g=x", 'h={"x": 1}', "i=null"]
    assert engine_options(pairs) == {
        "a": 2, "b": 0.5, "c": True, "d": False, "e": "None!", "f_g": "x", "h": {"x": 1}, "i": None,
    }  # fmt: skip
    with pytest.raises(UsageError):
        engine_options(["=1"])


def test_tasks_lists_and_shows(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tasks"]) == 0
    assert "superni-in-task" in capsys.readouterr().out
    assert main(["tasks", "tk-instruct", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["profiles"]["tk-instruct"]["prompt"] == "tk-instruct"


def test_inspect_says_what_an_adapter_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert main(["inspect", str(TOY / "adapters" / "noop"), GENERALIST]) == 0
    out = capsys.readouterr().out
    assert "its update is exactly zero" in out
    assert "LoRA, rank 16" in out
    assert "native-lora" in out
    assert main(["inspect", GENERALIST, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["ranks"] == [16]


@pytest.mark.parametrize("module", ["peval", "peval.cli", "peval.api"])
def test_imports_are_light(module: str) -> None:
    code = f"import {module}, sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.split()
    heavy = {"torch", "vllm", "transformers", "scipy", "matplotlib", "pyarrow", "nltk", "datasets"}
    if module != "peval.api":
        heavy |= {"numpy", "rich", "yaml"}
    assert not heavy & set(loaded)
