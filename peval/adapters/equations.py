"""Which tensors each method keeps for one module, and in which shapes.

Shapes follow PEFT 0.21 (``src/peft/tuners/<method>/layer.py``, ``update_layer``), stated in the
module's own sizes. A dimension may be a set where training chose between sizes that the config does
not tell apart.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from peval.adapters.basemodel import Module
from peval.adapters.config import MAX_RANK, Config

Dimension = int | frozenset[int]
Tensors = dict[str, tuple[Dimension, ...]]
_SIZE = 1 << 40


def module_tensors(config: Config, module: Module) -> Tensors:
    """Return the tensors that the adapter must hold for a module, by what follows its name."""
    return _EQUATIONS[config.method.peft_type](config, module)


def shared_tensors(config: Config, modules: Sequence[Module]) -> Tensors:
    """Return the tensors that all modules share, by what follows ``base_model.``."""
    kind = config.method.peft_type
    if kind == "VERA" and config.flag("save_projection", True):
        widest = max(m.n_in for m in modules), max(m.n_out for m in modules)
        return {"vera_A": (config.rank, widest[0]), "vera_B": (widest[1], config.rank)}
    if kind == "VBLORA":
        return {
            "vblora_vector_bank": (_whole(config, "num_vectors"), _whole(config, "vector_length"))
        }
    return {}


def _whole(config: Config, field: str) -> int:
    """Return a positive size that the config must or may name."""
    return config.whole(field, config.method.settings[field], 1, _SIZE)


def _divide(config: Config, size: int, by: int, field: str, module: Module) -> int:
    if size % by:
        config.refuse(field, f"{by} does not divide the {size} of {module.name}")
    return size // by


def _lora(config: Config, module: Module) -> Tensors:
    rank = config.rank_of(module.name)
    if module.is_embedding:
        found: Tensors = {
            "lora_embedding_A": (rank, module.n_in),
            "lora_embedding_B": (module.n_out, rank),
        }
    else:
        found = {"lora_A.weight": (rank, module.n_in), "lora_B.weight": (module.n_out, rank)}
        if config.flag("lora_bias"):
            found["lora_B.bias"] = (module.n_out,)
    if config.flag("use_dora"):
        found["lora_magnitude_vector"] = (module.n_out,)
    return found


def _adalora(config: Config, module: Module) -> Tensors:
    kept = config.pattern("rank_pattern")
    found = [flags for key, flags in kept.items() if key.endswith(f"{module.name}.lora_E")]
    rank = sum(found[0]) if found else config.whole("init_r", 12, 1, MAX_RANK)
    return {"lora_A": (rank, module.n_in), "lora_B": (module.n_out, rank), "lora_E": (rank, 1)}


def _loha(config: Config, module: Module) -> Tensors:
    rank = config.rank_of(module.name)
    tall, wide = (module.n_out, rank), (rank, module.n_in)
    return {"hada_w1_a": tall, "hada_w1_b": wide, "hada_w2_a": tall, "hada_w2_b": wide}


def _lokr(config: Config, module: Module) -> Tensors:
    rank, factor = config.rank_of(module.name), config.whole("decompose_factor", -1, -1, _SIZE)
    in_small, in_large = factorise(module.n_in, factor)
    out_small, out_large = factorise(module.n_out, factor)
    found: Tensors = {}
    if config.flag("decompose_both") and rank < max(out_small, in_small) / 2:
        found |= {"lokr_w1_a": (out_small, rank), "lokr_w1_b": (rank, in_small)}
    else:
        found["lokr_w1"] = (out_small, in_small)
    if rank < max(out_large, in_large) / 2:
        found |= {"lokr_w2_a": (out_large, rank), "lokr_w2_b": (rank, in_large)}
    else:
        found["lokr_w2"] = (out_large, in_large)
    return found


def factorise(size: int, factor: int) -> tuple[int, int]:
    """Split a size in two for LoKr: at ``factor`` if that divides, else nearly square.

    Examples
    --------
    >>> factorise(128, 4), factorise(128, -1), factorise(384, -1), factorise(127, -1)
    ((4, 32), (8, 16), (16, 24), (1, 127))
    """
    if factor > 0 and size % factor == 0:
        return factor, size // factor
    limit = size if factor <= 0 else factor
    best = (1, size)
    for small in range(2, int(size**0.5) + 1):
        if small > limit:
            break
        if size % small == 0:
            best = (small, size // small)
    return best


def _ia3(config: Config, module: Module) -> Tensors:
    forward = config.names("feedforward_modules") or ()
    if isinstance(forward, str):
        scales_input = re.fullmatch(forward, module.name) is not None
    else:
        scales_input = module.name.endswith(forward) if forward else False
    return {"ia3_l": (1, module.n_in) if scales_input else (module.n_out, 1)}


def _vera(config: Config, module: Module) -> Tensors:
    return {"vera_lambda_b": (module.n_out,), "vera_lambda_d": (config.rank,)}


def _oft(config: Config, module: Module) -> Tensors:
    blocks, size = config.whole("r", 0, 0, _SIZE), config.whole("oft_block_size", 32, 0, _SIZE)
    if (blocks == 0) == (size == 0):
        config.refuse("r", "either r or oft_block_size must be 0, and not both")
    if size:
        size = _nearest_divisor(module.n_in, size)
        blocks = module.n_in // size
    else:
        blocks = _nearest_divisor(module.n_in, blocks)
        size = module.n_in // blocks
    return {"oft_R.weight": (1 if config.flag("block_share") else blocks, size * (size - 1) // 2)}


def _nearest_divisor(size: int, wanted: int) -> int:
    """Return the divisor that OFT takes in place of a number that does not divide."""
    if wanted >= size:
        return size
    above = next(n for n in range(wanted, size + 1) if size % n == 0)
    below = next(n for n in range(wanted, 0, -1) if size % n == 0)
    return below if wanted - below <= above - wanted else above


def _boft(config: Config, module: Module) -> Tensors:
    size, blocks = config.whole("boft_block_size", 4, 0, _SIZE), config.whole(
        "boft_block_num", 0, 0, _SIZE)  # fmt: skip
    if (size == 0) == (blocks == 0):
        config.refuse("boft_block_size", "either it or boft_block_num must be 0, and not both")
    if size:
        blocks = _divide(config, module.n_in, size, "boft_block_size", module)
    else:
        size = _divide(config, module.n_in, blocks, "boft_block_num", module)
    # PEFT without its CUDA kernel trains one factor, whatever the config says.
    factors = frozenset({1, _whole(config, "boft_n_butterfly_factor")})
    return {"boft_R": (factors, blocks, size, size), "boft_s": (module.n_out, 1)}


def _hra(config: Config, module: Module) -> Tensors:
    return {"hra_u": (module.n_in, config.rank)}


def _frequencies(suffix: str) -> Callable[[Config, Module], Tensors]:
    def equation(config: Config, module: Module) -> Tensors:
        default = _whole(config, "n_frequency")
        return {suffix: (int(config.overridden("n_frequency_pattern", module.name, default)),)}

    return equation


def _miss(config: Config, module: Module) -> Tensors:
    rank, form = config.rank, config.settings.get("init_weights")
    if form == "bat":
        blocks = _divide(config, module.n_out, rank, "r", module)
        _divide(config, module.n_in, rank, "r", module)
        return {"miss_block": (blocks, rank, rank)}
    if form == "mini":
        width = _whole(config, "mini_r")
        _divide(config, module.n_out, width, "mini_r", module)
        return {"miss_block": (rank, width)}
    return {"miss_block": (rank, module.n_out)}


def _c3a(config: Config, module: Module) -> Tensors:
    size = int(config.overridden("block_size_pattern", module.name, _whole(config, "block_size")))
    out = _divide(config, module.n_out, size, "block_size", module)
    return {"c3a_kernel": (out, _divide(config, module.n_in, size, "block_size", module), size)}


def _road(config: Config, module: Module) -> Tensors:
    variant = config.settings.get("variant") or "road_1"
    halves = {"road_1": 1, "road_2": 2, "road_4": 4}.get(variant)
    if halves is None:
        config.refuse("variant", f"{variant!r} is not road_1, road_2 or road_4")
    _divide(config, module.n_out, _whole(config, "group_size"), "group_size", module)
    size = module.n_out * halves // 2
    return {"road_theta": (size,), "road_alpha": (size,)}


def _delora(config: Config, module: Module) -> Tensors:
    rank = config.rank_of(module.name)
    return {
        "delora_A": (rank, module.n_in), "delora_B": (module.n_out, rank), "delora_lambda": (1,),
        "delora_w_norm": (module.n_in,),
    }  # fmt: skip


def _gralora(config: Config, module: Module) -> Tensors:
    rank, blocks = config.rank, _whole(config, "gralora_k")
    _divide(config, rank, blocks, "r", module)
    n_in = _divide(config, module.n_in, blocks, "gralora_k", module)
    n_out = _divide(config, module.n_out, blocks, "gralora_k", module)
    return {"gralora_A": (blocks, n_in, rank), "gralora_B": (blocks, rank, n_out)}


def _hira(config: Config, module: Module) -> Tensors:
    rank = config.rank_of(module.name)
    return {"hira_A": (rank, module.n_in), "hira_B": (module.n_out, rank)}


def _vblora(config: Config, module: Module) -> Tensors:
    rank, vectors, length = config.rank, _whole(config, "num_vectors"), _whole(
        config, "vector_length")  # fmt: skip
    n_in = _divide(config, module.n_in, length, "vector_length", module)
    n_out = _divide(config, module.n_out, length, "vector_length", module)
    return {"vblora_logits_A": (rank, n_in, vectors), "vblora_logits_B": (n_out, rank, vectors)}


def _ln_tuning(config: Config, module: Module) -> Tensors:
    return {"ln_tuning_layers.weight": module.shape}


_EQUATIONS: Mapping[str, Callable[[Config, Module], Tensors]] = {
    "LORA": _lora, "ADALORA": _adalora, "LOHA": _loha, "LOKR": _lokr, "IA3": _ia3, "VERA": _vera,
    "OFT": _oft, "BOFT": _boft, "HRA": _hra, "FOURIERFT": _frequencies("fourierft_spectrum"),
    "WAVEFT": _frequencies("waveft_spectrum"), "MISS": _miss, "C3A": _c3a, "ROAD": _road,
    "DELORA": _delora, "GRALORA": _gralora, "HIRA": _hira, "VBLORA": _vblora,
    "LN_TUNING": _ln_tuning,
}  # fmt: skip
