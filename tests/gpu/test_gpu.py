"""The supervised engine on CUDA with a base of real size and random weights."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from scripted import TOY

from peval import execute
from peval.engines import SupervisedEngine
from peval.job import Job
from peval.prepare import Setup, prepare
from peval.progress import Lines
from peval.run import plan_requests
from peval.store import Store
from peval.types import Completion, Request

sys.path.insert(0, str(Path(__file__).parent))
from on_cuda import needs_cuda

Answers = dict[tuple[str, str], tuple[int, ...]]

RANKS = {"low": 16, "high": 64, "noop": 16}


@dataclass(frozen=True)
class Shape:
    """The sizes of a Llama model."""

    width: int
    inner_width: int
    n_layers: int
    n_heads: int
    n_key_value_heads: int
    vocabulary: int
    shard: str


SHAPES = {
    "8B": Shape(4096, 14336, 32, 32, 8, 128256, "4GB"),
    "1B": Shape(2048, 8192, 16, 32, 8, 128256, "1GB"),
    "tiny": Shape(64, 128, 2, 4, 2, 1152, "100KB"),
}


def make_base(path: Path, shape: Shape, device: str) -> Any:
    """Save a random base in bfloat16 shards with the toy's tokenizer; return the model."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=shape.width,
        intermediate_size=shape.inner_width,
        num_hidden_layers=shape.n_layers,
        num_attention_heads=shape.n_heads,
        num_key_value_heads=shape.n_key_value_heads,
        vocab_size=shape.vocabulary,
        max_position_embeddings=2048,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        dtype=torch.bfloat16,
    )
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(device):
            model = LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(default)
    model.save_pretrained(path, max_shard_size=shape.shard)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(TOY / "base" / name, path)
    return model


def make_adapters(model: Any, base: Path, folder: Path) -> None:
    """Save LoRA adapters on all linear layers, random but for "noop", whose B stays zero."""
    import torch
    from peft import LoraConfig, get_peft_model

    for name, rank in RANKS.items():
        config = LoraConfig(
            r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM"
        )
        adapted = get_peft_model(model, config)
        for part, weight in adapted.named_parameters():
            if name != "noop" and "lora_B" in part:
                torch.nn.init.normal_(weight, std=0.05)
        adapted.peft_config["default"].base_model_name_or_path = str(base)
        adapted.save_pretrained(folder / name)
        model = adapted.unload()


def make_job(folder: Path, shape: Shape, device: str) -> Job:
    """Make a base with adapters and return a job that scores them on the toy tasks."""
    base, adapters = folder / "base", folder / "adapters"
    make_adapters(make_base(base, shape, device), base, adapters)
    return Job(
        base=str(base),
        adapters=(str(adapters),),
        suites=("superni",),
        data_dir=str(TOY / "data"),
        limit=2,
        engine="vllm",
        out=str(folder / "run"),
    )


def test_the_made_models_are_accepted(tmp_path: Path) -> None:
    setup = prepare(make_job(tmp_path, SHAPES["tiny"], "cpu"))
    assert len(list(setup.base.path.glob("model-*.safetensors"))) > 1
    assert {a.name: a.rank for a in setup.adapters} == RANKS
    assert [a.name for a in setup.adapters if a.changes_nothing] == ["noop"]
    assert {len(a.target_modules) for a in setup.adapters} == {7}


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    """A base that fills a GPU, with adapters; removed afterwards."""
    import torch

    folder = tmp_path_factory.mktemp("gpu")
    shape = SHAPES["1B" if os.environ.get("PEVAL_GPU_SMALL") else "8B"]
    job = make_job(folder, shape, "cuda")
    gc.collect()
    torch.cuda.empty_cache()  # vLLM wants nearly all of the device
    yield prepare(job)
    shutil.rmtree(folder)


def agreement(some: Answers, others: Answers) -> float:
    """Return the share of equal first tokens: later ones may part at a near-tie of bfloat16."""
    assert some.keys() == others.keys()
    return sum(ids[0] == others[key][0] for key, ids in some.items()) / len(some)


@needs_cuda
def test_base_and_adapters_answer_in_one_batch(
    setup: Setup, capfd: pytest.CaptureFixture[str]
) -> None:
    assert execute.score_job(setup, Lines(sys.stderr), ["test"]).complete
    out, err = capfd.readouterr()
    assert out == ""
    assert [line for line in err.splitlines() if not line.startswith("peval: ")] == []
    with Store(setup.rundir.store) as store:
        requests = store.requests()
        found = store.completions(request.key for request in requests)
    answers: dict[str | None, Answers] = {name: {} for name in (None, *RANKS)}
    for request in requests:
        item = (request.task, request.sample_id)
        answers[request.adapter][item] = found[request.key].token_ids
    base = answers.pop(None)
    agreements = {name: agreement(base, theirs) for name, theirs in answers.items()}
    assert agreements["noop"] >= 0.9
    assert max(agreements["low"], agreements["high"]) < agreements["noop"]
    assert answers["low"] != answers["high"]


@needs_cuda
def test_a_killed_worker_costs_no_answer_on_cuda(setup: Setup, tmp_path: Path) -> None:
    requests = plan_requests(setup)[1]
    engine = SupervisedEngine(setup.spec(), tmp_path / "engine.log")
    answers: dict[str, Completion] = {}

    def asked() -> Iterator[Request | None]:
        """Keep one request back until the worker is dead, so that it cannot answer them all."""
        yield from requests[:-1]
        while not answers:
            yield None
        assert engine.ready["device"] == "cuda"
        assert engine.worker_pid is not None
        os.kill(engine.worker_pid, signal.SIGKILL)
        yield requests[-1]

    try:
        for answer in engine.complete(asked()):
            answers[answer.key] = answer
    finally:
        engine.close()
    assert engine.n_restarts == 1
    assert answers.keys() == {request.key for request in requests}
    assert [answer.error for answer in answers.values() if answer.error] == []
