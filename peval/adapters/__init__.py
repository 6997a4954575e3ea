"""Adapters: find them, vet them, hash them.

Reading starts here: `load_adapter` is the whole path an adapter takes before an engine sees it.
Neither torch nor peft is imported, and nothing in an adapter's files is executed.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from peval.adapters.config import LoraSettings, read_settings
from peval.adapters.paths import expand, names
from peval.adapters.weights import (
    BaseWeights,
    Shapes,
    check_frozen,
    check_ranks,
    check_shapes,
    pair_tensors,
    survey,
    weights_file,
)
from peval.bases import load_base, n_layers
from peval.errors import AdapterError, BaseModelError
from peval.safetensors_file import read_header
from peval.types import Adapter, Base

__all__ = ["base_of", "describe", "expand", "load_adapter", "names"]


def load_adapter(
    path: Path,
    name: str,
    base: Base | None,
    shapes: Shapes | None,
    allow_base_mismatch: bool = False,
) -> Adapter:
    """Vet an adapter directory from its files alone.

    Parameters
    ----------
    path
        The adapter's directory.
    name
        What to call it.
    base
        The base model it will be used with; None leaves out the checks against it.
    shapes
        The base's weights (`bases.weight_shapes`). They are checked whatever base is named.
    allow_base_mismatch
        Accept an adapter whose config names another base.

    Raises
    ------
    AdapterError
        One line: the file, the field or tensor, and what is wrong with it.
    """
    settings = read_settings(path)
    file = weights_file(path)
    entries = read_header(file, AdapterError)
    pairs = pair_tensors(file, entries)
    modules = [pair.module for pair in pairs]
    check_ranks(file, pairs, settings)
    if base is not None and not allow_base_mismatch:
        _check_base(path, settings, base)
    if shapes is not None:
        weights = BaseWeights(shapes, n_layers(base) if base else None)
        check_shapes(file, pairs, settings, weights)
        check_frozen(file, entries, weights)
    seen = survey(file, entries, base.dtype if base else None)
    return Adapter(
        name=name,
        path=path,
        sha256=hashlib.sha256(settings.fingerprint() + seen.sha256.encode()).hexdigest(),
        method="rsLoRA" if settings.rank_stabilised else "LoRA",
        rank=settings.largest_rank,
        target_modules=tuple(sorted({module.rsplit(".", 1)[-1] for module in modules})),
        base_name=settings.base_name,
        changes_nothing=all({p.a.tensor, p.b.tensor} & seen.zero for p in pairs),
    )


def base_of(path: Path) -> str | None:
    """Return the base that an adapter's config names, as a local path where there is one.

    A relative path is tried from the current directory, then from the adapter's directory and
    its parents.
    """
    named = read_settings(path).base_name
    if named is None or Path(named).is_absolute():
        return named
    for start in (Path(), path.resolve(), *path.resolve().parents):
        if (start / named / "config.json").is_file():
            return str(start / named)
    return named


def describe(adapter: Adapter) -> dict[str, object]:
    """Collect what there is to say about an adapter, in the order it is best read."""
    settings = read_settings(adapter.path)
    file = weights_file(adapter.path)
    entries = read_header(file, AdapterError)
    pairs = pair_tensors(file, entries)
    return {
        "name": adapter.name,
        "path": str(adapter.path),
        "method": adapter.method,
        "ranks": sorted({pair.a.rank for pair in pairs}),
        "alpha": settings.alpha,
        "scalings": sorted({settings.scaling_of(pair.module) for pair in pairs}),
        "target_modules": list(adapter.target_modules),
        "n_modules": len(pairs),
        "n_parameters": sum(half.rank * half.outer for pair in pairs for half in (pair.a, pair.b)),
        "n_bytes": file.stat().st_size,
        "base": adapter.base_name,
        "sha256": adapter.sha256,
        "route": adapter.route,
        "changes_nothing": adapter.changes_nothing,
    }


def _check_base(path: Path, settings: LoraSettings, base: Base) -> None:
    """Refuse an adapter that names another base; a copy of the same base elsewhere will do."""
    named = base_of(path)
    if named is None or named == base.name:
        return
    directory = Path(named)
    if directory.is_dir():
        same = directory.resolve() == base.path.resolve() or _sha256(named) == base.sha256
    else:
        same = _last_part(named) in {_last_part(base.name), _last_part(str(base.path))}
    if not same:
        raise AdapterError(
            f"{settings.path}: base_model_name_or_path: made for {named!r}, given {base.name!r}; "
            "--allow-base-mismatch if they are the same model"
        )


def _sha256(named: str) -> str | None:
    try:
        return load_base(named).sha256
    except BaseModelError:
        return None


def _last_part(name: str) -> str:
    """Return the model's own name in a hub id, a path or a path in the Hub's cache."""
    return names([Path(name)])[0].rsplit("/", 1)[-1].casefold()
