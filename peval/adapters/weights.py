"""An adapter's weights file: find it, pair LoRA's tensors, read every value once."""

from __future__ import annotations

import hashlib
import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from peval.adapters.basemodel import PREFIX
from peval.adapters.config import Config
from peval.adapters.entries import refuse
from peval.errors import AdapterError
from peval.safetensors_file import FLOATS, TensorEntry, chunks, largest_magnitude
from peval.strict_json import show

WEIGHTS_FILE = "adapter_model.safetensors"
PICKLED_FILES = ("adapter_model.bin", "adapter_model.pt")
# The adapters library's names, each with its pickled form.
BOTTLENECKS_FILE, PICKLED_BOTTLENECKS = "adapter.safetensors", "pytorch_adapter.bin"
HEAD_FILE, PICKLED_HEAD = "model_head.safetensors", "pytorch_model_head.bin"

_HALF = re.compile(r"(.+)\.lora_(?:(?P<half>[AB])\.weight|embedding_(?P<embedding>[AB]))")
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
    return safe_file(directory, WEIGHTS_FILE, PICKLED_FILES)


def safe_file(directory: Path, name: str, pickled: Sequence[str]) -> Path:
    """Return a safetensors file; its pickled forms are refused."""
    path = directory / name
    if path.is_file():
        return path
    for old in pickled:
        if (directory / old).exists():
            raise AdapterError(
                f"{directory / old}: a pickle file can run code and is not read; `peval "
                "inspect --allow-pickle` writes its weights as safetensors beside it"
            )
    raise AdapterError(f"{path}: no such file")


def pair_tensors(file: Path, entries: Mapping[str, TensorEntry]) -> list[Pair]:
    """Pair lora_A with lora_B by module; tensors that are neither are not looked at."""
    halves: dict[tuple[str, bool], dict[str, Half]] = defaultdict(dict)
    for name, entry in entries.items():
        found = _HALF.fullmatch(name.removeprefix(PREFIX))
        if found is None or not name.startswith(PREFIX):
            continue
        is_embedding = found["embedding"] is not None
        which = found["embedding"] or found["half"]
        halves[found[1], is_embedding][which] = _half(file, name, entry, which)
    if not halves:
        raise AdapterError(f"{file}: no LoRA tensors in it, the adapter would change nothing")
    pairs = [_pair(file, *key, found) for key, found in sorted(halves.items())]
    for pair in pairs:
        if pair.is_embedding and (pair.module, False) in halves:
            refuse(file, pair.a.tensor, "stands beside a lora_A for the same module")
    return pairs


def check_ranks(file: Path, pairs: Sequence[Pair], config: Config) -> None:
    """Every tensor's rank must be what the config says for its module."""
    for pair in pairs:
        expected = config.rank_of(pair.module)
        for half in (pair.a, pair.b):
            if half.rank != expected:
                refuse(file, half.tensor, f"has rank {half.rank}, {config.path.name} says "
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
                refuse(file, name, f"holds {magnitude}")
            largest = max(largest, magnitude)
        if largest > limit:
            refuse(file, name, f"holds {largest:.3g}, which overflows {dtype or 'float32'}")
        if largest == 0:
            zero.add(name)
    return Survey(digest.hexdigest(), frozenset(zero))


def _half(file: Path, name: str, entry: TensorEntry, which: str) -> Half:
    if entry.dtype not in FLOATS:
        refuse(file, name, f"has dtype {entry.dtype}, not one of {', '.join(FLOATS)}")
    if len(entry.shape) != 2:
        refuse(file, name, f"has shape {show(list(entry.shape))}, a matrix is needed")
    rank, outer = entry.shape if which == "A" else entry.shape[::-1]
    return Half(name, rank, outer)


def _pair(file: Path, module: str, is_embedding: bool, found: Mapping[str, Half]) -> Pair:
    if len(found) != 2:
        (half,) = found.values()
        missing = "B" if "A" in found else "A"
        refuse(file, half.tensor, f"has no lora_{'embedding_' * is_embedding}{missing} beside it")
    return Pair(module, found["A"], found["B"], is_embedding)
