"""Classification heads: which tensors are one, and what its classes are called.

`transformers` puts a head ``score`` on decoders and ``classifier`` on encoders; PEFT stores either
beside an adapter of the type SEQ_CLS.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from peval.adapters.basemodel import PREFIX, BaseModel
from peval.adapters.config import Config
from peval.errors import AdapterError
from peval.safetensors_file import TensorEntry
from peval.strict_json import read_object, show

HEADS = ("score", "classifier")
_OUTPUTS = ("lm_head.", "embed_out.")
Entries = Mapping[str, TensorEntry]


def head_of(file: Path, entries: Entries, config: Config, base: BaseModel) -> Entries:
    """Return the tensors of an adapter's head; none where its type has none.

    Raises
    ------
    AdapterError
        The head is missing, or of another width than the base.
    """
    if not config.has_head:
        return {}
    found = heads_of(entries)
    if not found:
        raise AdapterError(f"{file}: no head ({' or '.join(HEADS)}), which task_type SEQ_CLS needs")
    _check_width(file, found, base)
    return found


def whole_head(path: Path, entries: Entries, base: BaseModel) -> Entries:
    """Return the tensors of a whole checkpoint's head; none where it has none."""
    found = heads_of(entries)
    if found:
        _check_width(path, found, base)
    return found


def replaces(tensor: str) -> bool:
    """Tell whether a head stands in the place of a base's tensor: its output layer."""
    return tensor.startswith(_OUTPUTS)


def classes(path: Path, entries: Entries) -> tuple[str, ...]:
    """Return the names of a head's classes, LABEL_0 and so on where its files have none.

    Raises
    ------
    AdapterError
        The config beside it names another number of classes.
    """
    sizes = {entry.shape[0] for entry in heads_of(entries).values()}
    if not sizes:
        return ()
    n = min(sizes)
    config = path / "config.json"
    named = read_object(config, AdapterError).get("id2label") if config.is_file() else None
    if not isinstance(named, dict) or not named:
        return tuple(f"LABEL_{i}" for i in range(n))
    if set(named) != {str(i) for i in range(n)}:
        raise AdapterError(
            f"{config}: id2label: {show(named)} does not name the {n} classes of the head"
        )
    return tuple(str(named[str(i)]) for i in range(n))


def heads_of(entries: Entries) -> dict[str, TensorEntry]:
    """Return the tensors that are named as a head's are."""
    stems = tuple(f"{name}." for name in HEADS)
    return {name: e for name, e in entries.items() if name.removeprefix(PREFIX).startswith(stems)}


def _check_width(file: Path, head: Entries, base: BaseModel) -> None:
    for name, entry in head.items():
        if name.endswith("weight") and entry.shape[-1] != base.output_size:
            raise AdapterError(
                f"{file}: tensor {show(name)} has shape {show(list(entry.shape))}, the base's last "
                f"vectors have {base.output_size} numbers"
            )
