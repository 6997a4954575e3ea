"""One engine for many adapters, on real vLLM with the toy model."""

from __future__ import annotations

import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from scripted import TOY

import peval
from peval.engines.room import no_room, room_for
from peval.errors import PevalError, UsageError
from peval.progress import Silent
from peval.types import Adapter, Base, EngineSpec, LoraRoom

ADAPTERS = TOY / "adapters"


def adapter(name: str = "a", rank: int = 8, targets: tuple[str, ...] = ("q_proj",)) -> Adapter:
    return Adapter(name, Path("/a"), name * 8, "lora", rank, targets, None, False)


def spec(*adapters: Adapter, room: LoraRoom | None = None) -> EngineSpec:
    base = Base("b", TOY / "base", "0" * 64, "bfloat16", 2048, 1000)
    return EngineSpec("vllm", base, adapters, "bfloat16", 512, 0, room=room)


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (spec(adapter("b", 16)), None),
        (spec(adapter("b", 32)), "b has rank 32, with room for 16"),
        (spec(adapter("b", 8, ("v_proj",))), "b targets v_proj, with no room for these"),
        (spec(adapter("b"), adapter("c")), "2 adapters, with room for 1"),
        (spec(replace(adapter("b"), route="merge")), "b takes the route merge"),
        (replace(spec(adapter("b")), dtype="float32"), "its base or its settings change"),
    ],
)
def test_what_a_live_engine_has_room_for(wanted: EngineSpec, why: str | None) -> None:
    held = spec(adapter(), room=room_for(spec(adapter()), LoraRoom(1, 16, ())))
    assert no_room(held, wanted) == why


def test_options_of_a_scorer_are_checked_at_once() -> None:
    with pytest.raises(UsageError, match="no option 'adapters'"):
        peval.Scorer(suite="superni", adapters=["a"])
    with pytest.raises(UsageError, match=r"no option 'limt'; did you mean limit"):
        peval.Scorer(suite="superni", limt=3)


def test_only_rank_0_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "3")
    with pytest.raises(UsageError, match="on rank 0 alone, this is rank 3"):
        peval.score(adapters=[str(ADAPTERS / "noop")], suite="superni")


class Notes(Silent):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)


@pytest.mark.engine
@pytest.mark.timeout(600)
@pytest.mark.skipif(not importlib.util.find_spec("vllm"), reason="vLLM is not installed")
def test_adapters_are_loaded_by_the_live_engine(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # As under torchrun, whose variables must not reach the engine.
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    notes = Notes()
    common = {"data_dir": str(TOY / "data"), "limit": 4, "dtype": "float32"}
    with peval.Scorer(
        suite="superni", out=tmp_path / "live", max_lora_rank=16, progress=notes, **common
    ) as scorer:
        found = {}
        for name in ("narrow", "generalist", "noop"):  # ranks 8, 16, 8
            moved = shutil.copytree(ADAPTERS / name, tmp_path / name / "checkpoint-1")
            # An engine that starts must not find what an earlier run was given.
            found[name] = scorer.score(moved)
            shutil.rmtree(moved)
        assert scorer.n_engine_starts == 1
        with pytest.raises(PevalError, match="checkpoint-1"):
            scorer.score(tmp_path / "noop" / "checkpoint-1")
        big = scorer.score(ADAPTERS / "memorizer")  # rank 32
        assert scorer.n_engine_starts == 2
    assert any("memorizer has rank 32, with room for 16" in text for text in notes.texts)
    assert capfd.readouterr() == ("", "")
    (whole,) = {r.complete for r in (*found.values(), big)}
    assert whole
    runs = {
        json.loads((path / "manifest.json").read_text())["adapters"][0]["sha256"]: path
        for path in (tmp_path / "live").iterdir()
    }
    assert len(runs) == 4
    sittings = sorted(
        json.loads((path / "manifest.json").read_text())["sittings"][0]["n_engine_starts"]
        for path in runs.values()
    )
    assert sittings == [0, 0, 1, 1]
    apart = peval.score(
        adapters=[str(ADAPTERS / name) for name in ("narrow", "generalist", "noop", "memorizer")],
        suite="superni", out=str(tmp_path / "apart"), proof="off", **common,
    )  # fmt: skip
    for name, results in {**found, "memorizer": big}.items():
        mine = results.estimate("superni", "rougeL", results.adapters[0]["name"])
        theirs = apart.estimate("superni", "rougeL", name)
        assert (mine.value, mine.low, mine.high) == (theirs.value, theirs.low, theirs.high)
        ours, base = results.estimate("superni", "rougeL"), apart.estimate("superni", "rougeL")
        assert ours.value == base.value
