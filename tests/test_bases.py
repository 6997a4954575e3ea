from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from peval.bases import load_base, n_layers, weight_shapes
from peval.errors import BaseModelError

CONFIG = {
    "model_type": "llama", "dtype": "bfloat16", "vocab_size": 11, "max_position_embeddings": 64,
    "num_hidden_layers": 2,
}  # fmt: skip
INDEX = "model.safetensors.index.json"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "base"
    path.mkdir()
    (path / "config.json").write_text(json.dumps(CONFIG))
    (path / "tokenizer.json").write_text("{}")
    save_file({"a.weight": np.ones((2, 3), np.float32)}, path / "model.safetensors")
    return path


def shard(path: Path) -> None:
    (path / "model.safetensors").unlink()
    save_file({"a.weight": np.ones((2, 3), np.float32)}, path / "model-1.safetensors")
    save_file({"b.weight": np.ones((4,), np.float32)}, path / "model-2.safetensors")
    names = {"a.weight": "model-1.safetensors", "b.weight": "model-2.safetensors"}
    (path / INDEX).write_text(json.dumps({"weight_map": names}))


def configure(path: Path, **changes: object) -> None:
    (path / "config.json").write_text(json.dumps(CONFIG | changes))


def test_reads_a_base(base: Path) -> None:
    found = load_base(str(base))
    assert (found.name, found.path) == (str(base), base)
    assert (found.dtype, found.context_tokens, found.vocabulary_size) == ("bfloat16", 64, 11)
    assert weight_shapes(found) == {"a.weight": (2, 3)}
    assert n_layers(found) == 2


def test_reads_shards_that_the_index_names(base: Path) -> None:
    shard(base)
    save_file({"c.weight": np.ones((5,), np.float32)}, base / "consolidated.safetensors")
    assert weight_shapes(load_base(str(base))) == {"a.weight": (2, 3), "b.weight": (4,)}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"vocab_size": 5, "n_positions": 7}, ("float32", 7, 5)),
        ({"vocab_size": 5, "n_ctx": 7, "torch_dtype": "float16"}, ("float16", 7, 5)),
        ({"vocab_size": 5, "seq_length": 7, "torch_dtype": "torch.bfloat16"}, ("bfloat16", 7, 5)),
        ({"text_config": {"vocab_size": 5, "n_ctx": 7, "dtype": "float16"}}, ("float16", 7, 5)),
    ],
)
def test_config_dialects(base: Path, config: dict, expected: tuple) -> None:
    (base / "config.json").write_text(json.dumps(config))
    found = load_base(str(base))
    assert (found.dtype, found.context_tokens, found.vocabulary_size) == expected


def test_hash_covers_content_not_place(base: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(base, tmp_path / "copy")
    (copy / "README.md").write_text("not covered")
    assert load_base(str(copy)).sha256 == load_base(str(base)).sha256


@pytest.mark.parametrize(
    "file",
    ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
     "chat_template.jinja", "merges.txt", "tokenizer.model", "model.safetensors"],
)  # fmt: skip
def test_hash_follows_every_file_that_matters(base: Path, file: str) -> None:
    before = load_base(str(base)).sha256
    if file == "config.json":
        configure(base, rope_theta=2)
    elif file == "model.safetensors":
        save_file({"a.weight": np.zeros((2, 3), np.float32)}, base / file)
    else:
        (base / file).write_text('{"changed": 1}')
    assert load_base(str(base)).sha256 != before


def spoil(path: Path, fault: str) -> None:
    if fault in ("config.json", "tokenizer.json", "model.safetensors"):
        (path / fault).unlink()
    elif fault == "truncated":
        os.truncate(path / "model.safetensors", (path / "model.safetensors").stat().st_size - 1)
    elif fault == "config is an array":
        (path / "config.json").write_text("[]")
    elif fault == "no context":
        (path / "config.json").write_text('{"vocab_size": 5}')
    elif fault == "context is text":
        configure(path, max_position_embeddings="64")
    elif fault == "vocabulary of 0":
        configure(path, vocab_size=0)
    elif fault == "dtype is a number":
        configure(path, dtype=16)
    else:
        shard(path)
        spoil_shards(path, fault)


def spoil_shards(path: Path, fault: str) -> None:
    if fault == "absent shard":
        (path / "model-2.safetensors").unlink()
    elif fault == "truncated shard":
        os.truncate(path / "model-2.safetensors", 20)
    elif fault == "shard elsewhere":
        names = {"a.weight": "../base/model-1.safetensors"}
        (path / INDEX).write_text(json.dumps({"weight_map": names}))
    elif fault == "empty index":
        (path / INDEX).write_text("{}")


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("config.json", "config.json: no such file"), ("tokenizer.json", "no tokenizer file"),
        ("model.safetensors", "no weights"), ("truncated", "model.safetensors: truncated"),
        ("config is an array", "JSON object"), ("no context", "max_position_embeddings"),
        ("context is text", "'64'"), ("vocabulary of 0", "vocab_size 0"),
        ("dtype is a number", "dtype 16"), ("absent shard", "model-2.safetensors: missing"),
        ("truncated shard", "model-2.safetensors: truncated"),
        ("shard elsewhere", "is not the name"), ("empty index", "no weight_map"),
    ],
)  # fmt: skip
def test_faults_are_one_line(base: Path, fault: str, says: str) -> None:
    spoil(base, fault)
    with pytest.raises(BaseModelError, match=says) as caught:
        load_base(str(base))
    assert str(base) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_path_and_file(base: Path) -> None:
    with pytest.raises(BaseModelError, match="no such path"):
        load_base(str(base / "none"))
    with pytest.raises(BaseModelError, match="this is a file"):
        load_base(str(base / "config.json"))


def test_pickled_weights_have_no_shapes(base: Path) -> None:
    (base / "model.safetensors").unlink()
    (base / "pytorch_model.bin").write_bytes(b"opaque")
    found = load_base(str(base))
    with pytest.raises(BaseModelError, match="safe_serialization"):
        weight_shapes(found)
