"""The base's canary: against a small worker that can be spoilt, and against vLLM with overflows."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from scripted import TOY

from peval import adapters as adapter_files
from peval.bases import load_base, weight_shapes
from peval.engines import SupervisedEngine, WatchedEngine
from peval.types import MERGE, Adapter, Base, Completion, Decoding, EngineSpec, Request

IS_SLOW = os.environ.get("PEVAL_SLOW") == "1"
ROOT = Path(__file__).parents[2]

# Spoilt by the adapters named in its options, it answers wrong from then on, without a word.
FAKE = f"""
import json, os, sys
sys.path.insert(0, {str(ROOT)!r})
from peval.engines.worker import fork_guard
requests, events, guard = map(int, sys.argv[2:5])
fork_guard(guard, (requests, events))
with open(sys.argv[1], "a") as f:
    f.write("start\\n")
inbox, outbox = os.fdopen(requests, "rb"), os.fdopen(events, "wb")

def say(**message):
    outbox.write(json.dumps(message).encode() + b"\\n")
    outbox.flush()

spec = json.loads(inbox.readline())
is_spoilt = False
say(event="ready", window=8, refused={{}})
for line in inbox:
    r = json.loads(line)
    is_spoilt = is_spoilt or r["adapter"] in spec["options"]["bad"]
    value = spec["options"].get("value", float("nan")) if is_spoilt else -1.0
    likelihoods = [dict(logprobs=[value] * len(c), is_greedy=True, moments=None)
                   for c in r["choices"]]
    text = "wrong" if is_spoilt else "right"
    say(event="done", key=r["key"], text=text, token_ids=[1, 2, 3], finish_reason="stop",
        error=None, likelihoods=likelihoods, more=[])
"""


def watched(tmp_path: Path, every: int = 16, **options: object) -> WatchedEngine:
    script = tmp_path / "fake.py"
    script.write_text(FAKE)
    merged = Adapter("merged", tmp_path, "0", "dora", 1, (), None, False, route=MERGE)
    base = Base("b", tmp_path, "0" * 64, "float32", 64, 1000)
    spec = EngineSpec("vllm", base, (merged,), "float32", 64, 0, options)
    command = (sys.executable, "-S", str(script), str(tmp_path / "starts"))
    engine = SupervisedEngine(spec, tmp_path / "log", command=command, stall_timeout_s=20)
    return WatchedEngine(engine, spec, every)


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


def test_canaries_change_no_answer_and_are_none(tmp_path: Path) -> None:
    found = said(watched(tmp_path, bad=[]), mixed([None, "a"], 50))
    assert {c.text for c in found.values()} == {"right"}
    assert (tmp_path / "starts").read_text().count("start") == 1


@pytest.mark.parametrize("value", [float("nan"), -9.0])
def test_no_answer_of_a_spoilt_engine_is_given_away(tmp_path: Path, value: float) -> None:
    names = [None, "a", "b", "bad", "c"]
    engine = watched(tmp_path, bad=["bad"], value=value)
    found = said(engine, mixed(names, 40))
    assert {c.text for c in found.values() if c.error is None} == {"right"}
    failed = {key for key, c in found.items() if c.error}
    assert failed == {f"bad/{i}" for i in range(40)}
    assert "beside bad" in str(found["bad/0"].error)
    assert set(engine.quarantined) == {"bad"}
    assert (tmp_path / "starts").read_text().count("start") == engine.n_restarts + 1 <= 5


def test_two_culprits_are_both_found(tmp_path: Path) -> None:
    engine = watched(tmp_path, bad=["x", "z"])
    found = said(engine, mixed(["a", "x", "b", None, "z"], 10))
    assert {c.text for c in found.values() if c.error is None} == {"right"}
    assert set(engine.quarantined) == {"x", "z"}
    assert sum(c.error is None for c in found.values()) == 30


def test_merged_weights_are_asked_after_all_that_share_batches(tmp_path: Path) -> None:
    found = said(watched(tmp_path, bad=["merged"]), mixed([None, "merged"], 40))
    assert {c.text for key, c in found.items() if key.startswith("None")} == {"right"}


def overflowing(place: Path, factor: float) -> Path:
    """Return a LoRA whose weights are finite and whose activations are not."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(TOY / "adapters" / "narrow", place)
    tensors = load_file(place / "adapter_model.safetensors")
    save_file(
        {name: t.float().sign() * factor for name, t in tensors.items()},
        place / "adapter_model.safetensors",
        {"format": "pt"},
    )
    return place


@pytest.mark.engine
@pytest.mark.timeout(900)
@pytest.mark.skipif(not IS_SLOW, reason="several engine starts: PEVAL_SLOW=1")
@pytest.mark.skipif(not importlib.util.find_spec("vllm"), reason="vLLM is not installed")
@pytest.mark.parametrize("nans", ["0", "1"])
def test_overflowing_adapters_on_vllm_leave_no_wrong_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nans: str
) -> None:
    monkeypatch.setenv("VLLM_RAISE_ON_LOGIT_NANS", nans)
    base = load_base(str(TOY / "base"))
    good = ("generalist", "memorizer", "narrow")
    paths = {name: TOY / "adapters" / name for name in good}
    paths["overflow"] = overflowing(tmp_path / "overflow", 1e30)
    adapters = tuple(
        adapter_files.load_adapter(path, name, base, weight_shapes(base))
        for name, path in paths.items()
    )
    spec = EngineSpec("vllm", base, adapters, "float32", 256, 0, {"max_num_seqs": 16})

    def asked(names: Sequence[str | None]) -> list[Request]:
        return [
            Request(f"{name}/{i}", "t", str(i), name, tuple(range(20 + i, 45 + i)), Decoding(12))
            for i in range(50)
            for name in names
        ]

    def answers(names: Sequence[str | None], log: str) -> tuple[dict[str, Completion], int]:
        notices: list[str] = []
        engine = SupervisedEngine(spec, tmp_path / log, notices.append, stall_timeout_s=120)
        found = said(WatchedEngine(engine, spec, 32), asked(names))
        print("\n".join(["", *notices]))
        return found, engine.n_restarts

    undisturbed, _ = answers([None, *good], "undisturbed.log")
    found, n_restarts = answers([None, "overflow", *good], "mixed.log")
    wrong = [
        key for key, answer in undisturbed.items()
        if found[key].error is None and found[key].token_ids != answer.token_ids
    ]  # fmt: skip
    n_failed = Counter(key.partition("/")[0] for key, c in found.items() if c.error)
    print(f"\nNaN check {nans}: {n_restarts} restarts, failed {dict(n_failed)}, wrong {len(wrong)}")
    print(json.dumps([str(found["overflow/0"].error), found["overflow/0"].text[:40]]))
    assert not wrong
    assert set(n_failed) <= {"overflow"}


def test_a_spoilt_engine_is_noticed_where_the_spec_has_no_adapters(tmp_path: Path) -> None:
    engine = watched(tmp_path, bad=["bad"])
    engine._alone = set()
    found = said(engine, [replace(r, adapter="bad") for r in mixed(["bad"], 3)])
    assert all(c.error for c in found.values())
