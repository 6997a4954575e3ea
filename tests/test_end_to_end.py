"""The command as people run it, on real vLLM (and transformers) with the toy model."""

from __future__ import annotations

import importlib.util
import json
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from cpu_time import at_most
from scripted import ROOT
from waiting import comes_true

import peval

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not importlib.util.find_spec("vllm"), reason="vLLM is not installed"),
]

ADAPTERS = ("generalist", "memorizer", "narrow", "noop")
# float32: in bfloat16 another mix of batches may flip a near-tie.
FLAGS = ("--suite", "superni-all", "--data-dir", "tests/toy/data", "--limit", "4",
         "--dtype", "float32")  # fmt: skip


# The command, which keeps some answers and then none, so that it cannot end before it is stopped.
HELD = """
import sys, time
from peval import cli, store

add, n_added = store.Store.add, 0

def held(self, completion):
    global n_added
    n_added += 1
    if n_added > 30:
        self.flush()
        time.sleep(600)
    return add(self, completion)

store.Store.add = held
sys.exit(cli.main())
"""


def command(out: Path, *more: str, how: tuple[str, str] = ("-m", "peval.cli")) -> list[str]:
    adapters = [f"tests/toy/adapters/{name}" for name in ADAPTERS]
    return [sys.executable, *how, "score", "--adapter", *adapters, *FLAGS,
            "--out", str(out), *more]  # fmt: skip


def score(out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(out, *more), cwd=ROOT, capture_output=True, text=True)


def results(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / "results.json").read_text()))


def value(found: dict[str, Any], task: str, adapter: str | None, group: str | None = None) -> float:
    (one,) = [
        e["value"]
        for e in found["estimates"]
        if (e["task"], e["metric"], e["adapter"], e["group"]) == (task, "rougeL", adapter, group)
    ]
    return float(one)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    done = score(out)
    assert done.returncode == 0, done.stderr
    assert f"report: {out}/report.md" in done.stdout
    # The engine's own chatter stays in its log.
    assert all(line.startswith("peval: ") for line in done.stderr.splitlines()), done.stderr
    assert (out / "engine.log").stat().st_size > 0
    return out


def test_the_report_shows_the_known_truth(undisturbed: Path) -> None:
    found = results(undisturbed)
    jsonschema.validate(found, json.loads((ROOT / "peval" / "results.schema.json").read_text()))
    assert found["run"]["status"] == "complete"
    for task in ("superni", "superni-in-task"):
        assert value(found, task, "generalist") > value(found, task, None) + 0.1
        assert value(found, task, "narrow") < value(found, task, None) - 0.1
    for group in ("task:task007_word_count", "task:task008_number_parity"):
        assert value(found, "superni-in-task", "narrow", group) > value(
            found, "superni-in-task", None, group
        )
    canary = "task:task012_badge_code_lookup"
    assert value(found, "superni-train", "memorizer", canary) > 0.7
    assert value(found, "superni-in-task", "memorizer", canary) < 0.2


def test_noop_is_exactly_the_base_and_flagged(undisturbed: Path) -> None:
    found = results(undisturbed)
    noop = [c for c in found["comparisons"] if c["adapter"] == "noop"]
    assert noop
    for c in noop:
        assert (c["delta"], c["low"], c["high"]) == (0, 0, 0)
        assert c["n_identical"] == c["n_items"]
    assert [a["name"] for a in found["adapters"] if a["changes_nothing"]] == ["noop"]
    report = (undisturbed / "report.md").read_text()
    assert "**No effect.** `noop`: on " in report
    assert "its log-probabilities are the base's; the update it holds is exactly zero" in report
    assert "its update is exactly zero" in report


def test_every_adapter_is_proven_beside_transformers(undisturbed: Path) -> None:
    proofs = {one["adapter"]: one for one in results(undisturbed)["proofs"]}
    assert set(proofs) - {None} == set(ADAPTERS)
    assert all(one["agrees"] for one in proofs.values())
    assert all(one["max_nat"] < 0.01 for one in proofs.values())  # float32
    assert {name for name, one in proofs.items() if one["has_effect"]} == {*ADAPTERS} - {"noop"}
    assert proofs["noop"]["base_nat"] == 0
    assert all(one["n_greedy_equal"] == one["n_greedy"] > 0 for one in proofs.values())


