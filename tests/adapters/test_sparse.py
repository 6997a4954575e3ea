"""Sparse files of many GB: what is malformed is refused before any of their bytes is read."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import bottlenecks
import pytest
from cpu_time import at_most

from peval.errors import AdapterError
from peval.inspection import inspect

N_BYTES = 20 << 30
LIMIT_S = 2.0  # of CPU time; reading all takes ten times as long
WEIGHTS, HEAD = "adapter_model.safetensors", "model_head.safetensors"
MODULE = "base_model.model.model.layers.0.self_attn.q_proj"
WIDE = N_BYTES // 64  # a LoRA's 8 rows of float32 on either side are then 20 GB together
LORA = {"peft_type": "LORA", "r": 8, "target_modules": ["q_proj"], "task_type": "CAUSAL_LM"}
Shapes = Mapping[str, tuple[int, ...]]


def header(shapes: Shapes) -> bytes:
    found, end = {}, 0
    for name, shape in shapes.items():
        start, end = end, end + 4 * math.prod(shape)
        found[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}
    return json.dumps(found).encode()


def sparse(path: Path, shapes: Shapes, more: int = 0, length: int | None = None) -> None:
    """Write a header with a hole of zeros behind it, as long as it says and ``more``."""
    text = header(shapes)
    n_bytes = sum(4 * math.prod(shape) for shape in shapes.values())
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text)
    os.truncate(path, 8 + len(text) + n_bytes + more)


def lora(module: str = MODULE, rank: int = 8) -> Shapes:
    n = WIDE * 8 // rank
    return {f"{module}.lora_A.weight": (rank, n), f"{module}.lora_B.weight": (n, rank)}


def adapter(path: Path, config: object, shapes: Shapes, **more: int) -> Path:
    path.mkdir(exist_ok=True)
    (path / "adapter_config.json").write_text(json.dumps(config))
    sparse(path / WEIGHTS, shapes, **more)
    return path


def experts(path: Path) -> None:
    """The second of two experts ends within its header."""
    folders = {str(n): f"./{n}" for n in (0, 1)}
    mixed = {"peft_type": "XLORA", "hidden_size": 64, "adapters": folders, "task_type": "CAUSAL_LM"}
    adapter(path, mixed, {})
    adapter(path / "0", LORA, lora())
    adapter(path / "1", LORA, lora(), length=1000)
    os.truncate(path / "1" / WEIGHTS, 500)


def behind_bottlenecks(path: Path) -> None:
    shutil.copytree(bottlenecks.GOLDEN / "toy", path, dirs_exist_ok=True)
    name = json.loads((path / "adapter_config.json").read_text())["name"]
    sparse(path / "adapter.safetensors", {f"layers.0.adapters.{name}.x": (N_BYTES // 4,)})
    sparse(path / HEAD, {"lm_head.weight": (2, 2)}, more=-4)


def prompt(path: Path) -> None:
    config = {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 8, "token_dim": 64}
    adapter(path, config | {"task_type": "CAUSAL_LM"}, {"prompt_embeddings": (8, N_BYTES // 32)})


def template(path: Path) -> None:
    adapter(path, LORA, lora())
    (path / "chat_template.jinja").write_text("{% for message in messages %}")


CASES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a header over the limit": (
        lambda p: adapter(p, LORA, lora(), length=N_BYTES), f"{WEIGHTS}: not safetensors, or its "
    ),
    "shorter than its header says": (
        lambda p: adapter(p, LORA, lora(), more=-(1 << 30)), f"{WEIGHTS}: truncated: ",
    ),
    "longer than its header says": (
        lambda p: adapter(p, LORA, lora(), more=1 << 30), f"{WEIGHTS}: 1073741824 bytes after the",
    ),
    "another rank": (
        lambda p: adapter(p, LORA, lora(rank=4)), "has rank 4, adapter_config.json says 8",
    ),
    "a module that is not named": (
        lambda p: adapter(p, LORA, lora(MODULE.replace("q_proj", "v_proj"))),
        "is for 'model.layers.0.self_attn.v_proj', which the config does not name",
    ),
    "a wider prompt": (prompt, "tensor 'prompt_embeddings' has shape [8, 671088640], "),
    "a second expert": (experts, f"1/{WEIGHTS}: truncated, or not safetensors"),
    "an output layer behind": (behind_bottlenecks, f"{HEAD}: truncated: "),
    "a chat template that is none": (template, "adapter: chat_template: is not a template"),
}  # fmt: skip


@pytest.mark.parametrize("kind", CASES)
def test_what_is_malformed_is_refused_before_it_is_read(tmp_path: Path, kind: str) -> None:
    spoil, why = CASES[kind]
    spoil(tmp_path / "adapter")
    with at_most(LIMIT_S), pytest.raises(AdapterError) as caught:
        inspect(tmp_path / "adapter", None, False)
    said = str(caught.value)
    assert why in said and str(tmp_path / "adapter") in said and "\n" not in said
