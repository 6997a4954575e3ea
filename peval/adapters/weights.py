"""The preflight: every tensor of an adapter must have its place in the base model.

Engines accept adapters made for another width or depth, with half their tensors, or with NaN, and
then answer wrongly without an error. Here each tensor is paired, measured against the base and
read once, before any engine hears of it.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from peval.adapters.config import LoraSettings
from peval.adapters.patterns import is_literal
from peval.errors import AdapterError
from peval.safetensors_file import FLOATS, TensorEntry, chunks, largest_magnitude
from peval.strict_json import show

WEIGHTS_FILE = "adapter_model.safetensors"
Shapes = Mapping[str, tuple[int, ...]]

_PREFIX = "base_model.model."
_HALF = re.compile(r"(.+)\.lora_(?:(?P<half>[AB])\.weight|embedding_(?P<embedding>[AB]))")
# PEFT stores the frozen embedding next to a LoRA on it; engines use the base's.
_FROZEN = re.compile(r"(.*\b(?:embed_tokens|lm_head))\.base_layer\.weight")
_EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "embed_in.weight", "word_embeddings.weight")
# GPT-2's Conv1D layers store [in, out]; PEFT does not always say so in the config it saves.
_TRANSPOSED = frozenset({"c_attn", "c_fc", "c_proj", "q_attn"})
_LARGEST = {"float16": 65504.0, "bfloat16": 3.3895313892515355e38}


@dataclass(frozen=True)
class Half:
    """One of a module's two tensors; ``outer`` is its size on the model's side."""

    tensor: str
    rank: int
    outer: int


@dataclass(frozen=True)
class Pair:
    """A module's update B A."""

    module: str
    a: Half
    b: Half
    is_embedding: bool


@dataclass(frozen=True)
class Survey:
    """What reading all tensors once gives: the hash of names and bytes, and what is all zero."""

    sha256: str
    zero: frozenset[str]


def weights_file(directory: Path) -> Path:
    """Return the adapter's safetensors file; pickled weights are refused."""
    path = directory / WEIGHTS_FILE
    if path.is_file():
        return path
    for pickled in ("adapter_model.bin", "adapter_model.pt"):
        if (directory / pickled).exists():
            raise AdapterError(
                f"{directory / pickled}: a pickle file can run code and is not read; load it with "
                "PEFT where you trust it and save_pretrained(..., safe_serialization=True)"
            )
    raise AdapterError(f"{path}: no such file")


def pair_tensors(file: Path, entries: Mapping[str, TensorEntry]) -> list[Pair]:
    """Pair lora_A with lora_B by module; refuse tensors that are neither."""
    halves: dict[tuple[str, bool], dict[str, Half]] = defaultdict(dict)
    for name, entry in entries.items():
        if frozen_embedding(name):
            continue
        found = _HALF.fullmatch(name.removeprefix(_PREFIX))
        if found is None or not name.startswith(_PREFIX):
            _refuse(file, name, "is not base_model.model.<module>.lora_A.weight or .lora_B.weight")
        is_embedding = found["embedding"] is not None
        which = found["embedding"] or found["half"]
        halves[found[1], is_embedding][which] = _half(file, name, entry, which)
    if not halves:
        raise AdapterError(f"{file}: no LoRA tensors in it, the adapter would change nothing")
    pairs = [_pair(file, *key, found) for key, found in sorted(halves.items())]
    for pair in pairs:
        if pair.is_embedding and (pair.module, False) in halves:
            _refuse(file, pair.a.tensor, "stands beside a lora_A for the same module")
    return pairs


def frozen_embedding(name: str) -> str | None:
    """Return the module whose frozen weight a tensor is, None for other tensors."""
    found = _FROZEN.fullmatch(name.removeprefix(_PREFIX))
    return found[1] if found else None


def check_ranks(file: Path, pairs: Sequence[Pair], settings: LoraSettings) -> None:
    """Every tensor's rank must be what the config says for its module."""
    for pair in pairs:
        expected = settings.rank_of(pair.module)
        for half in (pair.a, pair.b):
            if half.rank != expected:
                _refuse(file, half.tensor, f"has rank {half.rank}, {settings.path.name} says "
                        f"{expected} (r or rank_pattern)")  # fmt: skip


