"""Whole checkpoints as adapters: full and partial finetunes of the base, weight for weight."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peval.adapters.basemodel import BaseModel
from peval.adapters.config import CONFIG_FILE
from peval.adapters.entries import Entries, check_dtypes, refuse
from peval.adapters.heads import heads_of, replaces, whole_head
from peval.adapters.model_config import meaning
from peval.adapters.required import is_words
from peval.adapters.routes import HAS_HEAD, NO_ENCODERS
from peval.adapters.weights import survey
from peval.bases import encodes, weight_files
from peval.errors import AdapterError
from peval.safetensors_file import TensorEntry, chunks, read_header
from peval.strict_json import read_object, show
from peval.types import HF, MERGE, Base

MODEL_CONFIG = "config.json"

# Computed from the config; transformers before 4.32 saved it, and no loader reads it.
_TABLES = (".rotary_emb.inv_freq",)


@dataclass(frozen=True)
class Whole:
    """A vetted whole checkpoint; ``changed`` are the tensors that differ from the base's.

    ``rows`` is the vocabulary's size where it is another than the base's; ``new_words`` says that
    the embedding or the output layer is among the changed.
    """

    config: Mapping[str, Any]
    files: tuple[Path, ...]
    entries: Entries
    sha256: str
    changed: tuple[str, ...]
    rows: int | None
    new_words: bool

    @property
    def route(self) -> str:
        """Its weights take the base's place in vLLM, where that serves such models."""
        return HF if self.has_head or encodes(self.config) else MERGE

    @property
    def has_head(self) -> bool:
        """Whether it classifies sequences."""
        return bool(heads_of(self.entries))

    @property
    def why(self) -> str:
        """Why it takes its route."""
        if self.has_head:
            return HAS_HEAD
        return NO_ENCODERS if self.route == HF else "its weights take the base's place"

    @property
    def method(self) -> str:
        """What kind of finetune the changed tensors make it."""
        if self.changed and all(name.endswith(".bias") for name in self.changed):
            return "BitFit"
        return "full finetune" if len(self.changed) == len(self.entries) else "partial finetune"


def is_whole(path: Path) -> bool:
    """Say whether a directory holds a whole model rather than an adapter."""
    return (path / MODEL_CONFIG).is_file() and not (path / CONFIG_FILE).exists()


def read_whole(path: Path, base: Base | None, model: BaseModel | None) -> Whole:
    """Vet a whole checkpoint against the base whose weights it would replace.

    Raises
    ------
    AdapterError
        It is malformed, of another architecture or of other sizes.
    """
    config = read_object(path / MODEL_CONFIG, AdapterError)
    files = weight_files(path, AdapterError)
    entries: dict[str, TensorEntry] = {}
    where: dict[str, Path] = {}
    for file in files:
        if file.suffix != ".safetensors":
            raise AdapterError(f"{file}: a pickle file can run code and is not read; save the "
                               "model again with safe_serialization=True")  # fmt: skip
        found = read_header(file, AdapterError)
        check_dtypes(file, found)
        if twice := next((name for name in found if name in entries), None):
            refuse(file, twice, f"is in {where[twice].name} too")
        entries |= found
        where |= dict.fromkeys(found, file)
    if model is not None:
        _check_config(path / MODEL_CONFIG, config, model)
        _check_tensors(path, config, entries, where, model)
    digest = hashlib.sha256()
    for file in files:
        digest.update(
            survey(
                file, read_header(file, AdapterError), base.dtype if base else None
            ).sha256.encode()
        )
    changed, rows = _changed(entries, where, base), config.get("vocab_size")
    if base is None or type(rows) is not int or rows == base.vocabulary_size:
        rows = None
    new_words = rows is not None or model is None or any(is_words(name, model) for name in changed)
    return Whole(config, tuple(files), entries, digest.hexdigest(), changed, rows, new_words)


def _check_config(file: Path, config: Mapping[str, Any], model: BaseModel) -> None:
    """Refuse another architecture: only weights are put into the base's engine, not settings."""
    own, base = meaning(config), meaning(model.config)
    for field in sorted({*own, *base}):
        mine, theirs = own.get(field), base.get(field)
        if mine != theirs:
            raise AdapterError(f"{file}: {field}: {show(mine)}, the base has {show(theirs)}")


def _check_tensors(
    path: Path,
    config: Mapping[str, Any],
    entries: Entries,
    where: Mapping[str, Path],
    model: BaseModel,
) -> None:
    """Every weight of the base must be there in its shape; the vocabulary may be another."""
    rows = config.get("vocab_size")
    head = whole_head(path, entries, model)
    for name, shape in model.shapes.items():
        if head and replaces(name):
            continue
        if name not in entries:
            raise AdapterError(f"{path}: no tensor {show(name)}, which the base has")
        stem = name.removesuffix(".weight")
        wanted = [shape]
        if (name == model.embedding or stem.endswith("lm_head")) and type(rows) is int:
            wanted.append((rows, *shape[1:]))
        if entries[name].shape not in wanted:
            refuse(where[name], name, f"has shape {list(entries[name].shape)}, the base has "
                   f"{list(shape)}")  # fmt: skip
    for name in entries:
        is_tied_copy = model.is_tied and name.endswith("lm_head.weight")
        is_table = name.endswith(_TABLES)
        if name not in model.shapes and not (is_tied_copy or is_table or name in head):
            refuse(where[name], name, "is not in the base")


def _changed(entries: Entries, where: Mapping[str, Path], base: Base | None) -> tuple[str, ...]:
    """List the tensors whose bytes differ from the base's; all of them without a base."""
    if base is None:
        return tuple(entries)
    theirs: dict[str, tuple[Path, TensorEntry]] = {}
    for file in weight_files(base.path):
        if file.suffix == ".safetensors":
            theirs |= {name: (file, e) for name, e in read_header(file, AdapterError).items()}
    return tuple(
        name
        for name, entry in entries.items()
        if not _is_same(where[name], entry, theirs.get(name))
    )


def _is_same(file: Path, entry: TensorEntry, other: tuple[Path, TensorEntry] | None) -> bool:
    if other is None or (entry.dtype, entry.shape) != (other[1].dtype, other[1].shape):
        return False
    pairs = zip(chunks(file, entry, AdapterError), chunks(*other, AdapterError), strict=True)
    return all(mine == theirs for mine, theirs in pairs)
