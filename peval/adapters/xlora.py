"""X-LoRA: a small classifier weighs several LoRAs, the experts, at every token.

PEFT saves the classifier, and in the config the paths of the experts, which it would follow
anywhere. Here they must lie in the adapter's own directory, under the path or its last part.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from pathlib import Path

from peval.adapters.config import Config
from peval.adapters.entries import Entries, check_shape, refuse
from peval.adapters.equations import Tensors
from peval.adapters.required import Plan
from peval.strict_json import show

PEFT_TYPE = "XLORA"
_CLASSIFIER = "base_model.internal_xlora_classifier.layers"
_MAX_EXPERTS = 1000
_MAX_DEPTH = 1000
_PLAIN = (".lora_A.weight", ".lora_B.weight")


def expert_folders(config: Config) -> list[Path]:
    """Return the folders of an X-LoRA's experts, in the order of the classifier's outputs.

    Raises
    ------
    AdapterError
        One of them is not in the adapter's directory.
    """
    given = config.settings.get("adapters")
    if not isinstance(given, dict) or not 1 <= len(given) <= _MAX_EXPERTS:
        config.refuse("adapters", f"{show(given)} names no experts")
    keys = [str(n) for n in range(len(given))]
    if set(given) != set(keys):
        config.refuse("adapters", f"PEFT loads only experts called 0, 1 and so on, these are "
                      f"called {show(sorted(given))}")  # fmt: skip
    paths = [given[key] for key in keys]
    home = config.path.parent
    found = [_inside(home, path) if _is_path(path) else None for path in paths]
    if None in found:
        outside = [path for path, folder in zip(paths, found, strict=True) if folder is None]
        config.refuse("adapters", f"{show(outside)[1:-1]}: no such folder in {home}, and paths out "
                      "of it are not followed; copy each expert's folder into it")  # fmt: skip
    folders = [folder for folder in found if folder is not None]
    for n, folder in enumerate(folders):
        if (first := folders.index(folder)) != n and paths[first] != paths[n]:
            config.refuse("adapters", f"{show(paths[first])} and {show(paths[n])} would both be "
                          f"the folder {folder.name}; name them apart")  # fmt: skip
    return folders


def check_expert(config: Config, folder: Path, method: str, tensors: Sequence[str]) -> None:
    """Refuse an expert that is more than a LoRA on linear layers, which is all PEFT mixes."""
    odd = next((name for name in tensors if not name.endswith(_PLAIN)), None)
    if method not in ("LoRA", "rsLoRA") or odd is not None:
        what = f"holds {show(odd)}" if odd is not None else f"is {method}"
        config.refuse("adapters", f"the expert in {folder.name} {what}; X-LoRA mixes plain LoRAs "
                      "of linear layers")  # fmt: skip


def check_classifier(
    file: Path, entries: Entries, config: Config, n_experts: int, n_layers: int
) -> Plan:
    """Hold the classifier's tensors against the config; ``n_layers`` counts LoRA's modules.

    Raises
    ------
    AdapterError
        Names the first tensor that is missing, unused or of another shape.
    """
    required = classifier_tensors(config, n_experts, n_layers)
    for name in entries:
        if name not in required:
            refuse(file, name, f"is not of the classifier, which holds {', '.join(required)}")
    for name, shape in required.items():
        if name not in entries:
            refuse(file, name, "is missing, as PEFT 0.21 leaves it out when it saves an X-LoRA; "
                   "save what has 'xlora_classifier' in its name in model.state_dict() "
                   "instead")  # fmt: skip
        check_shape(file, name, entries, shape)
    return Plan(required)


def classifier_tensors(config: Config, n_experts: int, n_layers: int) -> Tensors:
    """Return the classifier's tensors: linear layers with ReLU, and dropout, between them."""
    depth = config.whole("xlora_depth", 1, 1, _MAX_DEPTH)
    inner = config.whole("xlora_size", 2048, 1, 1 << 40)
    width = config.whole("hidden_size", None, 1, 1 << 40)
    if config.settings.get("top_k_lora") is not None:
        config.whole("top_k_lora", None, 1, n_experts)
    _number(config, "scaling_pass_value", 0.0, 1e9)
    step = 3 if _number(config, "xlora_dropout_p", 0.2, 1.0) > 0 else 2
    n_out = n_experts * (n_layers if config.flag("layerwise_scalings") else 1)
    sizes = [width, *[inner] * (depth - 1), n_out]
    found: Tensors = {}
    for n, (n_in, out) in enumerate(itertools.pairwise(sizes)):
        found[f"{_CLASSIFIER}.{n * step}.weight"] = (out, n_in)
        found[f"{_CLASSIFIER}.{n * step}.bias"] = (out,)
    return found


def _number(config: Config, field: str, default: float, most: float) -> float:
    """Return a setting that may be 0."""
    value = config.settings.get(field, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        config.refuse(field, f"{show(value)} is not a number from 0 to {most:g}")
    return float(value)


def _is_path(text: object) -> bool:
    """Say whether a file system would take a path; it was written by a stranger."""
    if not isinstance(text, str) or not text.isprintable() or len(text) > 4000:
        return False
    return all(len(part.encode()) <= 255 for part in text.split("/"))


def _inside(home: Path, text: str) -> Path | None:
    """Return the folder in ``home`` that a path means: itself, or one called like its last part.

    Nothing outside is looked at.
    """
    real = os.path.realpath(home)
    for place in (home / text, home / Path(text).name):
        if not Path(os.path.normpath(place)).is_relative_to(os.path.normpath(home)):
            continue
        found = Path(os.path.realpath(place))
        if found != Path(real) and found.is_relative_to(real) and found.is_dir():
            return found
    return None
