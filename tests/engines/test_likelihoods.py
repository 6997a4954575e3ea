"""Likelihoods of given continuations: vLLM's beside those of transformers and PEFT."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import math
import random
import shutil
from itertools import chain
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace
from typing import Any

import pytest
from scripted import TOKENIZER, TOY

from peval.engines.hf_backend import HfBackend
from peval.engines.moments import moments
from peval.engines.vllm_moments import with_moments_of_logits
from peval.execute import open_engine
from peval.job import Job
from peval.prepare import prepare
from peval.progress import Silent
from peval.types import Decoding, EngineSpec, Likelihood, Request

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(400),
    pytest.mark.skipif(not importlib.util.find_spec("vllm"), reason="vLLM is not installed"),
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.usefixtures("one_thread"),
]
SYSTEMS = (None, "noop", "generalist", "memorizer")


def choices_of(rng: random.Random, kind: str) -> tuple[tuple[int, ...], ...]:
    """Return labels of one token, continuations of several, or such with a long common start."""
    if kind == "labels":
        return tuple((token,) for token in rng.sample(range(10, 1000), 4))
    common = tuple(rng.choices(range(10, 1000), k=40)) if kind == "alike" else ()
    return tuple(
        common + tuple(rng.choices(range(10, 1000), k=rng.randint(1, 9))) for _ in range(3)
    )


def random_requests() -> list[Request]:
    """Ask what no model expects, of every shape that the engines treat differently."""
    rng = random.Random(1)
    asked = []
    for number, kind in enumerate(["labels", "many", "alike"] * 4):
        prompt = tuple(rng.choices(range(10, 1000), k=rng.choice([1, 5, 33, 70, 150])))
        choices = choices_of(rng, kind)
        asked += [request(name, number, prompt, choices) for name in SYSTEMS]
    return asked


def real_requests() -> list[Request]:
    """Ask the toy's own tasks, with three of their answers to choose from."""
    asked = []
    for number, file in enumerate(sorted((TOY / "data" / "tasks").glob("*.json"))):
        task = json.loads(file.read_text())
        texts = [one["output"][0] for one in task["Instances"][:3]]
        text = f"Definition: {task['Definition'][0]}\n\nInput: {task['Instances'][0]['input']}\n"
        prompt, *choices = (tuple(TOKENIZER.encode(t).ids) for t in (text + "Output:", *texts))
        asked += [request(name, number + 100, prompt, tuple(choices)) for name in SYSTEMS]
    return asked


def with_moments() -> list[Request]:
    """Ask the base and the memorizer again, for moments too, beside the rest."""
    asked = [r for r in random_requests() if r.adapter in (None, "memorizer")]
    return [dataclasses.replace(r, key=f"{r.key}/moments", with_moments=True) for r in asked]


def request(
    name: str | None, number: int, prompt: tuple[int, ...], choices: tuple[tuple[int, ...], ...]
) -> Request:
    return Request(f"{name}/{number}", "t", str(number), name, prompt, Decoding(0), choices=choices)


def answers(
    kind: str, dtype: str, asked: list[Request], place: Path, *more: str
) -> dict[str, tuple[Likelihood, ...]]:
    adapters = (*(str(TOY / "adapters" / name) for name in SYSTEMS if name), *more)
    job = Job(base=str(TOY / "base"), adapters=adapters, suites=("superni",), engine=kind,
              data_dir=str(TOY / "data"), dtype=dtype, out=str(place / kind))  # fmt: skip
    if kind == "hf":
        return in_this_process(prepare(job).spec(), asked)
    engine = open_engine(prepare(job), Silent())
    found = {done.key: done.likelihoods for done in engine.complete(asked)}
    engine.close()
    return found


def in_this_process(spec: EngineSpec, asked: list[Request]) -> dict[str, tuple[Likelihood, ...]]:
    """Ask transformers without a worker, which would load it anew."""
    backend, found = HfBackend(spec, lambda: None), {}
    assert not backend.ready["refused"]
    for request in asked:
        backend.submit(request)
    while backend.has_work():
        found |= {done.key: done.likelihoods for done in backend.step()}
    return found


def gaps(asked: list[Request], *found: dict[str, tuple[Likelihood, ...]]) -> list[float]:
    """Return the distances of all log-probabilities, token by token."""
    mine, theirs = ([one.logprobs for r in asked for one in f[r.key]] for f in found)
    expected = [len(choice) for r in asked for choice in r.choices]
    assert [len(one) for one in mine] == [len(one) for one in theirs] == expected
    pairs = zip(chain(*mine), chain(*theirs), strict=True)
    return [abs(one - other) for one, other in pairs]


Found = dict[str, tuple[Likelihood, ...]]
ASKED = random_requests() + real_requests() + with_moments()


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Found:
    return answers("hf", "float32", ASKED, tmp_path_factory.mktemp("exact"))


def test_vllm_agrees_with_transformers_in_float32(exact: Found, tmp_path: Path) -> None:
    ours = answers("vllm", "float32", ASKED, tmp_path)
    found = gaps(ASKED, ours, exact)
    print(f"\n{len(found)} tokens, widest gap {max(found):.2g} nat")
    assert max(found) < 1e-4
    check_moments(ours, exact)
    assert [[one.is_greedy for one in ours[r.key]] for r in ASKED] == [
        [one.is_greedy for one in exact[r.key]] for r in ASKED
    ]
    for number in range(12):
        assert ours[f"noop/{number}"] == ours[f"None/{number}"] != ours[f"memorizer/{number}"]


