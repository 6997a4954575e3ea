"""The supervisor against a small worker that speaks the protocol and misbehaves on request."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from waiting import comes_true

from peval.engines import SupervisedEngine
from peval.engines.process import WorkerProcess
from peval.errors import EngineError
from peval.types import Base, Decoding, EngineSpec, Request

ROOT = Path(__file__).parents[2]
SITE = str(Path(msgspec.__file__).parents[1])  # for workers that start without looking (-S)

# Echoes each prompt. The first prompt token says how to misbehave; ``scratch`` counts starts.
FAKE = f"""
import json, os, signal, sys, time
sys.path += {[str(ROOT), SITE]!r}
from peval.engines.worker import fork_guard
requests, events, guard = map(int, sys.argv[2:5])
fork_guard(guard, (requests, events))
scratch = sys.argv[1]
with open(scratch, "a") as f:
    f.write(str(os.getpid()) + "\\n")
n_starts = len(open(scratch).read().split())
inbox, outbox = os.fdopen(requests, "rb"), os.fdopen(events, "wb")

def say(**message):
    outbox.write(json.dumps(message).encode() + b"\\n")
    outbox.flush()

spec = json.loads(inbox.readline())
how = spec["options"].get("start")
if how == "permanent":
    raise ValueError("No available memory for the cache blocks.")
if how == "always" or (how == "twice" and n_starts < 3):
    raise RuntimeError("a start that failed")
if how == "fatal":
    say(event="fatal", why="has no engine argument 'max_seqs'; did you mean max_num_seqs")
    sys.exit(0)
if how == "hang":
    time.sleep(600)
say(event="ready", window=spec["options"].get("window", 64), refused={{}}, n_starts=n_starts)
for line in inbox:
    r = json.loads(line)
    token = r["prompt_token_ids"][0]
    if token == 666:
        raise RuntimeError("poison")
    if token == 555 and n_starts == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if token == 444 and n_starts == 1:
        open(scratch + "-asleep", "w").close()
        time.sleep(600)
    if token == 333:
        os.kill(os.getpid(), signal.SIGSTOP)
    if token == 222:
        say(event="done", key="unasked", text="", token_ids=[], finish_reason="stop",
            error=None, likelihoods=[], more=[])
    say(event="tick")
    say(event="done", key=r["key"], text=str(token), token_ids=r["prompt_token_ids"],
        finish_reason="stop", error=None, likelihoods=[], more=[])
