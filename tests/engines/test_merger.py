"""Merging in a process apart: one adapter that fails there, or kills it, fails alone."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from peval.engines import merger as merger_module
from peval.engines.merger import Merger
from peval.engines.scratch import Scratch, new_scratch
from peval.errors import EngineError
from peval.patience import turns
from peval.types import Adapter, Base, EngineSpec

# Folds nothing, but answers as `merging` does; an adapter's name says how to misbehave.
FAKE = """
    import json, os, pathlib, signal, sys
    for line in sys.stdin:
        fold = json.loads(line)
        name = pathlib.Path(fold["adapter"]).name
        if name == "deadly":
            os.kill(os.getpid(), signal.SIGKILL)
        if name == "silent":
            sys.exit(3)
        why = "ValueError: no" if name == "failing" else None
        if why is None:
            pathlib.Path(fold["out"]).mkdir()
        print(json.dumps({"out": fold["out"], "why": why}), flush=True)
"""


@pytest.fixture
def scratch() -> Iterator[Scratch]:
    found = new_scratch()
    yield found
    found.remove()


@pytest.fixture
def base(tmp_path: Path) -> Base:
    (tmp_path / "model.safetensors").write_bytes(b"x")
    return Base("b", tmp_path, "0" * 64, "float32", 64, 1000)


Make = Callable[[list[str]], Merger]


@pytest.fixture
def make(base: Base, scratch: Scratch, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    made = []

    def build(names: list[str]) -> Merger:
        made.append(merger(names, base, scratch))
        return made[-1]

    command = (sys.executable, "-c", textwrap.dedent(FAKE))
    monkeypatch.setattr(merger_module, "_COMMAND", command)
    yield build
    for one in made:
        one.close()


def merger(names: list[str], base: Base, scratch: Scratch) -> Merger:
    adapters = tuple(
        Adapter(n, base.path / n, (n * 9)[:32], "DoRA", 4, (), None, False, "merge") for n in names
    )
    return Merger(EngineSpec("vllm", base, adapters, "float32", 64, 0), adapters, scratch)


def outcome(found: Merger, name: str) -> str:
    for turn_s in turns(120.0):
        try:
            if (path := found.checkpoint(name, turn_s)) is not None:
                assert path.is_dir()
                return "merged"
        except EngineError as error:
            return str(error)
    return "nothing"


def test_a_fold_that_fails_or_kills_fails_alone(make: Make) -> None:
    names = ["one", "failing", "two", "deadly", "three", "silent", "four"]
    found = make(names)
    assert {name: outcome(found, name) for name in names} == {
        "one": "merged",
        "failing": "PEFT cannot merge it: ValueError: no",
        "two": "merged",
        "deadly": "PEFT cannot merge it: the process that merges ended with status -9",
        "three": "merged",
        "silent": "PEFT cannot merge it: the process that merges ended with status 3",
        "four": "merged",
    }


def test_what_was_asked_beside_a_deadly_fold_is_asked_again(make: Make) -> None:
    found = make(["deadly", "one"])
    found._ask("one")  # before the process has died of the first
    assert outcome(found, "deadly").endswith("status -9")
    assert outcome(found, "one") == "merged"
