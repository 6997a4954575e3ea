"""What an adapter must hold: the tensors that its config and its base ask for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from peval.adapters.basemodel import PREFIX, BaseModel, Module, is_target
from peval.adapters.config import Config
from peval.adapters.entries import Entries, refuse
from peval.adapters.equations import Tensors, module_tensors, shared_tensors
from peval.adapters.heads import HEADS
from peval.adapters.prompts import adaption_tensors, prompt_tensors
from peval.strict_json import show

PROMPTS = ("PROMPT_TUNING", "P_TUNING", "MULTITASK_PROMPT_TUNING", "PREFIX_TUNING")


@dataclass(frozen=True)
class Plan:
    """What an adapter must hold and may hold; ``modules`` are those that its method changes.

    ``rows`` is the vocabulary's size where the adapter brings another one. ``new_words`` says that
    the embedding or the output layer has other values with the adapter; ``lacks_bias``, that some
    of the modules have none.
    """

    required: Tensors
    optional: Tensors = field(default_factory=dict)
    modules: tuple[Module, ...] = ()
    rows: int | None = None
    new_words: bool = False
    lacks_bias: bool = False


def expected(file: Path, entries: Entries, config: Config, base: BaseModel) -> Plan:
    """Return the right-hand side of the preflight equation (`peval.adapters.preflight`)."""
    kind = config.method.peft_type
    if kind in PROMPTS:
        return Plan(prompt_tensors(config, base))
    prefix = base.prefix(entries)
    rows = _stored_rows(file, entries, base)
    everything = tuple(base.modules(prefix, rows))
    if kind == "ADAPTION_PROMPT":
        return Plan(adaption_tensors(config, base, everything))
    if kind == "TRAINABLE_TOKENS":
        return _trainable_tokens(config, base, everything)
    modules = tuple(m for m in _targets(config, everything) if _is_there(m, entries))
    if not modules:
        config.refuse("target_modules", "names no module of the base")
    required = {
        f"{PREFIX}{module.name}.{suffix}": shape
        for module in modules
        for suffix, shape in module_tensors(config, module).items()
    }
    if kind == "LN_TUNING":
        required |= _norm_biases(modules, base)
    required |= {f"base_model.{k}": v for k, v in shared_tensors(config, modules).items()}
    required |= _biases(config, base, prefix, modules, entries)
    saved = _saved_modules(config, base, prefix, everything)
    required |= saved
    required |= _tokens(config, "trainable_token_indices", everything, base, "token_adapter.")
    optional = _embeddings(everything, modules, base)
    optional |= _tied_tokens(config, base, everything)
    if rows is not None and not any(name.endswith(".base_layer.weight") for name in optional):
        required |= _embeddings(everything, modules, base)  # PEFT stores both, tied or not
    for name in required.keys() & optional.keys():
        del optional[name]
    changed = {m.weight for m in modules} | {base.find(_bare(name)) for name in saved}
    new_words = any(".token_adapter." in name or "trainable_tokens" in name for name in required)
    new_words = new_words or any(is_words(weight, base) for weight in changed if weight)
    lacks_bias = any(m.weight.removesuffix("weight") + "bias" not in base.shapes for m in modules)
    return Plan(required, optional, modules, rows, new_words, lacks_bias)


def is_words(weight: str, base: BaseModel) -> bool:
    """Say whether a weight is the embedding or the output layer."""
    return weight == base.embedding or weight.removesuffix(".weight").endswith("lm_head")


def _targets(config: Config, everything: tuple[Module, ...]) -> Iterator[Module]:
    """Yield the modules that the config means; norms are only for LN tuning, which has them all."""
    wants_norms = config.method.peft_type == "LN_TUNING"
    for module in everything:
        if not is_target(config, module):
            continue
        if len(module.shape) != 2 and not wants_norms:
            config.refuse("target_modules", f"means {show(module.name)}, whose weight is no matrix")
        yield module


def _is_there(module: Module, entries: Entries) -> bool:
    """Say whether a target counts: experts that a model fuses in memory have no modules there."""
    if ".experts." not in module.name:
        return True
    return any(name.startswith(f"{PREFIX}{module.name}.") for name in entries) or any(
        ".experts." in name for name in entries
    )


def _stored_rows(file: Path, entries: Entries, base: BaseModel) -> int | None:
    """Return the vocabulary's size in the adapter, None where it is the base's or not stored."""
    if base.embedding is None:
        return None
    table = base.shapes[base.embedding]
    found = {}
    for name, entry in entries.items():
        stem = name.removesuffix(".weight").removesuffix(".base_layer")
        if stem == name or not name.startswith(PREFIX) or len(entry.shape) != 2:
            continue
        if base.find(stem.removeprefix(PREFIX)) == base.embedding or stem.endswith(".lm_head"):
            found[entry.shape[0]] = name
    if len(found) > 1:
        first, second = sorted(found)
        refuse(file, found[second], f"has {second} rows, {show(found[first])} has {first}")
    rows = next(iter(found), table[0])
    if rows < table[0] / 2:
        refuse(file, found[rows], f"has {rows} rows, under half of the base's {table[0]}")
    return rows if rows != table[0] else None


def _norm_biases(modules: tuple[Module, ...], base: BaseModel) -> Tensors:
    """Return the biases of trained norms that have one."""
    biases = {m.name: m.weight.removesuffix("weight") + "bias" for m in modules}
    return {
        f"{PREFIX}{name}.ln_tuning_layers.bias": base.shapes[bias]
        for name, bias in biases.items()
        if bias in base.shapes
    }


def _biases(
    config: Config, base: BaseModel, prefix: str, modules: tuple[Module, ...], entries: Entries
) -> Tensors:
    """Return the trained biases that the config's ``bias`` asks for."""
    mode = config.settings.get("bias") or "none"
    if mode == "none":
        return {}
    adapted = {module.weight.removesuffix("weight") + "bias": module.name for module in modules}
    found: Tensors = {}
    for weight, shape in base.shapes.items():
        if not weight.endswith(".bias") or (mode != "all" and weight not in adapted):
            continue
        name = f"{PREFIX}{prefix}{weight}"
        if weight in adapted and name not in entries:
            name = f"{PREFIX}{adapted[weight]}.base_layer.bias"  # as PEFT from 0.6 on writes it
        found[name] = shape
    return found


