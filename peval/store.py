"""Plan, completions and scores of one run on disk: committed in small steps, never lost.

One SQLite file per run. WAL with ``synchronous=FULL`` means that a row is on the disk before its
key is reported as committed; rows hold zstd-compressed JSON, so no reader ever runs code from it.
"""

from __future__ import annotations

import hashlib
import json
import time
from binascii import hexlify
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import chain, compress, islice
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import zstandard

from peval.errors import RunError
from peval.rows import (
    COMPLETIONS,
    SCORES,
    as_json,
    completion_fields,
    decoded,
    decoding_of,
    instruction_of,
    offer_fields,
    offer_of,
    sample_fields,
    sample_of,
    score_fields,
)
from peval.sqlite_file import one_line_errors, open_or_create, open_read_only
from peval.types import (
    Asked,
    Completion,
    Posed,
    Request,
    Sample,
    Score,
)

COMMIT_ROWS = 256
COMMIT_EVERY_S = 1.0
KEYS_PER_QUERY = 500
SCAN_ABOVE_KEYS = 10_000

T = TypeVar("T")

_Kind = tuple[bool, tuple[tuple[int, ...], ...], int, int]
"""A `Posed` without key and sample: whether the prompt was cut, the choices, the part, n."""

_Columns = tuple[bytearray, list[str], list[_Kind]]
"""Keys, sample ids and the rest of requests."""


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
        self._db = open_or_create(path)

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
                "prompt_was_cut, choices, part) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (self._request_row(request, seen) for request in requests),
            )
            self._refuse_clash("samples", "task, sample_id")
            self._refuse_clash("requests", "task, sample_id, adapter, part")

    def samples(self) -> dict[str, dict[str, Sample]]:
        """Return samples by task and id, in stored order; equal instructions are one object."""
        rows = self._read(
            "SELECT task, sample_id, instruction, body FROM samples ORDER BY position"
        )
        instructions = {
            row: instruction_of(value) for row, value in self._shared("samples", "instruction")
        }
        found: dict[str, dict[str, Sample]] = {}
        for task, sample_id, row, body in rows:
            sample = sample_of(sample_id, instructions.get(row), self._unpack(body))
            found.setdefault(task, {})[sample_id] = sample
        return found

    def requests(self) -> list[Request]:
        """All requests, in stored order."""
        rows = self._read(
            "SELECT key, task, sample_id, adapter, prompt, decoding, prompt_was_cut, choices, part "
            "FROM requests ORDER BY position"
        )
        prompts = {row: tuple(value) for row, value in self._shared("requests", "prompt")}
        decodings = {row: decoding_of(value) for row, value in self._shared("requests", "decoding")}
        offers = {row: offer_of(value) for row, value in self._shared("requests", "choices")}
        return [
            Request(
                key.hex(), task, sample, adapter, prompts[prompt], decodings[how], bool(cut),
                choices, part, kind == "moments", kind == "head",
            )
            for key, task, sample, adapter, prompt, how, cut, offer, part in rows
            for choices, kind in [offers.get(offer, ((), ""))]
        ]  # fmt: skip

    def asked(self, task: str) -> Iterator[tuple[str | None, dict[str, Asked]]]:
        """Yield each system with what it was asked of each sample of a task, in stored order.

        Without prompts: what scoring needs.
        """
        for adapter, (keys, samples, kinds) in self._posed(task).items():
            hexed = keys.hex()
            each = (hexed[start : start + 64] for start in range(0, len(hexed), 64))
            rows = zip(each, samples, kinds, strict=True)
            posed = [Posed(key, sample, *kind) for key, sample, kind in rows]
            found: dict[str, Asked] = dict(zip(samples, zip(posed, strict=True), strict=True))
            if len(found) < len(posed):  # samples of several parts
                found = {}
                for one in posed:
                    found[one.sample_id] = (*found.get(one.sample_id, ()), one)
            yield adapter, found

    def _posed(self, task: str) -> dict[str | None, _Columns]:
        """Return a task's requests by system, in one pass: a plan asks systems in turn."""
        offers = {row: offer_of(v)[0] for row, v in self._shared("requests", "choices", task)}
        n = {row: decoding_of(v).n for row, v in self._shared("requests", "decoding", task)}
        systems: dict[str | None, _Columns] = defaultdict(lambda: (bytearray(), [], []))
        names: dict[str, str] = {}  # what is equal is one object
        known: dict[tuple[int, int | None, int, int], _Kind] = {}
        with one_line_errors(self._path, self._n_acknowledged):
            for adapter, key, sample, cut, offer, part, how in self._db.execute(
                "SELECT adapter, key, sample_id, prompt_was_cut, choices, part, decoding "
                "FROM requests WHERE task = ? ORDER BY position",
                (task,),
            ):
                row = (cut, offer, part, how)
                if row not in known:
                    known[row] = (bool(cut), offers.get(offer, ()), part, n[how])
                keys, samples, kinds = systems[adapter]
                keys += key
                samples.append(names.setdefault(sample, sample))
                kinds.append(known[row])
        return systems

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
        rows = [(bytes.fromhex(c.key), self._pack(completion_fields(c))) for c in self._waiting]
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
        wanted = list(keys)
        if len(wanted) <= SCAN_ABOVE_KEYS:
            rows = chain.from_iterable(self._look_up("key", "completions", wanted))
            return {key.hex() for (key,) in rows}
        # One pass over the index costs less than a million look-ups.
        with one_line_errors(self._path, self._n_acknowledged):
            held = set(chain.from_iterable(self._db.execute("SELECT key FROM completions")))
        return set(compress(wanted, map(held.__contains__, map(bytes.fromhex, wanted))))

    def completions(self, keys: Iterable[str]) -> dict[str, Completion]:
        """Completions by key; a failure stands in where there is no success."""
        wanted = set(keys)
        found: dict[str, Completion] = {}
        for table in ("completions", "failures"):
            for rows in self._look_up("key, body", table, wanted - found.keys()):
                # A completion's key is that of its row.
                lines = [b'{"key":"%s",%s' % (hexlify(k), self._json(b)[1:]) for k, b in rows]
                found |= {one.key: one for one in decoded(b"\n".join(lines), COMPLETIONS)}
        return found

    def reuse(self, other: Path, keys: Iterable[str]) -> int:
        """Copy the completions with these keys from another run's store; return how many."""
        wanted = set(keys)
        missing = wanted - self.done(wanted)
        n_copied = 0
        with closing(open_read_only(other)) as source:
            for batch in _batched(missing, KEYS_PER_QUERY):
                query = _query("key, body", "completions", len(batch))
                with one_line_errors(other):
                    rows = source.execute(query, [bytes.fromhex(key) for key in batch]).fetchall()
                with self._transaction():
                    n_copied += self._put_successes(rows)
        return n_copied

    def add_scores(self, rows: Iterable[tuple[str, Sequence[Score]]]) -> None:
        """Commit lots of scores under keys of their own, 256 lots at a time; later ones replace."""
        for batch in _batched(rows, COMMIT_ROWS):
            packed = [
                (bytes.fromhex(key), self._pack(*map(score_fields, scores)))
                for key, scores in batch
            ]
            with self._transaction():
                self._db.executemany("INSERT OR REPLACE INTO scores VALUES (?, ?)", packed)

    def scores(self, keys: Iterable[str]) -> dict[str, list[Score]]:
        """Lots of scores by the keys that they were added under."""
        return {
            key.hex(): decoded(self._json(body), SCORES)
            for rows in self._look_up("key, body", "scores", set(keys))
            for key, body in rows
        }

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
        with one_line_errors(self._path, self._n_acknowledged):
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    def _read(self, query: str, values: Sequence[object] = ()) -> list[Any]:
        with one_line_errors(self._path, self._n_acknowledged):
            return self._db.execute(query, values).fetchall()

    def _look_up(self, columns: str, table: str, keys: Iterable[str]) -> Iterator[list[Any]]:
        """Yield rows by key, some hundreds at a time; in the keys' order pages are near."""
        for batch in _batched(sorted(keys), KEYS_PER_QUERY):
            yield self._read(_query(columns, table, len(batch)), list(map(bytes.fromhex, batch)))

    def _put_successes(self, rows: Sequence[tuple[bytes, bytes]]) -> int:
        """Insert and drop the failures this makes out of date; return how many were new."""
        new = self._db.executemany("INSERT OR IGNORE INTO completions VALUES (?, ?)", rows)
        keys = [(key,) for key, _ in rows]
        self._db.executemany("DELETE FROM failures WHERE key = ?", keys)
        return new.rowcount

    def _share(self, value: object, seen: dict[object, int]) -> int:
        """Row of a value that many rows have in common; ``seen`` saves asking for it again."""
        if value not in seen:
            digest = hashlib.sha256(as_json(value)).digest()
            self._db.execute(
                "INSERT OR IGNORE INTO shared (digest, body) VALUES (?, ?)",
                (digest, self._pack(value)),
            )
            query = "SELECT id FROM shared WHERE digest = ?"
            seen[value] = self._db.execute(query, (digest,)).fetchone()[0]
        return seen[value]

    def _shared(
        self, table: str, column: str, task: str | None = None
    ) -> Iterator[tuple[int, Any]]:
        """Yield the values of a column that rows have in common, of all tasks or of one."""
        query = f"SELECT id, body FROM shared WHERE id IN (SELECT {column} FROM {table}"
        query += " WHERE task = ?)" if task is not None else ")"
        values = () if task is None else (task,)
        return ((row, self._unpack(body)) for row, body in self._read(query, values))

    def _sample_row(
        self, task: str, sample: Sample, seen: dict[object, int]
    ) -> tuple[str, str, bytes, int | None, bytes]:
        row = None if sample.instruction is None else self._share(sample.instruction, seen)
        fields = sample_fields(sample)
        digest = hashlib.sha256(as_json([fields, row])).digest()
        return task, sample.id, digest, row, self._pack(fields)

    def _request_row(
        self, request: Request, seen: dict[object, int]
    ) -> tuple[bytes, str, str, str | None, int, int, bool, int | None, int]:
        return (
            bytes.fromhex(request.key),
            request.task,
            request.sample_id,
            request.adapter,
            self._share(request.prompt_token_ids, seen),
            self._share(request.decoding, seen),
            request.prompt_was_cut,
            self._share(offer_fields(request), seen) if request.choices else None,
            request.part,
        )

    def _refuse_clash(self, table: str, columns: str) -> None:
        query = f"SELECT task, sample_id FROM {table} GROUP BY {columns} HAVING count(*) > 1"
        clash = self._db.execute(query + " LIMIT 1").fetchone()
        if clash:
            raise RunError(
                f"{self._path}: sample {clash[1]!r} of task {clash[0]!r} was stored with other "
                f"content in {table}; name a new run directory"
            )

    def _pack(self, *values: object) -> bytes:
        packed: bytes = self._compressor.compress(b"\n".join(map(as_json, values)))
        return packed

    def _unpack(self, body: bytes) -> Any:
        return json.loads(self._json(body))

    def _json(self, body: bytes) -> bytes:
        text: bytes = self._decompressor.decompress(body)
        return text


def _query(columns: str, table: str, n_keys: int) -> str:
    return f"SELECT {columns} FROM {table} WHERE key IN ({','.join('?' * n_keys)})"


def _batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
