"""The SQLite file of a store: its tables, how it is opened, and what can go wrong with it.

WAL with ``synchronous=FULL`` means that a row is on the disk before its key is reported as
committed.
"""

from __future__ import annotations

import os
import random
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from peval.errors import RunError

SCHEMA_VERSION = 2
LOCK_TIMEOUT_S = 60.0

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
    decoding INTEGER NOT NULL, prompt_was_cut INTEGER NOT NULL, choices INTEGER,
    part INTEGER NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS one_request
    ON requests (task, sample_id, coalesce(adapter, x''), part, key);
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


def open_or_create(path: Path) -> sqlite3.Connection:
    """Open or create; wait for others that are just doing the same.

    SQLite reports "database is locked" at once, whatever the timeout, when two processes switch
    a file to WAL at the same moment.
    """
    give_up_s = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            with one_line_errors(path):
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


def open_read_only(path: Path) -> sqlite3.Connection:
    """Open another run's file without changing it."""
    wal = path.with_name(path.name + "-wal")
    # A reader of a WAL file wants to write beside it, except where the file is known to be at rest.
    at_rest = not os.access(path.parent, os.W_OK) and not wal.exists()
    uri = f"{path.resolve().as_uri()}?mode=ro{'&immutable=1' if at_rest else ''}"
    with one_line_errors(path):
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
def one_line_errors(path: Path, n_kept: int = 0) -> Iterator[None]:
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
