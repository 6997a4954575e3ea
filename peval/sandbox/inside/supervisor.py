"""A fork server: for each program one process that runs it and one that runs its tests.

The supervisor never reads a program or a test, so what is forked from it holds no secret. It
watches the two processes, kills them, and tells the harness how they ended.
"""

from __future__ import annotations

import array
import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

from . import isolation, judge, scratch
from .candidate import serve as serve_program
from .channel import Channel, ClosedError

PRELOADED = """
    abc array bisect cmath collections copy dataclasses datetime decimal enum fractions functools
    hashlib heapq itertools json math operator random re string statistics struct textwrap time
    types typing
""".split()  # noqa: SIM905

MAX_SCRATCH_BYTES = 64 * 2**20
MAX_SCRATCH_ENTRIES = 4096
LOOK_EVERY_MS = 50
GRACE_MS = 500
PEER_GONE = 3


def main() -> None:
    """Serve until the harness closes its end of the socket that is descriptor 0."""
    tier_name, workplace = sys.argv[1:3]
    control = socket.socket(fileno=os.dup(0))
    for name in PRELOADED:
        __import__(name)
    try:
        tier = isolation.prepare(tier_name, workplace)
    except OSError as error:
        control.send(json.dumps({"refused": f"{tier_name}: {error}"}).encode())
        return
    _forget_surroundings(tier)
    control.send(json.dumps({"tier": tier.name, "abi": tier.abi}).encode())
    gc.collect()
    gc.freeze()
    with contextlib.suppress(ConnectionError):
        while request := _receive(control):
            limits, harness = request
            report = _run(tier, control, harness, limits)
            control.send(json.dumps(report).encode())


def _forget_surroundings(tier: isolation.Tier) -> None:
    os.environ.clear()
    os.environ["TMPDIR"] = os.environ["HOME"] = tier.scratch
    sys.argv[:] = [""]
    sys.path[:] = [path for path in sys.path if not path.endswith("sandbox")]


def _receive(control: socket.socket) -> tuple[dict[str, int], socket.socket] | None:
    text, rights, _, _ = control.recvmsg(2**16, socket.CMSG_SPACE(4))
    if not text:
        return None
    descriptors = array.array("i")
    descriptors.frombytes(rights[0][2][:4])
    return json.loads(text), socket.socket(fileno=descriptors[0])


def _run(
    tier: isolation.Tier, control: socket.socket, harness: socket.socket, limits: dict[str, int]
) -> dict[str, Any]:
    theirs, ours = socket.socketpair()
    deadline = time.monotonic() + limits["wall_s"]
    program = _Child(tier, lambda: _be_program(tier, theirs, limits))
    tests = _Child(tier, lambda: _be_judge(tier, harness, ours, limits))
    for sock in (theirs, ours, harness):
        sock.close()
    try:
        killed = _watch(tier, control, program, tests, deadline)
        if tests.wait(0) and tests.exit_code() == PEER_GONE:
            program.wait(GRACE_MS)
        ended = program.wait(0)
    finally:
        program.kill()
        tests.kill()
    _clean(tier)
    program_report = {**program.report(), "ended": ended}
    return {"killed": killed, "program": program_report, "tests": tests.report()}


def _watch(
    tier: isolation.Tier,
    control: socket.socket,
    program: _Child,
    tests: _Child,
    deadline: float,
) -> str:
    """Wait until the tests are over; return why the program was killed before, if it was."""
    poll = select.poll()
    poll.register(tests.pidfd, select.POLLIN)
    poll.register(control, select.POLLHUP)
    killed = ""
    while True:
        for descriptor, _ in poll.poll(LOOK_EVERY_MS):
            if descriptor == tests.pidfd:
                return killed
            # The harness is gone; nobody will ask again.
            os._exit(0)
        if time.monotonic() > deadline + (1 if killed else 0):
            if killed:
                return killed
            killed = "wall"
            program.signal()
        elif not killed and _is_overfull(tier):
            killed = "disk"
            program.signal()


def _is_overfull(tier: isolation.Tier) -> bool:
    # A tier with namespaces has a file system that is small by itself.
    if tier.name == isolation.NAMESPACES:
        return False
    return scratch.exceeds(tier.scratch, MAX_SCRATCH_BYTES, MAX_SCRATCH_ENTRIES)


def _clean(tier: isolation.Tier) -> None:
    if tier.name != isolation.NAMESPACES:
        scratch.empty(tier.scratch)


class _Child:
    """A forked process, watched through a descriptor that cannot come to mean another one."""

    def __init__(self, tier: isolation.Tier, work: Callable[[], int]):
        self.pid = isolation.fork(tier)
        if self.pid == 0:
            code = 70
            try:
                code = work()
            finally:
                os._exit(code)
        self.pidfd = os.pidfd_open(self.pid)
        self.status: int | None = None
        self.cpu_s = 0.0
        self.max_rss_kb = 0

    def signal(self) -> None:
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)

    def wait(self, timeout_ms: int) -> bool:
        """Say whether it has ended, after waiting that long at most."""
        if self.status is None and select.select([self.pidfd], [], [], timeout_ms / 1000)[0]:
            self._reap()
        return self.status is not None

    def kill(self) -> None:
        self.signal()
        if self.status is None:
            self._reap()
        os.close(self.pidfd)

    def _reap(self) -> None:
        _, self.status, usage = os.wait4(self.pid, 0)
        self.cpu_s = usage.ru_utime + usage.ru_stime
        self.max_rss_kb = usage.ru_maxrss

    def exit_code(self) -> int:
        return os.waitstatus_to_exitcode(self.status or 0)

    def report(self) -> dict[str, Any]:
        return {"code": self.exit_code(), "cpu_s": self.cpu_s, "max_rss_kb": self.max_rss_kb}


def _be_program(tier: isolation.Tier, sock: socket.socket, limits: dict[str, int]) -> int:
    channel = Channel(sock)
    try:
        isolation.confine(tier, [sock], limits, writes=True)
    except OSError as error:
        channel.send({"fault": f"the program's process could not be confined: {error}"})
        return 71
    channel.send({"ready": True})
    serve_program(channel)
    return 0


def _be_judge(
    tier: isolation.Tier, harness: socket.socket, ours: socket.socket, limits: dict[str, int]
) -> int:
    channel = Channel(harness)
    own = {"cpu_s": limits["judge_cpu_s"], "memory_bytes": limits["judge_memory_bytes"]}
    try:
        isolation.confine(tier, [harness, ours], own, writes=False)
        gone = judge.serve(channel, Channel(ours))
    except OSError as error:
        channel.send({"fault": f"the tests' process could not be confined: {error}"})
        return 71
    except ClosedError:
        return 72
    return PEER_GONE if gone else 0
