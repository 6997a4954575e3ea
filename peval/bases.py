"""A base model on disk: find it, check that it is whole, hash it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from peval import hub
from peval.errors import BaseModelError, PevalError
from peval.machine import file_sha256
from peval.safetensors_file import read_header
from peval.strict_json import read_object, show
from peval.types import Base

_INDEX = "model.safetensors.index.json"
_MAX_INDEX_BYTES = 1 << 26
_CONTEXT_FIELDS = ("max_position_embeddings", "n_positions", "n_ctx", "seq_length", "max_seq_len")
# Positions relative to each other have no last one; what fits is a matter of memory.
_RELATIVE = "relative_attention_num_buckets"
_ENDLESS_TOKENS = 1 << 20
_TOKENIZERS = (
    "tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt", "tekken.json",
    "*.tiktoken",
)  # fmt: skip
_HASHED = (
    "config.json", "generation_config.json", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "merges.txt", "chat_template.*", "additional_chat_templates/*.jinja",
    *_TOKENIZERS,
)  # fmt: skip


def load_base(name_or_path: str) -> Base:
    """Read a base model's directory, or a repository of the Hub.

    Parameters
    ----------
    name_or_path
        A local directory or a hub id.

    Returns
    -------
    Base
        Its ``sha256`` covers weights, config, generation config (its end-of-text ids stop
        answers), tokenizer files and chat templates, by relative name and content.

    Raises
    ------
    BaseModelError
        Something is missing, truncated or unreadable.
    """
    path = hub.resolve(name_or_path, "--base", BaseModelError)
    if not path.is_dir():
        raise BaseModelError(f"{path}: a base model is a directory, this is a file")
    config = read_object(path / "config.json", BaseModelError)
    weights = weight_files(path)
    for file in weights:
        if file.suffix == ".safetensors":
            read_header(file, BaseModelError)
    if not _matching(path, _TOKENIZERS):
        raise BaseModelError(f"{path}: no tokenizer file (tokenizer.json, tokenizer.model, ...)")
    return Base(
        name=name_or_path,
        path=path,
        sha256=_sha256(path, weights),
        dtype=_dtype(path, config),
        context_tokens=_context_tokens(path, config),
        vocabulary_size=_positive(path, config, ("vocab_size",)),
        is_encoder_decoder=encodes(config),
    )


def file_hashes(base: Base) -> dict[str, str]:
    """Return the sha256 of each file that the base's own sha256 covers, by relative name."""
    return _hashes(base.path, weight_files(base.path))


def weight_shapes(base: Base) -> dict[str, tuple[int, ...]]:
    """Return the shape of every weight, by its name in the checkpoint, from safetensors headers."""
    files = [f for f in weight_files(base.path) if f.suffix == ".safetensors"]
    if not files:
        raise BaseModelError(
            f"{base.path}: only pickled weights, whose shapes are not read; save the model once "
            "with safe_serialization=True"
        )
    return {
        name: entry.shape
        for file in files
        for name, entry in read_header(file, BaseModelError).items()
    }


def encodes(config: Mapping[str, Any]) -> bool:
    """Say whether a model's config is that of an encoder-decoder."""
    return config.get("is_encoder_decoder") is True


def n_layers(base: Base) -> int | None:
    """Return how many layers the config says the model has, None where it does not say."""
    config = read_object(base.path / "config.json", BaseModelError)
    for field in ("num_hidden_layers", "n_layer", "num_layers", "n_layers"):
        found = _field(config, field)
        if type(found) is int:
            return found
    return None


def weight_files(path: Path, error: type[PevalError] = BaseModelError) -> list[Path]:
    """List the shards that the index names, else all safetensors files, else pickled weights."""
    if (path / _INDEX).is_file():
        return _shards(path, error)
    found = [
        f for f in _matching(path, ("*.safetensors",))
        if not f.name.startswith(("adapter_", "consolidated"))
    ]  # fmt: skip
    found = found or _matching(path, ("pytorch_model*.bin", "model*.pt", "pytorch_model*.pt"))
    if not found:
        raise error(f"{path}: no weights (model.safetensors or pytorch_model.bin)")
    return found


def _shards(path: Path, error: type[PevalError]) -> list[Path]:
    index = path / _INDEX
    weight_map = read_object(index, error, _MAX_INDEX_BYTES).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise error(f"{index}: no weight_map")
    names = set(map(str, weight_map.values()))
    for name in sorted(names):
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise error(f"{index}: {show(name)} is not the name of a safetensors file")
        if not (path / name).is_file():
            raise error(f"{path / name}: missing, though {_INDEX} names it")
    return [path / name for name in sorted(names)]


def _matching(path: Path, patterns: tuple[str, ...]) -> list[Path]:
    return sorted({f for pattern in patterns for f in path.glob(pattern) if f.is_file()})


def _sha256(path: Path, weights: list[Path]) -> str:
    digest = hashlib.sha256()
    for name, content in _hashes(path, weights).items():
        digest.update(f"{content}  {name}\n".encode())
    return digest.hexdigest()


def _hashes(path: Path, weights: list[Path]) -> dict[str, str]:
    found = {}
    for file in sorted({*weights, *_matching(path, _HASHED)}):
        try:
            found[file.relative_to(path).as_posix()] = file_sha256(file)
        except OSError as fault:
            raise BaseModelError(f"{file}: cannot be read ({fault.strerror})") from None
    return found


def _field(config: dict[str, Any], name: str) -> Any:
    """Look a field up in the config, or in its ``text_config`` where a model has several parts."""
    inner = config.get("text_config")
    found = config.get(name)
    return inner.get(name) if found is None and isinstance(inner, dict) else found


def _dtype(path: Path, config: dict[str, Any]) -> str:
    """Name the dtype of the weights; transformers' own default is float32."""
    found = _field(config, "dtype") or _field(config, "torch_dtype") or "float32"
    if not isinstance(found, str):
        raise BaseModelError(f"{path / 'config.json'}: dtype {show(found)} is not a name")
    return found.removeprefix("torch.")


def _context_tokens(path: Path, config: dict[str, Any]) -> int:
    """Return how many tokens the positions allow; T5's ``n_positions`` is what it was trained on.

    Tk-Instruct gives T5 1,024 tokens, twice its 512.
    """
    if encodes(config) and _field(config, _RELATIVE) is not None:
        return _ENDLESS_TOKENS
    return _positive(path, config, _CONTEXT_FIELDS)


def _positive(path: Path, config: dict[str, Any], names: tuple[str, ...]) -> int:
    for name in names:
        found = _field(config, name)
        if found is None:
            continue
        if type(found) is int and found > 0:
            return found
        raise BaseModelError(f"{path / 'config.json'}: {name} {show(found)} is not a whole number")
    raise BaseModelError(f"{path / 'config.json'}: none of {', '.join(names)} is given")