"""

Make = Callable[..., SupervisedEngine]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    script = tmp_path / "fake.py"
    script.write_text(FAKE)
    engines = []

    def build(stall_timeout_s: float = 60.0, **options: object) -> SupervisedEngine:
        base = Base("b", tmp_path, "0" * 64, "float32", 64, 1000)
        spec = EngineSpec("vllm", base, (), "float32", 64, 0, options)
        command = (sys.executable, "-S", str(script), str(tmp_path / "starts"))
        engine = SupervisedEngine(
            spec,
            tmp_path / "engine.log",
            command=command,
            stall_timeout_s=stall_timeout_s,
            start_timeout_s=0.5 if options.get("start") == "hang" else 60.0,
        )
        engines.append(engine)
        return engine

    yield build
    for engine in engines:
        engine.close()


def request(key: str, token: int = 1) -> Request:
    return Request(key, "task", key, None, (token, 2, 3), Decoding(8))


def of_adapter(name: str, n: int, token: int) -> list[Request]:
    return [Request(f"{name}{i}", "t", str(i), name, (token,), Decoding(8)) for i in range(n)]


def many(n: int, poison: dict[int, int] | None = None) -> list[Request]:
    return [request(f"k{i}", (poison or {}).get(i, i % 100)) for i in range(n)]


def n_starts(tmp_path: Path) -> int:
    return len((tmp_path / "starts").read_text().split())


def group_is_gone(group: int) -> bool:
    def is_gone() -> bool:
        stats = [read_stat(p) for p in Path("/proc").glob("[0-9]*/stat")]
        return not any(int(s[2]) == group and s[0] != "Z" for s in stats if s)

    return comes_true(is_gone)


def read_stat(path: Path) -> list[str]:
    """Return state, parent and group of a process, or nothing if it has gone."""
    try:
        return path.read_text().rpartition(")")[2].split()
    except OSError:
        return []


def test_every_distinct_key_is_answered_once(make: Make) -> None:
    requests = [*many(300), *many(10)]
    answers = list(make().complete(iter(requests)))
    assert sorted(a.key for a in answers) == sorted({r.key for r in requests})
    assert {a.key: a.text for a in answers}["k42"] == "42"


def test_requests_are_drawn_only_as_the_window_allows(make: Make) -> None:
    drawn = 0

    def source() -> Iterator[Request]:
        nonlocal drawn
        for r in many(1000):
            drawn += 1
            yield r

    stream = make(window=8).complete(source())
    next(stream)
    assert drawn <= 9
    stream.close()


def test_one_worker_serves_several_streams(make: Make, tmp_path: Path) -> None:
    engine = make()
    assert len(list(engine.complete(many(3)))) == len(list(engine.complete(many(3)))) == 3
    assert n_starts(tmp_path) == 1


def test_a_second_stream_at_the_same_time_is_a_bug(make: Make) -> None:
    engine = make()
    stream = engine.complete(many(3))
    next(stream)
    with pytest.raises(RuntimeError, match="already answering"):
        next(engine.complete(many(3)))
    stream.close()


def test_a_killed_worker_is_replaced_and_nothing_is_lost(make: Make) -> None:
    engine = make()
    notices: list[str] = []
    engine._on_event = notices.append
    answers = list(engine.complete(many(100, {30: 555})))
    assert len(answers) == 100
    assert all(a.finish_reason == "stop" for a in answers)
    assert engine.n_restarts == 1
    assert notices == ["engine restarted: worker killed by SIGKILL; is the machine out of memory?"]


def test_a_silent_worker_is_replaced(make: Make) -> None:
    engine = make(stall_timeout_s=1.0)
    # The one that replaces it may be slow.
    engine._on_event = lambda _: setattr(engine, "_stall_timeout_s", 60.0)
    answers = list(engine.complete(many(20, {3: 444})))
    assert {a.finish_reason for a in answers} == {"stop"}
    assert engine.n_restarts == 1


def test_a_stopped_process_is_noticed(make: Make) -> None:
    engine = make(stall_timeout_s=2.0)
    answers = {a.key: a for a in engine.complete([request("a", 333), request("b")])}
    assert answers["b"].finish_reason == "stop"
    assert answers["a"].error == "engine_fault: no sign of life for 2 s"


def test_time_in_which_all_stood_still_is_no_silence(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after Ctrl-Z and fg: the first look after it comes back empty, and much too late."""
    engine = make()
    engine.start()
    assert engine._worker is not None
    selector, clock = engine._worker._selector, time.monotonic
    look, stood_still_s = selector.select, [0.0]

    def first_look_is_late(timeout: float | None = None) -> list[object]:
        if stood_still_s[0]:
            return look(timeout)
        stood_still_s[0] = 3600.0
        return []

    monkeypatch.setattr(selector, "select", first_look_is_late)
    monkeypatch.setattr(time, "monotonic", lambda: clock() + stood_still_s[0])
    assert len(list(engine.complete(many(3)))) == 3
    assert engine.n_restarts == 0
    assert stood_still_s[0]


def test_poison_is_isolated(make: Make, tmp_path: Path) -> None:
    answers = {a.key: a for a in make().complete(many(100, {50: 666, 90: 666}))}
    assert len(answers) == 100
    bad = {key: a.error for key, a in answers.items() if a.finish_reason == "error"}
    assert bad == dict.fromkeys(("k50", "k90"), "engine_fault: RuntimeError: poison")
    assert n_starts(tmp_path) <= 7


def test_an_adapter_that_keeps_killing_is_condemned(make: Make, tmp_path: Path) -> None:
    requests = [*of_adapter("bad", 40, 666), *of_adapter("good", 40, 1)]
    answers = {a.key: a for a in make(window=16).complete(requests)}
    assert len(answers) == 80
    assert all(answers[f"good{i}"].finish_reason == "stop" for i in range(40))
    assert {answers[f"bad{i}"].error for i in range(40)} == {
        "engine_fault: RuntimeError: poison",
        "engine_fault: adapter bad has killed the engine 3 times",
    }
    assert n_starts(tmp_path) == 6


def test_an_engine_that_dies_on_everything_gives_up(make: Make, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="dies on every request: RuntimeError: poison"):
        list(make().complete(many(30, dict.fromkeys(range(30), 666))))
    assert n_starts(tmp_path) == 8


