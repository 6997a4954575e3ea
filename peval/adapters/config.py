"""Read adapter_config.json, and refuse what native LoRA serving would get wrong.

The list of refusals follows vLLM's ``vllm/lora/peft_helper.py`` (0.32) and PEFT's ``LoraConfig``
(0.21). What vLLM would ignore in silence is refused here too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from peval.adapters.patterns import matches, why_unsafe
from peval.errors import AdapterError
from peval.strict_json import read_object, show

CONFIG_FILE = "adapter_config.json"
MAX_RANK = 512
_MAX_PATTERNS = 10_000

# Initialisations that set nothing but the adapter's first weights.
_PLAIN_INITS = ("gaussian", "eva", "orthogonal", "mica", "lora_ga")

_REFUSED = {
    "use_dora": "DoRA",
    "lora_bias": "a bias in lora_B",
    "modules_to_save": "fully trained modules beside the LoRA",
    "trainable_token_indices": "trained token embeddings",
    "target_parameters": "LoRA on bare parameters",
    "layer_replication": "replicated layers",
    "alora_invocation_tokens": "activated LoRA (aLoRA)",
    "use_qalora": "quantisation-aware QA-LoRA",
    "use_bdlora": "block-diagonal LoRA (BD-LoRA)",
    "arrow_config": "Arrow routing",
    "kasa_config": "KaSA, which changes the base weights",
    "monteclora_config": "MonteCLoRA",
    "megatron_config": "Megatron layers",
    "ensure_weight_tying": "LoRA shared by tied weights",
}

# No effect on what a trained adapter computes, or checked elsewhere.
_HARMLESS = frozenset({
    "task_type", "peft_type", "peft_version", "auto_mapping", "base_model_name_or_path",
    "revision", "inference_mode", "r", "target_modules", "exclude_modules", "lora_alpha",
    "lora_dropout", "fan_in_fan_out", "bias", "use_rslora", "init_lora_weights",
    "layers_to_transform", "layers_pattern", "rank_pattern", "alpha_pattern", "megatron_core",
    "loftq_config", "eva_config", "corda_config", "lora_ga_config", "velora_config",
    "qalora_group_size", "unsloth_fixed",
})  # fmt: skip


@dataclass(frozen=True)
class LoraSettings:
    """What a vetted LoRA config says; ``selects_layers`` if it may leave modules out on purpose."""

    path: Path
    rank: int
    alpha: float
    rank_pattern: Mapping[str, int]
    alpha_pattern: Mapping[str, float]
    rank_stabilised: bool
    transposed: bool
    target_modules: str | tuple[str, ...]
    selects_layers: bool
    base_name: str | None

    @property
    def largest_rank(self) -> int:
        """The rank an engine must allow for: vLLM counts r even where every module overrides it."""
        return max([self.rank, *self.rank_pattern.values()])

    def rank_of(self, module: str) -> int:
        """Return a module's rank: the first pattern that matches wins."""
        return next((r for key, r in self.rank_pattern.items() if matches(key, module)), self.rank)

    def scaling_of(self, module: str) -> float:
        """Return the factor of B A: alpha / r, for rsLoRA alpha / sqrt(r) (arXiv 2312.03732)."""
        alphas = (a for key, a in self.alpha_pattern.items() if matches(key, module))
        rank = self.rank_of(module)
        return next(alphas, self.alpha) / (math.sqrt(rank) if self.rank_stabilised else rank)

    def fingerprint(self) -> bytes:
        """Return the part of the config that has an effect, as bytes to hash."""
        targets = self.target_modules
        facts = {
            "peft_type": "LORA",
            "r": self.rank,
            "lora_alpha": self.alpha,
            "rank_pattern": list(self.rank_pattern.items()),
            "alpha_pattern": list(self.alpha_pattern.items()),
            "use_rslora": self.rank_stabilised,
            "fan_in_fan_out": self.transposed,
            "target_modules": targets if isinstance(targets, str) else sorted(targets),
        }
        return json.dumps(facts, sort_keys=True).encode()


def read_settings(directory: Path) -> LoraSettings:
    """Read and vet the config of an adapter directory.

    Raises
    ------
    AdapterError
        The config is missing or malformed, or asks for something that is not served.
    """
    path = directory / CONFIG_FILE
    if not directory.is_dir():
        what = "a file" if directory.exists() else "missing"
        raise AdapterError(f"{directory}: an adapter is a directory, this is {what}")
    config = read_object(path, AdapterError)
    _check_method(path, config)
    _check_features(path, config)
    _check_unknown(path, config)
    return LoraSettings(
        path=path,
        rank=_rank(path, "r", config.get("r")),
        alpha=_alpha(path, "lora_alpha", config.get("lora_alpha")),
        rank_pattern={
            k: _rank(path, "rank_pattern", v) for k, v in _patterns(path, config, "rank")
        },
        alpha_pattern={
            k: _alpha(path, "alpha_pattern", v) for k, v in _patterns(path, config, "alpha")
        },
        rank_stabilised=_flag(path, config, "use_rslora"),
        transposed=_flag(path, config, "fan_in_fan_out"),
        target_modules=_target_modules(path, config),
        selects_layers=_selects_layers(path, config),
        base_name=_base_name(path, config),
    )


