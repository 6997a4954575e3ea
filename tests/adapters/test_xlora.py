"""X-LoRA before any engine: its experts lie in its directory, and all of it fits the base."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from checkpoints import TOY_BASE, make, mixture
from safetensors.numpy import load_file, save_file

from peval.adapters import load_adapter
from peval.bases import load_base, weight_shapes
from peval.errors import AdapterError
from peval.inspection import inspect, text
from peval.types import Adapter

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("mixture")
    return mixture(place / "mixed", place)


@pytest.fixture
def mixed(source: Path, tmp_path: Path) -> Path:
    """A copy whose config still names the place where it was trained."""
    return shutil.copytree(source, tmp_path / "copied")


def load(path: Path) -> Adapter:
    base = load_base(str(TOY_BASE))
    return load_adapter(path, "x", base, weight_shapes(base))


def configure(path: Path, **changes: Any) -> Path:
    found = json.loads((path / CONFIG).read_text())
    (path / CONFIG).write_text(json.dumps(found | changes))
    return path


def test_it_is_described(mixed: Path) -> None:
    found = inspect(mixed, None, False)
    assert (found["method"], found["route"]) == ("X-LoRA", "hf")
    assert (found["n_modules"], found["target_modules"]) == (8, ["q_proj", "v_proj"])
    assert "weighs its LoRAs anew at every token" in found["route_why"]
    assert found["vllm"].startswith("refuses it")
    parts = [mixed, mixed / "lora", mixed / "rslora"]
    sizes = [t.size for p in parts for t in load_file(p / WEIGHTS).values()]
    assert found["n_parameters"] == sum(sizes)
    assert found["n_bytes"] == sum((p / WEIGHTS).stat().st_size for p in parts)
    assert "X-LoRA" in text(found)
    assert load(mixed).sha256 == found["sha256"] == load_adapter(mixed, "x", None, None).sha256


@pytest.mark.parametrize(
    "settings",
    [{"xlora_depth": 1}, {"xlora_depth": 3}, {"xlora_depth": 3, "xlora_dropout_p": 0.0},
     {"layerwise_scalings": True, "top_k_lora": 1, "scaling_pass_value": 0.5}],
)  # fmt: skip
def test_every_form_of_the_classifier_fits(settings: dict[str, Any], tmp_path: Path) -> None:
    assert load(mixture(tmp_path / "x", tmp_path, **settings)).method == "X-LoRA"


def test_the_hash_covers_experts_and_their_order_but_not_their_places(mixed: Path) -> None:
    before = load(mixed).sha256
    assert load(configure(mixed, adapters={"0": "lora", "1": "rslora"})).sha256 == before
    assert load(configure(mixed, adapters={"1": "./runs/rslora/", "0": "lora"})).sha256 == before
    assert load(configure(mixed, adapters={"0": "rslora", "1": "lora"})).sha256 != before
    assert load(configure(mixed, softmax_temperature=2)).sha256 != before
    tensors = load_file(mixed / "lora" / WEIGHTS)
    save_file({name: 2 * t for name, t in tensors.items()}, mixed / "lora" / WEIGHTS)
    configure(mixed, adapters={"0": "lora", "1": "rslora"}, softmax_temperature=1)
    assert load(mixed).sha256 != before


def test_experts_without_an_effect_have_none_together(mixed: Path) -> None:
    for name in ("lora", "rslora"):
        tensors = load_file(mixed / name / WEIGHTS)
        save_file({n: 0 * t if "lora_B" in n else t for n, t in tensors.items()},
                  mixed / name / WEIGHTS)  # fmt: skip
    assert load(mixed).changes_nothing


def test_experts_elsewhere_are_not_followed_and_one_line_says_what_to_copy(mixed: Path) -> None:
    shutil.move(mixed / "lora", mixed.parent / "lora")
    configure(mixed, adapters={"0": str(mixed.parent / "lora"), "1": "../rslora/x"})
    with pytest.raises(AdapterError) as caught:
        load(mixed)
    said = str(caught.value)
    assert said == (
        f"{mixed / CONFIG}: adapters: '{mixed.parent / 'lora'}', '../rslora/x': no such folder in "
        f"{mixed}, and paths out of it are not followed; copy each expert's folder into it"
    )
    with pytest.raises(AdapterError, match="copy each expert's folder into it"):
        inspect(mixed, None, False)
    (mixed / "lora").symlink_to(mixed.parent / "lora")
    with pytest.raises(AdapterError, match="copy each expert's folder into it"):
        load(configure(mixed, adapters={"0": "lora", "1": "rslora"}))


def test_a_classifier_as_peft_now_saves_it_is_refused(mixed: Path) -> None:
    """PEFT 0.21 takes ``layers.0`` for a tensor of the expert 0."""
    tensors = load_file(mixed / WEIGHTS)
    lost = "base_model.internal_xlora_classifier.layers.0"
    save_file({n: t for n, t in tensors.items() if not n.startswith(lost)}, mixed / WEIGHTS)
    with pytest.raises(AdapterError, match=r"layers\.0\.weight' is missing, as PEFT 0\.21 leaves"):
        load(mixed)


def test_peft_still_saves_it_in_part(mixed: Path, tmp_path: Path) -> None:
    """If this fails, PEFT saves X-LoRA whole again, and the documents should say since when."""
    import peft
    import transformers

    model: Any = transformers.AutoModelForCausalLM.from_pretrained(TOY_BASE, dtype="float32")
    model.config.use_cache = False
    experts = {"0": str(mixed / "lora"), "1": str(mixed / "rslora")}
    config = peft.XLoraConfig(task_type="CAUSAL_LM", hidden_size=128, adapters=experts)
    peft.get_peft_model(model, config).save_pretrained(tmp_path / "saved")
    kept = load_file(tmp_path / "saved" / WEIGHTS)
    assert not any("layers.0" in name for name in kept)


Spoil = Callable[[Path], object]
SPOILT: dict[str, tuple[str, Spoil]] = {
    "no experts": ("names no experts", lambda p: configure(p, adapters={})),
    "a list": ("names no experts", lambda p: configure(p, adapters=["lora"])),
    "named": ("loads only experts called 0, 1", lambda p: configure(p, adapters={"math": "lora"})),
    "a gap": ("loads only experts called 0, 1", lambda p: configure(p, adapters={"1": "lora"})),
    "itself": ("no such folder", lambda p: configure(p, adapters={"0": "."})),
    "above": ("no such folder", lambda p: configure(p, adapters={"0": ".."})),
    "a number": ("no such folder", lambda p: configure(p, adapters={"0": 7})),
    "a null byte": ("no such folder", lambda p: configure(p, adapters={"0": "a\0b"})),
    "a long name": ("no such folder", lambda p: configure(p, adapters={"0": "x" * 300})),
    "a long path": ("no such folder", lambda p: configure(p, adapters={"0": "x/" * 3000})),
    "one name for two": ("would both be the folder lora", lambda p: configure(
        p, adapters={"0": "/a/lora", "1": "/b/lora"})),
    "trained along": ("use_trainable_adapters", lambda p: configure(
        p, use_trainable_adapters=True)),
    "another width": ("hidden_size: 64, the base has 128", lambda p: configure(p, hidden_size=64)),
    "no width": ("hidden_size: None", lambda p: configure(p, hidden_size=None)),
    "depth 0": ("xlora_depth: 0", lambda p: configure(p, xlora_depth=0)),
    "depth 10**9": ("xlora_depth: 1000000000", lambda p: configure(p, xlora_depth=10**9)),
    "deeper": ("has shape [2, 16]", lambda p: configure(p, xlora_depth=3)),
    "wider": ("has shape [16, 128]", lambda p: configure(p, xlora_size=17)),
    "more experts asked than there are": ("top_k_lora: 3", lambda p: configure(p, top_k_lora=3)),
    "dropout": ("xlora_dropout_p: 'x'", lambda p: configure(p, xlora_dropout_p="x")),
    "no temperature": ("softmax_temperature: 0", lambda p: configure(p, softmax_temperature=0)),
    "by layer": ("has shape [2, 16]", lambda p: configure(p, layerwise_scalings=True)),
    "unknown": ("unknown setting", lambda p: configure(p, router="x")),
    "a head": ("task_type: X-LoRA is served for", lambda p: configure(p, task_type="SEQ_CLS")),
    "DoRA": ("holds 'base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector'",
             lambda p: (shutil.rmtree(p / "lora"), make("dora", p / "lora", p))),
    "IA3": ("the expert in lora is IA3", lambda p: (
        shutil.rmtree(p / "lora"), make("ia3", p / "lora", p))),
    "an expert of experts": ("the expert in lora is X-LoRA", lambda p: (
        shutil.rmtree(p / "lora"), (p / "lora").mkdir(),
        shutil.copy(p / CONFIG, p / "lora"))),
    "an expert for another base": ("made for 'org/other'", lambda p: configure(
        p / "lora", base_model_name_or_path="org/other")),
    "an expert's link": ("is a link out", lambda p: (
        (p / "lora" / WEIGHTS).unlink(), (p / "lora" / WEIGHTS).symlink_to("/etc/passwd"))),
    "an expert's rank": ("has rank 4", lambda p: configure(p / "lora", r=8)),
    "an expert that is a pickle": ("adapter_model.bin: a pickle file", lambda p: (
        p / "lora" / WEIGHTS).rename(p / "lora" / "adapter_model.bin")),
    "a foreign tensor": ("is not of the classifier", lambda p: save_file(
        load_file(p / WEIGHTS) | load_file(p / "lora" / WEIGHTS), p / WEIGHTS)),
    "NaN": ("holds nan", lambda p: save_file(
        {n: t * float("nan") for n, t in load_file(p / WEIGHTS).items()}, p / WEIGHTS)),
}  # fmt: skip


@pytest.mark.parametrize("case", SPOILT)
def test_what_is_not_whole_is_refused(case: str, mixed: Path) -> None:
    expected, spoil = SPOILT[case]
    spoil(mixed)
    with pytest.raises(AdapterError) as caught:
        load(mixed)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000
