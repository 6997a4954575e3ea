"""Plan, completions and scores of one run on disk: committed in small steps, never lost.

One SQLite file per run. WAL with ``synchronous=FULL`` means that a row is on the disk before its
key is reported as committed; rows hold zstd-compressed JSON, so no reader ever runs code from it.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import zstandard

from peval.errors import RunError
from peval.types import Completion, Decoding, Example, Instruction, Request, Sample, Score

SCHEMA_VERSION = 1
COMMIT_ROWS = 256
COMMIT_EVERY_S = 1.0
LOCK_TIMEOUT_S = 60.0
KEYS_PER_QUERY = 500
SCAN_ABOVE_KEYS = 10_000
EXPORT_ROWS = 10_000

# `shared` holds what many rows have in common: instructions, prompts, decodings. The base model
# is a NULL adapter; x'' keeps it apart from every name in the index, where NULLs never clash.
SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS shared (
    id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS samples (
    position INTEGER PRIMARY KEY, task TEXT NOT NULL, sample_id TEXT NOT NULL,
    digest BLOB NOT NULL, instruction INTEGER, body BLOB NOT NULL,
    UNIQUE (task, sample_id, digest));
CREATE TABLE IF NOT EXISTS requests (
    position INTEGER PRIMARY KEY, key BLOB NOT NULL, task TEXT NOT NULL,
    sample_id TEXT NOT NULL, adapter TEXT, prompt INTEGER NOT NULL,
    decoding INTEGER NOT NULL, prompt_was_cut INTEGER NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS one_request
    ON requests (task, sample_id, coalesce(adapter, x''), key);
CREATE TABLE IF NOT EXISTS completions (key BLOB NOT NULL PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS failures (key BLOB NOT NULL PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS scores (key BLOB NOT NULL PRIMARY KEY, body BLOB NOT NULL);
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""

# WAL needs memory shared by all processes that have the file open; these do not give it.
FILESYSTEM_WITHOUT_WAL = re.compile(
    r"9p|afs|beegfs|ceph|cifs|drvfs|fuse(blk|\..*)?|gpfs|lustre|ncpfs|nfs4?|orangefs|panfs|prl_fs"
    r"|pvfs2|smb[23]|smbfs|vboxsf|virtiofs|wekafs"
)

NO_ROOM = "free some space and run the same command again to go on"
TROUBLES = {
    sqlite3.SQLITE_FULL: ("the disk is full", NO_ROOM),
    sqlite3.SQLITE_IOERR: ("the disk is full, over quota or failing", NO_ROOM),
    sqlite3.SQLITE_BUSY: (
        f"another process kept it locked for {LOCK_TIMEOUT_S:.0f} s",
        "wait for that process or stop it, then run the same command again",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "it cannot be opened",
        "check that its directory exists and may be written to",
    ),
    sqlite3.SQLITE_READONLY: ("it may not be written to", "change its permissions"),
    sqlite3.SQLITE_NOTADB: ("it is not a store (no SQLite file)", "name another run directory"),
    sqlite3.SQLITE_CORRUPT: ("it is damaged", "restore a copy or name another run directory"),
}

ENCODER = json.JSONEncoder(default=asdict, separators=(",", ":"))

T = TypeVar("T")


class Store:
    """One run's plan, completions and scores; a context manager.

    Several processes may have the same file open and write to it. Keys are lower-case hex
    sha256 strings. Readers see what is committed, not what ``add`` still holds back.

    Raises
    ------
    RunError
        From any method: no space left, another schema version, not a store, locked for a minute.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._compressor = zstandard.ZstdCompressor()
        self._decompressor = zstandard.ZstdDecompressor()
        self._waiting: list[Completion] = []
        self._n_acknowledged = 0
        self._last_commit_s = time.monotonic()
        self._db = _open(path)

    @property
    def n_acknowledged(self) -> int:
        """How many keys ``add`` and ``flush`` of this object have returned."""
        return self._n_acknowledged

    def put_plan(
        self, samples: Mapping[str, Sequence[Sample]], requests: Sequence[Request]
    ) -> None:
        """Store what is asked, in one transaction; what is already there stays as it is.

        Raises
        ------
        RunError
            Also where a sample or request is stored with another content: that is another run.
        """
        seen: dict[object, int] = {}
        with self._transaction():
            self._db.executemany(
                "INSERT OR IGNORE INTO samples (task, sample_id, digest, instruction, body) "
                "VALUES (?, ?, ?, ?, ?)",
                (self._sample_row(task, s, seen) for task, many in samples.items() for s in many),
            )
            self._db.executemany(
                "INSERT OR IGNORE INTO requests (key, task, sample_id, adapter, prompt, decoding, "
                "prompt_was_cut) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (self._request_row(request, seen) for request in requests),
            )
            self._refuse_clash("samples", "task, sample_id")
            self._refuse_clash("requests", "task, sample_id, adapter")

    def samples(self) -> dict[str, dict[str, Sample]]:
        """Return samples by task and id, in stored order; equal instructions are one object."""
        rows = self._read(
            "SELECT task, sample_id, instruction, body FROM samples ORDER BY position"
        )
        instructions = {
            row: _instruction(value) for row, value in self._shared("samples", "instruction")
        }
        found: dict[str, dict[str, Sample]] = {}
        for task, sample_id, row, body in rows:
            fields = self._unpack(body)
            fields["targets"] = tuple(fields["targets"])
            sample = Sample(id=sample_id, instruction=instructions.get(row), **fields)
            found.setdefault(task, {})[sample_id] = sample
        return found

    def requests(self) -> list[Request]:
        """All requests, in stored order."""
        rows = self._read(
            "SELECT key, task, sample_id, adapter, prompt, decoding, prompt_was_cut "
            "FROM requests ORDER BY position"
        )
        prompts = {row: tuple(value) for row, value in self._shared("requests", "prompt")}
        decodings = {row: _decoding(value) for row, value in self._shared("requests", "decoding")}
        return [
            Request(key.hex(), task, sample, adapter, prompts[prompt], decodings[how], bool(cut))
            for key, task, sample, adapter, prompt, how, cut in rows
        ]

    def add(self, completion: Completion) -> list[str]:
        """Take a completion; return the keys that this call committed, often none.

        Commits at 256 waiting completions or 1 s after the last commit. There is no timer: a
        caller that expects a long pause calls ``flush``.
        """
        self._waiting.append(completion)
        is_late = time.monotonic() - self._last_commit_s >= COMMIT_EVERY_S
        return self.flush() if is_late or len(self._waiting) >= COMMIT_ROWS else []

    def flush(self) -> list[str]:
        """Commit what waits and return its keys; if that fails it still waits."""
        if not self._waiting:
            return []
        rows = [(_blob(c.key), self._pack(_completion_fields(c))) for c in self._waiting]
        failed = [c.finish_reason == "error" for c in self._waiting]
        with self._transaction():
            self._db.executemany(
                "INSERT OR REPLACE INTO failures VALUES (?, ?)",
                (row for row, bad in zip(rows, failed, strict=True) if bad),
            )
            self._put_successes([row for row, bad in zip(rows, failed, strict=True) if not bad])
        keys = [completion.key for completion in self._waiting]
        self._waiting.clear()
        self._n_acknowledged += len(keys)
        self._last_commit_s = time.monotonic()
        return keys

    def done(self, keys: Iterable[str]) -> set[str]:
        """Those of the keys that have a completion; a failure is not one."""
        wanted = set(keys)
        if len(wanted) <= SCAN_ABOVE_KEYS:
            return {key.hex() for (key,) in self._look_up("key", "completions", wanted)}
        # One pass over the index costs less than a million look-ups.
        with _one_line_errors(self._path, self._n_acknowledged):
            held = {key for (key,) in self._db.execute("SELECT key FROM completions")}
        return {key for key in wanted if bytes.fromhex(key) in held}

    def completions(self, keys: Iterable[str]) -> dict[str, Completion]:
        """Completions by key; a failure stands in where there is no success."""
        wanted = set(keys)
        found: dict[str, Completion] = {}
        for table in ("completions", "failures"):
            for key, body in self._look_up("key, body", table, wanted - found.keys()):
                found[key.hex()] = _completion(key.hex(), self._unpack(body))
        return found

    def reuse(self, other: Path, keys: Iterable[str]) -> int:
        """Copy the completions with these keys from another run's store; return how many."""
        wanted = set(keys)
        missing = wanted - self.done(wanted)
        n_copied = 0
        with closing(_open_read_only(other)) as source:
            for batch in _batched(missing, KEYS_PER_QUERY):
                query = _query("key, body", "completions", len(batch))
                with _one_line_errors(other):
                    rows = source.execute(query, [_blob(key) for key in batch]).fetchall()
                with self._transaction():
                    n_copied += self._put_successes(rows)
        return n_copied

    def add_scores(self, rows: Iterable[tuple[str, Score]]) -> None:
        """Commit scores under their own keys, 256 at a time; a later score replaces an earlier."""
        for batch in _batched(rows, COMMIT_ROWS):
            packed = [(_blob(key), self._pack(_score_fields(score))) for key, score in batch]
            with self._transaction():
                self._db.executemany("INSERT OR REPLACE INTO scores VALUES (?, ?)", packed)

    def scores(self, score_keys: Iterable[str]) -> dict[str, Score]:
        """Scores by score key."""
        rows = self._look_up("key, body", "scores", set(score_keys))
        return {key.hex(): Score(**self._unpack(body)) for key, body in rows}

    def export_parquet(self, path: Path, scores: Mapping[str, Score]) -> None:
        """Write one row per request, with a column per metric; whole or not at all.

        Parameters
        ----------
        path
            The file to write or replace.
        scores
            By request key. Requests without a score or completion have nulls there.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        metrics = sorted({metric for score in scores.values() for metric in score.values})
        schema = _parquet_schema(metrics)
        samples = self.samples()
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            with pq.ParquetWriter(part, schema, compression="zstd") as writer:
                for batch in _batched(self.requests(), EXPORT_ROWS):
                    rows = self._export_rows(batch, samples, scores)
                    writer.write_table(pa.Table.from_pylist(rows, schema=schema))
            _publish(part, path)
        except OSError as error:
            why = " ".join(str(error).split())
            raise RunError(
                f"{path}: cannot be written ({why}); free space or name another"
            ) from error
        finally:
            part.unlink(missing_ok=True)

    def close(self) -> None:
        """Commit what waits and close the file; safe to call twice."""
        try:
            self.flush()
        finally:
            self._waiting.clear()
            self._db.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with _one_line_errors(self._path, self._n_acknowledged):
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    def _read(self, query: str, values: Sequence[bytes] = ()) -> list[Any]:
        with _one_line_errors(self._path, self._n_acknowledged):
            return self._db.execute(query, values).fetchall()

    def _look_up(self, columns: str, table: str, keys: Iterable[str]) -> Iterator[Any]:
        for batch in _batched(keys, KEYS_PER_QUERY):
            query = _query(columns, table, len(batch))
            yield from self._read(query, [_blob(key) for key in batch])

    def _put_successes(self, rows: Sequence[tuple[bytes, bytes]]) -> int:
        """Insert and drop the failures this makes out of date; return how many were new."""
        new = self._db.executemany("INSERT OR IGNORE INTO completions VALUES (?, ?)", rows)
        keys = [(key,) for key, _ in rows]
        self._db.executemany("DELETE FROM failures WHERE key = ?", keys)
        return new.rowcount

    def _share(self, value: object, seen: dict[object, int]) -> int:
        """Row of a value that many rows have in common; ``seen`` saves asking for it again."""
        if value not in seen:
            digest = hashlib.sha256(_json(value)).digest()
            self._db.execute(
                "INSERT OR IGNORE INTO shared (digest, body) VALUES (?, ?)",
                (digest, self._pack(value)),
            )
            query = "SELECT id FROM shared WHERE digest = ?"
            seen[value] = self._db.execute(query, (digest,)).fetchone()[0]
        return seen[value]

    def _shared(self, table: str, column: str) -> Iterator[tuple[int, Any]]:
        query = f"SELECT id, body FROM shared WHERE id IN (SELECT {column} FROM {table})"
        return ((row, self._unpack(body)) for row, body in self._read(query))

    def _sample_row(
        self, task: str, sample: Sample, seen: dict[object, int]
    ) -> tuple[str, str, bytes, int | None, bytes]:
        row = None if sample.instruction is None else self._share(sample.instruction, seen)
        fields = {
            "input": sample.input,
            "targets": sample.targets,
            "cluster": sample.cluster,
            "category": sample.category,
        }
        digest = hashlib.sha256(_json([fields, row])).digest()
        return task, sample.id, digest, row, self._pack(fields)

    def _request_row(
        self, request: Request, seen: dict[object, int]
    ) -> tuple[bytes, str, str, str | None, int, int, bool]:
        return (
            _blob(request.key),
            request.task,
            request.sample_id,
            request.adapter,
            self._share(request.prompt_token_ids, seen),
            self._share(request.decoding, seen),
            request.prompt_was_cut,
        )

    def _refuse_clash(self, table: str, columns: str) -> None:
        query = f"SELECT task, sample_id FROM {table} GROUP BY {columns} HAVING count(*) > 1"
        clash = self._db.execute(query + " LIMIT 1").fetchone()
        if clash:
            raise RunError(
                f"{self._path}: sample {clash[1]!r} of task {clash[0]!r} was stored with other "
                f"content in {table}; name a new run directory"
            )

    def _export_rows(
        self,
        requests: Sequence[Request],
        samples: Mapping[str, Mapping[str, Sample]],
        scores: Mapping[str, Score],
    ) -> list[dict[str, object]]:
        completions = self.completions(request.key for request in requests)
        return [
            _export_row(
                request,
                samples[request.task][request.sample_id],
                completions.get(request.key),
                scores.get(request.key),
            )
            for request in requests
        ]

    def _pack(self, value: object) -> bytes:
        packed: bytes = self._compressor.compress(_json(value))
        return packed

    def _unpack(self, body: bytes) -> Any:
        return json.loads(self._decompressor.decompress(body))


def journal_mode(path: Path, mounts: str) -> str:
    """SQLite journal mode for a file, by the type of the file system that holds it.

    Parameters
    ----------
    path
        The file, or where it will be.
    mounts
        The text of ``/proc/mounts``; empty where there is none.
    """
    place, longest, kind = path.resolve(), -1, ""
    for line in mounts.splitlines():
        _, mount_point, its_kind = line.split(" ")[:3]
        # The kernel writes a blank, tab, newline or backslash in a name as an octal escape.
        root = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), mount_point)
        if len(root) >= longest and place.is_relative_to(root):
            longest, kind = len(root), its_kind
    return "DELETE" if FILESYSTEM_WITHOUT_WAL.fullmatch(kind) else "WAL"


def _open(path: Path) -> sqlite3.Connection:
    """Open or create; wait for others that are just doing the same.

    SQLite reports "database is locked" at once, whatever the timeout, when two processes switch
    a file to WAL at the same moment.
    """
    give_up_s = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            with _one_line_errors(path):
                return _open_once(path)
        except RunError as error:
            if not _is_busy(error.__cause__) or time.monotonic() > give_up_s:
                raise
        time.sleep(random.uniform(0.005, 0.05))


def _open_once(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=LOCK_TIMEOUT_S, isolation_level=None)
    try:
        is_new = _check_version(db, path)
        proc = Path("/proc/mounts")
        mounts = proc.read_text("utf-8", "replace") if proc.exists() else ""
        db.execute(f"PRAGMA journal_mode={journal_mode(path, mounts)}")
        db.execute("PRAGMA synchronous=FULL")
        if is_new:
            db.executescript(SCHEMA)
    except BaseException:
        db.close()
        raise
    return db


def _open_read_only(path: Path) -> sqlite3.Connection:
    wal = path.with_name(path.name + "-wal")
    # A reader of a WAL file wants to write beside it, except where the file is known to be at rest.
    at_rest = not os.access(path.parent, os.W_OK) and not wal.exists()
    uri = f"{path.resolve().as_uri()}?mode=ro{'&immutable=1' if at_rest else ''}"
    with _one_line_errors(path):
        db = sqlite3.connect(uri, uri=True, timeout=LOCK_TIMEOUT_S, isolation_level=None)
        try:
            if _check_version(db, path):
                raise RunError(f"{path}: is empty; name a run directory that holds completions")
        except BaseException:
            db.close()
            raise
    return db


def _check_version(db: sqlite3.Connection, path: Path) -> bool:
    """Whether the file is empty; refuse other versions. One read, as others may be creating it."""
    db.execute("BEGIN")
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (n_tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    db.execute("COMMIT")
    if version == 0 and n_tables == 0:
        return True
    if version != SCHEMA_VERSION:
        raise RunError(
            f"{path}: store version {version}, this peval reads {SCHEMA_VERSION}; "
            "use the peval that wrote it or name a new run directory"
        )
    return False


@contextmanager
def _one_line_errors(path: Path, n_kept: int = 0) -> Iterator[None]:
    """Say what went wrong with the file; whatever is not the file's fault passes through."""
    try:
        yield
    except sqlite3.Error as error:
        trouble = TROUBLES.get(_primary_code(error))
        if trouble is None:
            raise
        what, cure = trouble
        kept = f"; all {n_kept} completions acknowledged so far are kept" if n_kept else ""
        raise RunError(f"{path}: {what}{kept}; {cure}") from error