def _refuse(path: Path, field: str, why: str) -> NoReturn:
    raise AdapterError(f"{path}: {field}: {why}")


def _check_method(path: Path, config: dict[str, Any]) -> None:
    method, task = config.get("peft_type"), config.get("task_type")
    if method != "LORA":
        _refuse(path, "peft_type", f"{show(method)} is not served; only LoRA (LORA) is so far")
    if task not in (None, "CAUSAL_LM"):
        _refuse(path, "task_type", f"{show(task)} is not served; only CAUSAL_LM is")
    mapping = config.get("auto_mapping") or {}
    library = mapping.get("parent_library") if isinstance(mapping, dict) else mapping
    if library is not None and not str(library).startswith("transformers."):
        _refuse(path, "auto_mapping", f"names {show(library)}, a module outside transformers")


def _check_features(path: Path, config: dict[str, Any]) -> None:
    for field, what in _REFUSED.items():
        if config.get(field):
            _refuse(path, field, f"{what} is not served; merge the adapter into its base, or "
                    "retrain without it")  # fmt: skip
    if config.get("bias", "none") != "none":
        _refuse(path, "bias", f"{show(config['bias'])}: trained biases are not served")
    init = config.get("init_lora_weights", True)
    if not (init is None or isinstance(init, bool) or init in _PLAIN_INITS):
        _refuse(path, "init_lora_weights", f"{show(init)} changes the base weights; save it again "
                "with PEFT's path_initial_model_for_weight_conversion")  # fmt: skip


def _check_unknown(path: Path, config: dict[str, Any]) -> None:
    """Refuse what a newer PEFT may have switched on; a bare number or name switches nothing on."""
    for field, value in config.items():
        if field in _HARMLESS or field in _REFUSED:
            continue
        if value is True or (isinstance(value, dict | list) and value):
            _refuse(path, show(field), f"unknown setting {show(value)}; it could change what the "
                    "adapter computes")  # fmt: skip


def _rank(path: Path, field: str, value: object) -> int:
    if type(value) is not int or not 1 <= value <= MAX_RANK:
        _refuse(path, field, f"rank {show(value)} is not a whole number from 1 to {MAX_RANK}")
    return value


def _alpha(path: Path, field: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        _refuse(path, field, f"{show(value)} is not a number")
    if not (abs(value) <= 1e9 and value):
        _refuse(path, field, f"{show(value)} is not a finite number other than 0")
    return float(value)


def _flag(path: Path, config: dict[str, Any], field: str) -> bool:
    value = config.get(field) or False
    if not isinstance(value, bool):
        _refuse(path, field, f"{show(value)} is neither true nor false")
    return value


def _patterns(path: Path, config: dict[str, Any], kind: str) -> list[tuple[str, object]]:
    field = f"{kind}_pattern"
    found = config.get(field) or {}
    if not isinstance(found, dict) or len(found) > _MAX_PATTERNS:
        _refuse(path, field, f"an object of at most {_MAX_PATTERNS} entries is needed")
    for key in found:
        if why := why_unsafe(key, max_repeats=2, max_branches=100):
            _refuse(path, field, f"pattern {show(key)} {why}")
    return list(found.items())


def _target_modules(path: Path, config: dict[str, Any]) -> str | tuple[str, ...]:
    found = config.get("target_modules")
    if isinstance(found, list) and found and all(isinstance(name, str) for name in found):
        return tuple(found)
    if not isinstance(found, str) or not found:
        _refuse(path, "target_modules", f"{show(found)} is neither a list of names nor a pattern")
    if why := why_unsafe(found, max_repeats=5, max_branches=10_000):
        _refuse(path, "target_modules", f"pattern {show(found)} {why}")
    return found


def _selects_layers(path: Path, config: dict[str, Any]) -> bool:
    """Vet the fields that leave modules out; their patterns are run by PEFT, never here."""
    for field in ("exclude_modules", "layers_pattern"):
        values = config.get(field) or []
        values = [values] if isinstance(values, str) else values
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            _refuse(path, field, f"{show(values)} is not a list of names")
        for value in values:
            if why := why_unsafe(value, max_repeats=5, max_branches=10_000):
                _refuse(path, field, f"pattern {show(value)} {why}")
    return bool(config.get("exclude_modules")) or config.get("layers_to_transform") is not None


def _base_name(path: Path, config: dict[str, Any]) -> str | None:
    found = config.get("base_model_name_or_path")
    if found is None:
        return None
    if not isinstance(found, str) or not found.isprintable() or len(found) > 1000:
        _refuse(path, "base_model_name_or_path", f"{show(found)} is not a name")
    if any(len(part) > 255 for part in found.split("/")):  # no file system takes it
        _refuse(path, "base_model_name_or_path", f"{show(found)} is too long for a name")
    return found or None
