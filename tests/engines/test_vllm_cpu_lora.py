"""Our LoRA kernels beside vLLM's own, and the base beside adapters in one batch."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from scripted import TOY

from peval.execute import open_engine
from peval.job import Job
from peval.prepare import prepare
from peval.progress import Silent
from peval.run import plan_requests

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not importlib.util.find_spec("vllm"), reason="vLLM is not installed"),
]
RANK, N_INPUTS, SLICES, N_TOKENS = 4, 24, (16, 8, 8), 50


@dataclass(frozen=True)
class Mapping:
    """What vLLM tells its LoRA kernels of a batch; adapter ids from 1, 0 for the base."""

    index_mapping: tuple[int, ...]
    prompt_mapping: tuple[int, ...]
    is_prefill: bool = True


def kernels(slots: tuple[int, ...]) -> tuple[Any, Any]:
    """Return ours and vLLM's, both told the same batch."""
    from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

    from peval.engines.vllm_cpu_lora import GroupedLora

    pair = GroupedLora(64, 64, "cpu"), PunicaWrapperCPU(64, 64, "cpu")
    for kernel in pair:
        kernel.update_metadata(Mapping(slots, slots), [1, 2, 3], 4, 100)
    return pair


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_linear_layers_equal_vllms_own_where_those_are_right(dtype: str) -> None:
    import torch

    torch.manual_seed(0)
    kind = getattr(torch, dtype)
    slots = tuple(torch.randint(1, 4, (N_TOKENS,)).tolist())
    ours, theirs = kernels(slots)
    x = torch.randn(N_TOKENS, N_INPUTS, dtype=kind)
    a = tuple(torch.randn(3, 1, RANK, N_INPUTS, dtype=kind) for _ in SLICES)
    b = tuple(torch.randn(3, 1, n, RANK, dtype=kind) for n in SLICES)
    y = torch.randn(N_TOKENS, sum(SLICES), dtype=kind)
    found, expected = y.clone(), y.clone()
    ours.add_lora_linear(found, x, a, b, 0.5, SLICES)
    theirs.add_lora_linear(expected, x, a, b, 0.5, SLICES)
    assert (expected != y).any(dim=1).all()
    ulp = torch.finfo(kind).eps * 2
    torch.testing.assert_close(found, expected, rtol=ulp, atol=ulp * float(expected.abs().max()))


def test_logits_and_embeddings_equal_vllms_own() -> None:
    import torch

    torch.manual_seed(0)
    slots = (3, 1, 1, 2, 3)
    ours, theirs = kernels(slots)
    x, hidden = torch.randn(len(slots), N_INPUTS), torch.randn(len(slots), RANK)
    a, b = torch.randn(3, 1, RANK, N_INPUTS), torch.randn(3, 1, 40, RANK)
    for n_logits in (32, 40):
        found, expected = torch.zeros(len(slots), n_logits), torch.zeros(len(slots), n_logits)
        ours.add_lora_logits(found, x, a, b, 2.0)
        theirs.add_lora_logits(expected, x, a, b, 2.0)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)
    found, expected = torch.ones(len(slots), 40), torch.ones(len(slots), 40)
    ours.add_lora_embedding(found, hidden, b)
    theirs.add_lora_embedding(expected, hidden, b, add_inputs=True)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_the_bases_rows_stay_untouched() -> None:
    import torch

    slots = (0, 3, 0, 1)
    ours, _ = kernels(slots)
    a, b = torch.ones(3, 1, RANK, N_INPUTS), torch.ones(3, 1, 8, RANK)
    y = torch.zeros(4, 8)
    ours.add_lora_linear(y, torch.ones(4, N_INPUTS), (a,), (b,), 1.0, (8,))
    assert (y != 0).any(dim=1).tolist() == [False, True, False, True]


def test_the_base_answers_beside_adapters_as_it_does_alone(tmp_path: Path) -> None:
    """vLLM's own kernels gave the base the adapter in the last slot, here the generalist."""
    answers = []
    for names in ((), ("noop", "generalist")):
        job = Job(
            base=str(TOY / "base"),
            adapters=tuple(str(TOY / "adapters" / name) for name in names),
            suites=("superni",),
            data_dir=str(TOY / "data"),
            limit=2,
            dtype="float32",
            out=str(tmp_path / f"run{len(names)}"),
        )
        setup = prepare(job)
        requests = plan_requests(setup)[1]
        engine = open_engine(setup, Silent())
        texts = {done.key: done.text for done in engine.complete(requests)}
        engine.close()
        answers.append({(r.adapter, r.task, r.sample_id): texts[r.key] for r in requests})
    alone, beside = answers
    assert {key: text for key, text in beside.items() if key[0] is None} == alone
    assert {key[0] for key in beside} == {None, "noop", "generalist"}
