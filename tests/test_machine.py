from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from peval import machine


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(machine, "_MIN_CACHED_BYTES", 4)
    monkeypatch.setattr(machine, "_SETTLED_S", -1.0)
    return tmp_path / "cache" / "peval"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_hash_is_remembered_and_follows_changes(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"weights 1")
    assert machine.file_sha256(path) == sha256(b"weights 1")
    stored = cache / "hashes.json"
    stored.write_text(stored.read_text().replace(sha256(b"weights 1"), "known"))
    assert machine.file_sha256(path) == "known"
    times = path.stat()
    while path.stat().st_ctime_ns == times.st_ctime_ns:  # whose clock is coarse
        path.write_bytes(b"weights 2")  # same size, inode and modification time
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert machine.file_sha256(path) == sha256(b"weights 2")


def test_fresh_files_are_not_remembered(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_SETTLED_S", 60.0)
    (tmp_path / "weights").write_bytes(b"weights 1")
    machine.file_sha256(tmp_path / "weights")
    assert not (cache / "hashes.json").exists()


def test_hub_cache_names_are_believed(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    blob = tmp_path / "blobs" / ("a" * 64)
    blob.write_bytes(b"anything")
    (tmp_path / "model.safetensors").symlink_to(blob)
    assert machine.file_sha256(tmp_path / "model.safetensors") == "a" * 64


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"hashes": 1}', b"\xff"])
def test_damaged_cache_counts_as_empty(tmp_path: Path, cache: Path, content: bytes) -> None:
    cache.mkdir(parents=True)
    for name in ("hashes.json", "rates.json"):
        (cache / name).write_bytes(content)
    (tmp_path / "weights").write_bytes(b"weights 1")
    assert machine.file_sha256(tmp_path / "weights") == sha256(b"weights 1")
    assert machine.known_rate("base", "vllm") is None


def test_rates(cache: Path) -> None:
    assert machine.known_rate("base", "vllm") is None
    machine.record_rate("base", "vllm", 12.5, 30.0)
    machine.record_rate("base", "hf", 1.0, 5.0)
    assert machine.known_rate("base", "vllm") == machine.Rate(12.5, 30.0)
    assert machine.known_rate("base", "hf") == machine.Rate(1.0, 5.0)
    assert sorted(p.name for p in cache.iterdir()) == ["rates.json"]


def test_failure_to_write_is_ignored(cache: Path) -> None:
    cache.parent.mkdir()
    cache.write_text("a file where the directory should be")
    machine.record_rate("base", "vllm", 12.5, 30.0)
    assert machine.known_rate("base", "vllm") is None
