"""Adapters: find them, vet them, hash them, choose their route.

Reading starts here: `load_adapter` is the whole path an adapter takes before an engine sees it.
Neither torch nor peft is imported, and nothing in an adapter's files is executed.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable
from pathlib import Path

from peval.adapters.basemodel import BaseModel, Shapes
from peval.adapters.bottleneck_config import is_bottleneck, read_bottleneck_config
from peval.adapters.bottlenecks import Bottlenecks, read_bottlenecks
from peval.adapters.checkpoint import Checkpoint, read_checkpoint
from peval.adapters.config import read_config
from peval.adapters.heads import classes, heads_of
from peval.adapters.links import check_links
from peval.adapters.own_tokenizer import own_words
from peval.adapters.paths import expand, names
from peval.adapters.routes import may_take
from peval.adapters.template import check_template
from peval.adapters.whole import Whole, is_whole, read_whole
from peval.bases import load_base
from peval.errors import AdapterError, BaseModelError
from peval.strict_json import read_object
from peval.types import CONTROL, HF, MERGE, Adapter, Base

Vetted = Checkpoint | Whole | Bottlenecks

__all__ = ["base_of", "control", "expand", "load_adapter", "names", "open_adapter", "routed"]


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
        The adapter's directory, or that of a whole checkpoint of the base's architecture.
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
    return as_adapter(path, name, open_adapter(path, base, shapes, allow_base_mismatch), base)


def open_adapter(
    path: Path, base: Base | None, shapes: Shapes | None, allow_base_mismatch: bool = False
) -> Vetted:
    """Vet an adapter directory and return all that was found in it; see `load_adapter`."""
    check_links(path)
    check_template(path)
    model = base_model(base, shapes) if base is not None and shapes is not None else None
    if is_whole(path):
        return read_whole(path, base, model)
    if base is not None and not allow_base_mismatch:
        _check_base(path, base)
    dtype = base.dtype if base else None
    found: Vetted
    if is_bottleneck(path):
        found = read_bottlenecks(path, model, dtype)
    else:
        found = read_checkpoint(path, model, dtype)
        if base is not None and not allow_base_mismatch:
            for expert in found.experts:
                _check_base(expert.path, base)
    return found


def as_adapter(path: Path, name: str, found: Vetted, base: Base | None) -> Adapter:
    """Return the noun for a vetted checkpoint.

    Raises
    ------
    AdapterError
        Its tokenizer's files are malformed.
    """
    if isinstance(found, Whole):
        adapter = _whole(path, name, found)
    elif isinstance(found, Bottlenecks):
        adapter = _bottlenecks(path, name, found)
    else:
        adapter = _adapter(path, name, found)
    words = own_words(path, base)
    if words is None:
        return adapter
    sha256 = hashlib.sha256(f"{adapter.sha256} words {words}".encode()).hexdigest()
    return dataclasses.replace(adapter, sha256=sha256, own_words=True)


def _adapter(path: Path, name: str, found: Checkpoint) -> Adapter:
    return Adapter(
        name=name,
        path=path,
        sha256=found.sha256,
        method=found.method,
        rank=found.config.largest_rank,
        target_modules=_kinds(found.modules),
        base_name=found.config.base_name,
        changes_nothing=found.changes_nothing,
        route=found.route.name,
        vocabulary_size=found.plan.rows if found.plan else None,
        is_apart=bool(found.plan and (found.plan.rows or found.plan.new_words)),
        n_virtual_tokens=found.config.n_virtual_tokens,
        labels=classes(path, found.entries) if found.config.has_head else (),
    )


def _bottlenecks(path: Path, name: str, found: Bottlenecks) -> Adapter:
    return Adapter(
        name=name,
        path=path,
        sha256=found.sha256,
        method=found.config.method,
        rank=0,
        target_modules=found.sublayers,
        base_name=found.config.base_name,
        changes_nothing=found.changes_nothing,
        route=found.route,
    )


def routed(adapter: Adapter, route: str) -> Adapter:
    """Return an adapter that takes another route than the one chosen for it.

    Raises
    ------
    AdapterError
        It cannot be applied that way.
    """
    is_head_in_vllm = bool(adapter.labels) and route == MERGE
    if not (may_take(adapter.route, route) or is_head_in_vllm):
        raise AdapterError(
            f"{adapter.path}: {adapter.method} cannot take the route {route}, only "
            f"{adapter.route}; `peval inspect` says why"
        )
    return dataclasses.replace(adapter, route=route)


def control(base: Base) -> Adapter:
    """Return the base as the control of adapters that only transformers can serve."""
    return Adapter(
        name=f"base-{HF}",
        path=base.path,
        sha256=base.sha256,
        method=CONTROL,
        rank=0,
        target_modules=(),
        base_name=None,
        changes_nothing=True,
        route=HF,
    )


def base_model(base: Base, shapes: Shapes) -> BaseModel:
    """Return what adapters are held against."""
    return BaseModel(shapes, read_object(base.path / "config.json", BaseModelError))


def base_of(path: Path) -> str | None:
    """Return the base that an adapter's config names, as a local path where there is one.

    A relative path is tried from the current directory, then from the adapter's directory and
    its parents. A whole checkpoint names none.
    """
    if is_whole(path):
        return None
    named = (read_bottleneck_config if is_bottleneck(path) else read_config)(path).base_name
    if named is None or Path(named).is_absolute():
        return named
    for start in (Path(), path.resolve(), *path.resolve().parents):
        if (start / named / "config.json").is_file():
            return str(start / named)
    return named


def _whole(path: Path, name: str, whole: Whole) -> Adapter:
    modules = (tensor.rsplit(".", 1)[0] for tensor in whole.changed)
    labels = classes(path, whole.entries)
    return Adapter(
        name=name,
        path=path,
        sha256=hashlib.sha256(f"whole {whole.sha256}".encode()).hexdigest(),
        method=whole.method,
        rank=0,
        target_modules=_kinds(modules),
        base_name=None,
        changes_nothing=not set(whole.changed) - set(heads_of(whole.entries)),
        route=whole.route,
        vocabulary_size=whole.rows,
        is_apart=whole.new_words,
        labels=labels,
    )


def _kinds(modules: Iterable[str]) -> tuple[str, ...]:
    """Return the last parts of modules' names."""
    return tuple(sorted({module.rsplit(".", 1)[-1] for module in modules}))


def _check_base(path: Path, base: Base) -> None:
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
        field = "model_name" if is_bottleneck(path) else "base_model_name_or_path"
        raise AdapterError(
            f"{path / 'adapter_config.json'}: {field}: made for {named!r}, given "
            f"{base.name!r}; --allow-base-mismatch if they are the same model"
        )


def _sha256(named: str) -> str | None:
    try:
        return load_base(named).sha256
    except BaseModelError:
        return None


def _last_part(name: str) -> str:
    """Return the model's own name in a hub id, a path or a path in the Hub's cache."""
    return names([Path(name)])[0].rsplit("/", 1)[-1].casefold()
