"""Canaries: against a small worker that can be spoilt, and against vLLM that really is."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import pytest
from checkpoints import overflowing
from scripted import TOY

from peval import adapters as adapter_files
from peval.bases import load_base, weight_shapes
from peval.engines import SupervisedEngine, WatchedEngine, watched
from peval.engines.supervisor import WORKER
from peval.types import MERGE, Adapter, Base, Completion, Decoding, EngineSpec, Request

IS_SLOW = os.environ.get("PEVAL_SLOW") == "1"
ROOT = Path(__file__).parents[2]
SITE = str(Path(msgspec.__file__).parents[1])  # for workers that start without looking (-S)

# From the fourth request of the adapters that spoil it on, it answers wrong without a word.
FAKE = f"""
import json, os, sys, time
sys.path += {[str(ROOT), SITE]!r}
from peval.engines.worker import fork_guard
requests, events, guard = map(int, sys.argv[2:5])
fork_guard(guard, (requests, events))
log = open(sys.argv[1], "a", buffering=1)
print("start", file=log)
n_starts = open(sys.argv[1]).read().count("start")
inbox, outbox = os.fdopen(requests, "rb"), os.fdopen(events, "wb")

def say(**message):
    outbox.write(json.dumps(message).encode() + b"\\n")
    outbox.flush()

options, n_bad = json.loads(inbox.readline())["options"], 0
say(event="ready", window=options.get("window", 8), refused={{}})
for line in inbox:
    r = json.loads(line)
    print("asked", r["key"], file=log)
    n_bad += r["adapter"] in options["bad"]
    if r["key"] == options.get("dies_at") and n_starts == 1:
        os._exit(1)
    time.sleep(options.get("slow_s", 0))
    is_spoilt = n_bad > 3 or n_bad and r["adapter"] is None and options.get("base_at_once")
    value = options.get("value", float("nan")) if is_spoilt else -1.0
    likelihoods = [([value] * len(c), True, None) for c in r["choices"]]
    say(event="done", key=r["key"], text="wrong" if is_spoilt else "right", token_ids=[1, 2, 3],
        finish_reason="stop", error=None, likelihoods=likelihoods, more=[])
