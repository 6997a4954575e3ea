"""`peval inspect`: what an adapter is and how it would be applied."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from peval import adapters, hub
from peval.adapters import facts
from peval.adapters.bottlenecks import Bottlenecks
from peval.adapters.checkpoint import Checkpoint
from peval.adapters.pickled import convert_pickles as _convert_pickles
from peval.adapters.vllm_view import vllm_says
from peval.adapters.whole import Whole
from peval.bases import encodes, load_base, weight_shapes
from peval.errors import BaseModelError
from peval.types import Base

_REFUSES_BASE = "refuses its base: it serves no encoder-decoder models"


def paths(patterns: Sequence[str]) -> list[Path]:
    """Return the adapter directories that the patterns name."""
    return adapters.expand(patterns)


def convert_pickles(paths: Sequence[Path]) -> None:
    """Write pickled weights as safetensors beside them, so that they can be inspected and scored.

    Raises
    ------
    AdapterError
        A file holds anything but tensors.
    """
    for path in paths:
        _convert_pickles(path)


def inspect(path: Path, base: str | None, allow_base_mismatch: bool) -> dict[str, Any]:
    """Vet one adapter, against its base where that can be read, and describe it.

    Raises
    ------
    AdapterError
        What makes it unusable, in one line.
    """
    named = base or adapters.base_of(path)
    if not base and named and not hub.is_here(named):
        # A stranger's config does not choose what is downloaded.
        return _inspect(path, None, f"not checked against its base: {named!r} is not on this "
                        "machine; give --base to fetch it", allow_base_mismatch)  # fmt: skip
    checked = None
    try:
        checked = load_base(named) if named else None
    except BaseModelError as error:
        if base:
            raise
        unchecked = f"not checked against its base: {error}"
    else:
        unchecked = "" if checked else "not checked against a base: its config names none"
    return _inspect(path, checked, unchecked, allow_base_mismatch)


def _inspect(
    path: Path, checked: Base | None, unchecked: str, allow_base_mismatch: bool
) -> dict[str, Any]:
    """Describe one adapter, held against its base where that is at hand."""
    (name,) = adapters.names([path])
    shapes = weight_shapes(checked) if checked else None
    found = adapters.open_adapter(path, checked, shapes, allow_base_mismatch)
    n_base = sum(map(math.prod, shapes.values())) if shapes else None
    return {
        **_identity(path, name, found, checked),
        **_described(found),
        **_sizes(found, n_base),
        **_surroundings(path, checked),
        "unchecked": unchecked,
    }


def _identity(path: Path, name: str, found: adapters.Vetted, base: Base | None) -> dict[str, Any]:
    adapter = adapters.as_adapter(path, name, found, base)
    return {
        "name": name,
        "path": str(path),
        "method": adapter.method,
        "base": adapter.base_name,
        "target_modules": list(adapter.target_modules),
        "classes": list(adapter.labels),
        "changes_nothing": adapter.changes_nothing,
        "sha256": adapter.sha256,
    }


def _described(found: adapters.Vetted) -> dict[str, Any]:
    if isinstance(found, Whole):
        return _whole(found)
    return _bottlenecks(found) if isinstance(found, Bottlenecks) else _method(found)


def _method(found: Checkpoint) -> dict[str, Any]:
    """Return what the config says, and where it leads."""
    config, route = found.config, found.route
    has_alpha = config.method.has_rank and {"alpha", "lora_alpha"} & config.method.settings.keys()
    planned = [m.name for m in found.plan.modules] if found.plan else []
    adapted = planned or list(found.modules)
    return {
        "peft_type": config.method.peft_type,
        "ranks": sorted(set(map(config.rank_of, adapted))) if config.method.has_rank else [],
        "rank_pattern": config.pattern("rank_pattern"),
        "alpha": config.alpha if has_alpha else None,
        "alpha_pattern": config.pattern("alpha_pattern"),
        "scalings": sorted(set(map(config.scaling_of, adapted))) if has_alpha else [],
        "n_modules": len(adapted),
        "route": route.name,
        "route_why": route.why,
        "vllm": _REFUSES_BASE if found.encodes else vllm_says(config, found.entries),
    }


def _whole(found: Whole) -> dict[str, Any]:
    return {
        "peft_type": None,
        "ranks": [], "rank_pattern": {}, "alpha": None, "alpha_pattern": {}, "scalings": [],
        "n_modules": len({name.rsplit(".", 1)[0] for name in found.changed}),
        "route": found.route,
        "route_why": f"{len(found.changed)} of {len(found.entries)} tensors are not the base's; "
                     + found.why,
        "vllm": _REFUSES_BASE if encodes(found.config)
                else "takes it as a base of its own, not as an adapter",
    }  # fmt: skip


def _bottlenecks(found: Bottlenecks) -> dict[str, Any]:
    scaling = found.config.how.scaling
    return {
        "peft_type": None,
        "ranks": [], "rank_pattern": {}, "alpha": None, "alpha_pattern": {},
        "scalings": [] if isinstance(scaling, str) else [scaling],
        "n_modules": found.n_modules,
        "route": found.route,
        "route_why": found.why,
        "vllm": "refuses it: no r, lora_alpha, target_modules in its config",
    }  # fmt: skip


def _sizes(found: adapters.Vetted, n_base: int | None) -> dict[str, Any]:
    parts = found.parts if isinstance(found, Checkpoint) else (found,)
    n_parameters = sum(map(_n_trained, parts))
    return {
        "n_parameters": n_parameters,
        "share_of_base": n_parameters / n_base if n_base else None,
        "n_bytes": sum(file.stat().st_size for part in parts for file in part.files),
        "dtypes": sorted({entry.dtype for part in parts for entry in part.entries.values()}),
    }


def _n_trained(part: adapters.Vetted) -> int:
    trained = part.changed if isinstance(part, Whole) else part.entries
    shapes = (part.entries[name].shape for name in trained if ".base_layer.weight" not in name)
    return sum(map(math.prod, shapes))


def _surroundings(path: Path, base: Base | None) -> dict[str, Any]:
    return {
        "tokenizer_differs_in": facts.tokenizer_differences(path, base),
        "chat_template": facts.template_difference(path, base),
        "added_tokens": facts.added_tokens(path, base),
        "training": facts.training(path),
    }


def text(found: Mapping[str, Any]) -> str:
    """Return a description as a person reads it."""
    share = found["share_of_base"]
    size = f"{found['n_parameters']:,} parameters"
    size += f" ({100 * share:.3g} % of the base)" if share is not None else ""
    rows = {
        "path": found["path"],
        "method": _method_text(found),
        "modules": f"{found['n_modules']} ({', '.join(found['target_modules'])})",
        "size": f"{size}, {found['n_bytes'] / 1e6:.1f} MB, {', '.join(found['dtypes'])}",
        "base": found["base"] or "not named",
        "classes": ", ".join(found["classes"]),
        "route": f"{found['route']}: {found['route_why']}",
        "vLLM": f"{found['vllm']} (alone, as it lies there)",
        "training": ", ".join(f"{key} {value}" for key, value in found["training"].items()),
        "sha256": found["sha256"],
    }
    lines = [found["name"], *(f"  {key:<8} {value}" for key, value in rows.items() if value)]
    return "\n".join(lines + [f"  {'note':<8} {note}" for note in _notes(found)])


def _method_text(found: Mapping[str, Any]) -> str:
    parts = [found["method"]]
    if found["ranks"]:
        parts.append(f"rank {_several(found['ranks'])}")
    if found["alpha"] is not None:
        parts += [f"alpha {found['alpha']:g}", f"scaling {_several(found['scalings'])}"]
    for field in ("rank_pattern", "alpha_pattern"):
        if found[field]:
            parts.append(f"{field} {found[field]}")
    return ", ".join(parts)


def _notes(found: Mapping[str, Any]) -> list[str]:
    notes = [found["unchecked"]] if found["unchecked"] else []
    if found["changes_nothing"]:
        notes.append(
            "all of it but its head is the base" if found["classes"]
            else "its update is exactly zero: it must score as the base"
        )  # fmt: skip
    if found["tokenizer_differs_in"]:
        notes.append(
            f"tokenizer differs from the base's: {', '.join(found['tokenizer_differs_in'])}"
        )
    if found["added_tokens"]:
        notes.append(f"added tokens: {', '.join(map(repr, found['added_tokens'][:20]))}")
    if found["chat_template"] == "its own":
        notes.append("has a chat template of its own")
    return notes


def _several(values: Sequence[float]) -> str:
    """Return numbers without needless digits."""
    return ", ".join(f"{value:g}" for value in values)
