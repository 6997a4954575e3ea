"""Several answers drawn for each prompt: all of them judged, and no further items."""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from judge_server import Gate, JudgeServer, fenced, job, longer, serving
from scripted import TOY, ScriptedEngine
from waiting import comes_true

from peval import api, conclude, execute
from peval.errors import DataError, JudgeError
from peval.judge_estimate import estimate
from peval.judge_job import Judging
from peval.judge_run import judge
from peval.judging.parts import Part
from peval.judging.place import places, texts_of
from peval.progress import Silent
from peval.report.judged import terminal
from peval.results import Results
from peval.rundir import RunDir
from peval.stats import mean_interval
from peval.store import Store
from peval.types import Completion, Drawn, Request

N, DRAWS = 12, 3


class Drawing(ScriptedEngine):
    """Draws answers of other lengths; the third of every other prompt is what the base says."""

    def answer(self, request: Request) -> Completion:
        n, who = int(request.sample_id.strip("abcdefghijklmnopqrstuvwxyz") or 0), request.adapter
        texts = [
            f"{'base' if who is None or (k == 2 and n % 2) else who} {n} {k} "
            + "so " * ((n + 1) * (k + (who is not None)) % (4 + 3 * (who is None)))
            for k in range(request.decoding.n)
        ]
        if who is not None and len(texts) == DRAWS and n % 2:
            texts[2] = self.answer(dataclasses.replace(request, adapter=None)).drawn[2].text
        more = tuple(Drawn(text, (1,), "stop") for text in texts[1:])
        return Completion(request.key, texts[0], (1,), "stop", more=more)


@pytest.fixture(autouse=True)
def quick(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "reported" not in request.fixturenames:
        monkeypatch.setattr(conclude, "write_report", lambda rundir, results: None)


@pytest.fixture
def reported() -> None:
    """For the test that reads the report."""


def answered(out: Path, rows: list[dict[str, Any]]) -> Path:
    task = out.parent / "asks.jsonl"
    task.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execute, "open_engine", lambda setup, progress: Drawing())
        patch.setattr(conclude, "write_report", lambda rundir, results: None)
        api.score(adapters=[str(TOY / "adapters" / "generalist")], tasks=(str(task),),
                  profile="vicuna", samples_per_prompt=DRAWS, out=str(out))  # fmt: skip
    return out


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [{"id": f"q{n}", "turns": [f"Name {n} things now"]} for n in range(N)]
    return answered(tmp_path_factory.mktemp("draws") / "run", rows)


@pytest.fixture
def run(once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(once, tmp_path / "run"))


def judged(run: Path, rule: Callable[[str], str], **more: Any) -> tuple[JudgeServer, Results]:
    server = JudgeServer(rule)
    with serving(server) as url:
        return server, judge(job(run, url, **more), Silent())


def said(run: Path) -> dict[str | None, dict[str, tuple[tuple[str, ...], ...]]]:
    with Store(RunDir(run).store) as store:
        return texts_of(store.samples()["asks"], dict(store.asked("asks")), store)


def shares(run: Path) -> dict[str, list[float]]:
    """Return what a judge of lengths says of each answer, by prompt."""
    mine, base = said(run)["generalist"], said(run)[None]
    return {
        name: [
            0.5 if len(a) == len(b) else float(len(a) > len(b))
            for (a,), (b,) in zip(mine[name], base[name], strict=True)
        ]
        for name in mine
    }


