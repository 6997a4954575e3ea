from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from peval.types import Completion, Request

ROOT = Path(__file__).parents[1]
TOY = ROOT / "tests" / "toy"


@pytest.fixture(autouse=True)
def own_machine(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep tests away from the user's caches, data and hub."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("PEVAL_DATA", raising=False)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real benchmark data, where this machine has it."""
    place = Path(os.environ.get("PEVAL_DATA") or ROOT.parent / "shared" / "data")
    if not (place / "super_natural_instructions").is_dir():
        pytest.skip("no real benchmark data: set PEVAL_DATA")
    return place


class ScriptedEngine:
    """For unit tests of what lies around an engine: answers with the prompt's own token ids."""

    def __init__(self, fail_keys: frozenset[str] = frozenset(), stop_after: int | None = None):
        self.fail_keys = fail_keys
        self.stop_after = stop_after
        self.asked: list[Request] = []
        self.closed = False

    def complete(self, requests: Iterable[Request]) -> Iterator[Completion]:
        seen: set[str] = set()
        for request in requests:
            if request.key in seen:
                continue
            seen.add(request.key)
            if self.stop_after is not None and len(self.asked) >= self.stop_after:
                raise KeyboardInterrupt
            self.asked.append(request)
            if request.key in self.fail_keys:
                yield Completion(request.key, "", (), "error", "engine_fault: scripted")
            else:
                yield self.answer(request)

    def answer(self, request: Request) -> Completion:
        words = ("alpha", "beta", "gamma", request.adapter or "base")
        chosen = words[sum(request.prompt_token_ids) % len(words)]
        return Completion(request.key, chosen, (1, 2), "stop")

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def scripted() -> type[ScriptedEngine]:
    return ScriptedEngine