def _primary_code(error: BaseException | None) -> int:
    """SQLite's result code without its details in the upper bytes; 0 if there is none."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _is_busy(error: BaseException | None) -> bool:
    return _primary_code(error) == sqlite3.SQLITE_BUSY


def _query(columns: str, table: str, n_keys: int) -> str:
    return f"SELECT {columns} FROM {table} WHERE key IN ({','.join('?' * n_keys)})"


def _batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


def _blob(key: str) -> bytes:
    return bytes.fromhex(key)


def _json(value: object) -> bytes:
    return ENCODER.encode(value).encode("ascii")


def _instruction(fields: dict[str, Any]) -> Instruction:
    return Instruction(fields["definition"], tuple(Example(**one) for one in fields["examples"]))


def _decoding(fields: dict[str, Any]) -> Decoding:
    return Decoding(**{**fields, "stop": tuple(fields["stop"])})


def _completion_fields(completion: Completion) -> dict[str, object]:
    return {
        "text": completion.text,
        "token_ids": completion.token_ids,
        "finish_reason": completion.finish_reason,
        "error": completion.error,
    }


def _completion(key: str, fields: dict[str, Any]) -> Completion:
    return Completion(key=key, **{**fields, "token_ids": tuple(fields["token_ids"])})


def _score_fields(score: Score) -> dict[str, object]:
    return {
        "key": score.key,
        "values": dict(score.values),
        "status": score.status,
        "extracted": score.extracted,
        "why": score.why,
    }


def _parquet_schema(metrics: Sequence[str]) -> Any:
    import pyarrow as pa

    texts = ("task", "sample_id", "adapter", "key", "category", "cluster", "input")
    fields = [(name, pa.string()) for name in texts]
    fields += [("targets", pa.list_(pa.string())), ("text", pa.string())]
    fields += [("finish_reason", pa.string()), ("n_tokens", pa.int32()), ("error", pa.string())]
    fields += [("prompt_was_cut", pa.bool_())]
    return pa.schema(fields + [(metric, pa.float64()) for metric in metrics])


def _export_row(
    request: Request, sample: Sample, completion: Completion | None, score: Score | None
) -> dict[str, object]:
    return {
        "task": request.task,
        "sample_id": request.sample_id,
        "adapter": request.adapter,
        "key": request.key,
        "category": sample.category,
        "cluster": sample.cluster,
        "input": sample.input,
        "targets": list(sample.targets),
        "text": completion and completion.text,
        "finish_reason": completion and completion.finish_reason,
        "n_tokens": completion and len(completion.token_ids),
        "error": completion and completion.error,
        "prompt_was_cut": request.prompt_was_cut,
        **(score.values if score else {}),
    }


def _publish(part: Path, path: Path) -> None:
    """Put a finished file in its place so that a reader finds the old one or the whole new one."""
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