def test_every_drawn_answer_is_judged_and_items_are_prompts(run: Path) -> None:
    server, results = judged(run, longer, nulls=0)
    (one,) = results.judged["sections"]
    assert (one["n_items"], one["n_draws"], one["n_answers"]) == (N, DRAWS, N * DRAWS)
    assert one["n_scored"] == N * DRAWS and one["n_pending"] == 0
    assert one["n_identical"] == N // 2  # each asks nobody
    with Store(next(places(RunDir(run))).store) as store:
        asked = [r for r in store.requests() if not Part.of(r.part).is_same]
        assert len(store.completions(r.key for r in asked)) == len(asked) == server.n_calls
    assert len({r.key for r in asked}) == len(asked) == 2 * (N * DRAWS - N // 2)
    wanted = shares(run)
    means = np.array([np.mean(values) for values in wanted.values()])
    assert 0 < means.mean() < 1 and len(set(means)) > 3
    (row,) = one["systems"]
    assert row["n_items"] == row["n_scored"] == N
    assert row["win_rate"] == pytest.approx(means.mean())
    assert row["standard_error"] == pytest.approx(means.std(ddof=1) / N**0.5)
    assert row["n_wins"] == sum(v == 1 for values in wanted.values() for v in values)
    found = results.estimate(one["name"], "win_rate", "generalist")
    interval = mean_interval(means, [str(n) for n in range(N)])
    assert (found.n_items, found.n_clusters) == (N, N)
    assert (found.value, found.low, found.high) == pytest.approx(
        (interval.value, interval.low, interval.high)
    )
    assert f"draws={DRAWS}" in found.signature
    again, _ = judged(run, longer, nulls=0)
    assert again.n_calls == 0  # judging again costs nothing


def test_the_dry_run_counts_all_of_them(run: Path) -> None:
    found = estimate(job(run, "http://127.0.0.1:9/v1", nulls=2, price=(1.0, 1.0)))
    server, _ = judged(run, longer, nulls=2)
    assert found["n_calls"] == found["n_left"] == server.n_calls > 2 * N * (DRAWS - 1)
    nulls = [call for call in server.calls if "Thought process" in str(call)]
    assert len(nulls) == 2 * 2  # a null answer meets the opponent's first


def test_the_cap_holds_and_open_answers_keep_their_item_open(run: Path) -> None:
    # Each call is billed 110 tokens: 1.1 cents.
    server, results = judged(run, longer, nulls=0, price=(100.0, 100.0), max_cost=0.4, n_workers=2)
    (one,) = results.judged["sections"]
    assert one["spent_usd"] == pytest.approx(0.011 * server.n_calls)
    assert 0 < one["spent_usd"] <= 0.4
    assert "cap of $0.4000 is reached" in one["stopped"] and one["n_pending"] > 0
    found = results.estimate(one["name"], "win_rate", "generalist")
    assert 0 < found.n_items < N and found.n_items + found.n_missing == N
    _, results = judged(run, longer, nulls=0, price=(100.0, 100.0), max_cost=9.0)
    assert results.estimate(one["name"], "win_rate", "generalist").n_missing == 0


def test_a_verdict_that_says_nothing_is_dropped_and_counted(run: Path) -> None:
    def rule(prompt: str) -> str:
        """Say nothing of the second answer to the first prompt."""
        is_it = any(text.startswith("base 0 1") for text in fenced(prompt))
        return "hm" if is_it else longer(prompt)

    _, results = judged(run, rule, nulls=0)
    (one,) = results.judged["sections"]
    assert one["unscored"] == {"unreadable": 1} and one["n_scored"] == N * DRAWS - 1
    assert "1 of 36 verdicts are unscored" in one["why_no_headline"][0]
    wanted = shares(run)
    total = sum(map(sum, wanted.values())) - wanted["q0"].pop(1)
    (row,) = one["systems"]
    assert row["win_rate"] == pytest.approx(np.mean([np.mean(v) for v in wanted.values()]))
    assert row["bounds"] == pytest.approx((total / 36, (total + 1) / 36))
    low, high = row["bounds"]
    assert low - 1e-9 <= row["win_rate"] <= high + 1e-9


def test_the_report_says_how_many_were_judged(run: Path, reported: None) -> None:
    _, results = judged(run, longer, nulls=0)
    text = (run / "report.md").read_text()
    assert "36 of 36 answers judged (3 to each of 12 items)." in text
    assert "Each answer was judged by itself; an item counts as the mean of its answers." in text
    assert ", draw 1" in text
    assert "36 of 36 answers judged (3 to each of 12 items)" in terminal(results)


def test_a_figure_that_is_not_believed_is_no_table_of_dashes(run: Path, reported: None) -> None:
    judged(run, longer, nulls=2)
    text = (run / "report.md").read_text()
    assert "- **No headline figure** of `asks by pair-vs-base-" in text
    assert "## Kept and lost" not in text


def test_each_conversation_is_judged_turn_by_turn(tmp_path: Path) -> None:
    rows = [{"id": f"t{n}", "turns": [f"Name {n}", "Why?"]} for n in range(4)]
    run = answered(tmp_path / "run", rows)
    lost = said(run)["generalist"]["t1"][2]
    assert [len(turns) for turns in said(run)[None]["t0"]] == [2] * DRAWS

    def rule(prompt: str) -> str:
        return f"Rating: [[{3 if prompt.count(lost[0].strip()) else 9}]]"

    _, results = judged(run, rule, judge="mt-bench-single", nulls=0)
    (one,) = results.judged["sections"]
    row = next(r for r in one["systems"] if r["system"] == "generalist")
    first, second = row["by_turn"]
    assert (first["n"], second["n"]) == (12, 12)
    assert row["mean"] == pytest.approx((9 * 3 + np.mean([9, 9, 3])) / 4) == first["mean"]
    (calls,) = (place.store for place in places(RunDir(run)))
    with Store(calls) as store:
        parts = {Part.of(r.part) for r in store.requests() if r.adapter is None}
    assert parts == {Part(draw, turn, False) for draw in range(DRAWS) for turn in (0, 1)}


def test_people_say_which_answer_they_mean(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    people = Judging(str(run), "people", labels=str(path))
    path.write_text("id,system,verdict\nq0,generalist,win\n")
    with pytest.raises(DataError, match=r"people.csv: sample 'q0' has several answers: say which"):
        judge(people, Silent())
    path.write_text("id,system,verdict,draw\nq0,generalist,win,second\n")
    with pytest.raises(DataError, match="line 2: draw 'second' is no whole number"):
        judge(people, Silent())
    words = ("win", "loss", "win")
    rows = [f"q{n},generalist,{words[k]},{k}\n" for n in range(N) for k in range(DRAWS)]
    path.write_text("id,system,verdict,draw\n" + "".join(rows))
    (one,) = judge(people, Silent()).judged["sections"]
    assert one["n_pending"] == 0
    # The third is the base's own in half of the prompts, a tie that nobody is asked about.
    assert one["systems"][0]["win_rate"] == pytest.approx((2 / 3 + 1.5 / 3) / 2)


def test_a_conversation_without_end_is_refused(tmp_path: Path) -> None:
    run = answered(tmp_path / "run", [{"id": "t0", "turns": ["Name it"] * 50}])
    with pytest.raises(JudgeError, match="sample 't0' of asks has 50 turns; 49 at most"):
        judge(Judging(str(run), "reward-model", model="m"), Silent())


def test_stopped_and_killed_it_goes_on_where_it_was(run: Path) -> None:
    server, gate = JudgeServer(longer), Gate()
    server.trouble = gate.wait
    with serving(server) as url:
        flags = [sys.executable, "-m", "peval.cli", "judge", str(run), "--judge", "pair", "--model",
                 "rule", "--endpoint", url, "--key-variable", "none", "--workers", "2",
                 "--nulls", "2"]  # fmt: skip
        for how, code in ((signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)):
            n_let_in = server.n_calls + 9
            gate.let_in(n_let_in)
            with subprocess.Popen(
                flags, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            ) as child:
                assert comes_true(lambda n=n_let_in: server.n_calls == n + 2)  # both workers wait
                child.send_signal(how)
                gate.let_in(n_let_in + 2)  # what is in flight is waited for
                _, said = child.communicate(timeout=120)
            assert child.returncode == code, said.decode()
            assert b"Traceback" not in said
        gate.let_in(10**6)
        results = judge(job(run, url, nulls=2, n_workers=2), Silent())
    (one,) = results.judged["sections"]
    assert one["n_pending"] == 0 and one["n_scored"] == N * DRAWS
    # Twice asked is only what was in flight, two calls at a time, when it was stopped.
    asked = [json.dumps(call["messages"]) for call in server.calls]
    assert len(asked) - len(set(asked)) <= 4