def test_an_answer_to_another_question_costs_the_worker_its_job(make: Make) -> None:
    engine = make()
    answers = {a.key: a for a in engine.complete([request("a", 222), request("b")])}
    assert "unasked" not in answers
    assert answers["b"].finish_reason == "stop"
    assert "was not asked" in (answers["a"].error or "")


def test_a_start_is_tried_three_times(make: Make, tmp_path: Path) -> None:
    assert len(list(make(start="twice").complete(many(2)))) == 2
    assert n_starts(tmp_path) == 3


@pytest.mark.parametrize(
    ("how", "starts", "message"),
    [
        ("always", 3, "vllm engine did not start: RuntimeError: a start that failed"),
        ("permanent", 1, "VLLM_CPU_KVCACHE_SPACE"),
        ("fatal", 1, "has no engine argument 'max_seqs'; did you mean max_num_seqs"),
        ("hang", 1, "no sign of life for 0.5 s"),
    ],
)
def test_a_failed_start_says_why_in_one_line(
    make: Make, tmp_path: Path, how: str, starts: int, message: str
) -> None:
    engine = make(start=how)
    if how == "hang":  # it has come as far as that
        engine.launch()
        assert comes_true((tmp_path / "starts").exists)
    with pytest.raises(EngineError) as caught:
        engine.start()
    assert message in str(caught.value)
    assert str(tmp_path / "engine.log") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert n_starts(tmp_path) == starts
    assert engine.worker_pid is None


def test_leaving_early_kills_the_worker(make: Make) -> None:
    engine = make(window=4)
    stream = engine.complete(many(100))
    next(stream)
    group = engine.worker_pid
    assert group is not None
    stream.close()
    assert engine.worker_pid is None
    assert group_is_gone(group)
    assert len(list(engine.complete(many(5)))) == 5


def test_close_leaves_nothing_and_may_be_repeated(make: Make) -> None:
    engine = make()
    engine.start()
    group = engine.worker_pid
    assert group is not None
    engine.close()
    engine.close()
    assert group_is_gone(group)


def n_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_no_descriptor_is_left(make: Make) -> None:
    engine = make()
    engine.start()
    engine.close()
    gc.collect()  # what earlier tests left open
    before = n_descriptors()
    for _ in range(3):
        list(engine.complete(many(5, {2: 555})))
        engine.close()
    assert n_descriptors() == before


PARENT = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from peval.engines import SupervisedEngine
from peval.types import Base, Decoding, EngineSpec, Request
here = Path({here!r})
spec = EngineSpec("vllm", Base("b", here, "0", "float32", 64, 1000), (), "float32", 64, 0, {{}})
command = (sys.executable, "-S", str(here / "fake.py"), str(here / "starts"))
engine = SupervisedEngine(spec, here / "engine.log", command=command)
try:
    requests = [Request("a", "t", "a", None, (333,), Decoding(1))]
    engine.start()
    print(engine.worker_pid, flush=True)
    list(engine.complete(requests))
finally:
    engine.close()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_nothing_outlives_the_parent(make: Make, tmp_path: Path, number: int) -> None:
    make()
    (tmp_path / "fake.py").write_text(FAKE.replace("os.getpid(), signal.SIGSTOP", "0, 0"))
    script = PARENT.format(root=str(ROOT), here=str(tmp_path)).replace("(333,)", "(444,)")
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with parent:
        assert parent.stdout is not None
        group = int(parent.stdout.readline())
        assert comes_true((tmp_path / "starts-asleep").exists)
        parent.send_signal(number)
        assert parent.wait(timeout=60) != 0
    assert group_is_gone(group)


def test_a_launched_worker_loads_while_nobody_waits_for_it(make: Make, tmp_path: Path) -> None:
    engine = make()
    engine.launch()
    engine.launch()
    assert comes_true((tmp_path / "starts").exists)
    assert not engine.ready
    assert [a.text for a in engine.complete([request("k", 7)])] == ["7"]
    assert n_starts(tmp_path) == 1


def test_closing_what_has_only_been_launched_kills_it_at_once(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make(start="hang")
    engine.launch()
    pid = engine.worker_pid
    # Nothing is given a moment to end by itself.
    monkeypatch.setattr(WorkerProcess, "stop", lambda *_: pytest.fail("it was waited for"))
    engine.close()
    assert pid is not None
    assert group_is_gone(pid)


def test_a_launch_that_fails_is_tried_again(make: Make) -> None:
    engine = make(start="twice")
    engine.launch()
    assert [a.text for a in engine.complete([request("k", 7)])] == ["7"]