def survey(file: Path, entries: Mapping[str, TensorEntry], dtype: str | None) -> Survey:
    """Read every tensor once: hash it, and refuse values that are or become NaN or infinite.

    ``dtype`` is what the engine will convert the values to.
    """
    digest, zero = hashlib.sha256(), set()
    limit = _LARGEST.get(dtype or "", 3.4028234663852886e38)
    for name, entry in sorted(entries.items()):
        digest.update(f"{name!r} {entry.dtype} {entry.shape}\n".encode())
        largest = 0.0
        for chunk in chunks(file, entry, AdapterError):
            digest.update(chunk)
            magnitude = largest_magnitude(chunk, entry.dtype)
            if not math.isfinite(magnitude):
                _refuse(file, name, f"holds {magnitude}")
            largest = max(largest, magnitude)
        if largest > limit:
            _refuse(file, name, f"holds {largest:.3g}, which overflows {dtype or 'float32'}")
        if largest == 0:
            zero.add(name)
    return Survey(digest.hexdigest(), frozenset(zero))


class BaseWeights:
    """Finds the base weight that an adapter's module name means."""

    def __init__(self, shapes: Shapes, n_layers: int | None) -> None:
        self.shapes = shapes
        self.n_layers = n_layers
        self._by_template: dict[str, list[str]] = defaultdict(list)
        for weight in shapes:
            self._by_template[_template(weight)].append(weight)

    def find(self, module: str) -> str | None:
        """Return a weight's name: exact, or without what comes before the layers.

        Checkpoints may lack a prefix that the model in memory has (``transformer.h.0``, ``h.0``),
        never the other way round. Tied output layers have no weight of their own.
        """
        parts = _split(module)
        at = _first_number(parts)
        last_start = len(parts) - 1 if at is None else max(at - 1, 0)
        for start in range(last_start + 1):
            weight = ".".join(parts[start:]) + ".weight"
            if weight in self.shapes:
                return weight
        if parts[-1] != "lm_head":
            return None
        tables = [w for w in self.shapes if w.endswith(_EMBEDDINGS)]
        return tables[0] if len(tables) == 1 else None

    def siblings(self, weight: str) -> list[str]:
        """Return the weights of the same name in all layers that the model has.

        Checkpoints also hold layers for multi-token prediction, numbered above the model's.
        """
        same = self._by_template[_template(weight)]
        return [w for w in same if self.n_layers is None or (_layer(w) or 0) < self.n_layers]

    def why_absent(self, module: str) -> str:
        """Say what is wrong with a module that has no weight in the base."""
        layers = {n for w in self.shapes if (n := _layer(w)) is not None}
        layer = _layer(module)
        if layer is not None and layers and layer > max(layers):
            return f"is for layer {layer}, the base has layers 0 to {max(layers)}"
        return f"is for module {show(module)}, which the base does not have"


def check_shapes(
    file: Path, pairs: Sequence[Pair], settings: LoraSettings, base: BaseWeights
) -> None:
    """Every module must exist in the base with exactly the sizes of A and B; none may be missing.

    Raises
    ------
    AdapterError
        Names the first tensor that does not fit.
    """
    present: dict[str, Pair] = {}
    for pair in pairs:
        weight = base.find(pair.module)
        if weight is None:
            _refuse(file, pair.a.tensor, base.why_absent(pair.module))
        twin = present.setdefault(weight, pair)
        if twin.module != pair.module and "lm_head" not in (twin.module + pair.module):
            _refuse(file, pair.a.tensor, f"means the same base weight as {show(twin.a.tensor)}")
        turned = settings.transposed or pair.module.rsplit(".", 1)[-1] in _TRANSPOSED
        _check_shape(file, pair, base.shapes[weight], turned)
    targets = settings.target_modules
    if not settings.selects_layers and not isinstance(targets, str):
        _check_targets(file, pairs, targets, base)
        if all(map(_is_everywhere, targets)):
            _check_complete(file, present, base)


