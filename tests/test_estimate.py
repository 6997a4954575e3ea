"""The choice between LoRAs in one batch and merging each in turn."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from scripted import TOKENIZER, TOY, ScriptedEngine

from peval import datasets, routing
from peval.adapters import load_adapter
from peval.bases import load_base, weight_shapes
from peval.catalog import select
from peval.estimate import CPU, Work, batching_s, merging_is_faster, merging_s, n_tokens
from peval.execute import score_job
from peval.job import Job
from peval.prepare import Setup, prepare
from peval.progress import Silent
from peval.prompts import encode_all
from peval.tokenizer import load_tokenizer
from peval.types import MERGE, NATIVE, Adapter

TOY_WORK = Work(n_adapters=4, n_tokens=14_000, n_layers=4, n_parameters=1_000_000)
needs_vllm = pytest.mark.skipif(
    not importlib.util.find_spec("vllm"), reason="vLLM is not installed"
)


def test_merging_pays_once_there_is_enough_to_answer() -> None:
    chosen = [merging_is_faster(replace(TOY_WORK, n_tokens=n), CPU) for n in (10, 10**4, 10**6)]
    assert chosen == [False, False, True]


def test_both_costs_grow_with_the_adapters_and_only_one_with_the_tokens() -> None:
    more, longer = replace(TOY_WORK, n_adapters=8), replace(TOY_WORK, n_tokens=28_000)
    assert batching_s(more, CPU) == batching_s(longer, CPU) == 2 * batching_s(TOY_WORK, CPU)
    assert merging_s(longer, CPU) == merging_s(TOY_WORK, CPU)
    assert merging_s(TOY_WORK, CPU) < merging_s(more, CPU) < 2 * merging_s(TOY_WORK, CPU)


def test_tokens_are_guessed_to_within_a_half(tmp_path: Path) -> None:
    (task,) = select(("superni",), (), None).tasks[:1]
    samples = datasets.read(task, TOY / "data").samples[:40]
    profile = task.profile
    base = load_base(str(TOY / "base"))
    prompts = encode_all(samples, profile, load_tokenizer(base), base.context_tokens)
    answers = [max(len(TOKENIZER.encode(t).ids) for t in s.targets) for s in samples]
    true = sum(len(p.token_ids) for p in prompts) + sum(answers)
    guess = n_tokens(samples, profile.max_source_tokens, profile.decoding.max_tokens)
    assert 0.5 < guess / true < 1.5


@pytest.fixture(scope="module")
def adapters() -> tuple[Adapter, ...]:
    base = load_base(str(TOY / "base"))
    shapes = weight_shapes(base)
    names = ("generalist", "narrow", "noop")
    return tuple(load_adapter(TOY / "adapters" / n, n, base, shapes) for n in names)


def routes(adapters: tuple[Adapter, ...], *wanted: str, n: int = 10**7) -> list[str]:
    work = replace(TOY_WORK, n_tokens=n)
    found = routing.faster(adapters, wanted, (), lambda k: replace(work, n_adapters=k))
    return [adapter.route for adapter in found]


def test_all_loras_are_merged_or_none(adapters: tuple[Adapter, ...]) -> None:
    assert routes(adapters) == [MERGE] * 3
    assert routes(adapters, n=10) == [NATIVE] * 3


def test_a_route_that_a_person_wants_is_kept(adapters: tuple[Adapter, ...]) -> None:
    assert routes(adapters, "narrow=native-lora") == [MERGE, NATIVE, MERGE]
    assert routes(adapters, "native-lora") == [NATIVE] * 3


def test_what_would_need_an_engine_of_its_own_is_left(adapters: tuple[Adapter, ...]) -> None:
    words = replace(adapters[0], is_apart=True)
    others = replace(adapters[1], route="hf"), replace(adapters[2], route="prompt-embeds")
    assert routes((words, *others)) == [NATIVE, "hf", "prompt-embeds"]


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    task = tmp_path / "long.jsonl"
    row = json.dumps({"input": "What is seven and eight? " * 20, "targets": ["fifteen"]})
    task.write_text("\n".join([row] * 4000))
    folder = TOY / "adapters"
    yield Job(base=str(TOY / "base"), adapters=(str(folder / "narrow"), str(folder / "noop")),
              tasks=(str(task),), out=str(tmp_path / "run"))  # fmt: skip


def chosen(setup: Setup) -> set[str]:
    return {adapter.route for adapter in setup.adapters}


@needs_vllm
def test_a_job_takes_the_faster_way(job: Job) -> None:
    assert chosen(prepare(job)) == {MERGE}
    assert chosen(prepare(replace(job, limit=5))) == {NATIVE}
    assert chosen(prepare(replace(job, routes=("native-lora",)))) == {NATIVE}
    assert chosen(prepare(job, may_merge=False)) == {NATIVE}


@needs_vllm
def test_answers_are_taken_over_on_the_route_that_they_have(job: Job, tmp_path: Path) -> None:
    small = replace(job, limit=5, out=str(tmp_path / "small"))
    score_job(prepare(small), Silent(), ["peval"], lambda setup, progress: ScriptedEngine())
    again = prepare(replace(job, reuse=(str(tmp_path / "small"),)))
    assert chosen(again) == {NATIVE}
    told = replace(job, reuse=(str(tmp_path / "small"),), routes=("noop=merge",))
    assert {a.name: a.route for a in prepare(told).adapters} == {"narrow": NATIVE, "noop": MERGE}


@needs_vllm
def test_where_costs_were_not_measured_loras_share_batches(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("peval.engines.fingerprint", lambda kind: "vllm-0.32.0")
    assert chosen(prepare(job)) == {NATIVE}
