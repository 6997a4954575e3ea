"""Which adapters a user means, and what to call them."""

from __future__ import annotations

import glob
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from peval import hub
from peval.adapters.config import CONFIG_FILE
from peval.adapters.whole import is_whole
from peval.errors import AdapterError

_CHECKPOINT = re.compile(r"checkpoint-\d+")
_DEPTH = 2  # runs/one/checkpoint-100, or checkpoint-100/<adapter name>


def expand(patterns: Sequence[str]) -> list[Path]:
    """List the adapter directories that patterns mean.

    Parameters
    ----------
    patterns
        Each an adapter directory, a directory with adapters up to two levels below it, a shell
        glob, or a hub id. A directory with an ``adapter_config.json`` is itself the adapter; its
        checkpoints are then not added. A whole model is taken as a finetune where it is named
        itself, or is called ``checkpoint-<number>``.

    Returns
    -------
    list of Path
        Without duplicates, in the order given; within one pattern checkpoints count upwards.

    Raises
    ------
    AdapterError
        A pattern finds nothing.
    """
    found: dict[Path, Path] = {}
    for pattern in patterns:
        for path in _expand_one(pattern):
            found.setdefault(path.resolve(), path)
    return list(found.values())


def names(paths: Sequence[Path]) -> list[str]:
    """Name adapters: the folder, with as many parents as it takes to tell them apart.

    A ``checkpoint-100`` always shows its parent.
    """
    parts = [_readable_parts(path) for path in paths]
    lengths = [2 if _CHECKPOINT.fullmatch(p[-1]) else 1 for p in parts]
    while True:
        labels = ["/".join(p[-n:]) for p, n in zip(parts, lengths, strict=True)]
        counts = Counter(labels)
        longer = [
            n + 1 if counts[label] > 1 and n < len(p) else n
            for p, n, label in zip(parts, lengths, labels, strict=True)
        ]
        if longer == lengths:
            break
        lengths = longer
    repeated = next((label for label in labels if counts[label] > 1), None)
    if repeated is not None:
        raise AdapterError(f"{repeated}: the same adapter is given twice")
    return labels


def _expand_one(pattern: str) -> list[Path]:
    given = Path(pattern).expanduser()
    if not given.exists() and glob.has_magic(pattern):
        matched = [Path(p) for p in glob.glob(str(given), recursive=True)]  # noqa: PTH207
        found = [a for p in sorted(matched, key=_natural) if p.is_dir() for a in _named(p)]
        if not found:
            raise AdapterError(
                f"--adapter {pattern!r}: no {CONFIG_FILE} in the {len(matched)} paths it matches"
            )
        return found
    path = hub.resolve(pattern, "--adapter", AdapterError)
    if not path.is_dir():
        raise AdapterError(f"{path}: an adapter is a directory, this is a file")
    found = _named(path)
    if not found:
        raise AdapterError(f"{path}: no {CONFIG_FILE} in it or in its subdirectories")
    return found


def _named(path: Path) -> list[Path]:
    """List the adapters that a directory means: those in it, or itself as a whole model."""
    found = _below(path, _DEPTH)
    if is_whole(path) and not any((each / CONFIG_FILE).is_file() for each in found):
        return [path]
    return found


def _below(path: Path, depth: int) -> list[Path]:
    """List the adapters in a directory: itself, or else those below it."""
    if (path / CONFIG_FILE).is_file():
        return [path]
    if depth < _DEPTH and _CHECKPOINT.fullmatch(path.name) and is_whole(path):
        return [path]
    if depth == 0:
        return []
    try:
        children = [p for p in path.iterdir() if p.is_dir() and not p.name.startswith(".")]
    except OSError:  # not ours to read
        return []
    return [a for child in sorted(children, key=_natural) for a in _below(child, depth - 1)]


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sort numbers within names by value: checkpoint-50 before checkpoint-100."""
    pieces = re.split(r"(\d+)", str(path))
    return [(int(p), p) if p.isdecimal() and len(p) < 19 else (-1, p) for p in pieces]


def _readable_parts(path: Path) -> list[str]:
    """Split a path; ``models--org--name/snapshots/<commit>`` of the Hub's cache is org/name."""
    parts = [p for p in path.resolve().parts if p != "/"]
    if len(parts) > 2 and parts[-2] == "snapshots" and parts[-3].startswith("models--"):
        return parts[-3].split("--")[1:]
    return parts or ["/"]
