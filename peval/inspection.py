"""`peval inspect`: what an adapter is and how it would be applied."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from peval import adapters
from peval.bases import load_base, weight_shapes
from peval.errors import BaseModelError


def paths(patterns: Sequence[str]) -> list[Path]:
    """Return the adapter directories that the patterns name."""
    return adapters.expand(patterns)


def inspect(path: Path, base: str | None, allow_base_mismatch: bool) -> dict[str, Any]:
    """Vet one adapter, against its base where that can be read, and describe it.

    Raises
    ------
    AdapterError
        What makes it unusable, in one line.
    """
    named = base or adapters.base_of(path)
    checked = None
    try:
        checked = load_base(named) if named else None
    except BaseModelError as error:
        if base:
            raise
        unchecked = f"not checked against its base: {error}"
    else:
        unchecked = "" if checked else "not checked against a base: its config names none"
    (name,) = adapters.names([path])
    shapes = weight_shapes(checked) if checked else None
    adapter = adapters.load_adapter(path, name, checked, shapes, allow_base_mismatch)
    return adapters.describe(adapter) | {"unchecked": unchecked}


def text(found: dict[str, Any]) -> str:
    """Return a description as a person reads it."""
    rows = {
        "path": found["path"],
        "method": f"{found['method']}, rank {_several(found['ranks'])}, alpha {found['alpha']}, "
        f"scaling {_several(found['scalings'])}",
        "modules": f"{found['n_modules']} ({', '.join(found['target_modules'])})",
        "size": f"{found['n_parameters']:,} parameters, {found['n_bytes'] / 1e6:.1f} MB",
        "base": found["base"] or "not named",
        "route": found["route"],
        "sha256": found["sha256"],
    }
    notes = [found["unchecked"]] if found["unchecked"] else []
    if found["changes_nothing"]:
        notes.append("its update is exactly zero: it must score as the base")
    lines = [found["name"], *(f"  {key:<8} {value}" for key, value in rows.items())]
    return "\n".join(lines + [f"  {'note':<8} {note}" for note in notes])


def _several(values: Sequence[float]) -> str:
    """Return numbers without needless digits."""
    return ", ".join(f"{value:g}" for value in values)
