"""What this machine remembers between runs: file hashes, speeds, what references computed.

All lives in ``$XDG_CACHE_HOME/peval`` (default ``~/.cache/peval``). It only saves time: an
unreadable cache counts as empty, and a failure to write one is ignored.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_MIN_CACHED_BYTES = 1 << 24  # smaller files hash faster than the cache is written
_MAX_ENTRIES = 2000
_SETTLED_S = 2.0  # timestamps are coarse: a file younger than this may change unseen
_SHA256_NAME = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Rate:
    """How fast an engine answered, and how long it took to start."""

    requests_per_s: float
    start_s: float


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's content, remembered for large files that did not change.

    The Hub's cache names large files by their sha256 (``blobs/<64 hex digits>``); that name is
    believed.
    """
    real = path.resolve()
    if real.parent.name == "blobs" and _SHA256_NAME.fullmatch(real.name):
        return real.name
    with real.open("rb") as file:
        stat = os.fstat(file.fileno())
        if stat.st_size < _MIN_CACHED_BYTES:
            return hashlib.file_digest(file, "sha256").hexdigest()
        state = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
        known = _read("hashes.json").get(str(real))
        if isinstance(known, dict) and known.get("state") == state:
            return str(known["sha256"])
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if time.time() - max(stat.st_mtime, stat.st_ctime) > _SETTLED_S:
        _remember("hashes.json", str(real), {"state": state, "sha256": sha256})
    return sha256


def record_rate(base_sha256: str, engine: str, requests_per_s: float, start_s: float) -> None:
    """Remember the speed of the latest run of a base model on an engine."""
    _remember("rates.json", f"{base_sha256} {engine}", asdict(Rate(requests_per_s, start_s)))


def known_rate(base_sha256: str, engine: str) -> Rate | None:
    """Return the speed of the latest such run on this machine, None if there was none."""
    found = _read("rates.json").get(f"{base_sha256} {engine}", {})
    try:
        return Rate(float(found["requests_per_s"]), float(found["start_s"]))
    except (TypeError, KeyError, ValueError):
        return None


def recall(name: str) -> Any:
    """Return what `keep` kept under a name on this machine, None if nothing."""
    return _read(_kept(name)).get("kept")


def keep(name: str, value: object) -> None:
    """Keep a JSON-able value under a name, in a file of its own."""
    path = _directory() / _kept(name)
    with contextlib.suppress(OSError, RuntimeError):
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, json.dumps({"kept": value}))


def _kept(name: str) -> str:
    return f"kept/{hashlib.sha256(name.encode()).hexdigest()}.json"


def _directory() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "peval"


def _read(name: str) -> dict[str, Any]:
    try:
        found = json.loads((_directory() / name).read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError):  # RuntimeError: no home directory
        return {}
    return found if isinstance(found, dict) else {}


def _remember(name: str, key: str, value: dict[str, Any]) -> None:
    """Add an entry and replace the file as a whole; of two writers at once one entry may go."""
    entries = _read(name)
    entries.pop(key, None)  # the newest entry comes last
    entries[key] = value
    kept = dict(list(entries.items())[-_MAX_ENTRIES:])
    with contextlib.suppress(OSError, RuntimeError):
        _directory().mkdir(parents=True, exist_ok=True)
        _replace(_directory() / name, json.dumps(kept, indent=0))


def _replace(path: Path, text: str) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).replace(path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise
