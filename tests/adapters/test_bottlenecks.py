"""Bottleneck adapters are vetted like all others: settings, tensors, places, output layers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bottlenecks
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from scripted import TOY

from peval.adapters import base_of, load_adapter
from peval.bases import load_base, weight_shapes
from peval.cli import main
from peval.errors import AdapterError
from peval.types import Adapter

CONFIG, WEIGHTS, HEAD = "adapter_config.json", "adapter.safetensors", "model_head.safetensors"
FIRST = "model.layers.0.attention_adapters.adapters.toy.adapter_up.weight"
Spoil = Callable[[Path], object]


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    return shutil.copytree(bottlenecks.GOLDEN / "toy", tmp_path / "toy")


def loaded(path: Path) -> Adapter:
    base = load_base(str(TOY / "base"))
    return load_adapter(path, "x", base, weight_shapes(base), allow_base_mismatch=True)


def settings(inner: bool = True, **changes: Any) -> Spoil:
    def spoil(path: Path) -> None:
        found = json.loads((path / CONFIG).read_text())
        (found["config"] if inner else found).update(changes)
        (path / CONFIG).write_text(json.dumps(found))

    return spoil


def tensors(change: Callable[[dict[str, np.ndarray]], object]) -> Spoil:
    def spoil(path: Path) -> None:
        found = load_file(path / WEIGHTS)
        change(found)
        save_file(found, path / WEIGHTS)

    return spoil


def head(**arrays: np.ndarray) -> Spoil:
    named = {name.replace("__", "."): array for name, array in arrays.items()}
    return lambda path: save_file(named, path / HEAD)


def empty(name: str) -> Spoil:
    return lambda path: (path / name).write_text("{}")


def renamed(path: Path) -> None:
    """Save it under another name within the library."""
    settings(inner=False, name="other")(path)
    found = load_file(path / WEIGHTS)
    save_file({k.replace(".toy.", ".other."): v for k, v in found.items()}, path / WEIGHTS)


REFUSED: dict[str, tuple[Spoil, str]] = {
    "phm": (settings(phm_layer=True), "phm_layer: PHM layers .* not served"),
    "inverse": (settings(inv_adapter="nice"), "inv_adapter: invertible adapters are not served"),
    "gating": (settings(use_gating=True), "use_gating: gating"),
    "parallel": (settings(is_parallel=True), "is_parallel: parallel adapters"),
    "post add": (settings(residual_before_ln="post_add"), "residual_before_ln: 'post_add'"),
    "no residual": (settings(original_ln_after=False), "original_ln_after: false is served only"),
    "unknown": (settings(twist=2), "'twist'.*unknown setting 2"),
    "unknown beside": (settings(inner=False, twist=2), "'twist'.*unknown setting 2"),
    "activation": (settings(non_linearity="eval"), "non_linearity: 'eval' is not one of"),
    "scaling": (settings(scaling="much"), "scaling: 'much'"),
    "infinite": (settings(scaling=1e300), "scaling: 1e.300 is not a finite number"),
    "endless": (settings(scaling=10**400), "scaling: 10+.* is not a finite number"),
    "factor 0": (settings(reduction_factor=0), "reduction_factor: 0"),
    "factor below 0": (settings(reduction_factor=-4), "reduction_factor: -4 is not above 0"),
    "factor NaN": (settings(reduction_factor=float("nan")), "reduction_factor: nan"),
    "no default": (settings(reduction_factor={"1": 128}), "none for layer 0, and no default"),
    "factor of no layer": (settings(reduction_factor={"x": 128}), "'x' is no layer"),
    "flag": (settings(mh_adapter=1), "mh_adapter: 1 is neither true nor false"),
    "nowhere": (settings(mh_adapter=False, output_adapter=False), "config: puts adapters nowhere"),
    "all left out": (settings(leave_out=[0, 1, 2, 3]), "leave_out: no layer"),
    "leave out": (settings(leave_out=["a"]), "leave_out: .* is not a list of layers"),
    "lora": (settings(architecture="lora"), "architecture: LoRA of the adapters library"),
    "union": (settings(architecture="union"), "architecture: a union of methods"),
    "list": (settings(inner=False, config=[]), "config: .* is not an object"),
    "version": (settings(inner=False, version="3.2.1"), "version: '3.2.1' is not the adapters"),
    "model": (settings(inner=False, model_type="gpt2"), "model_type: 'gpt2', the base is 'llama'"),
    "hidden size": (settings(inner=False, hidden_size=64), "hidden_size: 64, the base has 128"),
    "name": (settings(inner=False, name="a.b"), "name: 'a.b' has a dot"),
    "other name": (settings(inner=False, name="b"), r"tensor '.*\.toy\..*' has no place"),
    "missing": (tensors(lambda t: t.pop(FIRST)), f"no tensor '{FIRST}'"),
    "shape": (tensors(lambda t: t.update({FIRST: t[FIRST].T.copy()})), r"has shape \[1, 128\]"),
    "unused": (tensors(lambda t: t.update({"a.b": t[FIRST]})), "'a.b' has no place"),
    "layer": (
        tensors(lambda t: t.update({FIRST.replace(".0.", ".9."): t[FIRST]})), "'model.layers.9.*",
    ),
    "NaN": (tensors(lambda t: t.update({FIRST: t[FIRST] * np.nan})), "holds nan"),
    "integers": (tensors(lambda t: t.update({FIRST: t[FIRST].astype(int)})), "has dtype I64"),
    "width": (settings(reduction_factor=64), r"config and base ask for \[2"),
    "unknown head": (head(score__weight=np.ones((2, 128), "f4")), "'score.weight' is no output"),
    "other words": (head(lm_head__weight=np.ones((9, 128), "f4")), r"has shape \[9, 128\]"),
    "fusion": (empty("adapter_fusion_config.json"), "a fusion of adapters is not served"),
    "interface": (empty("adapter_interface.json"), "AdapterModelInterface is not served"),
    "embeddings": (empty("embedding.pt"), "embeddings of its own"),
    "pickled head": (empty("pytorch_model_head.bin"), "a pickle file can run code"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_would_be_computed_otherwise_is_refused(kind: str, adapter: Path) -> None:
    spoil, message = REFUSED[kind]
    spoil(adapter)
    with pytest.raises(AdapterError, match=message) as found:
        loaded(adapter)
    assert "\n" not in str(found.value) and str(adapter) in str(found.value)


def test_its_hash_is_of_what_it_computes(adapter: Path) -> None:
    first = loaded(adapter)
    for same in (settings(dropout=0.5, init_weights="bert"), renamed):
        same(adapter)
        assert loaded(adapter).sha256 == first.sha256
    seen = {first.sha256}
    for other in (
        settings(scaling=2.0), settings(non_linearity="relu"), settings(original_ln_before=True),
        tensors(lambda t: t.update({k: v * 2 for k, v in t.items() if ".adapter_up." in k})),
        head(lm_head__weight=np.ones((1152, 128), "f4")),
    ):  # fmt: skip
        other(adapter)
        assert loaded(adapter).sha256 not in seen
        seen.add(loaded(adapter).sha256)


def test_one_that_changes_nothing_is_known(adapter: Path) -> None:
    assert not loaded(adapter).changes_nothing
    tensors(lambda t: t.update({k: v * 0 for k, v in t.items() if ".adapter_up." in k}))(adapter)
    assert loaded(adapter).changes_nothing


def test_a_norm_with_two_values_is_refused(tmp_path: Path) -> None:
    from peval.adapters.pickled import convert_pickles

    path = shutil.copytree(bottlenecks.GOLDEN / "layers", tmp_path / "layers")
    base = bottlenecks.make_base("tiny-llama", tmp_path / "base")
    (base / "tokenizer.json").write_text("{}")
    model = load_base(str(base))
    with pytest.raises(AdapterError, match="--allow-pickle"):
        load_adapter(path, "x", model, weight_shapes(model), allow_base_mismatch=True)
    convert_pickles(path)
    assert load_adapter(path, "x", model, weight_shapes(model), True).method == "bottleneck"
    norm = "model.layers.1.output_adapters.adapters.layers.adapter_norm_before.bias"
    tensors(lambda t: t.update({norm: t[norm] + 1}))(path)
    with pytest.raises(AdapterError, match="differs from its copy"):
        load_adapter(path, "x", model, weight_shapes(model), allow_base_mismatch=True)


def test_inspect_says_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    path = bottlenecks.GOLDEN / "toy"
    assert Path(base_of(path) or "").resolve() == TOY / "base"
    assert main(["inspect", str(path)]) == 0
    text = capsys.readouterr().out
    assert "Houlsby" in text and "8 (mlp, self_attn)" in text
    assert "hf: bottlenecks of 1 behind mlp and self_attn, which vLLM has no place for" in text
    assert "vLLM     refuses it" in text
    assert main(["inspect", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    found = found[0] if isinstance(found, list) else found
    assert found["n_parameters"] == 8 * (128 + 1 + 128 + 128)
    assert found["route"] == "hf" and not found["changes_nothing"]
