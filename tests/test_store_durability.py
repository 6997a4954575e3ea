"""A key that the store has acknowledged is still there after a kill or a full disk.

``PEVAL_SLOW=1`` raises the number of kill points from 60 to 1,000.
"""

import hashlib
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

import peval
from peval.errors import RunError
from peval.store import Store
from peval.types import Completion

N_KILL_POINTS = 1000 if os.environ.get("PEVAL_SLOW") == "1" else 60
ROUNDS_PER_FILE = 10
MOST_ACKNOWLEDGED = 300

# Both writers draw from the same 1,000,000 keys, so they meet each other's rows. Acknowledged keys
# go to a file: what was written there before a SIGKILL stays, and no full pipe holds a writer up.
# Writers are forked from a process that has loaded everything; it tells of each how it began and,
# when asked, how it ended.
WRITERS = """
import hashlib, os, random, sys
from pathlib import Path
from peval.store import Store
from peval.types import Completion

def write(path, acknowledged, seed):
    draw = random.Random(int(seed))
    log = os.open(acknowledged, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with Store(Path(path)) as store:
        while True:
            number = draw.randrange(1_000_000)
            key = hashlib.sha256(str(number).encode()).hexdigest()
            keys = store.add(Completion(key, str(number) * 20, (number,) * 20, "stop"))
            if draw.random() < 0.02:
                keys += store.flush()
            os.write(log, b"".join(bytes.fromhex(key) for key in keys))

for line in sys.stdin:
    what, *arguments = line.rstrip().split("\\t")
    if what == "reap":
        print(os.waitstatus_to_exitcode(os.waitpid(int(arguments[0]), 0)[1]), flush=True)
        continue
    pid = os.fork()
    if not pid:
        try:
            write(*arguments)
        finally:
            os._exit(1)
    print(pid, flush=True)
"""

# Every process opens all files, each file at the same agreed moment as the others.
OPENER = """
import sys, time
from pathlib import Path
from peval.store import Store

directory, n_files = Path(sys.argv[1]), int(sys.argv[2])
print("ready", flush=True)
start_s = float(sys.stdin.readline())
for i in range(n_files):
    time.sleep(max(0.0, start_s + 0.03 * i - time.time()))
    Store(directory / f"{i}.sqlite").close()
"""


class Writers:
    """Writers of stores, to be killed."""

    def __init__(self) -> None:
        self.process = child(WRITERS)

    def start(self, path: Path, log: Path, seed: int) -> int:
        return self._ask("write", path, log, seed)

    def end_of(self, pid: int) -> int:
        """Wait for a writer's end and return its exit code, or minus what killed it."""
        return self._ask("reap", pid)

    def _ask(self, *words: object) -> int:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write("\t".join(map(str, words)).encode() + b"\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


def child(script: str, *arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(Path(peval.__file__).parents[1])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def completion(number: int) -> Completion:
    key = hashlib.sha256(str(number).encode()).hexdigest()
    return Completion(key, str(number) * 20, (number,) * 20, "stop")


def check_integrity(path: Path) -> list[str]:
    """Complaints of SQLite and rows that are there twice."""
    with closing(sqlite3.connect(path)) as db:
        complaints = [row[0] for row in db.execute("PRAGMA integrity_check") if row[0] != "ok"]
        query = "SELECT hex(key) FROM completions GROUP BY key HAVING count(*) > 1"
        return complaints + [f"twice: {row[0]}" for row in db.execute(query)]


# Kills


@dataclass
class Tally:
    n_kills: int = 0
    n_acknowledged: int = 0
    n_lost: int = 0
    n_wrong: int = 0
    n_complaints: int = 0


def kill_two_writers(
    writers: Writers, path: Path, logs: tuple[Path, Path], draw: random.Random
) -> None:
    """Start two writers on one file; kill each at its own moment, from before it has opened it.

    It lives until it has acknowledged so many keys, and for a moment in which it may be anywhere.
    """
    ends = {}
    for log in logs:
        n_before = n_keys_in(log)
        n_more = draw.choice([0, draw.randrange(MOST_ACKNOWLEDGED)])
        ends[writers.start(path, log, draw.randrange(2**32))] = log, n_before + n_more
    while ends:
        time.sleep(0.001)
        for pid, (log, n_keys) in list(ends.items()):
            if n_keys_in(log) >= n_keys or has_ended(pid):
                time.sleep(draw.uniform(0, 0.01))
                os.kill(pid, signal.SIGKILL)
                del ends[pid]
                assert writers.end_of(pid) == -9


def n_keys_in(log: Path) -> int:
    return log.stat().st_size // 32 if log.exists() else 0


def has_ended(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def acknowledged_keys(logs: tuple[Path, Path]) -> set[str]:
    entries = [log.read_bytes() for log in logs if log.exists()]
    return {data[i : i + 32].hex() for data in entries for i in range(0, len(data) - 31, 32)}


def check_file(path: Path, logs: tuple[Path, Path], tally: Tally) -> None:
    keys = acknowledged_keys(logs)
    with Store(path) as store:
        found = store.completions(keys)
    tally.n_lost += len(keys - found.keys())
    tally.n_wrong += sum(one != completion(one.token_ids[0]) for one in found.values())
    tally.n_complaints += len(check_integrity(path))


def run_kill_points(directory: Path, n_points: int, seed: int) -> Tally:
    """Kill writers ``n_points`` times; ten rounds share a file, so kills also hit recovery."""
    draw, tally, writers = random.Random(seed), Tally(), Writers()
    while tally.n_kills < n_points:
        place = directory / str(tally.n_kills)
        place.mkdir()
        path, logs = place / "store.sqlite", (place / "one", place / "two")
        for _ in range(min(ROUNDS_PER_FILE, (n_points - tally.n_kills) // 2)):
            kill_two_writers(writers, path, logs, draw)
            check_file(path, logs, tally)
            tally.n_kills += 2
        tally.n_acknowledged += len(acknowledged_keys(logs))
        shutil.rmtree(place)
    writers.process.communicate()
    return tally


def test_a_kill_loses_no_acknowledged_row(tmp_path: Path) -> None:
    tally = run_kill_points(tmp_path, N_KILL_POINTS, seed=20240)
    print(tally)
    assert tally.n_kills == N_KILL_POINTS
    assert tally.n_acknowledged > 10 * N_KILL_POINTS, "the writers were killed before they wrote"
    assert (tally.n_lost, tally.n_wrong, tally.n_complaints) == (0, 0, 0)


# Opening at once


def test_eight_processes_may_create_the_same_file_at_once(tmp_path: Path) -> None:
    n_files = 20
    openers = [child(OPENER, tmp_path, n_files) for _ in range(8)]
    for opener in openers:
        assert opener.stdout is not None
        assert opener.stdout.readline() == b"ready\n"
    start = f"{time.time() + 0.1}\n".encode()
    for opener in openers:
        assert opener.stdin is not None
        opener.stdin.write(start)
        opener.stdin.flush()
    complaints = [opener.communicate()[1].decode() for opener in openers]
    assert complaints == [""] * 8
    for i in range(n_files):
        assert check_integrity(tmp_path / f"{i}.sqlite") == []


# No space left


def fill(path: Path, acknowledged: set[str], first: int) -> str:
    """Add until the store says that there is no room; return what it says."""
    with pytest.raises(RunError) as refusal, Store(path) as store:
        for number in range(first, first + 100_000):
            acknowledged.update(store.add(completion(number)))
            if number % 50 == 0:
                acknowledged.update(store.flush())
    return str(refusal.value)


def check_goes_on(path: Path, acknowledged: set[str]) -> None:
    """With space back, what was acknowledged is there and more can be added."""
    with Store(path) as store:
        assert store.done(acknowledged) == acknowledged
        store.add(completion(-1))
        assert store.flush() == [completion(-1).key]
    assert check_integrity(path) == []


def check_message(message: str, path: Path) -> None:
    assert message.startswith(f"{path}: the disk is full")
    assert "acknowledged so far are kept; free some space and run the same command again" in message
    assert "\n" not in message


@contextmanager
def largest_file(n_bytes: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("n_kib", [150, 333, 800])
def test_a_file_that_may_not_grow_keeps_what_was_acknowledged(tmp_path: Path, n_kib: int) -> None:
    path, acknowledged = tmp_path / "store.sqlite", set[str]()
    with largest_file(n_kib * 1024):
        message = fill(path, acknowledged, first=0)
    check_message(message, path)
    assert len(acknowledged) >= 50
    check_goes_on(path, acknowledged)


def test_a_store_goes_on_in_the_same_process_once_there_is_room(tmp_path: Path) -> None:
    with Store(tmp_path / "store.sqlite") as store:
        with largest_file(200 * 1024), pytest.raises(RunError):
            for number in range(100_000):
                store.add(completion(number))
        last = number
        store.flush()
        assert store.n_acknowledged == last + 1
        assert len(store.done(completion(i).key for i in range(last + 1))) == last + 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a tmpfs cannot be mounted here (needs root)")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_keeps_what_was_acknowledged(small_disk: Path) -> None:
    draw = random.Random(7)
    for turn in range(30):
        path, ballast = small_disk / f"{turn}.sqlite", small_disk / "ballast"
        ballast.write_bytes(bytes(draw.randrange(600_000, 1_700_000)))
        acknowledged = set[str]()
        check_message(fill(path, acknowledged, first=0), path)
        assert acknowledged
        ballast.unlink()
        check_goes_on(path, acknowledged)
        path.unlink()


def test_reuse_reads_a_finished_store_on_a_read_only_disk(small_disk: Path, tmp_path: Path) -> None:
    with Store(small_disk / "old.sqlite") as old:
        old.add(completion(1))
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with Store(tmp_path / "new.sqlite") as new:
        assert new.reuse(small_disk / "old.sqlite", [completion(1).key]) == 1
    assert [file.name for file in small_disk.iterdir()] == ["old.sqlite"]
