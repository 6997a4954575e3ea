"""Methods whose update is exactly a low-rank product, written again as a plain LoRA.

Each formula follows the method's ``get_delta_weight`` in PEFT 0.21 and loses nothing but the
rounding to float32; there is no SVD. The product of two low-rank matrices, element by element or by
Kronecker, is itself low-rank, and its factors are the products of their factors.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from peval.adapters.arrays import Array, read_array, write_float32
from peval.adapters.basemodel import PREFIX, Module
from peval.adapters.config import CONFIG_FILE, Config
from peval.adapters.entries import Entries
from peval.adapters.required import Plan
from peval.errors import AdapterError
from peval.safetensors_file import read_header

Shapes = Mapping[str, tuple[int, ...]]
Factors = tuple[Array, Array]
INITIALS = {"pissa": "pissa_init", "olora": "olora_init"}
_WEIGHTS = "adapter_model.safetensors"
_TINY = 1e-4  # DeLoRA's smallest norm


def rewritten_rank(config: Config, entries: Entries) -> int | None:
    """Return the largest rank that the adapter has as a LoRA, None if it is none exactly."""
    rank_of = _RANKS.get(_kind(config))
    if rank_of is None or not _is_exact(config):
        return None
    shapes: dict[str, dict[str, tuple[int, ...]]] = defaultdict(dict)
    for name, entry in entries.items():
        module, _, suffix = name.rpartition(".")
        if name.startswith(PREFIX):
            shapes[module.removesuffix(".lora_A")][suffix] = entry.shape
    try:
        return max((rank_of(config, found) for found in shapes.values()), default=None)
    except LookupError:  # not held against a base, and not the method's own tensors
        return None


def rewrite(config: Config, file: Path, plan: Plan, out: Path) -> Path:
    """Write an adapter again as a plain LoRA with the same update.

    Parameters
    ----------
    config, file, plan
        Of a vetted checkpoint (`checkpoint.Checkpoint`); its route must be ``rewrite-lora``.
    out
        A new directory.

    Returns
    -------
    Path
        ``out``, which holds ``adapter_config.json`` and ``adapter_model.safetensors``. Ranks are
        padded with zeros to the largest.

    Raises
    ------
    AdapterError
        The method is no LoRA exactly.
    """
    entries = read_header(file, AdapterError)
    if rewritten_rank(config, entries) is None:
        raise AdapterError(f"{file}: {config.method.name} is not exactly a LoRA")
    source = _Source(config, file, entries)
    factors = {m.name: _FACTORS[_kind(config)](config, m, source) for m in plan.modules}
    rank = max(a.shape[0] for a, _ in factors.values())
    tensors: dict[str, Array] = {}
    for name, (a, b) in factors.items():
        tensors[f"{PREFIX}{name}.lora_A.weight"] = np.pad(a, ((0, rank - a.shape[0]), (0, 0)))
        tensors[f"{PREFIX}{name}.lora_B.weight"] = np.pad(b, ((0, 0), (0, rank - b.shape[1])))
    out.mkdir(parents=True)
    write_float32(out / _WEIGHTS, tensors)
    (out / CONFIG_FILE).write_text(json.dumps(_lora_config(config, factors, rank), indent=2))
    return out


class _Source:
    """Reads a module's tensors by the ends of their names."""

    def __init__(self, config: Config, file: Path, entries: Entries) -> None:
        self.directory = config.path.parent
        self.file = file
        self.entries = entries

    def shared(self, name: str) -> Array:
        return read_array(self.file, self.entries[f"base_model.{name}"])

    def has(self, module: Module, suffix: str) -> bool:
        return f"{PREFIX}{module.name}.{suffix}" in self.entries

    def get(self, module: Module, suffix: str) -> Array:
        return read_array(self.file, self.entries[f"{PREFIX}{module.name}.{suffix}"])


def initial_file(config: Config) -> Path | None:
    """Return the weights that an adapter began with, where it has them beside the trained ones."""
    folder = INITIALS.get(_kind(config))
    file = config.path.parent / folder / _WEIGHTS if folder else None
    return file if file and file.is_file() else None


