from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cpu_time import at_most
from safetensors.numpy import load_file, save_file

from peval.adapters import base_of, load_adapter
from peval.bases import load_base, weight_shapes
from peval.errors import AdapterError
from peval.inspection import inspect
from peval.types import Adapter, Base

TOY = Path(__file__).parents[1] / "toy"
QUERY = "base_model.model.model.layers.{}.self_attn.q_proj.lora_{}.weight"
A0, B0, A1, B1 = QUERY.format(0, "A"), QUERY.format(0, "B"), QUERY.format(1, "A"), QUERY.format(
    1, "B")  # fmt: skip

Tensors = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a random Llama: two layers, hidden size 32, vocabulary 40."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, vocab_size=40, max_position_embeddings=64,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("models") / "tiny-llama"
    transformers.LlamaForCausalLM(config).save_pretrained(path)
    (path / "tokenizer.json").write_text("{}")
    return path


@pytest.fixture(scope="module")
def base(model_dir: Path) -> Base:
    return load_base(str(model_dir))


@pytest.fixture(scope="module")
def shapes(base: Base) -> dict[str, tuple[int, ...]]:
    return weight_shapes(base)


def train(model_dir: Path, path: Path, **settings: Any) -> Path:
    """Save an adapter with PEFT; its updates are random, not zero."""
    import peft
    import torch
    import transformers

    torch.manual_seed(1)
    model = transformers.AutoModelForCausalLM.from_pretrained(model_dir)
    settings = {"r": 4, "target_modules": ["q_proj"], "task_type": "CAUSAL_LM"} | settings
    adapted = peft.get_peft_model(model, peft.LoraConfig(**settings))
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter)
    adapted.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def sound(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(model_dir, tmp_path_factory.mktemp("adapters") / "sound")


@pytest.fixture
def copy(sound: Path, tmp_path: Path) -> Path:
    return shutil.copytree(sound, tmp_path / "adapter")


def configure(path: Path, **changes: Any) -> None:
    file = path / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def edit(path: Path, change: Callable[[Tensors], object]) -> None:
    tensors = load_file(path / "adapter_model.safetensors")
    change(tensors)
    save_file(tensors, path / "adapter_model.safetensors")


CONTROLS: dict[str, dict[str, Any]] = {
    "lora": {},
    "rank 1": {"r": 1},
    "rslora": {"use_rslora": True},
    "all linear": {"target_modules": "all-linear"},
    "rank and alpha pattern": {
        "rank_pattern": {"layers.0.self_attn.q_proj": 2, r".*\.1\.self_attn\..*": 7},
        "alpha_pattern": {"q_proj": 3.5},
    },
    "regular expression": {"target_modules": r".*\.(q_proj|v_proj)$"},
    "embedding": {"target_modules": ["embed_tokens", "q_proj"]},
    "output layer": {"target_modules": ["lm_head"]},
    "one layer": {"layers_to_transform": [1], "layers_pattern": "layers"},
    "one module by its full name": {"target_modules": ["model.layers.0.mlp.up_proj"]},
    "one target is absent": {"target_modules": ["q_proj", "query_key_value"]},
    "excluded": {"exclude_modules": [r"model.layers.0.self_attn.q_proj"]},
    "no task type": {"task_type": None},
    "gaussian": {"init_lora_weights": "gaussian"},
    "dropout": {"lora_dropout": 0.1},
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("control", CONTROLS)
def test_what_peft_saves_is_accepted(
    control: str, model_dir: Path, tmp_path: Path, base: Base, shapes: Any
) -> None:
    path = train(model_dir, tmp_path / "adapter", **CONTROLS[control])
    adapter = load_adapter(path, "x", base, shapes)
    assert not adapter.changes_nothing
    assert adapter.base_name == str(model_dir)
    assert json.dumps(inspect(path, None, False))
    assert load_adapter(path, "x", None, None).sha256 == adapter.sha256


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_transposed_layers_and_missing_prefix(tmp_path: Path) -> None:
    """GPT-2's weights are transposed, and old checkpoints name them without ``transformer.``."""
    import transformers

    config = transformers.GPT2Config(n_embd=8, n_layer=2, n_head=2, vocab_size=20, n_positions=16)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path / "gpt")
    (tmp_path / "gpt" / "tokenizer.json").write_text("{}")
    path = train(tmp_path / "gpt", tmp_path / "adapter", target_modules=["c_attn", "lm_head"])
    found = load_base(str(tmp_path / "gpt"))
    full = weight_shapes(found)
    load_adapter(path, "x", found, full)
    load_adapter(path, "x", found, {k.removeprefix("transformer."): v for k, v in full.items()})
    with pytest.raises(AdapterError, match="does not have"):
        load_adapter(path, "x", found, {f"other.{k}": v for k, v in full.items()})


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_an_adapter_is(model_dir: Path, tmp_path: Path, base: Base, shapes: Any) -> None:
    path = train(
        model_dir, tmp_path / "a", r=4, lora_alpha=8, use_rslora=True,
        target_modules=["q_proj", "v_proj"], rank_pattern={"v_proj": 9},
    )  # fmt: skip
    adapter = load_adapter(path, "mine", base, shapes)
    assert (adapter.name, adapter.path, adapter.method) == ("mine", path, "rsLoRA")
    assert (adapter.rank, adapter.target_modules) == (9, ("q_proj", "v_proj"))
    facts = inspect(path, None, False)
    assert facts["ranks"] == [4, 9]
    assert facts["scalings"] == [pytest.approx(8 / 3), pytest.approx(4.0)]
    assert facts["n_parameters"] == 2 * (4 * (32 + 32) + 9 * (32 + 16))


def test_an_update_of_zero_is_noticed(copy: Path, base: Base, shapes: Any) -> None:
    edit(copy, lambda t: t[B0].fill(0))
    assert not load_adapter(copy, "x", base, shapes).changes_nothing
    edit(copy, lambda t: t[A1].fill(-0.0))
    assert load_adapter(copy, "x", base, shapes).changes_nothing


def test_hash_follows_effect_not_place(copy: Path, sound: Path, base: Base, shapes: Any) -> None:
    def sha256(**changes: Any) -> str:
        configure(copy, **changes)
        return load_adapter(copy, "x", base, shapes).sha256

    before = load_adapter(sound, "y", base, shapes).sha256
    assert sha256(lora_dropout=0.5, inference_mode=False, base_model_name_or_path=None) == before
    assert sha256(lora_alpha=8.0) == before
    assert sha256(lora_alpha=9) != before
    assert sha256(lora_alpha=8, use_rslora=True) != before
    assert sha256(use_rslora=False) == before
    edit(copy, lambda t: t[A0].__setitem__((0, 0), 2.5))
    assert sha256() != before


def test_base_must_be_the_one_named(
    copy: Path, model_dir: Path, tmp_path: Path, base: Base, shapes: Any
) -> None:
    twin = shutil.copytree(model_dir, tmp_path / "twin")
    other = shutil.copytree(model_dir, tmp_path / "other" / "tiny-llama")
    (other / "tokenizer.json").write_text('{"other": 1}')
    for same in (
        None,
        str(model_dir),
        f"{model_dir}/",
        "org/tiny-llama",
        str(twin),
        "org/Tiny-Llama",
    ):
        configure(copy, base_model_name_or_path=same)
        load_adapter(copy, "x", base, shapes)
    for different in ("org/other", str(other), "../other/tiny-llama"):
        configure(copy, base_model_name_or_path=different)
        with pytest.raises(AdapterError, match="--allow-base-mismatch"):
            load_adapter(copy, "x", base, shapes)
        load_adapter(copy, "x", base, shapes, allow_base_mismatch=True)


def test_base_of(copy: Path, model_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(model_dir, tmp_path / "models" / "m")
    for named, found in [
        (None, None), ("org/name", "org/name"), (str(model_dir), str(model_dir)),
        ("models/m", str(tmp_path / "models" / "m")),
    ]:  # fmt: skip
        configure(copy, base_model_name_or_path=named)
        assert base_of(copy) == found


CONFIG_FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "IA3 over LoRA tensors": ({"peft_type": "IA3"}, "'init_lora_weights': unknown setting True"),
    "no method": ({"peft_type": None}, "peft_type"),
    "classifier": ({"task_type": "SEQ_CLS"}, "no head (score or classifier)"),
    "no task": ({"task_type": "TOKEN_CLS"}, "task_type: 'TOKEN_CLS'"),
    "DoRA": (
        {"use_dora": True},
        "q_proj.lora_magnitude_vector', which LoRA with this config needs",
    ),
    "bias": ({"bias": "some"}, "bias: 'some'"),
    "lora_bias": ({"lora_bias": True}, "q_proj.lora_B.bias'"),
    "modules_to_save": ({"modules_to_save": ["lm_head"]}, "no tensor 'base_model.model.lm_head"),
    "token indices": ({"trainable_token_indices": [1, 2]}, "trainable_tokens_delta'"),
    "target_parameters": ({"target_parameters": ["experts.w"]}, "target_parameters"),
    "layer_replication": ({"layer_replication": [[0, 2], [1, 2]]}, "layer_replication"),
    "token beyond the vocabulary": ({"trainable_token_indices": [40]}, "trainable_token_indices"),
    "tokens of text": ({"trainable_token_indices": ["a"]}, "trainable_token_indices: ['a']"),
    "QA-LoRA": ({"use_qalora": True}, "use_qalora"),
    "BD-LoRA": ({"use_bdlora": {"nblocks": 2}}, "use_bdlora"),
    "Megatron": ({"megatron_config": {"a": 1}}, "megatron_config"),
    "PiSSA": ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights: 'pissa_niter_4'"),
    "LoRA-GA": ({"init_lora_weights": "lora_ga"}, "init_lora_weights: 'lora_ga'"),
    "method of tomorrow": ({"peft_type": "NEXT"}, "peft_type: 'NEXT' is not known"),
    "unknown number": ({"lora_scale": 2.0}, "'lora_scale': unknown setting 2.0"),
    "CorDA": ({"init_lora_weights": "corda"}, "init_lora_weights"),
    "LoftQ": ({"init_lora_weights": "loftq"}, "init_lora_weights"),
    "init is an object": ({"init_lora_weights": {}}, "init_lora_weights"),
    "imports a module": ({"auto_mapping": {"parent_library": "antigravity"}}, "auto_mapping"),
    "unknown feature": ({"use_quantum": True}, "use_quantum"),
    "rank 10**9": ({"r": 10**9}, "r: rank 1000000000"),
    "rank 0": ({"r": 0}, "r: rank 0"),
    "rank is text": ({"r": "4"}, "r: rank '4'"),
    "rank is true": ({"r": True}, "r: rank True"),
    "no rank": ({"r": None}, "r: rank None"),
    "rank lies": ({"r": 8}, A0 + "' has rank 4, adapter_config.json says 8"),
    "rank_pattern lies": ({"rank_pattern": {"layers.1.self_attn.q_proj": 2}}, A1 + "' has rank 4"),
    "rank_pattern is a list": ({"rank_pattern": ["q_proj"]}, "rank_pattern"),
    "rank_pattern is huge": ({"rank_pattern": {"q_proj": 10**9}}, "rank_pattern: rank"),
    "alpha NaN": ({"lora_alpha": math.nan}, "lora_alpha: nan"),
    "alpha inf": ({"lora_alpha": math.inf}, "lora_alpha: inf"),
    "alpha 0": ({"lora_alpha": 0}, "lora_alpha: 0"),
    "alpha is text": ({"lora_alpha": "8"}, "lora_alpha: '8'"),
    "alpha is enormous": ({"lora_alpha": 10**400}, "lora_alpha"),
    "alpha_pattern NaN": ({"alpha_pattern": {"q_proj": math.nan}}, "alpha_pattern: nan"),
    "slow rank_pattern": ({"rank_pattern": {"(a|aa)+$": 4}}, "rank_pattern: pattern '(a|aa)+$'"),
    "slow alpha_pattern": ({"alpha_pattern": {"(.*)*x": 4}}, "alpha_pattern: pattern"),
    "slow target_modules": ({"target_modules": "(.*)+(.*)+x"}, "target_modules: pattern"),
    "slow exclude_modules": ({"exclude_modules": "(.*)+x"}, "exclude_modules: pattern"),
    "slow layers_pattern": ({"layers_pattern": ["(.*)+x"]}, "layers_pattern: pattern"),
    "no target_modules": ({"target_modules": None}, "target_modules: None"),
    "target_modules of numbers": ({"target_modules": [1]}, "target_modules: [1]"),
    "target without tensors": (
        {"target_modules": ["q_proj", "v_proj"]},
        "no tensors for 'model.layers.0.self_attn.v_proj'",
    ),
    "rslora is text": ({"use_rslora": "yes"}, "use_rslora: 'yes'"),
    "other base": ({"base_model_name_or_path": "org/other"}, "made for 'org/other'"),
    "base is a number": ({"base_model_name_or_path": 7}, "base_model_name_or_path: 7"),
    "base with line break": ({"base_model_name_or_path": "a\nb"}, r"'a\nb'"),
    "base is too long": ({"base_model_name_or_path": "x" * 300}, "too long"),
}


def drop(*names: str) -> Callable[[Tensors], object]:
    return lambda tensors: [tensors.pop(name) for name in names]


def replace(name: str, value: np.ndarray) -> Callable[[Tensors], object]:
    return lambda tensors: tensors.update({name: value})


def poke(name: str, value: float) -> Callable[[Tensors], object]:
    return lambda tensors: tensors[name].__setitem__((-1, -1), value)


def rename(old: str, new: str) -> Callable[[Tensors], object]:
    def change(tensors: Tensors) -> None:
        for name in [n for n in tensors if old in n]:
            tensors[name.replace(old, new)] = tensors.pop(name)

    return change


def add_layer(tensors: Tensors) -> None:
    tensors[QUERY.format(5, "A")], tensors[QUERY.format(5, "B")] = tensors[A0], tensors[B0]


def narrow(tensors: Tensors) -> None:
    for name in tensors:
        tensors[name] = tensors[name][:4, :16] if "_A" in name else tensors[name][:16, :4]


F4 = np.ones((4, 32), np.float32)
TENSOR_FAULTS: dict[str, tuple[Callable[[Tensors], object], str]] = {
    "no tensors": (lambda t: t.clear(), "no tensors in it"),
    "only lora_A": (drop(B0, B1), "lora_A.weight' has no lora_B"),
    "one lora_A missing": (drop(A1), B1 + "' has no lora_A"),
    "one layer missing": (drop(A1, B1), "no tensors for 'model.layers.1.self_attn.q_proj'"),
    "smaller hidden size": (narrow, A0 + "' has shape [4, 16], the config and the base ask"),
    "wrong output size": (replace(B0, np.ones((31, 4), np.float32)), B0 + "' has shape [31, 4]"),
    "A is transposed": (replace(A0, F4.T.copy()), A0 + "' has rank 32"),
    "ranks of A and B differ": (replace(B0, np.ones((32, 3), np.float32)), B0 + "' has rank 3"),
    "a vector": (replace(A0, np.ones(32, np.float32)), A0 + "' has shape [32]"),
    "integers": (replace(A0, np.ones((4, 32), np.int32)), A0 + "' has dtype I32"),
    "too many layers": (add_layer, QUERY.format(5, "A") + "' is for layer 5"),
    "unknown module": (rename("q_proj", "query"), "module 'model.layers.0.self_attn.query'"),
    "no prefix": (rename("base_model.model.", ""), "no LoRA tensors"),
    "lost a prefix": (rename("model.model.model", "model.model"), "which the base does not have"),
    "adapter name kept": (rename("_A.weight", "_A.default.weight"), "has no lora_A"),
    "IA3 tensors": (rename("lora_A.weight", "ia3_l"), "has no lora_A"),
    "magnitudes of DoRA": (
        replace(A0.replace("_A.", "_magnitude_vector."), F4), "is not a tensor of LoRA",
    ),
    "whole output layer": (
        replace("base_model.model.lm_head.weight", F4), "has 4 rows, under half of the base's 40",
    ),
    "half a new vocabulary": (
        replace("base_model.model.lm_head.weight", np.ones((44, 32), np.float32)),
        "no tensor 'base_model.model.model.embed_tokens.weight'",
    ),
    "resized embedding": (
        replace("base_model.model.model.embed_tokens.base_layer.weight", np.ones((40, 32))),
        "which the config does not name",
    ),
    "NaN": (poke(B1, math.nan), B1 + "' holds nan"),
    "inf": (poke(A1, -math.inf), A1 + "' holds inf"),
    "name with line break": (replace("a\nb" * 999, F4), r"a\nb"),
}  # fmt: skip

File = "adapter_model.safetensors"


def overwrite(name: str, data: bytes) -> Callable[[Path], object]:
    return lambda path: (path / name).write_bytes(data)


def only_pickle(path: Path) -> None:
    (path / File).rename(path / "adapter_model.bin")


def pipe(name: str) -> Callable[[Path], object]:
    def change(path: Path) -> None:
        (path / name).unlink()
        os.mkfifo(path / name)

    return change


def million_tensors(path: Path) -> None:
    entry = b'"%d": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}'
    header = b"{" + b",".join(entry % i for i in range(1_000_000)) + b"}"
    (path / File).write_bytes(len(header).to_bytes(8, "little") + header)


def sparse(path: Path) -> None:
    (path / File).write_bytes((1 << 40).to_bytes(8, "little"))
    os.truncate(path / File, 1 << 41)


FILE_FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (lambda p: os.truncate(p / File, (p / File).stat().st_size - 1), "truncated"),
    "longer": (lambda p: os.truncate(p / File, (p / File).stat().st_size + 1), "after the last"),
    "empty": (overwrite(File, b""), "too short"),
    "zeros": (overwrite(File, bytes(4096)), "not valid JSON"),
    "header too large": (sparse, "over the limit"),
    "a million tensors": (million_tensors, "over the limit"),
    "LFS pointer": (overwrite(File, b"version https://git-lfs.github.com/spec/v1"), "LFS pointer"),
    "pickle": (only_pickle, "adapter_model.bin: a pickle file"),
    "no weights": (lambda p: (p / File).unlink(), f"{File}: no such file"),
    "weights are a pipe": (pipe(File), f"{File}: no such file"),
    "config is a pipe": (pipe("adapter_config.json"), "adapter_config.json: no such file"),
    "no config": (lambda p: (p / "adapter_config.json").unlink(), "adapter_config.json: no such"),
    "config is no JSON": (overwrite("adapter_config.json", b"r: 4"), "not valid JSON"),
    "config is an array": (overwrite("adapter_config.json", b"[]"), "JSON object"),
    "config is deep": (overwrite("adapter_config.json", b"[" * 500_000), "too deeply"),
    "config is binary": (overwrite("adapter_config.json", b"\xff\xfe{}"), "UTF-8"),
    "config is huge": (overwrite("adapter_config.json", b" " * (1 << 21)), "larger than"),
    "config repeats a key": (overwrite("adapter_config.json", b'{"r": 1, "r": 2}'), "'r' appears"),
    "missing": (lambda p: shutil.rmtree(p), "this is missing"),
}  # fmt: skip

FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    **{k: (lambda p, c=c: configure(p, **c), says) for k, (c, says) in CONFIG_FAULTS.items()},
    **{k: (lambda p, c=c: edit(p, c), says) for k, (c, says) in TENSOR_FAULTS.items()},
    **FILE_FAULTS,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_malformed_adapter_is_refused(fault: str, copy: Path, base: Base, shapes: Any) -> None:
    spoil, says = FAULTS[fault]
    spoil(copy)
    with at_most(5.0), pytest.raises(AdapterError) as caught:
        load_adapter(copy, "x", base, shapes)
    message = str(caught.value)
    assert says in message
    assert str(copy) in message
    assert "\n" not in message
    assert len(message) < len(str(copy)) + 500


def test_a_file_is_not_an_adapter(copy: Path, base: Base, shapes: Any) -> None:
    with pytest.raises(AdapterError, match="this is a file"):
        load_adapter(copy / File, "x", base, shapes)


def test_values_that_overflow_the_engine_are_refused(copy: Path, base: Base, shapes: Any) -> None:
    import dataclasses

    edit(copy, poke(A0, 1e5))
    load_adapter(copy, "x", base, shapes)
    half = dataclasses.replace(base, dtype="float16")
    with pytest.raises(AdapterError, match="overflows float16"):
        load_adapter(copy, "x", half, shapes)


def test_the_toy_adapters_are_accepted() -> None:
    if not (TOY / "adapters" / "noop" / "adapter_model.safetensors").exists():
        pytest.skip("the toy model is not here")
    toy = load_base(str(TOY / "base"))
    toy_shapes = weight_shapes(toy)
    found: dict[str, Adapter] = {
        path.name: load_adapter(path, path.name, toy, toy_shapes)
        for path in sorted((TOY / "adapters").iterdir())
        if (path / "adapter_config.json").exists()
    }
    assert {name for name, adapter in found.items() if adapter.changes_nothing} == {"noop"}
    assert len({adapter.sha256 for adapter in found.values()}) == len(found)