def check_moments(ours: Found, exact: Found) -> None:
    """Moments agree between engines, and asking for them changes no log-probability."""
    asked = with_moments()
    pairs = [
        (float(one), float(other))
        for r in asked
        for mine, theirs in zip(ours[r.key], exact[r.key], strict=True)
        for one, other in zip(columns(mine), columns(theirs), strict=True)
    ]
    assert len(pairs) == 2 * sum(len(choice) for r in asked for choice in r.choices)
    widest = max(abs(one - other) for one, other in pairs)
    print(f"{len(pairs)} moments, widest gap {widest:.2g}")
    assert widest < 1e-4
    plain = [dataclasses.replace(r, key=r.key.removesuffix("/moments")) for r in asked]
    assert all(one.moments is None for r in plain for one in ours[r.key])
    for r, other in zip(asked, plain, strict=True):
        for one, two in zip(ours[r.key], ours[other.key], strict=True):
            assert max(map(abs, map(float.__sub__, one.logprobs, two.logprobs))) < 1e-4


def columns(found: Likelihood) -> tuple[float, ...]:
    assert found.moments is not None
    assert all(deviation > 0 for deviation in found.moments.deviations)
    return found.moments.means + found.moments.deviations


def test_moments_are_those_of_the_whole_distribution() -> None:
    import torch

    torch.manual_seed(0)
    rows = (8 * torch.randn(50, 1000)).log_softmax(-1)
    rows[3, 7] = -math.inf  # a token that cannot be
    found = moments(rows)
    for row, (mean, deviation) in zip(rows.tolist(), found.tolist(), strict=True):
        weighted = [(math.exp(x), x) for x in row if x > -math.inf]
        exact = math.fsum(p * x for p, x in weighted)
        assert mean == pytest.approx(exact, rel=1e-4)
        variance = math.fsum(p * (x - exact) ** 2 for p, x in weighted)
        assert deviation == pytest.approx(math.sqrt(variance), rel=1e-4)


def test_moments_of_logits_take_the_places_of_the_likeliest_tokens() -> None:
    """The second model runner of vLLM (GPUs alone) scores logits: what we put around it."""
    import torch

    torch.manual_seed(1)
    logits = torch.randn(130, 500)

    def score(logits: Any, num_logprobs: int, ids: Any, logits_mode: bool = False) -> Any:
        return SimpleNamespace(logprobs=torch.zeros(len(logits), num_logprobs + 1))

    patched = with_moments_of_logits(score)
    assert not patched(logits, 1, None).logprobs.any()
    found = patched(logits, 2, None, logits_mode=False).logprobs
    assert not found[:, 0].any()
    assert torch.allclose(found[:, 1:], moments(logits.log_softmax(-1)))


def test_in_bfloat16_vllm_is_as_near_the_exact_values_as_transformers(
    exact: Found, tmp_path: Path
) -> None:
    asked = real_requests()
    ours, theirs = (
        fmean(gaps(asked, answers(kind, "bfloat16", asked, tmp_path), exact))
        for kind in ("vllm", "hf")
    )
    print(f"\nmean gap to float32: vllm {ours:.3f}, transformers {theirs:.3f} nat")
    assert ours < 1.5 * theirs


def on_the_output_layer(place: Path) -> str:
    """Write an adapter that has LoRA on the output layer too; return its path."""
    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(TOY / "adapters" / "generalist", place)
    config = json.loads((place / "adapter_config.json").read_text())
    config["target_modules"] = [*config["target_modules"], "lm_head"]
    (place / "adapter_config.json").write_text(json.dumps(config))
    weights = load_file(place / "adapter_model.safetensors")
    base = json.loads((TOY / "base" / "config.json").read_text())
    torch.manual_seed(3)
    shape = {"A": (config["r"], base["hidden_size"]), "B": (base["vocab_size"], config["r"])}
    for name, size in shape.items():
        weights[f"base_model.model.lm_head.lora_{name}.weight"] = 0.1 * torch.randn(size)
    save_file(weights, place / "adapter_model.safetensors")
    return str(place)


def test_an_adapter_on_the_output_layer_is_read_token_by_token(tmp_path: Path) -> None:
    """It and all that share its engine: vLLM's prompt log-probabilities know no such adapter."""
    headed = on_the_output_layer(tmp_path / "headed")
    asked = random_requests()[: 3 * len(SYSTEMS)]
    asked += [
        dataclasses.replace(r, key=f"headed/{r.sample_id}", adapter="headed")
        for r in asked
        if r.adapter == "generalist"
    ]
    ours, exact = (answers(kind, "float32", asked, tmp_path, headed) for kind in ("vllm", "hf"))
    found = gaps(asked, ours, exact)
    print(f"\n{len(found)} tokens, widest gap {max(found):.2g} nat")
    assert max(found) < 1e-4
    for r in asked:
        assert [one.is_greedy for one in ours[r.key]] == [one.is_greedy for one in exact[r.key]]
    for number in range(3):
        assert ours[f"headed/{number}"] != ours[f"generalist/{number}"]
        assert ours[f"noop/{number}"] == ours[f"None/{number}"]
