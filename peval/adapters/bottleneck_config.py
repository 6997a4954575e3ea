"""How a bottleneck adapter of the ``adapters`` library computes, from its adapter_config.json.

Source: adapter-hub/adapters 1.3.0, ``configuration/adapter_config.py`` (the settings and what they
are where the file has none) and ``methods/modeling.py`` (what they do).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from peval.adapters.config import CONFIG_FILE
from peval.errors import AdapterError
from peval.strict_json import read_object, show

LIBRARY = "adapters."
ACTIVATIONS = frozenset({
    "relu", "gelu", "gelu_new", "gelu_fast", "gelu_python", "gelu_pytorch_tanh", "quick_gelu",
    "swish", "silu", "mish", "leakyrelu", "tanh", "sigmoid", "linear", "relu2", "relu6",
})  # fmt: skip
_ARCHITECTURES = {
    "lora": "LoRA", "mtl_lora": "MTL-LoRA", "prefix_tuning": "prefix tuning", "reft": "ReFT",
    "prompt_tuning": "prompt tuning", "union": "a union of methods",
}  # fmt: skip
_OFF = {
    "phm_layer": "PHM layers (Compacter)", "inv_adapter": "invertible adapters",
    "use_gating": "gating", "is_parallel": "parallel adapters",
}  # fmt: skip
_OF_TRAINING = frozenset({
    "architecture", "dropout", "stochastic_depth", "init_weights", "init_weights_seed",
    "inv_adapter_reduction_factor", "phm_dim", "phm_c_init", "phm_init_range", "phm_rank",
    "phm_bias", "learn_phm", "shared_phm_rule", "shared_W_phm", "factorized_phm_rule",
    "factorized_phm_W", "hypercomplex_nonlinearity",
})  # fmt: skip
_SURROUNDINGS = frozenset({
    "config", "config_id", "hidden_size", "model_class", "model_name", "model_type", "name",
    "version", "type",
})  # fmt: skip
_FLAGS = {
    "mh_adapter": None, "output_adapter": None, "cross_adapter": False, "ln_before": False,
    "ln_after": False, "original_ln_before": False, "original_ln_after": True,
    "residual_before_ln": True, "adapter_residual_before_ln": False,
}  # fmt: skip
_KNOWN = frozenset({*_FLAGS, "non_linearity", "scaling", "reduction_factor", "leave_out"})


@dataclass(frozen=True)
class Bottleneck:
    """What is computed behind a sublayer, of its output h and the residual r beside it.

    With x = h + r where it ``sees_residual``, else h, the sublayer's output becomes
    up(act(down(x))) * scaling + k, with k = x where it ``keeps_residual``, else h; the model then
    adds r as it always does. ``ln_before`` normalises x on its way down, ``ln_after`` the result:
    before k is added, or after it where it ``norms_sum``. ``scaling`` may be trained.
    """

    activation: str
    scaling: float | str
    sees_residual: bool
    keeps_residual: bool
    ln_before: bool
    ln_after: bool
    norms_sum: bool


@dataclass(frozen=True)
class BottleneckConfig:
    """A vetted config: where bottlenecks stand, how wide they are and how they compute.

    ``factors`` divide the hidden size, by layer; "default" is for all that are not named.
    """

    path: Path
    name: str
    model_type: str
    base_name: str | None
    hidden_size: int | None
    sites: frozenset[str]
    leave_out: frozenset[int]
    factors: Mapping[str, float]
    how: Bottleneck

    @property
    def method(self) -> str:
        """The design's name, where it has one."""
        both = {"mh_adapter", "output_adapter"} <= self.sites
        how = self.how
        if both and not how.sees_residual and not how.ln_before and not how.ln_after:
            return "Houlsby"
        if self.sites == {"output_adapter"} and how.sees_residual and not how.keeps_residual:
            return "AdapterPlus" if how.scaling == "channel" else "Pfeiffer"
        return "bottleneck"

    def width(self, layer: int, hidden_size: int) -> int:
        """Return how wide the bottlenecks of a layer are."""
        factor = self.factors.get(str(layer), self.factors.get("default"))
        if factor is None:
            self.refuse("reduction_factor", f"has none for layer {layer}, and no default")
        return max(1, int(hidden_size // factor))

    def fingerprint(self) -> bytes:
        """Return the part that has an effect beside the tensors' names and shapes."""
        return json.dumps(asdict(self.how), sort_keys=True).encode()

    def refuse(self, field: str, why: str) -> NoReturn:
        """Raise the one-line error about a setting."""
        raise AdapterError(f"{self.path}: {field}: {why}")


def is_bottleneck(path: Path) -> bool:
    """Say whether a directory's config is one of the ``adapters`` library rather than PEFT's."""
    file = path / CONFIG_FILE
    if not file.is_file():
        return False
    found = read_object(file, AdapterError)
    return "peft_type" not in found and "config" in found and "model_type" in found


def read_bottleneck_config(directory: Path) -> BottleneckConfig:
    """Read and vet the config of an adapter of that library.

    Raises
    ------
    AdapterError
        It is malformed, or holds something whose effect is not known.
    """
    path = directory / CONFIG_FILE
    found = read_object(path, AdapterError)
    _check_surroundings(path, found)
    config = found["config"]
    _check_method(path, config)
    flags = {field: _flag(path, config, field, default) for field, default in _FLAGS.items()}
    sites = frozenset(f for f in ("mh_adapter", "output_adapter", "cross_adapter") if flags[f])
    if not sites:
        _refuse(path, "config", "puts adapters nowhere (mh_adapter, output_adapter, cross_adapter)")
    leave_out = config.get("leave_out") or []
    if not isinstance(leave_out, list) or not all(type(n) is int and n >= 0 for n in leave_out):
        _refuse(path, "leave_out", f"{show(leave_out)} is not a list of layers")
    return BottleneckConfig(
        path, found["name"], found["model_type"], found.get("model_name") or None,
        found.get("hidden_size"), sites, frozenset(leave_out), _factors(path, config),
        _how(path, config, flags),
    )  # fmt: skip


def _check_surroundings(path: Path, found: Mapping[str, Any]) -> None:
    version = found.get("version")
    if not isinstance(version, str) or not version.startswith(LIBRARY):
        _refuse(path, "version", f"{show(version)} is not the adapters library's (1.0 or later); "
                "load it there and save it again")  # fmt: skip
    for field, value in found.items():
        if field not in _SURROUNDINGS and value not in (None, False, "", [], {}):
            _refuse(path, show(field), f"unknown setting {show(value)}")
    for field in ("name", "model_type"):
        value = found.get(field)
        if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) < 256:
            _refuse(path, field, f"{show(value)} is not a name")
    if "." in found["name"]:
        _refuse(path, "name", f"{show(found['name'])} has a dot, which no module's name has")
    named = found.get("model_name")
    if named is not None and not (
        isinstance(named, str) and named.isprintable() and len(named) <= 1000
        and all(len(part) <= 255 for part in named.split("/"))
    ):  # fmt: skip
        _refuse(path, "model_name", f"{show(named)} is not a name")
    if not isinstance(found["config"], dict):
        _refuse(path, "config", f"{show(found['config'])} is not an object of settings")


def _check_method(path: Path, config: Mapping[str, Any]) -> None:
    """Refuse other methods than bottlenecks, and settings without an equation."""
    kind = config.get("architecture")
    if kind is not None:
        what = _ARCHITECTURES.get(kind, show(kind)) if isinstance(kind, str) else show(kind)
        _refuse(path, "architecture", f"{what} of the adapters library is not served, only its "
                "bottleneck adapters; save it with PEFT")  # fmt: skip
    for field, value in config.items():
        if field in _OFF and value not in (None, False):
            _refuse(path, field, f"{_OFF[field]} are not served")
        if field in _KNOWN or field in _OFF or field in _OF_TRAINING:
            continue
        if value not in (None, False, "", [], {}):
            _refuse(path, show(field), f"unknown setting {show(value)}; it could change what the "
                    "adapter computes (delete it if it has no effect)")  # fmt: skip


def _flag(path: Path, config: Mapping[str, Any], field: str, default: bool | None) -> bool:
    value = config.get(field, default)
    if not isinstance(value, bool):
        why = "is missing" if value is None else f"{show(value)} is neither true nor false"
        _refuse(path, field, why)
    return value


def _how(path: Path, config: Mapping[str, Any], flags: Mapping[str, bool]) -> Bottleneck:
    activation = config.get("non_linearity")
    if not isinstance(activation, str) or activation.lower() not in ACTIVATIONS:
        _refuse(path, "non_linearity", f"{show(activation)} is not one of "
                f"{', '.join(sorted(ACTIVATIONS))}")  # fmt: skip
    scaling = config.get("scaling", 1.0)
    if scaling not in ("learned", "channel"):
        scaling = _number(path, "scaling", scaling)
    sees = flags["original_ln_before"]
    keeps = sees and not flags["residual_before_ln"]
    if not flags["original_ln_after"]:
        # The library then leaves the residual out behind it, so it must be in what is kept.
        if not keeps or (flags["ln_after"] and flags["adapter_residual_before_ln"]):
            _refuse(path, "original_ln_after", "false is served only where the residual is kept "
                    "(original_ln_before, residual_before_ln false)")  # fmt: skip
        keeps = False
    return Bottleneck(
        activation.lower(), scaling, sees, keeps,
        flags["ln_before"], flags["ln_after"], flags["adapter_residual_before_ln"],
    )  # fmt: skip


def _factors(path: Path, config: Mapping[str, Any]) -> dict[str, float]:
    given = config.get("reduction_factor")
    found = given if isinstance(given, dict) else {"default": given}
    if len(found) > 10_000:
        _refuse(path, "reduction_factor", "an object of at most 10,000 entries is needed")
    for layer in found:
        if layer != "default" and not layer.isdecimal():
            _refuse(path, "reduction_factor", f"{show(layer)} is no layer")
    factors = {n: _number(path, "reduction_factor", value) for n, value in found.items()}
    if any(factor <= 0 for factor in factors.values()):
        _refuse(path, "reduction_factor", f"{show(given)} is not above 0")
    return factors


def _number(path: Path, field: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        _refuse(path, field, f"{show(value)} is not a number")
    if not 1e-6 <= abs(value) <= 1e9:
        _refuse(path, field, f"{show(value)} is not a finite number other than 0")
    return float(value)


def _refuse(path: Path, field: str, why: str) -> NoReturn:
    raise AdapterError(f"{path}: {field}: {why}")
