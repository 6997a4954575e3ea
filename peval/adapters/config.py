"""Read adapter_config.json: a known method, known settings, numbers in range, patterns that end.

The settings of each method are those of PEFT 0.21 (``src/peft/tuners/*/config.py``). A setting that
is not known here could change what the adapter computes, so it is refused by name.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from peval.adapters.methods import METHODS, REFUSED_METHODS, Method
from peval.adapters.patterns import is_literal, matches, why_unsafe
from peval.errors import AdapterError
from peval.strict_json import read_object, show

CONFIG_FILE = "adapter_config.json"
MAX_RANK = 1 << 16
_MAX_PATTERNS = 10_000
_MAX_COMPILED = 400  # Python keeps 512 compiled patterns; more are compiled anew for each module
_TASK_TYPES = (None, "CAUSAL_LM", "SEQ_2_SEQ_LM", "SEQ_CLS")
_LASTING_INITIALS = ("pissa", "olora", "bat", "mini")  # the base, or the form, depends on them
# In the hash even at their defaults, so that a plain LoRA keeps the hash it always had.
_ALWAYS_HASHED = frozenset({
    "r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora", "fan_in_fan_out",
    "target_modules",
})  # fmt: skip
_NAME_FIELDS = ("target_modules", "exclude_modules", "layers_pattern", "feedforward_modules")


@dataclass(frozen=True)
class Config:
    """A vetted config: the method, the settings as they stand in the file, the base's name."""

    path: Path
    method: Method
    settings: Mapping[str, Any]
    base_name: str | None

    @property
    def is_sequence_to_sequence(self) -> bool:
        """Whether the adapter was made for an encoder-decoder model."""
        return self.settings.get("task_type") == "SEQ_2_SEQ_LM"

    @property
    def has_head(self) -> bool:
        """Whether the adapter has a head that classifies sequences."""
        return self.settings.get("task_type") == "SEQ_CLS"

    @property
    def largest_rank(self) -> int:
        """The rank an engine must allow for: vLLM counts r even where every module overrides it."""
        if not self.method.has_rank:
            return 0
        return max(self.rank, *map(int, self.pattern("rank_pattern").values()), 0)

    @property
    def rank(self) -> int:
        """The rank where no pattern overrides it."""
        return self.whole("r", 8, low=1, high=MAX_RANK)

    @property
    def n_virtual_tokens(self) -> int:
        """How many trained vectors take places before a prompt."""
        return self.whole("num_virtual_tokens", 0, 0, 1 << 40)

    def rank_of(self, module: str) -> int:
        """Return a module's rank: the first pattern that matches wins."""
        return int(self.overridden("rank_pattern", module, self.rank))

    @property
    def alpha(self) -> float:
        """The numerator of the scaling where no pattern overrides it."""
        field = "lora_alpha" if "lora_alpha" in self.method.settings else "alpha"
        return self.number(field, 8)

    def scaling_of(self, module: str) -> float:
        """Return the factor of the update: alpha / r, for rsLoRA alpha / sqrt(r) (2312.03732)."""
        rank, alpha = self.rank_of(module), self.overridden("alpha_pattern", module, self.alpha)
        return float(alpha) / (math.sqrt(rank) if self.flag("use_rslora") else rank)

    def pattern(self, field: str) -> dict[str, Any]:
        """Return a setting that maps patterns of module names to values."""
        return self.settings.get(field) or {}

    def overridden(self, field: str, module: str, default: float) -> float:
        """Return what the first matching pattern says, else the default."""
        found = (value for key, value in self.pattern(field).items() if matches(key, module))
        return next(found, default)

    def flag(self, field: str, default: bool = False) -> bool:
        """Return a setting that is true or false; null counts as the default."""
        value = self.settings.get(field)
        value = default if value is None else value
        if not isinstance(value, bool):
            self.refuse(field, f"{show(value)} is neither true nor false")
        return value

    def whole(self, field: str, default: int | None, low: int, high: int) -> int:
        """Return a setting that is a whole number within bounds."""
        value = self.settings.get(field, default)
        if type(value) is not int or not low <= value <= high:
            what = "rank " if field == "r" else ""
            self.refuse(
                field, f"{what}{show(value)} is not a whole number from {low} to {high}"
            )  # fmt: skip
        return value

    def number(self, field: str, default: float) -> float:
        """Return a setting that is a finite number other than 0."""
        return self._finite(field, self.settings.get(field, default))

    def names(self, field: str) -> str | tuple[str, ...] | None:
        """Return a setting that is a pattern or a list of module names; None where it is empty."""
        value = self.settings.get(field)
        if isinstance(value, list):
            return tuple(value) or None
        return value or None

    def token_ids(self, field: str) -> dict[str, list[int]]:
        """Return trained token ids by the module they are for; "" is the input embedding."""
        value = self.settings.get(field) or []
        found = value if isinstance(value, dict) else {"": value}
        for ids in found.values():
            good = isinstance(ids, list) and all(type(i) is int and i >= 0 for i in ids)
            if not good or len(set(ids)) != len(ids):
                self.refuse(field, f"{show(ids)} is not a list of different token ids")
        return {name: ids for name, ids in found.items() if ids}

    def fingerprint(self) -> bytes:
        """Return the part of the config that has an effect, as bytes to hash."""
        facts: dict[str, Any] = {"peft_type": self.method.peft_type}
        for field, default in self.method.settings.items():
            value = self.settings.get(field)
            value = default if value in (None, "", [], {}) else value
            if field == self.method.initial and value not in _LASTING_INITIALS:
                continue
            if field in _ALWAYS_HASHED or value != default:
                facts[field] = _canonical(field, value, default)
        return json.dumps(facts, sort_keys=True).encode()

    def refuse(self, field: str, why: str) -> NoReturn:
        """Raise the one-line error about a setting."""
        raise AdapterError(f"{self.path}: {field}: {why}")

    def _finite(self, field: str, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.refuse(field, f"{show(value)} is not a number")
        if not (abs(value) <= 1e9 and value):
            self.refuse(field, f"{show(value)} is not a finite number other than 0")
        return float(value)


def read_config(directory: Path) -> Config:
    """Read and vet the config of an adapter directory.

    Raises
    ------
    AdapterError
        The config is missing or malformed, or holds something whose effect is not known.
    """
    path = directory / CONFIG_FILE
    if not directory.is_dir():
        what = "a file" if directory.exists() else "missing"
        raise AdapterError(f"{directory}: an adapter is a directory, this is {what}")
    found = read_object(path, AdapterError)
    config = Config(path, _method(path, found), found, _base_name(path, found))
    _check_surroundings(config)
    _check_known(config)
    _check_names(config)
    _check_patterns(config)
    _check_numbers(config)
    return config


def _method(path: Path, found: dict[str, Any]) -> Method:
    kind = found.get("peft_type")
    if isinstance(kind, str) and kind in METHODS:
        return METHODS[kind]
    why = REFUSED_METHODS.get(kind, "is not known") if isinstance(kind, str) else "is no method"
    raise AdapterError(f"{path}: peft_type: {show(kind)} {why}")


def _check_surroundings(config: Config) -> None:
    """Check what says where an adapter belongs: the task and the library of its base model."""
    task = config.settings.get("task_type")
    if task not in _TASK_TYPES:
        config.refuse("task_type", f"{show(task)} is not served; only CAUSAL_LM, SEQ_2_SEQ_LM "
                      "and SEQ_CLS")  # fmt: skip
    mapping = config.settings.get("auto_mapping") or {}
    library = mapping.get("parent_library") if isinstance(mapping, dict) else mapping
    if library is not None and not str(library).startswith("transformers."):
        config.refuse("auto_mapping", f"names {show(library)}, a module outside transformers")


def _check_known(config: Config) -> None:
    """Refuse features without an equation, and settings that a newer PEFT may have added."""
    method = config.method
    for field, value in config.settings.items():
        if field in method.settings or field in method.without_effect:
            continue
        if value in (None, False, "", [], {}):
            continue
        if field in method.refused:
            config.refuse(field, f"{method.refused[field]} is not served")
        config.refuse(show(field), f"unknown setting {show(value)}; it could change what the "
                      "adapter computes (delete it if it has no effect)")  # fmt: skip
    initial = config.settings.get(method.initial)
    if initial is None or isinstance(initial, bool):
        return
    if not isinstance(initial, str) or initial.split("_niter_")[0] not in method.initials:
        config.refuse(method.initial, f"{show(initial)} is not known")
    if why := method.refused_initials.get("niter" if "_niter_" in initial else initial):
        config.refuse(method.initial, f"{show(initial)} {why}")


def _check_names(config: Config) -> None:
    """Vet everything that names modules; patterns that could run for hours are refused."""
    for field in _NAME_FIELDS:
        value = config.settings.get(field)
        values = [value] if isinstance(value, str) else value or []
        if not isinstance(values, list) or not all(isinstance(v, str) and v for v in values):
            config.refuse(field, f"{show(value)} is neither a list of names nor a pattern")
        if field == "layers_pattern" and len(values) > _MAX_COMPILED:
            config.refuse(field, f"holds {len(values)} patterns, at most {_MAX_COMPILED} are run")
        if isinstance(value, str) or field == "layers_pattern":
            for each in values:
                if why := why_unsafe(each, max_repeats=5, max_branches=10_000):
                    config.refuse(field, f"pattern {show(each)} {why}")
    saved = config.settings.get("modules_to_save") or []
    if not isinstance(saved, list) or not all(isinstance(v, str) and v for v in saved):
        config.refuse("modules_to_save", f"{show(saved)} is not a list of names")
    if len(saved) > _MAX_COMPILED:
        config.refuse("modules_to_save", f"holds {len(saved)} names, at most {_MAX_COMPILED} are "
                      "compared")  # fmt: skip
    for each in saved:  # PEFT also runs these as patterns
        if why := why_unsafe(each, max_repeats=0, max_branches=1):
            config.refuse("modules_to_save", f"pattern {show(each)} {why}")
    layers = config.settings.get("layers_to_transform")
    numbers = layers if isinstance(layers, list) else [] if layers is None else [layers]
    if not all(type(n) is int and 0 <= n < 10_000 for n in numbers):
        config.refuse("layers_to_transform", f"{show(layers)} is not a list of layers")
    if config.method.needs_targets and config.names("target_modules") is None:
        value = config.settings.get("target_modules")
        config.refuse("target_modules", f"{show(value)} is neither a list of names nor a pattern")


def _check_patterns(config: Config) -> None:
    for field in config.method.settings:
        if not field.endswith("_pattern") or field == "layers_pattern":
            continue
        found = config.settings.get(field) or {}
        if not isinstance(found, dict) or len(found) > _MAX_PATTERNS:
            config.refuse(field, f"an object of at most {_MAX_PATTERNS} entries is needed")
        n_compiled = sum(not is_literal(key) for key in found)
        if n_compiled > _MAX_COMPILED:
            config.refuse(field, f"holds {n_compiled} patterns, at most {_MAX_COMPILED} are run")
        for key, value in found.items():
            if why := why_unsafe(key, max_repeats=2, max_branches=100):
                config.refuse(field, f"pattern {show(key)} {why}")
            _check_pattern_value(config, field, value)


def _check_pattern_value(config: Config, field: str, value: object) -> None:
    if field in ("alpha_pattern", "lambda_pattern"):
        config._finite(field, value)
    elif config.method.peft_type == "ADALORA":
        if not (isinstance(value, list) and all(isinstance(kept, bool) for kept in value)):
            config.refuse(field, f"{show(value)} is not a list of true and false")
    elif type(value) is not int or not 1 <= value <= MAX_RANK:
        config.refuse(field, f"rank {show(value)} is not a whole number from 1 to {MAX_RANK}")


def _check_numbers(config: Config) -> None:
    """Read each number once, so that a bad one is reported whatever else the config says."""
    method = config.method
    if method.has_rank:
        _ = config.rank
    for field, default in method.settings.items():
        if isinstance(default, bool) and field != method.initial:
            config.flag(field, default)
        elif isinstance(default, float):
            config.number(field, default)
        elif type(default) is int and field != "r":
            config.whole(field, default, -1 if default < 0 else 0, 1 << 40)
    start = config.settings.get("alora_invocation_tokens") or []
    if not isinstance(start, list) or not all(type(i) is int and 0 <= i < 1 << 31 for i in start):
        config.refuse("alora_invocation_tokens", f"{show(start)} is not a list of token ids")
    bias = config.settings.get("bias") or "none"
    if bias not in ("none", "all", f"{method.peft_type.lower()}_only"):
        config.refuse("bias", f"{show(bias)} is not none, all or {method.peft_type.lower()}_only")


def _base_name(path: Path, config: dict[str, Any]) -> str | None:
    field = f"{path}: base_model_name_or_path"
    found = config.get("base_model_name_or_path")
    if found is None:
        return None
    if not isinstance(found, str) or not found.isprintable() or len(found) > 1000:
        raise AdapterError(f"{field}: {show(found)} is not a name")
    if any(len(part) > 255 for part in found.split("/")):  # no file system takes it
        raise AdapterError(f"{field}: {show(found)} is too long for a name")
    return found or None


def _canonical(field: str, value: Any, default: Any) -> Any:
    """Write equal settings alike: 8 and 8.0, names in any order; the order of patterns counts."""
    if isinstance(default, float):
        return float(value)
    if isinstance(value, dict):
        as_float = field in ("alpha_pattern", "lambda_pattern")
        return [[key, float(each) if as_float else each] for key, each in value.items()]
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return sorted(value)
    return value
