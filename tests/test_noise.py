"""Noise of the engine: a floor that equal systems stay below, and a run that is asked twice."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from made_runs import task
from scripted import TOY, ScriptedEngine

import peval
from peval import execute
from peval.answers import Answers
from peval.corpus import Aggregate
from peval.errors import UsageError
from peval.items import Items, items
from peval.noise import NORMAL_95, Noise, floored, noise
from peval.report.format import mark
from peval.run import mixed
from peval.types import MERGE, Adapter, Comparison, Completion, Decoding, Request, Sample

SCHEMA = json.loads((Path(peval.__file__).parent / "results.schema.json").read_text())


def answers(scores: np.ndarray[Any, Any]) -> Answers:
    return Answers({"rougeL": scores, "exact_match": (scores == 1) * 1.0}, tuple(map(str, scores)))


def samples(n: int) -> Items:
    return items([Sample(str(i), "", ("t",), str(i)) for i in range(n)])


def difference(adapter: str, delta: float, n: int) -> Comparison:
    return Comparison("t", "rougeL", adapter, None, None, delta, delta - 0.01, delta + 0.01, 0.001,
                      "made", n, n, 0, p_adjusted=0.001)  # fmt: skip


def test_equal_systems_stay_below_the_floor() -> None:
    """Systems that differ by the engine's noise alone: 95 % of differences lie below."""
    rng = np.random.default_rng(0)
    n, below = 400, []
    for _ in range(300):
        first, second, base, again = (0.5 + 0.1 * rng.standard_normal(n) for _ in range(4))
        measured = [
            *noise(task("t"), samples(n), "a", (answers(first), answers(second))),
            *noise(task("t"), samples(n), None, (answers(base), answers(again))),
        ]
        (found,) = floored([difference("a", float((first - base).mean()), n)], measured)
        assert found.noise_floor is not None
        below.append(found.is_noise)
    assert 0.93 <= np.mean(below) <= 0.995  # the floor is no less than what was seen: above 95 %


def test_the_floor_by_hand() -> None:
    first, second = np.array([0.0, 1.0, 1.0, 0.0]), np.array([1.0, 1.0, 0.0, 0.0])
    (mine, exact) = noise(task("t"), samples(4), "a", (answers(first), answers(second)))
    assert (mine.n_items, mine.n_changed, mine.mean_difference) == (4, 2, 0.0)
    assert mine.per_item == pytest.approx((2 / 4 / 2) ** 0.5)
    assert exact.metric == "exact_match"
    still = dataclasses.replace(mine, adapter=None, n_changed=0, per_item=0.0)
    (found,) = floored([difference("a", 0.4, 4)], [mine, still])
    assert found.noise_floor == pytest.approx(NORMAL_95 * 0.5 / 2)
    assert found.is_noise
    assert (mark(found), mark(dataclasses.replace(found, noise_floor=0.1))) == ("≈", "▲")
    (unknown,) = floored([difference("b", 0.4, 4)], [mine, still])
    assert (unknown.noise_floor, unknown.is_noise) == (None, False)


def test_what_is_no_mean_of_items_has_no_floor() -> None:
    one, other = answers(np.array([-1.0, -3.0])), answers(np.array([-1.5, -3.5]))
    perplexity = Aggregate(lambda items: float(np.exp(-np.mean(items))), is_log=True)
    found = noise(task("t"), samples(2), "a", (one, other), {"rougeL": perplexity})
    assert [n.metric for n in found] == ["exact_match"]


def test_an_engine_that_changes_nothing_makes_no_floor() -> None:
    x = np.array([0.0, 1.0])
    measured: list[Noise] = []
    for name in ("a", None):
        measured += noise(task("t"), samples(2), name, (answers(x), answers(x)))
    (found,) = floored([difference("a", 0.0, 2)], measured)
    assert (found.noise_floor, found.is_noise) == (0.0, False)


class WaveringEngine(ScriptedEngine):
    """Says something else to every fifth request, by its place in the order."""

    def complete(self, requests: Iterable[Request]) -> Iterator[Completion]:
        for at, completion in enumerate(super().complete(requests)):
            wavers = at % 5 == 0
            yield dataclasses.replace(completion, text="none") if wavers else completion


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    return {
        "adapters": [str(TOY / "adapters" / name) for name in ("generalist", "noop")],
        "suite": "superni", "data_dir": str(TOY / "data"), "limit": 4,
        "out": str(tmp_path / "run"),
    }  # fmt: skip


def test_everything_is_asked_twice_in_another_order_and_then_no_more(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    queue = [WaveringEngine() for _ in range(3)]
    engines = list(queue)
    monkeypatch.setattr(execute, "open_engine", lambda setup, progress: queue.pop(0))
    first = peval.score(**options)
    assert first.noise == ()
    assert all(c.noise_floor is None for c in first.comparisons)
    found = peval.score(**options, repeat_engine=True)  # the first scoring is kept
    assert found.estimates == first.estimates
    one, idle, other = ([r.key for r in engine.asked] for engine in engines)
    assert not idle
    assert sorted(one) == sorted(other)
    assert one != other
    assert len(found.run["sittings"]) == 2
    noises = {(n["adapter"], n["metric"]): n for n in found.noise if n["group"] is None}
    assert set(noises) == {(a, m) for a in (None, "generalist", "noop")
                           for m in ("rougeL", "rouge1", "exact_match")}  # fmt: skip
    assert noises[None, "rougeL"]["n_changed"] > 0
    assert all(c.noise_floor is not None for c in found.comparisons)
    assert found.comparison("superni", "rougeL", "noop").is_noise
    plain = json.loads(json.dumps(found.to_dict()))
    jsonschema.validate(plain, SCHEMA)
    assert "answers came out otherwise" in (Path(options["out"]) / "report.md").read_text()
    assert peval.score(**options, repeat_engine=True).to_dict() == found.to_dict()


def test_a_replay_says_the_same_again_and_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="--repeat-engine: a replay would say the same again"):
        peval.score(**options, engine="replay", replay="x", repeat_engine=True)


def test_weights_that_take_the_place_of_the_base_stay_together() -> None:
    whole = Adapter("w", Path("w"), "0" * 64, "full", 0, (), None, False, route=MERGE)
    names = [None, "w", "a"] * 20
    requests = [Request(str(i), "t", str(i), n, (1,), Decoding(1)) for i, n in enumerate(names)]
    order = mixed(requests, [whole])
    assert [r.adapter for r in order[40:]] == ["w"] * 20
    assert {r.adapter for r in order[:10]} == {None, "a"}
    assert order[:40] != [r for r in requests if r.adapter != "w"]