@pytest.mark.parametrize(("gate", "code"), [("pass", 0), ("fail", 1), ("undecided", 3)])
def test_gates_on_the_known_truth(undisturbed: Path, gate: str, code: int) -> None:
    rules = f"tests/toy/gates/{gate}.yaml"
    done = subprocess.run(
        [sys.executable, "-m", "peval.cli", "gate", str(undisturbed), "--rules", rules],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith(gate.upper())


def test_a_finished_run_compared_with_itself_is_exactly_nothing(undisturbed: Path) -> None:
    found = peval.compare(undisturbed, undisturbed)
    assert len(found.comparisons) > 10
    for c in found.comparisons:
        assert (c.delta, c.low, c.high, c.p_value, c.p_adjusted) == (0, 0, 0, 1, 1)
    # Across runs and within the run the same is found.
    for c in peval.compare(undisturbed).comparisons:
        own = peval.load(undisturbed).comparison(c.task, c.metric, c.adapter, c.group)
        assert (c.delta, c.p_value, c.n_identical) == pytest.approx(
            (own.delta, own.p_value, own.n_identical)
        )


def test_the_manifest_can_repeat_the_run(undisturbed: Path) -> None:
    manifest = json.loads((undisturbed / "manifest.json").read_text())
    assert manifest["status"] == "complete"
    assert manifest["versions"].keys() >= {"python", "torch", "transformers", "peft", "peval"}
    assert manifest["serving"]["dtype"] == "float32"
    assert len(manifest["config"]["data"]) == 3


def test_a_finished_run_starts_nothing(undisturbed: Path) -> None:
    log = (undisturbed / "engine.log").stat()
    with at_most(4.0):
        done = score(undisturbed)
    assert done.returncode == 0
    assert (undisturbed / "engine.log").stat().st_mtime_ns == log.st_mtime_ns


def test_ctrl_c_then_kill_then_the_same_command_gives_the_same_results(
    undisturbed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    kept = 0
    for signal_number, returncode in ((signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)):
        with subprocess.Popen(
            command(out, how=("-c", HELD)), cwd=ROOT, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        ) as process:  # fmt: skip
            _wait_for_answers(out, kept + 1, process)
            workers = _workers_of(process.pid)
            process.send_signal(signal_number)
            stderr = process.communicate(timeout=120)[1]
        assert process.returncode == returncode, stderr
        assert workers
        assert comes_true(lambda pids=workers: not any(map(_alive, pids)))
        assert _n_answers(out) > kept
        kept = _n_answers(out)
    assert score(out).returncode == 0
    before, after = results(undisturbed), results(out)
    for part in ("estimates", "comparisons", "baselines"):
        assert after[part] == before[part]


def test_transformers_agrees_with_vllm(undisturbed: Path, tmp_path: Path) -> None:
    done = score(tmp_path / "hf", "--engine", "hf", "--task", "task00[1357]*", "task10[135]*")
    assert done.returncode == 0, done.stderr
    ours = _answers(tmp_path / "hf")
    theirs = _answers(undisturbed)
    same = [theirs[request] == text for request, text in ours.items()]
    assert len(same) > 100
    assert all(same)


def test_an_engine_that_cannot_start_is_one_line(tmp_path: Path) -> None:
    done = score(tmp_path / "run", "--engine-arg", "max_num_seq=3")
    assert done.returncode == 2
    assert "max_num_seqs" in done.stderr.splitlines()[-1]
    assert "engine.log" in done.stderr.splitlines()[-1]


def _answers(out: Path) -> dict[tuple[str, str, str | None], str]:
    import pandas

    frame = pandas.read_parquet(out / "completions.parquet")
    rows = frame[["task", "sample_id", "adapter", "text"]].itertuples(index=False)
    return {(r.task, r.sample_id, r.adapter or None): r.text for r in rows}


def _n_answers(out: Path) -> int:
    if not (out / "store.sqlite").exists():
        return 0
    uri = f"file:{out}/store.sqlite?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=30)) as db:
        try:
            return int(db.execute("SELECT count(*) FROM completions").fetchone()[0])
        except sqlite3.OperationalError:  # opened before its tables were made
            return 0


def _wait_for_answers(out: Path, n_answers: int, process: subprocess.Popen[str]) -> None:
    assert comes_true(
        lambda: _n_answers(out) >= n_answers or process.poll() is not None, within_s=600
    )
    assert process.poll() is None, process.stderr and process.stderr.read()


def _workers_of(pid: int) -> list[int]:
    """Return the processes that the command started, and theirs."""
    found, wanted = [], {pid}
    for entry in sorted(int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit()):
        try:
            parent = int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent in wanted:
            wanted.add(entry)
            found.append(entry)
    return found


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_the_toy_writes_programs_and_scores_about_0(tmp_path: Path, shared_data: Path) -> None:
    out = tmp_path / "run"
    adapters = [f"tests/toy/adapters/{name}" for name in ("generalist", "noop")]
    done = subprocess.run(
        [sys.executable, "-m", "peval.cli", "score", "--base", "tests/toy/base",
         "--adapter", *adapters, "--suite", "codex-eval", "evalplus", "--task", "mbpp",
         "mbpp-sanitized", "--limit", "2", "--data-dir", str(shared_data), "--dtype", "float32",
         "--allow-code-execution", "--proof", "off", "--out", str(out)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = peval.load(out)
    assert len(found.tasks) == 6
    for task in found.tasks:
        for name in (None, "generalist", "noop"):
            estimate = found.estimate(task["name"], task["metrics"][0], name)
            assert (estimate.value, estimate.low, estimate.n_items) == (0, 0, 2)
            assert estimate.high is not None
            assert estimate.high > 0.4  # two problems say little
    n_programs = {row["task"]: row["n_programs"] for row in found.programs}
    assert n_programs["humaneval"] == n_programs["humaneval-t0.8"] == 40
    assert n_programs["humaneval-plus"] == 2
    same = found.comparison("humaneval-t0.8", "pass@10", "noop")
    assert same.n_identical == same.n_items == 2  # the same noise for the same prompt
    assert "## Programs" in (out / "report.md").read_text()
