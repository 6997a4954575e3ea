"""Hostile programs: none passes, none has an effect outside, none is taken for our fault."""

from __future__ import annotations

import os
import socket
import subprocess
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from peval.sandbox.inside import supervisor
from peval.sandbox.programs import Limits, Program, Script
from peval.sandbox.worker import Worker

from .conftest import Case, corpus

LIMITS = Limits(cpu_s=1, wall_s=3, memory_mb=512)
# They do nothing but wait for the wall limit.
SLEEPERS = {f"exhaust/{name}" for name in ("sleep", "wait-for-a-lock", "stops-itself", "trickle")}
TEST = Script(
    "add",
    """
def check(candidate):
    assert candidate(1, 2) == 3
    assert candidate("a", "b") == "ab"
    assert abs(candidate(0.5, 1) - 1.5) < 1e-9
    assert candidate([1], [2]) == [1, 2]
    assert candidate(10**9, 1) == 10**9 + 1
    assert set(candidate((4,), (5,))) == {4, 5}
""",
    calls_check=True,
)
RIGHT = "def add(a, b): return a + b"
HOSTILE = corpus("hostile.txt")
HONEST = corpus("honest.txt")


@dataclass
class Outside:
    """What lies around a sandbox, to be found untouched."""

    place: Path
    tcp: socket.socket
    udp: socket.socket
    unix: socket.socket
    bystander: subprocess.Popen[bytes]

    def aimed(self, code: str) -> str:
        for mark, value in {
            "@SECRET@": self.place / "secret",
            "@TARGET@": self.place / "target",
            "@UNIX@": self.place / "socket",
            "@PORT@": self.tcp.getsockname()[1],
            "@PID@": self.bystander.pid,
            "@SITE@": sysconfig.get_path("purelib"),
            "@SOURCE@": supervisor.__file__,
        }.items():
            code = code.replace(mark, str(value))
        return code

    def effects(self) -> list[str]:
        found = [f"left {path.name}" for path in self.place.iterdir() if path.name == "target"]
        secret = self.place / "secret"
        if not secret.exists() or secret.read_text() != "secret" or secret.stat().st_mode & 0o77:
            found.append("changed the secret")
        if secret.exists() and secret.stat().st_nlink != 1:
            found.append("linked the secret")
        if self.bystander.poll() is not None or os.getpriority(os.PRIO_PROCESS, self.bystander.pid):
            found.append("touched a process")
        for sock in (self.tcp, self.udp, self.unix):
            try:
                sock.accept() if sock is not self.udp else sock.recv(1)
                found.append("reached a socket")
            except BlockingIOError:
                pass
        return found


def bound_to_one_port() -> tuple[socket.socket, socket.socket]:
    """Return a TCP and a UDP socket; what is free for one may be taken for the other."""
    while True:
        tcp, udp = socket.socket(), socket.socket(type=socket.SOCK_DGRAM)
        tcp.bind(("127.0.0.1", 0))
        try:
            udp.bind(tcp.getsockname())
        except OSError:
            tcp.close()
            udp.close()
        else:
            return tcp, udp


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    place = tmp_path_factory.mktemp("outside")
    (place / "secret").write_text("secret")
    (place / "secret").chmod(0o600)
    tcp, udp = bound_to_one_port()
    with (
        tcp,
        udp,
        socket.socket(socket.AF_UNIX) as unix,
        subprocess.Popen(["sleep", "1000"]) as bystander,
    ):
        unix.bind(str(place / "socket"))
        for sock in (tcp, unix):
            sock.listen()
        for sock in (tcp, udp, unix):
            sock.setblocking(False)
        yield Outside(place, tcp, udp, unix, bystander)
        bystander.kill()


@pytest.fixture(scope="module")
def worker(tier: str) -> Iterator[Worker]:
    with Worker(tier) as worker:
        yield worker


def test_the_corpus_is_as_large_as_promised() -> None:
    assert len(HOSTILE) >= 100
    assert len(HONEST) >= 20
    assert len({case.name for case in HOSTILE + HONEST}) == len(HOSTILE) + len(HONEST)


@pytest.mark.parametrize("case", HOSTILE, ids=lambda case: case.name)
def test_a_hostile_program_gets_its_verdict_and_leaves_nothing(
    worker: Worker, outside: Outside, case: Case
) -> None:
    limits = replace(LIMITS, wall_s=1) if case.name in SLEEPERS else LIMITS
    program = Program(case.name, outside.aimed(case.code), TEST, limits)
    verdict = worker.judge(program)
    if verdict.status not in case.allowed and not verdict.passed:
        verdict = worker.judge(program)  # a busy machine can turn one failure into another
    assert verdict.status in case.allowed, verdict
    assert outside.effects() == []
    assert children(worker) <= IDLE
    assert scratch_is_empty(worker)


def test_the_worker_still_tells_right_from_wrong(worker: Worker) -> None:
    assert worker.judge(Program("right", RIGHT, TEST, LIMITS)).passed
    assert worker.judge(Program("wrong", "def add(a, b): return a", TEST, LIMITS)).reason == "wrong"


@pytest.mark.parametrize("case", HONEST, ids=lambda case: case.name)
def test_an_odd_but_honest_program_passes(worker: Worker, case: Case) -> None:
    limits = Limits(cpu_s=10, wall_s=60)
    verdict = worker.judge(Program(case.name, case.code, TEST, limits))
    assert verdict.passed, verdict
    assert scratch_is_empty(worker)


# The tests' process, the next program's, what it is forked from, and with namespaces their first.
IDLE = 4


def children(worker: Worker) -> int:
    """Processes below the supervisor."""
    found = 0
    waiting = [worker.process.pid]
    while waiting:
        below = Path(f"/proc/{(pid := waiting.pop())}/task/{pid}/children").read_text().split()
        found += len(below)
        waiting += map(int, below)
    return found


def scratch_is_empty(worker: Worker) -> bool:
    return not any(Path(worker.workplace).iterdir())
