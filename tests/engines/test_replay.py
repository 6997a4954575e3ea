from __future__ import annotations

import pytest

from peval.engines import ReplayEngine
from peval.errors import EngineError
from peval.types import Completion, Decoding, Request


def request(key: str, adapter: str | None = None) -> Request:
    return Request(key, "some-task", "sample-7", adapter, (1, 2), Decoding(4))


def test_answers_by_key_and_once() -> None:
    recorded = {k: Completion(k, f"text {k}", (1,), "stop") for k in "ab"}
    answers = list(ReplayEngine(recorded).complete([request("b"), request("a"), request("b")]))
    assert answers == [recorded["b"], recorded["a"]]


@pytest.mark.parametrize(("adapter", "who"), [(None, "the base"), ("narrow", "adapter narrow")])
def test_the_unknown_is_named(adapter: str | None, who: str) -> None:
    with pytest.raises(EngineError, match=f"task some-task, sample sample-7, {who}"):
        list(ReplayEngine({}).complete([request("x", adapter)]))
