"""Facts by which a sweep is read: from a checkpoint's own files, from a table of one's own."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from peval.adapters.facts import training
from peval.adapters.weights import BOTTLENECKS_FILE, WEIGHTS_FILE
from peval.errors import AdapterError, UsageError
from peval.safetensors_file import read_header
from peval.spelling import meant
from peval.strict_json import read_object
from peval.strict_yaml import read_yaml
from peval.types import Adapter

Fact = int | float | str
Facts = dict[str, Fact]

NAME = "adapter"
NUMBERS = ("rank", "alpha", "learning_rate", "steps", "epochs", "seed", "n_tasks", "bytes",
           "trainable_share")  # fmt: skip
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")
_ANY_WEIGHTS = ("*.safetensors", "*.bin")


def facts_of(adapter: Adapter, n_base: int | None = None) -> Facts:
    """Return what an adapter's files say of how it was made; what they do not say is left out.

    ``trainable_share`` is the number of trained parameters over that of the base, `n_base`.
    ``learning_rate`` is the trainer's argument, else the highest that it logged: what it logs last
    has decayed.
    """
    found: dict[str, Any] = {
        "method": adapter.method, "rank": adapter.rank or None,
        "target_modules": " ".join(sorted(adapter.target_modules)) or None,
        "alpha": _alpha(adapter.path), "bytes": _bytes(adapter.path),
        "trainable_share": _share(adapter, n_base),
    }  # fmt: skip
    recorded = training(adapter.path)
    found |= {key: recorded.get(key) for key in ("steps", "epochs", "seed", "learning_rate")}
    if named := _CHECKPOINT.fullmatch(adapter.path.name):
        found["steps"] = int(named[1])
        # Names are as long as it takes to tell adapters apart.
        found["series"] = adapter.name.rpartition("/")[0] or adapter.path.resolve().parent.name
    return {key: value for key, value in found.items() if value is not None}


def read_facts(path: Path, names: Sequence[str]) -> dict[str, Facts]:
    """Read a table of facts, CSV with a column ``adapter`` or YAML of mappings by adapter.

    Raises
    ------
    UsageError
        The file, the line and the field that cannot be read; or an adapter that is not in the run.
    """
    rows = _yaml_rows(path) if path.suffix in (".yaml", ".yml") else _csv_rows(path)
    found: dict[str, Facts] = {}
    for where, name, fields in rows:
        if name not in names:
            raise UsageError(f"{where}: no adapter {name!r} here; {meant(name, names)}")
        if name in found:
            raise UsageError(f"{where}: the adapter {name!r} stands there twice")
        found[name] = {key: _fact(key, value, f"{where}, {key}") for key, value in fields.items()}
    return found


Row = tuple[str, str, Mapping[str, Any]]


def _csv_rows(path: Path) -> Iterator[Row]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not readable: {' '.join(str(error).split())}") from error
    reader = csv.reader(text.splitlines())
    header = [name.strip() for name in next(reader, [])]
    if NAME not in header or len(set(header)) < len(header) or "" in header:
        raise UsageError(f"{path}: line 1: expected distinct column names, one of them {NAME!r}")
    for row in reader:
        where = f"{path}: line {reader.line_num}"
        if not row:
            continue
        if len(row) != len(header):
            raise UsageError(f"{where}: {len(row)} fields, the header has {len(header)}")
        fields = dict(zip(header, (cell.strip() for cell in row), strict=True))
        yield where, fields.pop(NAME), {key: cell for key, cell in fields.items() if cell}


def _yaml_rows(path: Path) -> Iterator[Row]:
    body = read_yaml(path, UsageError)
    if not isinstance(body, dict) or not all(isinstance(v, dict) for v in body.values()):
        raise UsageError(f"{path}: expected a mapping of facts for each adapter")
    for name, fields in body.items():
        yield f"{path}: {name}", str(name), fields


def _fact(key: str, value: object, where: str) -> Fact:
    if isinstance(value, str):
        for read in (int, float):
            try:
                value = read(value)
                break
            except ValueError:
                continue
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise UsageError(f"{where}: {value!r} is neither a number nor a word")
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{where}: {value!r} is no finite number")
    if key in NUMBERS and isinstance(value, str):
        raise UsageError(f"{where}: {value!r} is no number")
    return value


def _share(adapter: Adapter, n_base: int | None) -> float | None:
    """Return trained over base parameters of an adapter; a whole checkpoint's are not told."""
    files = (adapter.path / name for name in (WEIGHTS_FILE, BOTTLENECKS_FILE))
    file = next((file for file in files if file.is_file()), None)
    if not n_base or file is None:
        return None
    entries = read_header(file, AdapterError)
    n_own = sum(
        math.prod(e.shape) for name, e in entries.items() if ".base_layer.weight" not in name
    )
    return n_own / n_base


def _alpha(path: Path) -> float | None:
    config = path / "adapter_config.json"
    if not config.is_file():
        return None
    fields = read_object(config, AdapterError)
    found = fields.get("lora_alpha", fields.get("alpha"))
    return found if isinstance(found, int | float) and not isinstance(found, bool) else None


def _bytes(path: Path) -> int | None:
    sizes = [file.stat().st_size for pattern in _ANY_WEIGHTS for file in path.glob(pattern)]
    return sum(sizes) or None