def _kind(config: Config) -> str:
    initial = config.settings.get("init_lora_weights")
    return str(initial) if initial in INITIALS else config.method.peft_type


def _is_exact(config: Config) -> bool:
    """Say whether these settings of the method leave it a LoRA."""
    kind = _kind(config)
    if kind in INITIALS:
        plain = not (config.flag("use_dora") or config.flag("lora_bias"))
        return plain and initial_file(config) is not None
    if kind == "MISS":
        return config.settings.get("init_weights") != "bat"
    if kind == "VERA":  # without its projections PEFT draws them again, which takes torch
        return config.flag("save_projection", True)
    return not (kind == "ADALORA" and config.pattern("rank_pattern"))


def _lora_config(config: Config, factors: Mapping[str, Factors], rank: int) -> dict[str, object]:
    return {
        "peft_type": "LORA",
        "task_type": config.settings.get("task_type"),
        "base_model_name_or_path": config.settings.get("base_model_name_or_path"),
        "r": rank,
        "lora_alpha": rank,  # the factors hold the method's own scaling
        "target_modules": sorted(factors),
        "fan_in_fan_out": config.flag("fan_in_fan_out"),
        "bias": "none",
        "inference_mode": True,
    }


def _miss(config: Config, module: Module, source: _Source) -> Factors:
    """Every input of the same remainder by r shares a row of the block (arXiv 2409.15371)."""
    block = source.get(module, "miss_block")
    rows = np.arange(module.n_in) % block.shape[0]
    a = (rows == np.arange(block.shape[0])[:, None]).astype(np.float64)
    return a, np.tile(block, (1, module.n_out // block.shape[1])).T


def _loha(config: Config, module: Module, source: _Source) -> Factors:
    """Multiply column by column and row by row: (B1 A1) * (B2 A2) has rank r squared."""
    b1, a1, b2, a2 = (source.get(module, f"hada_{n}") for n in ("w1_a", "w1_b", "w2_a", "w2_b"))
    b = (b1[:, :, None] * b2[:, None, :]).reshape(len(b1), -1)
    a = (a1[:, None, :] * a2[None, :, :]).reshape(-1, a1.shape[1])
    return a, b * config.scaling_of(module.name)


def _lokr(config: Config, module: Module, source: _Source) -> Factors:
    """Factor both sides: kron(L1 R1, L2 R2) = kron(L1, L2) kron(R1, R2)."""
    left1, right1 = _split(source, module, "lokr_w1")
    left2, right2 = _split(source, module, "lokr_w2")
    a, b = np.kron(right1, right2), np.kron(left1, left2) * config.scaling_of(module.name)
    return a.astype(np.float64), b.astype(np.float64)


def _split(source: _Source, module: Module, name: str) -> Factors:
    """Return two factors of a matrix; one that is stored whole gets the smaller identity."""
    if source.has(module, f"{name}_a"):
        return source.get(module, f"{name}_a"), source.get(module, f"{name}_b")
    whole = source.get(module, name)
    n_out, n_in = whole.shape
    return (np.eye(n_out), whole) if n_out < n_in else (whole, np.eye(n_in))


def _vera(config: Config, module: Module, source: _Source) -> Factors:
    a = source.shared("vera_A")[:, : module.n_in] * source.get(module, "vera_lambda_d")[:, None]
    b = source.shared("vera_B")[: module.n_out] * source.get(module, "vera_lambda_b")[:, None]
    return a, b


def _adalora(config: Config, module: Module, source: _Source) -> Factors:
    a = source.get(module, "lora_A") * source.get(module, "lora_E")
    alpha = config.alpha if config.alpha > 0 else float(len(a))
    return a, source.get(module, "lora_B") * (alpha / (len(a) + 1e-5))


def _delora(config: Config, module: Module, source: _Source) -> Factors:
    a, b = source.get(module, "delora_A"), source.get(module, "delora_B")
    norms = np.sqrt((a * a).sum(axis=1)), np.sqrt((b * b).sum(axis=0))
    scale = source.get(module, "delora_lambda") / len(a)
    scale = scale / (np.maximum(norms[0], _TINY) * np.maximum(norms[1], _TINY))
    return a * source.get(module, "delora_w_norm"), b * scale


def _gralora(config: Config, module: Module, source: _Source) -> Factors:
    """Each of k x k blocks has its own r / k columns; side by side they make rank k r."""
    a, b = source.get(module, "gralora_A"), source.get(module, "gralora_B")
    k, n_in, rank = a.shape
    n_out, part = b.shape[2], rank // k
    wide, tall = np.zeros((k * rank, k * n_in)), np.zeros((k * n_out, k * rank))
    for i in range(k):  # the block's outputs
        for j in range(k):  # the block's inputs
            at = slice((i * k + j) * part, (i * k + j + 1) * part)
            wide[at, j * n_in : (j + 1) * n_in] = a[j][:, i * part : (i + 1) * part].T
            tall[i * n_out : (i + 1) * n_out, at] = b[i][j * part : (j + 1) * part].T
    return wide, tall * (config.alpha / rank)


def _vblora(config: Config, module: Module, source: _Source) -> Factors:
    """Mix the bank's vectors by the softmax of the largest logits (arXiv 2405.15179)."""
    bank, top = source.shared("vblora_vector_bank"), config.whole("topk", 2, 1, 1 << 20)
    a = _mix(source.get(module, "vblora_logits_A"), bank, top)
    b = _mix(source.get(module, "vblora_logits_B"), bank, top)
    rank = config.rank
    return a.reshape(rank, -1), b.swapaxes(1, 2).reshape(-1, rank)


def _mix(logits: Array, bank: Array, top: int) -> Array:
    at = np.argsort(-logits, axis=-1, kind="stable")[..., :top]
    best = np.take_along_axis(logits, at, axis=-1)
    weights = np.exp(best - best.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    mixed: Array = np.einsum("...k,...kv->...v", weights, bank[at])
    return mixed


def _from_initial(config: Config, module: Module, source: _Source) -> Factors:
    """Take the initial weights off: the base gave up B0 A0, so the update is B A - B0 A0."""
    start = source.directory / INITIALS[_kind(config)] / _WEIGHTS
    first = _Source(config, start, read_header(start, AdapterError))
    a = [s.get(module, "lora_A.weight") for s in (source, first)]
    b = [s.get(module, "lora_B.weight") for s in (source, first)]
    if [x.shape for x in (*a, *b)] != [a[0].shape] * 2 + [b[0].shape] * 2:
        raise AdapterError(f"{start}: its tensors have other shapes than the trained ones")
    return np.vstack(a), np.hstack([b[0], -b[1]]) * config.scaling_of(module.name)


_FACTORS: Mapping[str, Callable[[Config, Module, _Source], Factors]] = {
    "MISS": _miss, "LOHA": _loha, "LOKR": _lokr, "VERA": _vera, "ADALORA": _adalora,
    "DELORA": _delora, "GRALORA": _gralora, "VBLORA": _vblora,
    "pissa": _from_initial, "olora": _from_initial,
}  # fmt: skip


def _lokr_rank(config: Config, shapes: Shapes) -> int:
    ranks = [
        shapes[f"{name}_a"][1] if f"{name}_a" in shapes else min(shapes[name])
        for name in ("lokr_w1", "lokr_w2")
    ]
    return math.prod(ranks)


_RANKS: Mapping[str, Callable[[Config, Shapes], int]] = {
    "MISS": lambda c, s: s["miss_block"][0],
    "LOHA": lambda c, s: s["hada_w1_a"][1] * s["hada_w2_a"][1],
    "LOKR": _lokr_rank,
    "VERA": lambda c, s: c.rank,
    "ADALORA": lambda c, s: s["lora_E"][0],
    "DELORA": lambda c, s: s["delora_A"][0],
    "GRALORA": lambda c, s: c.rank * s["gralora_A"][0],
    "VBLORA": lambda c, s: c.rank,
    "pissa": lambda c, s: 2 * c.largest_rank,
    "olora": lambda c, s: 2 * c.largest_rank,
}