def _saved_modules(
    config: Config, base: BaseModel, prefix: str, everything: tuple[Module, ...]
) -> Tensors:
    """Return the weights of fully trained modules; PEFT matches the ends of names."""
    endings = config.names("modules_to_save") or ()
    if config.has_head:  # PEFT adds the head to what it was told; the rest is the base's
        endings = tuple(set(endings) - set(HEADS))
    if not endings:
        return {}
    stored = {f"{prefix}{w}": shape for w, shape in base.shapes.items()}
    stored |= {f"{m.name}.weight": m.shape for m in everything}  # new sizes, and a tied head
    found: Tensors = {
        f"{PREFIX}{name}": shape
        for name, shape in stored.items()
        if any(part.endswith(tuple(endings)) for part in _ancestors(name))
    }
    if not found:
        config.refuse("modules_to_save", f"{show(list(endings))} names no module of the base")
    return found


def _bare(tensor: str) -> str:
    return tensor.removeprefix(PREFIX).removesuffix(".weight")


def _ancestors(tensor: str) -> Iterator[str]:
    parts = tensor.split(".")
    return (".".join(parts[:n]) for n in range(1, len(parts)))


def _tokens(
    config: Config, setting: str, everything: tuple[Module, ...], base: BaseModel, inner: str
) -> Tensors:
    """Return the trained rows of embeddings."""
    if setting not in config.method.settings:
        return {}
    found: Tensors = {}
    for ending, ids in config.token_ids(setting).items():
        tables = [
            m for m in everything
            if (m.name == ending or m.name.endswith("." + ending) if ending else m.is_embedding)
        ]  # fmt: skip
        if len(tables) != 1:
            config.refuse(setting, f"{show(ending or 'the embedding')} names {len(tables)} modules")
        rows, width = tables[0].shape
        if max(ids) >= rows:
            config.refuse(setting, f"token {max(ids)} is beyond the vocabulary of {rows}")
        found[f"{PREFIX}{tables[0].name}.{inner}trainable_tokens_delta"] = (len(ids), width)
    return found


def _tied_tokens(config: Config, base: BaseModel, everything: tuple[Module, ...]) -> Tensors:
    """Return the copy of trained rows that PEFT may store for a tied output layer."""
    if "trainable_token_indices" not in config.method.settings or not base.is_tied:
        return {}
    found = _tokens(config, "trainable_token_indices", everything, base, "token_adapter.")
    return {f"{PREFIX}lm_head.token_adapter.trainable_tokens_delta": s for s in found.values()}


def _trainable_tokens(config: Config, base: BaseModel, everything: tuple[Module, ...]) -> Plan:
    """State the equation of PEFT's method of that name."""
    ids = config.token_ids("token_indices").get("")
    if not ids:
        config.refuse("token_indices", "names no token")
    targets = config.names("target_modules")
    tables = [m for m in everything if (is_target(config, m) if targets else m.is_embedding)]
    if len(tables) != 1 or len(tables[0].shape) != 2:
        config.refuse("target_modules", f"{show(targets)} names {len(tables)} embeddings, not one")
    rows, width = tables[0].shape
    if max(ids) >= rows:
        config.refuse("token_indices", f"token {max(ids)} is beyond the vocabulary of {rows}")
    name = "trainable_tokens_delta"
    tied: Tensors = {f"{PREFIX}lm_head.{name}": (len(ids), width)} if base.is_tied else {}
    return Plan(
        {f"{PREFIX}{tables[0].name}.{name}": (len(ids), width)}, tied, tuple(tables), new_words=True
    )


def _embeddings(
    everything: tuple[Module, ...], modules: tuple[Module, ...], base: BaseModel
) -> Tensors:
    """Return the whole embeddings that PEFT stores beside the method where it sees a reason to."""
    adapted = {module.name for module in modules}
    return {
        f"{PREFIX}{m.name}.{'base_layer.' * (m.name in adapted)}weight": m.shape
        for m in everything
        if m.weight == base.embedding or m.name.rsplit(".", 1)[-1] == "lm_head"
    }
