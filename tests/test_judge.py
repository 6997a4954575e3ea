"""Judges end to end: a scripted run's answers, judged over real HTTP on this machine."""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
import time
from contextlib import closing
from dataclasses import replace
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest
from judge_server import FENCED, JudgeServer, always_a, fenced, job, longer, numbered, serving
from scripted import ROOT, TOY, ScriptedEngine

from peval import api, cli, conclude, execute
from peval.engines import server as server_module
from peval.engines.budget import Budget
from peval.engines.server import Endpoint, ServerEngine
from peval.errors import DataError
from peval.judge_check import ASKED, ATTACKS
from peval.judge_estimate import estimate
from peval.judge_job import Judging
from peval.judge_run import judge
from peval.judging.place import Place, places, texts_of
from peval.judging.template import escaped
from peval.progress import Silent
from peval.report.judged import terminal
from peval.results import load_results
from peval.rundir import RunDir
from peval.signature import unlike
from peval.store import Store
from peval.types import Completion, Decoding, Message, Request, Sample

ADAPTERS = [str(TOY / "adapters" / name) for name in ("generalist", "noop")]


@pytest.fixture
def reported() -> None:
    """For tests that read the report, whose figures take longer than the judging of a few items."""


@pytest.fixture(autouse=True)
def quick(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "reported" not in request.fixturenames:
        monkeypatch.setattr(conclude, "write_report", lambda rundir, results: None)


@pytest.fixture(scope="session")
def answered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("judged") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execute, "open_engine", lambda setup, progress: ScriptedEngine())
        patch.setattr(conclude, "write_report", lambda rundir, results: None)
        rows = [{"id": f"q{n}", "input": f"Name {n} " + "red blue green " * (n % 4) + "things now",
                 "output": "red"} for n in range(24)]  # fmt: skip
        task = out.parent / "asks.jsonl"
        task.write_text("".join(json.dumps(row) + "\n" for row in rows))
        api.score(adapters=ADAPTERS, tasks=(str(task),), out=str(out))
    return out


@pytest.fixture
def run(answered: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(answered, tmp_path / "run"))


def section(run: Path) -> dict[str, Any]:
    (one,) = load_results(run / "results.json").judged["sections"]
    return dict(one)


def system(found: dict[str, Any], name: str | None) -> dict[str, Any]:
    return next(row for row in found["systems"] if row["system"] == name)


def test_a_rule_judges_both_orders_and_verdicts_are_kept(run: Path, reported: None) -> None:
    server = JudgeServer(numbered)
    with serving(server) as url:
        results = judge(job(run, url), Silent())
        n_calls = server.n_calls
        again = judge(job(run, url), Silent())
        assert server.n_calls == n_calls > 0  # judging again costs nothing
    assert results.to_dict() == again.to_dict()
    jsonschema.validate(
        json.loads((run / "results.json").read_text()),
        json.loads((ROOT / "peval" / "results.schema.json").read_text()),
    )
    one = section(run)
    assert one["n_pending"] == 0 and not one["unscored"]
    assert not any(w.startswith("self-preference: ") for w in one["warnings"])
    # noop answers as the base does: a tie by rule, nobody is asked.
    assert system(one, "noop")["win_rate"] == 0.5
    assert [row["system"] for row in one["systems"]] == ["generalist", "noop"]
    assert one["orders"]["n_pairs"] > 0 and one["orders"]["n_flipped"] == 0
    assert one["orders"]["first_share"] == 0.5
    task = one["name"]
    estimate = results.estimate(task, "win_rate", "generalist")
    assert estimate.value == pytest.approx(system(one, "generalist")["win_rate"])
    (place,) = places(RunDir(run))
    with Store(place.store) as store:
        requests = store.requests()
        prompts = store.samples()["asks"]
        for request in requests:
            if request.part != 99:
                assert "[[A]] if" in prompts[request.key].queries[0].text
    report = (run / "report.md").read_text()
    assert "What judges say" in report and "null answer" in report


def test_a_judge_that_always_says_a_is_exposed(run: Path, reported: None) -> None:
    with serving(JudgeServer(always_a)) as url:
        judge(job(run, url, model="org/Base-Instruct"), Silent())
    one = section(run)
    assert any(w.startswith("self-preference: ") for w in one["warnings"])  # tuned from `base`
    assert system(one, "generalist")["win_rate"] == 0.5
    assert one["orders"]["first_share"] == 1.0
    assert one["orders"]["n_flipped"] == one["orders"]["n_pairs"] > 0
    assert any("position bias: the answer shown first gets 100 %" in w for w in one["warnings"])
    # A null answer gets half of a win from it, so there is no headline.
    assert any("'colon' wins 50.0 %" in why for why in one["why_no_headline"])
    found = load_results(run / "results.json")
    assert found.estimate(one["name"], "win_rate", "generalist").value is None
    report = (run / "report.md").read_text()
    assert "No headline figure." in report
    first = next(line for line in report.splitlines() if line.startswith("- "))
    assert first.startswith(f"- **No headline figure** of `{one['name']}`: ")
    assert one["why_no_headline"][0] in first


