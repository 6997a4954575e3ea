"""Every kind of checkpoint that PEFT saves: described rightly, through preflight, or refused."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from checkpoints import KINDS, base_of, finetune, make
from safetensors.numpy import load_file, save_file

from peval.adapters import load_adapter
from peval.bases import load_base, weight_shapes
from peval.errors import AdapterError
from peval.inspection import inspect, text

NATIVE, REWRITE, MERGE, PROMPT, HF = (
    "native-lora", "rewrite-lora", "merge", "prompt-embeds", "hf",
)  # fmt: skip
# Each kind's method, route, ranks, and a part of the reason.
EXPECTED: dict[str, tuple[str, str, list[int], str]] = {
    "lora": ("LoRA", NATIVE, [4], "plain LoRA"),
    "lora-all-linear": ("LoRA", NATIVE, [2], "plain LoRA"),
    "rslora": ("rsLoRA", NATIVE, [4], "plain LoRA"),
    "lora-patterns": ("LoRA", NATIVE, [2, 3, 4], "plain LoRA"),
    "lora-embedding": ("LoRA", NATIVE, [4], "plain LoRA"),
    "lora-some-layers": ("LoRA", NATIVE, [4], "plain LoRA"),
    "lora-exclude": ("LoRA", NATIVE, [4], "plain LoRA"),
    "lora-conv1d": ("LoRA", NATIVE, [2], "plain LoRA"),
    "dora": ("DoRA", MERGE, [4], "vLLM refuses DoRA"),
    "dora-embedding": ("DoRA", MERGE, [4], "vLLM refuses DoRA"),
    "lora-bias": ("LoRA", MERGE, [4], "trained biases (lora_only)"),
    "lora-bias-all": ("LoRA", MERGE, [4], "trained biases (all)"),
    "lora-b-bias": ("LoRA", MERGE, [4], "bias in lora_B"),
    "lora-b-bias-alone": ("LoRA", HF, [4], "only into modules that have one"),
    "pissa": ("PiSSA", MERGE, [4], "pissa changed the base weights"),
    "pissa-initial": ("PiSSA", REWRITE, [4], "a LoRA of rank 8"),
    "olora": ("OLoRA", MERGE, [4], "olora changed the base weights"),
    "olora-initial": ("rsOLoRA", REWRITE, [4], "a LoRA of rank 8"),
    "trainable-tokens-lora": ("LoRA", MERGE, [4], "trained rows of the embedding"),
    "modules-to-save": ("LoRA", MERGE, [4], "fully trained modules (embed_tokens)"),
    "modules-to-save-norm": ("LoRA", MERGE, [4], "fully trained modules (norm)"),
    "modules-to-save-head": ("LoRA", MERGE, [4], "fully trained modules (lm_head)"),
    "lora-resized": ("LoRA", MERGE, [4], "another size (1160 rows)"),
    "alora": ("aLoRA", HF, [4], "middle of a prompt"),
    "adalora": ("AdaLoRA", REWRITE, [], "a LoRA of rank 4"),
    "loha": ("LoHa", REWRITE, [3], "a LoRA of rank 9"),
    "loha-patterns": ("LoHa", REWRITE, [2, 3], "a LoRA of rank 9"),
    "lokr": ("LoKr", REWRITE, [3], "a LoRA of rank 24"),
    "lokr-both": ("LoKr", REWRITE, [3], "a LoRA of rank 9"),
    "lokr-full": ("LoKr", REWRITE, [64], "a LoRA of rank 128"),
    "ia3": ("IA3", MERGE, [], "folds into the base weights"),
    "vera": ("VeRA", REWRITE, [8], "a LoRA of rank 8"),
    "vera-unsaved": ("VeRA", MERGE, [8], "folds into the base weights"),
    "oft": ("OFT", MERGE, [], "folds into"),
    "oft-r": ("OFT", MERGE, [], "folds into"),
    "oft-shared": ("OFT", MERGE, [], "folds into"),
    "boft": ("BOFT", MERGE, [], "folds into"),
    "boft-n": ("BOFT", MERGE, [], "folds into"),
    "hra": ("HRA", MERGE, [4], "folds into"),
    "fourierft": ("FourierFT", MERGE, [], "folds into"),
    "miss": ("MiSS", REWRITE, [4], "a LoRA of rank 4"),
    "miss-down": ("MiSS", REWRITE, [10], "a LoRA of rank 10"),
    "miss-mini": ("MiSS", REWRITE, [8], "a LoRA of rank 8"),
    "miss-bat": ("MiSS", MERGE, [8], "folds into"),
    "c3a": ("C3A", MERGE, [], "folds into"),
    "road": ("RoAd", MERGE, [], "folds into"),
    "waveft": ("WaveFT", MERGE, [], "folds into"),
    "delora": ("DeLoRA", REWRITE, [4], "a LoRA of rank 4"),
    "gralora": ("GraLoRA", REWRITE, [4], "a LoRA of rank 8"),
    "vblora": ("VB-LoRA", REWRITE, [2], "a LoRA of rank 2"),
    "hira": ("HiRA", MERGE, [4], "folds into"),
    "ln-tuning": ("LN tuning", MERGE, [], "folds into"),
    "trainable-tokens": ("trainable tokens", MERGE, [], "folds into"),
    "prompt-tuning": ("prompt tuning", PROMPT, [], "4 trained vectors"),
    "prompt-tuning-text": ("prompt tuning", PROMPT, [], "4 trained vectors"),
    "p-tuning": ("P-tuning", PROMPT, [], "4 trained vectors"),
    "p-tuning-lstm": ("P-tuning", PROMPT, [], "4 trained vectors"),
    "multitask-prompt": ("multitask prompt tuning", PROMPT, [], "2 tasks"),
    "multitask-one": ("multitask prompt tuning", PROMPT, [], "4 trained vectors"),
    "prefix-tuning": ("prefix tuning", HF, [], "every layer's attention"),
    "prefix-tuning-projection": ("prefix tuning", HF, [], "every layer's attention"),
    "prefix-shared-heads": ("prefix tuning", HF, [], "every layer's attention"),
    "adaption-prompt": ("adaption prompt", HF, [], "last layers' attention"),
}
REFUSED = {
    "target-parameters": "target_parameters: LoRA on bare parameters",
    "vblora-topk": "save_only_topk_weights: VB-LoRA",
    "cpt": "peft_type: 'CPT'",
    "randlora": "peft_type: 'RANDLORA'",
    "shira": "peft_type: 'SHIRA'",
    "psoft": "peft_type: 'PSOFT'",
    "poly": "peft_type: 'POLY'",
    "pissa-random": "init_lora_weights: 'pissa_niter_4'",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kinds")


def test_every_kind_is_expected() -> None:
    assert set(EXPECTED) | set(REFUSED) == set(KINDS)
    assert len(EXPECTED) >= 25


@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(not importlib.util.find_spec("vllm"), reason="vLLM is not installed")
def test_what_vllm_says_is_what_its_own_loader_says(place: Path) -> None:
    from types import SimpleNamespace

    from vllm.lora.peft_helper import PEFTHelper
    from vllm.lora.utils import is_base_embedding_weights, parse_fine_tuned_lora_name

    room: Any = SimpleNamespace(max_lora_rank=512)
    said = {}
    for kind in EXPECTED:
        path = make(kind, place / kind, place)
        said[kind] = inspect(path, None, False)["vllm"]
        try:
            PEFTHelper.from_local_dir(str(path), None).validate_legal(room)
            for name in load_file(path / "adapter_model.safetensors"):
                if not is_base_embedding_weights(name):
                    parse_fine_tuned_lora_name(name)
            takes = True
        except ValueError:
            takes = False
        assert said[kind].startswith("takes" if takes else "refuses"), (kind, said[kind])
    assert said["dora"] == "refuses it: DoRA"
    assert said["lora"] == "takes it"
    assert said["pissa"] == "refuses it: init_lora_weights pissa"
    assert "leaves out" in said["lora-embedding"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", EXPECTED)
def test_a_kind_is_described_and_fits_its_base(kind: str, place: Path) -> None:
    path = make(kind, place / kind, place)
    method, route, ranks, why = EXPECTED[kind]
    found = inspect(path, None, False)
    assert (found["method"], found["route"], found["ranks"]) == (method, route, ranks)
    assert why in found["route_why"]
    assert found["unchecked"] == ""
    assert not found["changes_nothing"]
    saved = load_file(path / "adapter_model.safetensors")
    trained = [t.size for name, t in saved.items() if ".base_layer.weight" not in name]
    assert found["n_parameters"] == sum(trained)
    assert 0 < found["share_of_base"] < 0.5
    assert json.dumps(found)
    assert method in text(found)
    assert route in text(found)
    adapter = load_adapter(path, kind, None, None)  # without its base, the hash is the same
    assert adapter.sha256 == found["sha256"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", EXPECTED)
def test_a_tensor_less_or_misshapen_is_noticed(kind: str, place: Path, tmp_path: Path) -> None:
    """The equation is strict: no tensor of any kind may be missing, foreign or of another size."""
    source = make(kind, place / kind, place)
    path = shutil.copytree(source, tmp_path / "adapter")
    base = load_base(str(base_of(KINDS[kind].base, place)))
    shapes = weight_shapes(base)
    file = path / "adapter_model.safetensors"
    tensors = load_file(file)
    optional = ("base_layer.weight", "lm_head.trainable_tokens_delta")
    needed = [name for name in sorted(tensors) if not name.endswith(optional)]

    def refused(changed: dict[str, Any], name: str) -> None:
        save_file(changed, file)
        with pytest.raises(AdapterError) as caught:
            load_adapter(path, "x", base, shapes)
        module = name.removesuffix(".weight").rsplit(".", 1)[0].removeprefix("base_model.model.")
        named = (module, "no tensors in it", "lm_head")  # a table of two sizes has two ends
        assert any(each in str(caught.value) for each in named)

    for name in {needed[0], needed[-1]}:
        refused({n: t for n, t in tensors.items() if n != name}, name)
        longer = tensors[name].repeat(2, axis=0)
        refused(tensors | {name: longer}, name)
        refused(tensors | {name: tensors[name][..., None]}, name)
    refused(tensors | {f"{needed[0]}_more": tensors[needed[0]]}, needed[0])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", REFUSED)
def test_a_method_without_an_equation_is_refused_by_name(kind: str, place: Path) -> None:
    path = make(kind, place / kind, place)
    with pytest.raises(AdapterError) as caught:
        load_adapter(path, "x", None, None)
    assert f"adapter_config.json: {REFUSED[kind]}" in str(caught.value)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("which", "method"),
    [("", "full finetune"), ("layers.0.", "partial finetune"), (".bias", "BitFit")],
)
def test_whole_finetunes(which: str, method: str, place: Path, tmp_path: Path) -> None:
    base = base_of("biased", place)
    path = finetune(base, tmp_path / "tuned", which)
    found = inspect(path, str(base), False)
    assert (found["method"], found["route"]) == (method, MERGE)
    assert (found["share_of_base"] == 1) is (which == "")
    assert "tensors are not the base's" in found["route_why"]
    adapter = load_adapter(path, "x", None, None) if which == "" else _loaded(path, base)
    assert (adapter.route, adapter.vocabulary_size) == (MERGE, None)


def _loaded(path: Path, base: Path) -> Any:
    found = load_base(str(base))
    return load_adapter(path, "x", found, weight_shapes(found))


@pytest.mark.filterwarnings("ignore")
def test_a_whole_model_must_be_of_the_bases_architecture(place: Path, tmp_path: Path) -> None:
    base = base_of("biased", place)
    path = finetune(base, tmp_path / "tuned", "")
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 1e-3}))
    with pytest.raises(AdapterError, match=r"config\.json: rms_norm_eps: 0\.001, the base has"):
        _loaded(path, base)
    (path / "config.json").write_text(json.dumps(config))
    tensors = load_file(path / "model.safetensors")
    save_file({k: v for k, v in tensors.items() if "norm" not in k}, path / "model.safetensors")
    with pytest.raises(AdapterError, match=r"no tensor 'model\.layers\.0\.input_layernorm"):
        _loaded(path, base)
    assert _loaded(base, base).changes_nothing


@pytest.mark.filterwarnings("ignore")
def test_tables_of_rotations_that_old_checkpoints_hold_are_no_weights(
    place: Path, tmp_path: Path
) -> None:
    base = base_of("biased", place)
    path = finetune(base, tmp_path / "tuned", "")
    before = _loaded(path, base)
    tensors = load_file(path / "model.safetensors")
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = tensors["model.norm.weight"][:16]
    save_file(tensors, path / "model.safetensors", {"format": "pt"})
    assert (_loaded(path, base).route, before.route) == (MERGE, MERGE)


@pytest.mark.filterwarnings("ignore")
def test_the_same_weights_under_two_names(place: Path, tmp_path: Path) -> None:
    path = make("loha", place / "loha", place)
    copy = shutil.copytree(path, tmp_path / "other-name")
    config = json.loads((copy / "adapter_config.json").read_text())
    changes = {"rank_dropout": 0.5, "inference_mode": False, "revision": "main", "alpha": 8.0}
    (copy / "adapter_config.json").write_text(json.dumps(config | changes, indent=9))
    first, second = load_adapter(path, "a", None, None), load_adapter(copy, "b", None, None)
    assert first.sha256 == second.sha256
    (copy / "adapter_config.json").write_text(json.dumps(config | {"alpha": 9}))
    assert load_adapter(copy, "b", None, None).sha256 != first.sha256


@pytest.mark.filterwarnings("ignore")
def test_what_lies_beside_the_weights(place: Path, tmp_path: Path) -> None:
    path = shutil.copytree(make("lora", place / "lora", place), tmp_path / "adapter")
    base = base_of("toy", place)
    shutil.copy(base / "tokenizer.json", path)
    state = {
        "global_step": 30, "epoch": 2.0, "log_history": [{"loss": 1.5}, {"loss": 0.5, "step": 30}],
    }  # fmt: skip
    (path / "trainer_state.json").write_text(json.dumps(state))
    found = inspect(path, None, False)
    assert found["training"] == {"steps": 30, "epochs": 2.0, "loss": 0.5}
    assert (found["tokenizer_differs_in"], found["added_tokens"]) == ([], [])
    assert found["chat_template"] == "none"
    tokenizer = json.loads((path / "tokenizer.json").read_text())
    (path / "tokenizer.json").write_text(json.dumps(tokenizer, indent=7))
    assert inspect(path, None, False)["tokenizer_differs_in"] == []
    token = tokenizer["added_tokens"][-1]
    tokenizer["added_tokens"].append(token | {"id": 1083, "content": "<new>"})
    (path / "tokenizer.json").write_text(json.dumps(tokenizer))
    (path / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
    found = inspect(path, None, False)
    assert found["tokenizer_differs_in"] == ["tokenizer.json"]
    assert found["added_tokens"] == ["<new>"]
    assert found["chat_template"] == "its own"
    assert "added tokens: '<new>'" in text(found)
