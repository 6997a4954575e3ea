"""The run directory: its files, its manifest, and whose configuration it holds."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peval.errors import RunError
from peval.types import Adapter, Chat, Decoding, Pool, Profile, Task

MANIFEST_VERSION = 1
PLANNED = "absent"
"""The manifest's entry that the plan adds: what each task lists but the data lacks."""
REPEATED = "repeated"
"""The manifest's entry once everything was asked a second time."""

PROOFS = "proofs"
"""The manifest's entry with what was proven of each adapter, by name ("" is the base)."""


@dataclass(frozen=True)
class RunDir:
    """Where each stage of a run lies."""

    path: Path

    @property
    def manifest(self) -> Path:
        """Everything needed to repeat the run."""
        return self.path / "manifest.json"

    @property
    def store(self) -> Path:
        """Samples, requests, completions and scores."""
        return self.path / "store.sqlite"

    @property
    def repeat(self) -> Path:
        """Completions and scores of the same requests in other batches (``--repeat-engine``)."""
        return self.path / "repeat.sqlite"

    @property
    def results(self) -> Path:
        """Estimates and comparisons; written when a run ends."""
        return self.path / "results.json"

    @property
    def report(self) -> Path:
        """The results in words, tables and figures."""
        return self.path / "report.md"

    @property
    def completions(self) -> Path:
        """One row per request, for pandas."""
        return self.path / "completions.parquet"

    @property
    def engine_log(self) -> Path:
        """What the engine printed."""
        return self.path / "engine.log"

    def claim(self, config: dict[str, Any]) -> bool:
        """Make the directory, or check that it holds a run of this very configuration.

        Returns
        -------
        bool
            Whether a planned run of this configuration is there to go on with.

        Raises
        ------
        RunError
            If the directory holds another configuration's run, other files, or is a file.
        """
        if self.manifest.exists():
            manifest = self.read_manifest()
            same = manifest["config"] == json.loads(json.dumps(config))
            # A run that stopped before its plan was stored has nothing that could be lost.
            if PLANNED in manifest and not same:
                raise RunError(
                    f"{self.path} holds a run of another configuration (differs in "
                    f"{_differences(manifest['config'], config)}); choose another --out, and "
                    f"--reuse {self.path} to keep its completions"
                )
            return PLANNED in manifest
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            strangers = [f.name for f in self.path.iterdir() if f.name not in self._own_names()]
        except OSError as error:
            raise RunError(
                f"{self.path}: cannot be a run directory ({error.strerror}); choose another --out"
            ) from error
        if strangers:
            raise RunError(
                f"{self.path} holds other files ({strangers[0]}) and no manifest.json; "
                "choose an empty or new directory as --out"
            )
        return False

    def read_manifest(self) -> dict[str, Any]:
        """Return the manifest; RunError if this is no run directory."""
        try:
            manifest = json.loads(self.manifest.read_text(encoding="utf-8"))
        except OSError:
            raise RunError(f"{self.path}: no manifest.json; is this a peval run?") from None
        except ValueError as error:
            raise RunError(f"{self.manifest}: not readable as JSON ({error})") from error
        if manifest.get("manifest_version") != MANIFEST_VERSION:
            version = manifest.get("manifest_version")
            raise RunError(f"{self.manifest}: version {version!r}; this peval reads 1")
        return dict(manifest)

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        """Write the manifest so that a reader sees the old one or the new one."""
        write_json(self.manifest, {"manifest_version": MANIFEST_VERSION} | manifest)

    def _own_names(self) -> set[str]:
        names = {p.name for p in (self.manifest, self.store, self.engine_log)}
        return names | {f"{self.store.name}-wal", f"{self.store.name}-shm"}


def write_text(path: Path, text: str) -> None:
    """Replace a file at once: a crash leaves the old content or the new, never half."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise RunError(
            f"{path}: cannot be written ({error.strerror}); what was computed is kept, "
            "the same command goes on"
        ) from error


def write_json(path: Path, content: object) -> None:
    """Write JSON at once; see `write_text`."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def digest(content: object) -> str:
    """Return the sha256 of a JSON-able value."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def record(noun: Any) -> dict[str, Any]:
    """Return a frozen record as JSON's own types."""
    return dict(json.loads(json.dumps(dataclasses.asdict(noun), default=str)))


def task_of(fields: dict[str, Any]) -> Task:
    """Rebuild a task from a manifest, or from results, which say more about it."""
    own = {f.name: fields[f.name] for f in dataclasses.fields(Task) if f.name in fields}
    profile = dict(fields["profile"])
    decoding = dict(profile["decoding"])
    decoding["stop"] = tuple(decoding["stop"])
    profile["decoding"] = Decoding(**decoding)
    profile["chat"] = Chat(**profile["chat"]) if profile["chat"] else None
    return Task(**own | {"profile": Profile(**profile), "metrics": tuple(fields["metrics"])})


def adapter_of(fields: dict[str, Any]) -> Adapter:
    """Rebuild an adapter from a manifest."""
    modules, labels = tuple(fields["target_modules"]), tuple(fields.get("labels", ()))
    more = {"path": Path(fields["path"]), "target_modules": modules, "labels": labels}
    return Adapter(**fields | more)


def pool_of(fields: dict[str, Any]) -> Pool:
    """Rebuild a group of tasks from a manifest."""
    return Pool(**fields | {"tasks": tuple(fields["tasks"])})


def _differences(held: dict[str, Any], wanted: dict[str, Any]) -> str:
    wanted = json.loads(json.dumps(wanted))
    keys = sorted(k for k in held.keys() | wanted.keys() if held.get(k) != wanted.get(k))
    return ", ".join(keys)