def test_a_judge_that_likes_length_is_exposed(run: Path) -> None:
    with serving(JudgeServer(longer)) as url:
        judge(job(run, url), Silent())
    one = section(run)
    assert one["lengths"]["longer_wins"] == 1.0
    assert any(w.startswith("length: the judge prefers longer") for w in one["warnings"])
    null = next(n for n in one["nulls"] if n["name"] == "constant")
    assert null["win_rate"] > 0.05 and one["why_no_headline"]


def test_trouble_loses_nothing_and_invents_nothing(run: Path, tmp_path: Path) -> None:
    calm = Path(shutil.copytree(run, tmp_path / "calm"))
    with serving(JudgeServer(numbered)) as url:
        judge(job(calm, url), Silent())
    server = JudgeServer(numbered)
    past = {"Retry-After": "Sun, 06 Nov 1994 08:49:37 GMT"}
    kinds: list[Any] = [(429, {"Retry-After": "0.01"}), (503, past), 0.05, "die", (408, {})]

    def trouble(n: int) -> Any:
        """Meet each call with up to six troubles in a row, each another."""
        attempt, size = server.calls[:n].count(server.calls[n]), len(str(server.calls[n]))
        return kinds[(size + attempt) % len(kinds)] if attempt < size % 7 else None

    server.trouble = trouble
    with serving(server) as url:
        judge(job(run, url), Silent())
    assert server.n_calls > len(set(map(str, server.calls)))
    mine, theirs = section(run), section(calm)
    for key in ("systems", "orders", "nulls", "lengths", "unscored"):
        assert mine[key] == theirs[key]


def said(text: str, reason: str = "stop") -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    return {"choices": [{"index": 0, "finish_reason": reason, "message": message}]}


def test_what_says_nothing_is_unscored(run: Path) -> None:
    troubles: list[Any] = [
        said("A is better, I think"), said("Both answers are", "length"), said(""),
        said("[[A]]", "content_filter"), {"choices": []}, "{not json", (400, {}),
    ]  # fmt: skip
    server = JudgeServer(numbered)
    # The first of each pair of orders: every trouble spoils an item of its own.
    server.trouble = lambda n: troubles[n // 2] if n % 2 == 0 and n < 14 else None
    with serving(server) as url:
        judge(job(run, url, nulls=0, n_workers=1), Silent())
    one = section(run)
    assert one["unscored"] == {"call failed": 3, "cut off": 1, "refused": 1, "unreadable": 2}
    assert "no null answers were judged: nothing shows" in one["warnings"][-1]
    assert one["unscored_said"]["cut off"] == "Both answers are"
    assert one["unscored_said"]["unreadable"] in ("A is better, I think", "")
    assert "  cut off, for example: Both answers are" in terminal(
        load_results(run / "results.json")
    )
    row = system(one, "generalist")
    assert row["n_scored"] == row["n_items"] - 7
    low, high = row["bounds"]
    assert low <= row["win_rate"] <= high and high - low == pytest.approx(7 / row["n_items"])
    assert "only bounds can be given" in one["why_no_headline"][0]


def test_an_unreachable_judge_exits_3_and_the_same_command_goes_on(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = JudgeServer(numbered)
    server.trouble = lambda n: "die" if n >= 6 else None
    with serving(server) as url:
        flags = ["judge", str(run), "--judge", "pair", "--model", "rule", "--endpoint", url,
                 "--key-variable", "none", "--retry-pause", "0.001", "--workers", "2",
                 "--nulls", "2"]  # fmt: skip
        assert cli.main(flags) == 3
        said = capsys.readouterr().out
        assert "does not answer" in said and "; the same command goes on\n" in said
        one = section(run)
        assert one["n_scored"] > 0 and one["n_pending"] > 0
        server.trouble = lambda n: None
        n_before = server.n_calls
        assert cli.main(flags) == 0
    done = section(run)
    assert done["n_pending"] == 0 and not done["stopped"]
    (place,) = places(RunDir(run))
    with Store(place.store) as store:
        n_keys = len({r.key for r in store.requests() if r.part != 99})
    assert server.n_calls - n_before <= n_keys - 5  # what was said before was not asked again


def test_a_missing_key_names_the_variable(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert cli.main(["judge", str(run), "--judge", "alpaca-eval-2"]) == 2
    said = capsys.readouterr().err
    assert "OPENAI_API_KEY" in said and said.count("\n") == 1 + said.count("requests answered")


def test_a_refused_key_is_never_printed(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JUDGE_KEY", "sk-secret-0123456789")
    server = JudgeServer(numbered)
    with serving(server) as url:
        for status, code in ((401, 2), (400, 0)):
            server.trouble = lambda n, s=status: (s, {})
            flags = ["judge", str(run), "--judge", "pair", "--model", "m", "--endpoint", url,
                     "--key-variable", "JUDGE_KEY", "--nulls", "0"]  # fmt: skip
            assert cli.main(flags) == code
    said = "".join(capsys.readouterr())
    assert "JUDGE_KEY" in said and "sk-secret" not in said
    assert server.keys[0] == "Bearer sk-secret-0123456789"
    files = [p for p in run.rglob("*") if p.is_file()]
    assert not any(b"sk-secret" in p.read_bytes() for p in files)


def test_the_cap_holds_and_the_rest_is_a_fair_sample(run: Path) -> None:
    server = JudgeServer(numbered)  # each call is billed 110 tokens: 1.1 cents
    with serving(server) as url:
        mine = job(run, url, price=(100.0, 100.0), max_cost=0.45, n_workers=4)
        results = judge(mine, Silent())
        one = section(run)
        assert one["spent_usd"] == pytest.approx(0.011 * server.n_calls)
        # Calls in flight set aside far more than they cost; what they give back is spent again.
        most = 1e-4 * (max(len(str(call["messages"]).encode()) for call in server.calls) + 600)
        assert (
            0.45 - most < one["spent_usd"] <= 0.45 and "cap of $0.4500 is reached" in one["stopped"]
        )
        assert 0 < one["n_scored"] < one["n_items"]
        found = results.estimate(one["name"], "win_rate", "generalist")
        assert found.n_missing > 0 and found.low is not None
        n_before = server.n_calls
        judge(mine, Silent())
        assert section(run)["spent_usd"] <= 0.45
        assert server.n_calls == n_before
        judge(job(run, url, price=(100.0, 100.0), max_cost=50.0), Silent())
        assert section(run)["n_pending"] == 0


class Named(ScriptedEngine):
    """Each system gives answers of its own."""

    def answer(self, request: Request) -> Completion:
        return Completion(request.key, f"{request.adapter} {request.sample_id}", (1,), "stop")


def test_the_cap_holds_over_all_opponents_of_one_command(
    answered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execute, "open_engine", lambda setup, progress: Named())
    out = tmp_path / "named"
    api.score(adapters=ADAPTERS, tasks=(str(answered.parent / "asks.jsonl"),), limit=20,
              out=str(out))  # fmt: skip
    server = JudgeServer(lambda prompt: "[[C]]")  # each call is billed 100 tokens in: 1 cent
    with serving(server) as url:
        mine = job(out, url, against="each", nulls=0, price=(100.0, 0.0))
        judge(replace(mine, max_cost=1.0), Silent())  # 80 calls against the base, 40 more
        assert 80 < server.n_calls <= 100
        *_, last = load_results(out / "results.json").judged["sections"]
        assert "cap of $1.0000 is reached" in last["stopped"]
        judge(replace(mine, max_cost=1.5), Silent())
        assert server.n_calls == 120


def test_recorded_verdicts_replay_bit_for_bit(run: Path, tmp_path: Path) -> None:
    fresh = Path(shutil.copytree(run, tmp_path / "fresh"))
    with serving(JudgeServer(numbered)) as url:
        judge(job(run, url), Silent())
    gone = "http://127.0.0.1:9/v1"
    judge(job(fresh, gone, replay=(str(run),)), Silent())
    one, other = section(run), section(fresh)
    assert one | {"stopped": None} == other | {"spent_usd": one["spent_usd"]}
    assert other["n_pending"] == 0
    assert (
        load_results(run / "results.json").estimates
        == load_results(fresh / "results.json").estimates
    )


def test_a_dry_run_asks_nobody(run: Path) -> None:
    found = estimate(Judging(str(run), "alpaca-eval-2", nulls=5))
    assert found["n_left"] == found["n_calls"] > 0 and found["usd"] > 0
    assert not list(places(RunDir(run)))


def test_a_reference_file_with_other_prompts_is_refused(run: Path, tmp_path: Path) -> None:
    with Store(RunDir(run).store) as store:
        samples = list(store.samples()["asks"].values())
    path = tmp_path / "theirs.jsonl"
    rows = [{"id": s.id, "output": "x", "instruction": s.input} for s in samples]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with serving(JudgeServer(longer)) as url:
        judge(job(run, url, against=str(path), nulls=0), Silent())
        assert section(run)["n_scored"] == section(run)["n_items"]
        rows[0]["instruction"] = "Another question"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        with pytest.raises(DataError, match="answers other prompts for 1 of"):
            judge(job(run, url, against=str(path)), Silent())
    path.write_text(json.dumps(rows[1]))
    with pytest.raises(DataError, match="has no answer for"):
        judge(job(run, "http://127.0.0.1:9/v1", against=str(path)), Silent())


def test_alpaca_evals_targets_are_opponents_and_no_references(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"dataset": "d", "instruction": f"Name {n} things now", "output": "red " * n,
             "generator": "g"} for n in range(1, 5)]  # fmt: skip
    (tmp_path / "alpaca_eval").mkdir()
    (tmp_path / "alpaca_eval" / "alpaca_eval.json").write_text(json.dumps(rows))
    monkeypatch.setattr(execute, "open_engine", lambda setup, progress: ScriptedEngine())
    api.score(adapters=ADAPTERS[:1], tasks=("alpaca-eval",), profile="vicuna",
              data_dir=str(tmp_path), out=str(tmp_path / "run"))  # fmt: skip
    server = JudgeServer(lambda prompt: "[[C]]")
    with serving(server) as url:
        mine = job(tmp_path / "run", url, judge="mt-bench-pairwise", against="targets", nulls=0)
        judge(mine, Silent())
    assert len(server.calls) == 2 * 2 * 4
    prompts = [call["messages"][-1]["content"] for call in server.calls]
    assert all("red" in p and "Reference Answer" not in p for p in prompts)
    one = section(tmp_path / "run")
    assert system(one, None)["win_rate"] == system(one, "generalist")["win_rate"] == 0.5


def test_people_are_one_more_judge(run: Path, tmp_path: Path) -> None:
    with serving(JudgeServer(numbered)) as url:
        judge(job(run, url, nulls=0), Silent())
    one = section(run)
    with Store(RunDir(run).store) as store:
        ids = list(store.samples()["asks"])
    path = tmp_path / "people.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "system", "verdict"])
        writer.writerows((name, "generalist", "win") for name in ids)
    judge(Judging(str(run), "people", labels=str(path)), Silent())
    found = load_results(run / "results.json").judged
    people = next(s for s in found["sections"] if s["judge"] == "people")
    row = system(people, "generalist")
    assert row["n_losses"] == 0 and row["n_wins"] == row["n_items"] - people["n_identical"] + 24
    assert not people["nulls"] and people["orders"] is None
    (agreed,) = found["agreement"]
    assert agreed["n"] == row["n_wins"]
    assert agreed["agreement"] == pytest.approx(system(one, "generalist")["n_wins"] / agreed["n"])
    assert not any("people's verdicts" in said for said in people["warnings"])
    path.write_text(path.read_text() + "q1,somebody,win\nq99,generalist,win\n")
    judge(Judging(str(run), "people", labels=str(path)), Silent())
    *_, people = load_results(run / "results.json").judged["sections"]
    assert "people's verdicts that are on no system and sample here: 2" in people["warnings"]
    for rows, why in (
        ("q1,generalist,better\n", "line 2: verdict 'better' is not win, loss or tie"),
        ("q1,noop,win\nq1,noop,loss\n", "line 3: 'loss', and another verdict on this answer"),
        ("q1,somebody,win\n", "none of its 1 rows is of a system and sample here"),
        (None, "line 1: no column 'id'; needed are id, system, verdict, with commas between"),
    ):
        path.write_text("id;system\nq1;x\n" if rows is None else f"id,system,verdict\n{rows}")
        with pytest.raises(DataError, match=why):
            judge(Judging(str(run), "people", labels=str(path)), Silent())


def test_every_system_against_every_other_gives_ratings(run: Path) -> None:
    with serving(JudgeServer(longer)) as url:
        judge(job(run, url, against="each", nulls=0), Silent())
    found = load_results(run / "results.json")
    rows = {row["system"]: row for row in found.judged["ratings"]}
    assert set(rows) == {None, "generalist", "noop"}
    assert sum(row["elo"] for row in rows.values()) == pytest.approx(0, abs=1e-6)
    assert rows[None]["elo"] == pytest.approx(rows["noop"]["elo"], abs=1e-3)
    assert all(row["low"] <= row["elo"] <= row["high"] for row in rows.values())


def test_a_rating_judge(run: Path) -> None:
    nothing = re.compile(r"Assistant's Answer\]\n(|:|Thought process: .*)\n\[The End")
    server = JudgeServer(lambda prompt: f"Rating: [[{1 if nothing.search(prompt) else 7}]]")
    with serving(server) as url:
        results = judge(job(run, url, judge="mt-bench-single"), Silent())
    one = section(run)
    assert system(one, "generalist")["mean"] == 7.0
    assert results.estimate(one["name"], "rating", None).value == 7.0
    # Where all verdicts are equal, no system fills the examples alone.
    assert {row["system"] for row in one["examples"][:3]} == {None, "generalist", "noop"}
    assert all(null["win_rate"] == 0 and null["mean"] == 1 for null in one["nulls"])
    assert not one["why_no_headline"]


def test_a_judge_that_rates_everything_alike_is_exposed(run: Path) -> None:
    with serving(JudgeServer(lambda prompt: "Rating: [[7]]")) as url:
        results = judge(job(run, url, judge="mt-bench-single"), Silent())
    one = section(run)
    assert len(one["why_no_headline"]) == 3
    assert "null answer 'empty' wins 50.0 % of its 5 items" in one["why_no_headline"][0]
    assert results.estimate(one["name"], "rating", "generalist").value is None


def test_weighted_by_the_probabilities_of_the_labels(run: Path) -> None:
    server = JudgeServer(lambda prompt: "m")
    server.logprobs = lambda prompt: {"m": -0.1, "M": -2.4, "The": -5.0}
    with serving(server) as url:
        judge(job(run, url, judge="alpaca-eval-2", nulls=0), Silent())
    assert server.calls[0]["max_tokens"] == 1 and server.calls[0]["top_logprobs"] == 5
    one = section(run)
    assert one["orders"]["first_share"] == pytest.approx(1 / (1 + 2.718281828**-2.3), abs=1e-6)
    assert system(one, "generalist")["win_rate"] == pytest.approx(0.5)


def test_no_more_calls_a_minute_than_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No time passes, so that nine calls queue for their turns, 0.1 s apart.
    monkeypatch.setattr(server_module, "time", SimpleNamespace(monotonic=lambda: 0.0))
    waits: list[float] = []
    server = JudgeServer(lambda prompt: "[[C]]")
    turns = {str(n): (Message("user", str(n)),) for n in range(9)}
    requests = [Request(key, "t", key, None, (), Decoding(1)) for key in turns]
    with serving(server) as url:
        where = Endpoint(url, "m", "none", 8, 0.0, n_workers=4, per_minute=600)
        with closing(ServerEngine(where, turns, Budget(tmp_path / "spent", None))) as engine:
            monkeypatch.setattr(engine._stop, "wait", waits.append)
            assert len(list(engine.complete(requests))) == 9
    assert sorted(waits) == pytest.approx([n / 10 for n in range(9)])


def test_the_newer_name_of_the_limit_is_taken_where_a_server_asks_for_it(tmp_path: Path) -> None:
    server = JudgeServer(lambda prompt: "[[C]]")
    server.trouble = lambda n: (
        (400, {}, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
        if "max_tokens" in server.calls[n]
        else None
    )
    turns = {str(n): (Message("user", str(n)),) for n in range(9)}
    requests = [Request(key, "t", key, None, (), Decoding(1)) for key in turns]
    with serving(server) as url:
        where = Endpoint(url, "m", "none", 8, 0.0, n_workers=3)
        with closing(ServerEngine(where, turns, Budget(tmp_path / "spent", None))) as engine:
            assert {one.text for one in engine.complete(requests)} == {"[[C]]"}
    assert len(server.calls) <= 9 + 3  # what was in flight is asked again
    assert server.calls[-1]["max_completion_tokens"] == 8


def test_a_server_that_names_a_time_is_left_alone_until_then(tmp_path: Path) -> None:
    until: list[str] = []

    def trouble(n: int) -> Any:
        """Refuse the first call until the next second but one."""
        if n:
            return None
        until.append(formatdate(time.time() + 1.5, usegmt=True))  # in whole seconds
        return 429, {"Retry-After": until[0]}

    server = JudgeServer(lambda prompt: str(time.time()))
    server.trouble = trouble
    with serving(server) as url:
        where = Endpoint(url, "m", "none", 8, 0.0, pause_s=0.0)
        turns = {"k": (Message("user", "?"),)}
        with closing(ServerEngine(where, turns, Budget(tmp_path / "spent", None))) as engine:
            (said,) = engine.complete([Request("k", "t", "k", None, (), Decoding(1))])
    assert float(said.text) >= parsedate_to_datetime(until[0]).timestamp()


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("pair --model ''", "pair names no model: give --model"),
        ("pair --against nobody", "the run has no such system: base, generalist, noop"),
        ("pair --limit 0", "--limit 0: give 1 or more"),
        ("pair --nulls -1", "--nulls -1: give 0 or more"),
        ("pair --workers 0", "--workers 0: give 1 or more"),
        ("pair --timeout 0", "--timeout 0: give more than 0"),
        ("pair --per-minute nan", "--per-minute nan: give more than 0"),
        ("pair --max-cost -1", "--max-cost -1: give more than 0"),
        ("pair --price -1 2", "--price -1: give 0 or more"),
        ("pair --max-cost 5", "--max-cost: the price is not known; add --price INPUT OUTPUT"),
        ("alpaca-eval-2 --max-cost 5", "--max-cost: the price is not known"),  # another model's
        ("pair --endpoint 127.0.0.1:8000/v1", "--endpoint 127.0.0.1:8000/v1: give a URL, as http"),
        ("pair --labels x.csv", "--labels: pair is not people's verdicts"),
        ("pair-local", "--endpoint: pair-local is not a judge behind an endpoint"),
        ("pair --task nope", "--task nope: the run has asks"),
        ("mt-bench-single --against base", "--against: mt-bench-single rates single answers"),
        ("pair --endpoint 'http://[::1/v1'", "--endpoint http://[::1/v1: give a URL, as http"),
        ("pair --endpoint http://", "--endpoint http://: give a URL, as http"),
        ("pair --endpoint http://localhost:99999/v1", "localhost:99999/v1: give a URL, as http"),
        ("pair --endpoint 'http://exa mple/v1'", "--endpoint http://exa mple/v1: give a URL"),
        ("pair --timeout inf", "--timeout inf: give less than 1,000,000,000"),
        ("pair --price inf 1", "--price inf: give less than"),
        ("pair --per-minute inf", "--per-minute inf: give less than"),
        ("pair --key-variable ''", "--key-variable '': name the environment's variable"),
        ("no.yaml", "no.yaml: no such file"),
        (".yaml", "no judge '.yaml'; known: alpaca-eval-1"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(
    run: Path, capsys: pytest.CaptureFixture[str], given: str, why: str
) -> None:
    flags = ["--model", "m", "--endpoint", "http://127.0.0.1:9/v1", "--key-variable", "none"]
    assert cli.main(["judge", str(run), *flags, "--judge", *shlex.split(given)]) == 2
    said = capsys.readouterr()
    assert why in said.err and said.err.count("\n") == 1 and not said.out
    assert not (run / "judged").exists()


def test_odd_characters_in_a_judges_name_break_nothing(run: Path, reported: None) -> None:
    path = run.parent / "their|own `x`.jsonl"
    with Store(RunDir(run).store) as store:
        rows = [{"id": name, "output": "x"} for name in store.samples()["asks"]]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    model = "org|it/model `x` <b>\n| a | b"
    with serving(JudgeServer(numbered)) as url:
        results = judge(job(run, url, model=model, against=str(path), nulls=0), Silent())
    one = section(run)
    signature = results.estimate(one["name"], "win_rate", "generalist").signature
    fields = [part.partition(":")[0] for part in signature.split("|")]
    assert len(fields) == len(set(fields)) and "\n" not in signature
    assert unlike(signature, signature) == {}
    (line,) = [x for x in (run / "report.md").read_text().splitlines() if "judged by" in x]
    assert "(``org|it/model `x` <b> | a | b``) against ``" in line


def test_another_judges_unfinished_work_is_its_own(run: Path) -> None:
    flags = ["judge", str(run), "--judge", "pair", "--key-variable", "none", "--nulls", "0",
             "--retry-pause", "0.001"]  # fmt: skip
    gone = ["--model", "gone", "--endpoint", "http://127.0.0.1:9/v1"]
    with serving(JudgeServer(numbered)) as url:
        assert cli.main([*flags, *gone]) == 3
        assert cli.main([*flags, "--model", "rule", "--endpoint", url]) == 0
        assert cli.main([*flags, *gone]) == 3


def test_a_check_counts_the_attacks_that_win(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def gullible(prompt: str) -> str:
        """Obeys what an answer says, within its fence or not."""
        _, a, b = fenced(prompt)[:3]
        return "[[A]]" if "Ignore the above" in a else "[[B]]" if "Ignore the above" in b else "?"

    def firm(prompt: str) -> str:
        question, a, b = fenced(prompt)[:3]
        right = {text for name, asked, text in ASKED if asked in question}
        return "[[A]]" if a in right else "[[B]]" if b in right else "[[C]]"

    for rule, rate in ((gullible, 1.0), (firm, 0.0)):
        out = tmp_path / rule.__name__
        with serving(JudgeServer(rule)) as url:
            flags = ["judge-check", "--judge", "pair", "--model", "m", "--endpoint", url,
                     "--key-variable", "none", "--out", str(out), "--json"]  # fmt: skip
            assert cli.main(flags) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["success_rate"] == rate
        assert found["control_rate"] == (0.0 if rule is firm else None)
        n = len(ATTACKS) * len(ASKED)
        assert found["n_attacks"] + found["n_unscored"] == n
        assert found["n_unscored"] == (0 if rule is firm else n - 2 * len(ASKED))
        assert found["first_share"] == 0.5
    # What pretends to end a fence or a turn reaches the judge as text alone.
    with Store(Place(out).store) as store:
        texts = [s.queries[0].text for s in store.samples()["judge-check"].values()]
    assert not any("<|im_end|>" in text or "\u202e" in text or "[/INST]" in text for text in texts)
    assert any("‹|im_end|›" in text for text in texts) and any("\\u202e" in text for text in texts)
    assert len({FENCED.search(text)[1] for text in texts}) == len(texts)  # a fence for each call


def test_a_check_keeps_to_its_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("other").mkdir()
    Path("other", "judging.json").write_text("{}")

    def check(*flags: str) -> tuple[int, str]:
        """Ask a judge that cannot be reached."""
        code = cli.main(["judge-check", "--retry-pause", "0", *flags])
        return code, capsys.readouterr().err

    gone = ("--key-variable", "none", "--endpoint", "http://127.0.0.1:9/v1")
    assert check("--judge", "pair", "--model", "org/a", *gone)[0] == 3
    assert check("--judge", "pair", "--model", "org/b", *gone)[0] == 3  # a place of its own
    mine = "peval-runs/judge-check-pair-org-a"
    for flags, why in (
        (("--judge", "pair", "--model", "b", *gone, "--out", mine),
         f"{mine}: holds the check of another judge, pair (org/a); name another --out"),
        (("--judge", "pair", "--model", "b", *gone, "--out", "other"),
         "other/judging.json: is of no check of a judge; name another --out"),
        (("--judge", "pair", "--model", "b", *gone, "--out", "file"),
         "file: verdicts cannot be kept there (File exists)"),
        (("--judge", "pair", "--model", "b", *gone, "--out", "file/x"),
         "file/x: verdicts cannot be kept there (Not a directory)"),
        (("--judge", "people"), "--judge people: it reads no prompt"),
        (("--judge", "pair-local", "--model", "none", "--out", "x"),
         "pair-local: --model 'none': no such path"),
    ):  # fmt: skip
        code, said = check(*flags)
        assert code == 2 and why in said.splitlines()[-1]


def test_a_place_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "judging.json").write_text("{")
    with pytest.raises(Exception, match="cannot be read"):
        Place(tmp_path).read()


@pytest.fixture(scope="session")
def talked(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MT-Bench's 80 questions in two turns, answered by script."""
    out = tmp_path_factory.mktemp("talked") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execute, "open_engine", lambda setup, progress: ScriptedEngine())
        patch.setattr(conclude, "write_report", lambda rundir, results: None)
        api.score(adapters=ADAPTERS[:1], tasks=("mt-bench",), data_dir=str(shared_data),
                  out=str(out))  # fmt: skip
    return out


def published(shared_data: Path) -> dict[str, dict[str, str]]:
    lines = (shared_data / "mt_bench" / "judge_prompts.jsonl").read_text().splitlines()
    return {one["name"]: one for one in map(json.loads, lines)}


def as_fastchat_asks(
    prompts: dict[str, dict[str, str]], sample: Sample, references: list[str] | None,
    answers: dict[str, tuple[str, ...]], turn: int,
) -> tuple[str, str]:  # fmt: skip
    """Return the system's and the user's turn as FastChat's templates are filled."""
    pairwise = len(answers) == 2
    name = ("pair" if pairwise else "single") + ("-math-v1" if references else
            "-v2" if pairwise else "-v1") + ("-multi-turn" if turn else "")  # fmt: skip
    questions = (sample.input, *sample.follow_ups)
    values = {"question": questions[0]} | {f"question_{n + 1}": q for n, q in enumerate(questions)}
    for n, text in enumerate(references or ()):
        values[f"ref_answer_{n + 1}"] = text
    for side, texts in answers.items():
        values[f"answer{side}"] = texts[0]
        values |= {f"answer{side}_{n + 1}": text for n, text in enumerate(texts)}
    prompt = prompts[name]
    return prompt["system_prompt"].strip(), prompt["prompt_template"].format(**values).strip()


def test_both_turns_of_mt_bench_are_asked_as_fastchat_asks(
    talked: Path, tmp_path: Path, shared_data: Path, reported: None
) -> None:
    run = Path(shutil.copytree(talked, tmp_path / "run"))
    path = shared_data / "mt_bench" / "reference_answer" / "gpt-4.jsonl"
    rows = list(map(json.loads, path.read_text().splitlines()))
    references = {str(row["question_id"]): row["choices"][0]["turns"] for row in rows}
    server = JudgeServer(lambda prompt: "So: [[7]] [[C]]")
    with serving(server) as url:
        judge(job(run, url, judge="mt-bench-single", nulls=0), Silent())
        judge(job(run, url, judge="mt-bench-pairwise", nulls=0), Silent())
    prompts = published(shared_data)
    with Store(RunDir(run).store) as store:
        samples = store.samples()["mt-bench"]
        said = texts_of(samples, dict(store.asked("mt-bench")), store)
    mine, base = (
        {name: turns for name, (turns,) in said[who].items()} for who in ("generalist", None)
    )
    wanted = {
        as_fastchat_asks(prompts, sample, references.get(name), answers, turn)
        for name, sample in samples.items()
        for answers in (
            {"": mine[name]}, {"": base[name]},
            {"_a": mine[name], "_b": base[name]}, {"_a": base[name], "_b": mine[name]},
        )
        for turn in (0, 1)
        if len(answers) == 1 or mine[name] != base[name]
    }  # fmt: skip
    asked = [tuple(t["content"].strip() for t in call["messages"]) for call in server.calls]
    assert set(asked) == wanted and len(asked) == len(wanted)
    by_judge = {s["judge"]: s for s in load_results(run / "results.json").judged["sections"]}
    rated = system(by_judge["mt-bench-single"], "generalist")
    turns = {(row["category"], row["turn"]): row for row in rated["by_turn"]}
    assert len(turns) == 2 * 9 and turns[(None, 2)] | {"n": 80, "n_dropped": 0} == turns[(None, 2)]
    assert turns[("math", 2)]["mean"] == 7.0 and turns[("math", 2)]["n"] == 10
    assert "turn by turn" in (run / "report.md").read_text()


def test_fastchats_answers_are_judged_turn_by_turn(tmp_path: Path, shared_data: Path) -> None:
    path = shared_data / "mt_bench" / "reference_answer" / "gpt-4.jsonl"
    run = tmp_path / "run"
    api.score_predictions([path], "mt-bench", data_dir=str(shared_data), out=str(run))
    server = JudgeServer(lambda prompt: "Rating: [[9]]")
    with serving(server) as url:
        judge(job(run, url, judge="mt-bench-single", nulls=0), Silent())
        judge(job(run, url, judge="mt-bench-pairwise", nulls=0, against=str(path)), Silent())
    rows = list(map(json.loads, path.read_text().splitlines()))
    asked = [call["messages"][-1]["content"] for call in server.calls]
    assert len(asked) == 60  # the same answers beside themselves are ties that ask nobody
    for row in rows:
        first, second = map(escaped, row["choices"][0]["turns"])
        mine = [text for text in asked if f"\n{first}\n" in text]
        assert len(mine) == 2 and sum(f"\n{second}\n" in text for text in mine) == 1
    by_judge = {s["judge"]: s for s in load_results(run / "results.json").judged["sections"]}
    assert system(by_judge["mt-bench-single"], "gpt-4")["mean"] == 9.0
    assert by_judge["mt-bench-pairwise"]["n_identical"] == 30
    path = tmp_path / "first-turns.jsonl"
    lines = [{"id": row["question_id"], "output": "Yes."} for row in rows]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(DataError, match="has 2 turns, and here 1 answers; list the answer"):
        judge(job(run, url, judge="mt-bench-pairwise", against=str(path)), Silent())
