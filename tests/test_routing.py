"""Routes of a run: overridden, parted between engines, with the control that each engine needs."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from checkpoints import make
from scripted import TOY, ScriptedEngine

import peval
from peval import execute, routing
from peval.engines import RoutedEngine
from peval.errors import AdapterError, EngineError, UsageError
from peval.job import Job
from peval.prepare import prepare
from peval.store import Store
from peval.types import Adapter, Completion, Decoding, EngineSpec, Request

LORA = str(TOY / "adapters" / "generalist")

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kinds")


@pytest.fixture
def job(place: Path, tmp_path: Path) -> Any:
    data = tmp_path / "data.jsonl"
    data.write_text('{"input": "one two three four five six", "targets": ["b"]}\n' * 3)
    choices = tmp_path / "choices.jsonl"
    choices.write_text('{"input": "a b", "choices": ["b", "c"], "targets": ["b"]}\n')

    def build(*kinds: str, task: Path = data, **options: Any) -> Job:
        paths = tuple(str(make(kind, place / kind, place)) for kind in kinds)
        return Job(str(TOY / "base"), (LORA, *paths), tasks=(str(task),), out=str(tmp_path / "run"),
                   **options)  # fmt: skip

    build.choices = choices  # type: ignore[attr-defined]
    return build


def routes(adapters: tuple[Adapter, ...]) -> dict[str, str]:
    return {a.name: a.route for a in adapters}


def test_each_adapter_has_its_route_and_transformers_a_control(job: Any) -> None:
    setup = prepare(job("dora", "loha", "prompt-tuning", "prefix-tuning", engine="vllm"))
    assert routes(setup.adapters) == {
        "generalist": "native-lora", "dora": "merge", "loha": "rewrite-lora",
        "prompt-tuning": "prompt-embeds", "prefix-tuning": "hf", "base-hf": "hf",
    }  # fmt: skip
    assert setup.adapters[-1].is_control
    vllm, hf = routing.specs(setup.spec())
    assert (vllm.kind, len(vllm.adapters)) == ("vllm", 4)
    assert (hf.kind, [a.name for a in hf.adapters]) == ("hf", ["prefix-tuning", "base-hf"])
    assert str(setup.serving.second).startswith("hf-")
    assert setup.config["second_engine"] == setup.serving.second


def test_a_vocabulary_of_its_own_means_an_engine_of_its_own(job: Any) -> None:
    setup = prepare(job("lora-resized", engine="vllm"))
    first, second = routing.specs(setup.spec())
    assert [a.name for a in first.adapters] == ["generalist"]
    assert [(a.name, a.vocabulary_size) for a in second.adapters] == [("lora-resized", 1160)]


def test_where_nothing_else_can_transformers_answers_all(job: Any) -> None:
    setup = prepare(dataclasses.replace(job("prefix-tuning"), adapters=job("alora").adapters[1:]))
    assert (setup.engine, setup.serving.second) == ("hf", None)
    assert routes(setup.adapters) == {"alora": "hf"}
    whole = prepare(job("dora", engine="hf"))
    assert routes(whole.adapters) == {"generalist": "hf", "dora": "hf"}


def test_likelihoods_beside_a_trained_prompt_go_to_transformers(job: Any) -> None:
    setup = prepare(job("prompt-tuning", task=job.choices, engine="vllm"))
    assert routes(setup.adapters)["prompt-tuning"] == "hf"


def test_a_person_can_choose_another_route(job: Any) -> None:
    setup = prepare(job("dora", engine="vllm", routes=("merge", "dora=hf")))
    assert routes(setup.adapters) == {"generalist": "merge", "dora": "hf", "base-hf": "hf"}
    with pytest.raises(AdapterError, match="DoRA cannot take the route native-lora, only merge"):
        prepare(job("dora", routes=("native-lora",)))
    with pytest.raises(UsageError, match="no such route; known: native-lora"):
        prepare(job("dora", routes=("lora",)))
    with pytest.raises(UsageError, match="no adapter 'dorra'"):
        prepare(job("dora", routes=("dorra=hf",)))


def test_adapters_are_held_against_the_base_in_their_own_engine(
    job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execute, "open_engine", lambda setup, progress: ScriptedEngine())
    setup = prepare(job("prefix-tuning", engine="vllm"))
    results = execute.score_job(setup, peval.progress.Silent(), ["test"])
    against = {c.adapter: c.against for c in results.comparisons}
    assert against == {"generalist": None, "prefix-tuning": "base-hf"}
    (task,) = (t["name"] for t in results.tasks)
    metric = results.tasks[0]["metrics"][0]
    signatures = {
        e.adapter: e.signature for e in results.estimates if e.group is None and e.metric == metric
    }
    assert "adapter:none|route:none" in signatures["base-hf"]
    for name in ("base-hf", "prefix-tuning"):
        assert f"engine:{setup.serving.second}|" in signatures[name]
    assert f"engine:{setup.serving.engine}|" in signatures[None]
    report = setup.rundir.report.read_text()
    assert "the base in transformers: adapters of the route hf are held against it" in report
    compared = peval.compare(setup.rundir.path)
    assert {(c.adapter, c.against) for c in compared.comparisons} == {
        ("generalist", "base"), ("prefix-tuning", "base-hf"),
    }  # fmt: skip
    with Store(setup.rundir.store) as store:
        keys = {r.adapter: r.key for r in store.requests() if r.sample_id.endswith("0")}
    assert len(set(keys.values())) == len(keys)
    assert task


def test_a_request_goes_to_the_engine_that_holds_its_adapter() -> None:
    base: Any = None
    lora, prefix = (
        Adapter(n, Path("/a"), n, "m", 0, (), None, False, r)
        for n, r in (("lora", "native-lora"), ("prefix", "hf"))
    )
    whole = EngineSpec("vllm", base, (lora, prefix), "float32", 64, 0)
    first, second = ScriptedEngine(), ScriptedEngine()
    specs = list(routing.specs(whole))
    engine = RoutedEngine(list(zip(specs, (first, second), strict=True)))
    asked = [
        Request(f"{n}{i}", "t", str(i), n, (1, 2, 3), Decoding(2))
        for i in range(3)
        for n in (None, "prefix", "lora")
    ]
    engine.launch()
    answered = [one.key for one in engine.complete(asked)]
    assert sorted(answered) == sorted(r.key for r in asked)
    assert [r.adapter for r in first.asked] == [None, "lora"] * 3
    assert [r.adapter for r in second.asked] == ["prefix"] * 3
    assert (first.launched, second.launched) == (True, False)
    assert first.closed
    assert second.closed


class Broken(ScriptedEngine):
    """Answers one request and then cannot go on."""

    def complete(self, requests: Iterable[Request]) -> Iterator[Completion]:
        yield from itertools.islice(super().complete(requests), 1)
        raise EngineError("vllm engine did not start: no memory")


def engines_of(*engines: ScriptedEngine) -> RoutedEngine:
    base: Any = None
    routes = ("native-lora", "merge", "hf")
    adapters = tuple(
        Adapter(r, Path("/a"), r, "m", 0, (), None, False, r, is_apart=r == "merge") for r in routes
    )
    specs = routing.specs(EngineSpec("vllm", base, adapters, "float32", 64, 0))
    return RoutedEngine(list(zip(specs, engines, strict=True)))


def three_of_each() -> list[Request]:
    names = ("native-lora", "merge", "hf")
    return [
        Request(f"{n}{i}", "t", str(i), n, (1, 2, 3), Decoding(2)) for i in range(3) for n in names
    ]


def test_an_engine_that_cannot_work_fails_its_own_adapters_alone() -> None:
    engines = ScriptedEngine(), Broken(), ScriptedEngine()
    answers = {a.key: a for a in engines_of(*engines).complete(three_of_each())}
    failed = {key: a.error for key, a in answers.items() if a.finish_reason == "error"}
    assert len(answers) == 9
    assert failed == dict.fromkeys(("merge1", "merge2"), "vllm engine did not start: no memory")
    assert all(engine.closed for engine in engines)


def test_without_the_first_engine_there_is_nothing_to_compare_with() -> None:
    with pytest.raises(EngineError, match="no memory"):
        list(engines_of(Broken(), ScriptedEngine(), ScriptedEngine()).complete(three_of_each()))