"""


@dataclass
class Bench:
    """A watched fake, what it was told to say of itself, and what it was asked."""

    place: Path
    options: Mapping[str, object]
    every: int = 16
    notices: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        script = self.place / "fake.py"
        script.write_text(FAKE)
        merged = tuple(
            Adapter(name, self.place, "0", "dora", 1, (), None, False, route=MERGE)
            for name in ("merged", "later")
        )
        base = Base("b", self.place, "0" * 64, "float32", 64, 1000)
        spec = EngineSpec("vllm", base, merged, "float32", 64, 0, self.options)
        command = (sys.executable, "-S", str(script), str(self.place / "asked"))
        log = self.place / "log"
        engine = SupervisedEngine(
            spec, log, self.notices.append, command=command, stall_timeout_s=60
        )
        self.engine = WatchedEngine(engine, spec, self.notices.append, self.every)

    def said(self, asked: Sequence[Request]) -> dict[str, Completion]:
        return said(self.engine, asked)

    @property
    def log(self) -> list[str]:
        return (self.place / "asked").read_text().split("\n")

    @property
    def n_starts(self) -> int:
        return self.log.count("start")


def mixed(names: Sequence[str | None], n: int) -> list[Request]:
    return [
        Request(f"{name}/{i}", "t", str(i), name, (1, 2), Decoding(4))
        for i in range(n)
        for name in names
    ]


def said(engine: WatchedEngine, asked: Sequence[Request]) -> dict[str, Completion]:
    try:
        found = list(engine.complete(asked))
    finally:
        engine.close()
    assert Counter(c.key for c in found) == Counter(r.key for r in asked)
    return {c.key: c for c in found}


def right(found: Mapping[str, Completion]) -> set[str]:
    """Return the adapters whose answers are all there; there must be no wrong one."""
    assert {c.text for c in found.values() if c.error is None} <= {"right"}
    failed = {key.partition("/")[0] for key, c in found.items() if c.error}
    return {key.partition("/")[0] for key in found} - failed


def test_canaries_change_no_answer_and_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched, "HELD_S", 3600.0)  # none for being late
    bench = Bench(tmp_path, {"bad": []})
    assert right(bench.said(mixed([None, "a"], 50))) == {"None", "a"}
    assert bench.n_starts == 1
    n_canaries = sum("canary" in line for line in bench.log)
    assert 1 + 100 // (16 + 8) <= n_canaries <= 2 + 100 // 16  # 8 more may be in flight


@pytest.mark.parametrize("value", [float("nan"), -9.0])
@pytest.mark.parametrize("every", [1, 16, 1000])
def test_no_answer_of_a_spoilt_engine_is_given_away(
    tmp_path: Path, value: float, every: int
) -> None:
    bench = Bench(tmp_path, {"bad": ["bad"], "value": value}, every)
    found = bench.said(mixed([None, "a", "b", "bad", "c"], 40))
    assert right(found) == {"None", "a", "b", "c"}
    lost = [c for key, c in found.items() if key.startswith("bad") and c.error]
    assert all("beside bad" in str(c.error) for c in lost)
    assert len(lost) > 30
    assert set(bench.engine.quarantined) == {"bad"}
    assert bench.n_starts == bench.engine.n_restarts + 1 <= 5
    assert any("its answers changed" in notice for notice in bench.notices)


def test_two_culprits_are_both_found(tmp_path: Path) -> None:
    bench = Bench(tmp_path, {"bad": ["x", "z"]})
    found = bench.said(mixed(["a", "x", "b", None, "z"], 10))
    assert right(found) == {"a", "b", "None"}
    assert set(bench.engine.quarantined) == {"x", "z"}


def test_an_answer_waits_for_a_canary_that_was_asked_after_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, {"bad": []}, every=4)
    given: list[str] = []
    for completion in bench.engine.complete(mixed([None], 20)):
        order = bench.log
        mine = order.index(f"asked {completion.key}")
        later = [line for line in order[mine:] if "canary" in line]
        assert later, f"{completion.key} came with no canary after it"
        given.append(completion.key)
    bench.engine.close()
    assert len(given) == 20


def test_answers_do_not_wait_for_the_end_of_a_slow_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched, "HELD_S", 0.05)
    bench = Bench(tmp_path, {"bad": [], "slow_s": 0.03, "window": 4}, every=1000)
    answers = bench.engine.complete(mixed([None], 30))
    next(answers)
    assert sum("asked None" in line for line in bench.log) < 15
    answers.close()
    bench.engine.close()


def test_answers_of_an_engine_that_died_before_its_canary_are_asked_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path, {"bad": [], "dies_at": "None/20", "window": 4}, every=1000)
    assert right(bench.said(mixed([None], 30))) == {"None"}
    second = bench.log[bench.log.index("start", 1) :]
    assert {f"asked None/{i}" for i in range(30)} <= set(second)


def test_merged_weights_are_watched_by_a_canary_of_their_own(tmp_path: Path) -> None:
    bench = Bench(tmp_path, {"bad": ["merged"], "value": -9.0})
    found = bench.said(mixed([None, "merged", "later"], 40))
    assert right(found) == {"None", "later"}
    assert set(bench.engine.quarantined) == {"merged"}


def test_between_merged_weights_the_base_must_be_the_base(tmp_path: Path) -> None:
    requests = [*mixed(["merged"], 1), *mixed(["later"], 9)]
    bench = Bench(tmp_path, {"bad": ["merged"], "value": -9.0, "base_at_once": True})
    assert right(bench.said(requests)) == {"merged", "later"}
    assert bench.n_starts == 2
    assert any("after merged the base does not answer as before" in n for n in bench.notices)


def test_weights_whose_canary_is_no_number_are_not_asked(tmp_path: Path) -> None:
    bench = Bench(tmp_path, {"bad": ["a", "merged"]})
    bench.engine._known[None] = (-1.0,) * 12
    found = bench.said([*mixed(["later"], 1), *mixed(["merged"], 9)])
    assert right(found) == {"later"}


GOOD = ("memorizer", "narrow", "generalist")


def spec_of(paths: Mapping[str, Path], merged: Sequence[str] = (), **options: object) -> EngineSpec:
    base = load_base(str(TOY / "base"))
    shapes = weight_shapes(base)
    adapters = tuple(
        replace(adapter, route=MERGE) if name in merged else adapter
        for name, path in paths.items()
        for adapter in [adapter_files.load_adapter(path, name, base, shapes)]
    )
    return EngineSpec("vllm", base, adapters, "float32", 256, 0, {"max_num_seqs": 16, **options})


def long_prompts(names: Sequence[str | None]) -> list[Request]:
    """Return prompts whose answers reach into a second block of the cache."""
    return [
        Request(f"{name}/{i}", "t", str(i), name, tuple(range(20 + i, 45 + i)), Decoding(12))
        for i in range(50)
        for name in names
    ]


def on_vllm(
    spec: EngineSpec, log: Path, names: Sequence[str | None], command: Sequence[str] = WORKER
) -> tuple[dict[str, Completion], WatchedEngine, list[str]]:
    notices: list[str] = []
    supervised = SupervisedEngine(spec, log, notices.append, command=command, stall_timeout_s=120)
    engine = WatchedEngine(supervised, spec, notices.append, every=32)
    return said(engine, long_prompts(names)), engine, notices


def differing(found: Mapping[str, Completion], truth: Mapping[str, Completion]) -> list[str]:
    """Return the rows that were given away and are not what they should be."""
    return [
        key for key, one in truth.items()
        if found[key].error is None and found[key].token_ids != one.token_ids
    ]  # fmt: skip


@pytest.mark.parametrize("merged", [(), ("overflow", "narrow")], ids=["lora", "merged"])
@pytest.mark.engine
@pytest.mark.timeout(900)
@pytest.mark.skipif(not IS_SLOW, reason="many engine starts: PEVAL_SLOW=1")
@pytest.mark.skipif(not importlib.util.find_spec("vllm"), reason="vLLM is not installed")
def test_overflowing_adapters_on_vllm_leave_no_wrong_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, merged: tuple[str, ...]
) -> None:
    monkeypatch.setenv("VLLM_RAISE_ON_LOGIT_NANS", "0")  # no user's setting lets a NaN pass
    paths = {name: TOY / "adapters" / name for name in GOOD}
    paths["overflow"] = overflowing(tmp_path / "overflow", 1e30)
    spec = spec_of(paths, merged)
    truth, _, _ = on_vllm(spec, tmp_path / "undisturbed.log", [None, *GOOD])
    found, engine, notices = on_vllm(spec, tmp_path / "mixed.log", [None, "overflow", *GOOD])
    print("", *notices, f"{engine.n_restarts} restarts", sep="\n")
    assert not differing(found, truth)
    assert Counter(key.partition("/")[0] for key, c in found.items() if c.error) == {"overflow": 50}


@pytest.mark.engine
@pytest.mark.timeout(900)
@pytest.mark.skipif(not IS_SLOW, reason="many engine starts: PEVAL_SLOW=1")
@pytest.mark.skipif(not importlib.util.find_spec("vllm"), reason="vLLM is not installed")
def test_canaries_notice_kernels_that_give_the_base_an_adapter(tmp_path: Path) -> None:
    """vLLM 0.32's own LoRA kernels on a CPU do so once all slots are filled."""
    spec = spec_of({name: TOY / "adapters" / name for name in GOOD})
    without_ours = (
        "import os, peval.engines.vllm_cpu as c; os.environ['VLLM_ENABLE_V1_MULTIPROCESSING'] = '0'"
        "; os.environ['TORCHDYNAMO_DISABLE'] = '1'; c.prepare_process = lambda: None; "
    )
    command = (*WORKER[:-1], WORKER[-1].replace("from peval", f"{without_ours}from peval", 1))
    truth, _, _ = on_vllm(spec, tmp_path / "ours.log", [None, *GOOD])
    found, engine, notices = on_vllm(spec, tmp_path / "theirs.log", [None, *GOOD], command)
    print("", *notices, f"{engine.n_restarts} restarts", engine.quarantined, sep="\n")
    assert engine.n_restarts
    assert not [key for key in differing(found, truth) if key.startswith("None")]
