"""An adapter's tensors as their headers describe them, and what is wrong with a single one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from peval.errors import AdapterError
from peval.safetensors_file import FLOATS, TensorEntry
from peval.strict_json import show

Entries = Mapping[str, TensorEntry]
"""What the header of a safetensors file says of each tensor, by name."""


def refuse(file: Path, tensor: str, why: str) -> NoReturn:
    """Raise the one-line error about a tensor."""
    raise AdapterError(f"{file}: tensor {show(tensor)} {why}")


def check_dtypes(file: Path, entries: Entries) -> None:
    """Refuse what is not a plain floating-point tensor."""
    for name, entry in entries.items():
        if entry.dtype not in FLOATS:
            refuse(file, name, f"has dtype {entry.dtype}, not one of {', '.join(FLOATS)}")
    if not entries:
        raise AdapterError(f"{file}: no tensors in it, the adapter would change nothing")


def check_shape(file: Path, name: str, entries: Entries, wanted: tuple[object, ...]) -> None:
    """Refuse a tensor that is not of the shape asked for."""
    found = entries[name].shape
    fits = len(found) == len(wanted) and all(
        n in sizes if isinstance(sizes, frozenset) else n == sizes
        for n, sizes in zip(found, wanted, strict=True)
    )
    if not fits:
        asked = [sorted(n) if isinstance(n, frozenset) else n for n in wanted]
        refuse(
            file, name, f"has shape {show(list(found))}, the config and the base ask for {asked}"
        )
