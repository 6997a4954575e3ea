"""Trained vectors take places of the context: a prompt that leaves no room is cut beforehand."""

from __future__ import annotations

import importlib.util
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from checkpoints import make
from scripted import TOY, ScriptedEngine

import peval
from peval.adapters import load_adapter
from peval.bases import load_base, weight_shapes
from peval.engines.worker import refusal
from peval.execute import score_job
from peval.job import Job
from peval.plan import Serving, context_for
from peval.prepare import prepare
from peval.progress import Silent
from peval.types import Decoding, EngineSpec, Request

pytestmark = pytest.mark.filterwarnings("ignore")
CONTEXT, N_VIRTUAL, N_LONG = 2048, 4, 2
HAS_VLLM = importlib.util.find_spec("vllm") is not None


@pytest.fixture(scope="module", params=["prompt-tuning", "prefix-tuning"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("trained")
    return make(request.param, place / "trained", place)


@pytest.fixture
def task(tmp_path: Path) -> Path:
    """Two questions that fill the context, and a short one."""
    rows = ["seven " * CONTEXT, "eight " * CONTEXT, "What is seven and eight?"]
    path = tmp_path / "long.jsonl"
    path.write_text("\n".join(json.dumps({"input": row, "targets": ["x"]}) for row in rows))
    return path


def test_only_what_has_vectors_gets_shorter_prompts(
    trained: Path, task: Path, tmp_path: Path
) -> None:
    job = Job(base=str(TOY / "base"), adapters=(str(trained), str(TOY / "adapters" / "noop")),
              tasks=(str(task),), engine="hf", out=str(tmp_path / "run"))  # fmt: skip
    engine = ScriptedEngine()
    found = score_job(prepare(job), Silent(), ["peval"], lambda setup, progress: engine)
    max_tokens = engine.asked[0].decoding.max_tokens
    longest = {
        name: max(len(r.prompt_token_ids) for r in engine.asked if r.adapter == name)
        for name in (None, "noop", "trained")
    }
    room = CONTEXT - max_tokens
    assert longest == {None: room, "noop": room, "trained": room - N_VIRTUAL}
    cut = {e.adapter: e.n_prompts_cut for e in found.estimates if e.group is None}
    assert cut == {None: N_LONG, "noop": N_LONG, "trained": N_LONG}


def test_a_smaller_context_that_was_chosen_has_room_beside_it() -> None:
    base = load_base(str(TOY / "base"))
    adapter = load_adapter(TOY / "adapters" / "noop", "x", base, weight_shapes(base))
    serving = Serving("hf", "float32", 256, {})
    assert context_for(replace(adapter, n_virtual_tokens=20), base, serving) == 256
    whole = replace(serving, max_model_len=CONTEXT)
    assert context_for(replace(adapter, n_virtual_tokens=20), base, whole) == CONTEXT - 20
    assert context_for(adapter, base, whole) == context_for(None, base, whole) == CONTEXT


@pytest.mark.parametrize(("n_tokens", "is_refused"), [(CONTEXT - 12, False), (CONTEXT - 11, True)])
def test_an_engine_refuses_what_does_not_fit_beside_the_vectors(
    trained: Path, n_tokens: int, is_refused: bool
) -> None:
    base = load_base(str(TOY / "base"))
    adapter = load_adapter(trained, "trained", base, weight_shapes(base))
    spec = EngineSpec("hf", base, (adapter,), "float32", CONTEXT, 0)
    ready = {"max_model_len": CONTEXT, "refused": {}}
    asked = Request("k", "t", "s", "trained", (5,) * n_tokens, Decoding(8))
    why = refusal(spec, ready, asked)
    assert bool(why) == is_refused
    assert not why or why.startswith("4 trained vectors, the prompt's 2037 tokens and an answer")
    assert refusal(spec, ready, replace(asked, adapter=None)) is None


@pytest.mark.engine
@pytest.mark.timeout(600)
@pytest.mark.skipif(os.environ.get("PEVAL_SLOW") != "1", reason="slow: set PEVAL_SLOW=1")
@pytest.mark.parametrize("engine", ["hf", "vllm"])
def test_real_engines_answer_prompts_that_were_cut(
    engine: str, trained: Path, task: Path, tmp_path: Path
) -> None:
    if engine == "vllm" and not HAS_VLLM:
        pytest.skip("vLLM is not installed")
    found = peval.score(str(TOY / "base"), [str(trained)], tasks=[str(task)], engine=engine,
                        out=str(tmp_path / "run"))  # fmt: skip
    assert {e.n_missing for e in found.estimates} == {0}
    assert found.complete