def _check_targets(
    file: Path, pairs: Sequence[Pair], targets: Sequence[str], base: BaseWeights
) -> None:
    """Refuse an adapter without tensors for a target that the base has.

    Targets that the base lacks are common: PEFT only asks that one of them exists.
    """
    trained = _endings(pair.module for pair in pairs)
    offered = _endings(w.removesuffix(".weight") for w in base.shapes if w.endswith(".weight"))
    for target in targets:
        if target in offered and target not in trained:
            raise AdapterError(f"{file}: no tensors for {show(target)}, though target_modules "
                               "names it")  # fmt: skip


def _check_complete(file: Path, present: Mapping[str, Pair], base: BaseWeights) -> None:
    """Refuse an adapter that has a kind of module in some layers only."""
    for weight in present:
        for sibling in base.siblings(weight):
            if sibling not in present:
                module = sibling.removesuffix(".weight")
                raise AdapterError(f"{file}: no tensors for {show(module)}, though target_modules "
                                   "covers it")  # fmt: skip


def check_frozen(file: Path, entries: Mapping[str, TensorEntry], base: BaseWeights) -> None:
    """Refuse a stored frozen embedding of another size: engines use the base's instead."""
    for name, entry in entries.items():
        module = frozen_embedding(name)
        if module is None:
            continue
        weight = base.find(module)
        if weight is None or base.shapes[weight] != entry.shape:
            _refuse(file, name, f"has shape {entry.shape}, not the base's: the vocabulary was "
                    "resized, which is not served")  # fmt: skip


def _check_shape(file: Path, pair: Pair, shape: tuple[int, ...], transposed: bool) -> None:
    sizes = (pair.b.outer, pair.a.outer)
    if pair.is_embedding:
        sizes = sizes[::-1]  # a table: vocabulary first
    if sizes == shape or (transposed and sizes[::-1] == shape):
        return
    half = pair.b if len(shape) == 2 and pair.a.outer in shape else pair.a
    _refuse(file, half.tensor, f"does not fit: the update is {list(sizes)}, the base weight "
            f"{list(shape)}")  # fmt: skip


def _half(file: Path, name: str, entry: TensorEntry, which: str) -> Half:
    if entry.dtype not in FLOATS:
        _refuse(file, name, f"has dtype {entry.dtype}, not one of {', '.join(FLOATS)}")
    if len(entry.shape) != 2:
        _refuse(file, name, f"has shape {list(entry.shape)}, a matrix is needed")
    rank, outer = entry.shape if which == "A" else entry.shape[::-1]
    return Half(name, rank, outer)


def _pair(file: Path, module: str, is_embedding: bool, found: Mapping[str, Half]) -> Pair:
    if len(found) != 2:
        (half,) = found.values()
        missing = "B" if "A" in found else "A"
        _refuse(file, half.tensor, f"has no lora_{'embedding_' * is_embedding}{missing} beside it")
    return Pair(module, found["A"], found["B"], is_embedding)


def _refuse(file: Path, tensor: str, why: str) -> NoReturn:
    raise AdapterError(f"{file}: tensor {show(tensor)} {why}")


def _endings(modules: Iterable[str]) -> set[str]:
    """Collect every name with all its shorter endings: a.b.c, b.c and c."""
    return {".".join(parts[i:]) for parts in map(_split, modules) for i in range(len(parts))}


def _split(name: str) -> list[str]:
    return name.split(".")


def _is_everywhere(target: str) -> bool:
    """Say whether a target names a kind of module in all layers, not one layer's."""
    return is_literal(target) and not any(part.isdigit() for part in _split(target))


def _first_number(parts: list[str]) -> int | None:
    return next((i for i, part in enumerate(parts) if part.isdecimal()), None)


def _layer(name: str) -> int | None:
    parts = _split(name)
    at = _first_number(parts)
    return None if at is None or len(parts[at]) > 9 else int(parts[at])


def _template(weight: str) -> str:
    """Replace the layer number by a star."""
    parts = _split(weight)
    at = _first_number(parts)
    return ".".join(parts if at is None else [*parts[:at], "*", *parts[at + 1 :]])
