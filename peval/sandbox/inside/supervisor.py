"""A fork server: for each program a process of its own, beside one that runs the tests.

The supervisor never reads a program or a test, so what is forked from it holds no secret. It
watches the two processes, kills them, and tells the harness how they ended. The tests' process
serves many programs, one at a time; each program's process is forked and confined while the one
before it still runs.
"""

from __future__ import annotations

import array
import contextlib
import gc
import json
import math
import os
import resource
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from . import isolation, judge, scratch, seccomp, threads
from .candidate import serve as serve_program
from .channel import Channel, ClosedError
from .warm import warm_up

PRELOADED = """
    abc array bisect cmath collections copy dataclasses datetime decimal enum fractions functools
    hashlib heapq itertools json math operator random re string statistics struct textwrap time
    types typing
""".split()  # noqa: SIM905

MAX_SCRATCH_BYTES = 64 * 2**20
MAX_SCRATCH_ENTRIES = 4096
MAX_THREADS = 512  # with stacks of the usual size, memory ends before
LOOK_EVERY_MS = 50
LONGEST_LOOK_S = 0.1
LOOKS_OF_GRACE = 10
DONE, GONE = b"done", b"gone"
LATE = 75
JOBS_OF_A_JUDGE = 1000  # then a fresh one: what leaks stays small
MAX_JUDGE_CPU_S = 10**6
ROOM_FOR_ONE = socket.CMSG_SPACE(4)


def main() -> None:
    """Serve until the harness closes its end of the socket that is descriptor 0."""
    tier_name, workplace = sys.argv[1:3]
    control = socket.socket(fileno=os.dup(0))
    isolation.silence()
    _preload()
    warm_up()
    proc = threads.open_proc()
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
        Supervisor(tier, control, proc).serve()


def _preload() -> None:
    """Import what programs will, and keep `random` from drawing a seed after each fork.

    Each page that a process writes to is copied for it, which is most of what a short program
    costs. So all programs start with the same seed, as all tests do.
    """
    register, os.register_at_fork = os.register_at_fork, lambda **_: None
    for name in PRELOADED:
        __import__(name)
    os.register_at_fork = register
    sys.modules["random"].seed(0)


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


class Supervisor:
    """Runs programs one at a time, in a tier, for the harness at the other end of `control`.

    `proc` is a descriptor of `/proc`, where threads are counted.
    """

    def __init__(self, tier: isolation.Tier, control: socket.socket, proc: int):
        self.tier = tier
        self.control = control
        self.proc = proc
        self.judge: _Judge | None = None
        self.nursery: _Nursery | None = None
        self.spare: _Program | None = None

    def serve(self) -> None:
        """Run what is asked until the harness closes its end."""
        while request := _receive(self.control):
            limits, harness = request
            report = self._run(harness, limits)
            self.control.send(json.dumps(report).encode())

    def _run(self, harness: socket.socket, limits: dict[str, int]) -> dict[str, Any]:
        nursery = self._nursery(limits)
        program, self.spare = self.spare or _Program(nursery), None
        judge = self.judge = self.judge or _Judge(self.tier, limits)
        judge.take(harness, program.ours, limits["judge_cpu_s"])
        harness.close()
        program.ours.close()
        self.spare = _Program(nursery)
        try:
            killed, word = self._watch(program, judge, limits["wall_s"])
            ended = program.ends_soon() if word == GONE else program.wait(0)
        finally:
            program.kill()
            if not self._is_fit(judge):
                judge.kill()
                self.judge = None
        scratch.empty(self.tier.scratch)
        program_report = {**program.report(), "ended": ended}
        return {"killed": killed, "program": program_report, "tests": judge.report()}

    def _nursery(self, limits: dict[str, int]) -> _Nursery:
        """Return where programs with these limits come from."""
        if self.nursery is not None and self.nursery.limits != limits:
            if self.spare is not None:
                self.spare.kill()
            self.nursery.kill()
            self.nursery = self.spare = None
        self.nursery = self.nursery or _Nursery(self.tier, limits)
        return self.nursery

    def _is_fit(self, judge: _Judge) -> bool:
        """Say whether the tests' process is free for the next program."""
        return judge.is_free and judge.n_taken < JOBS_OF_A_JUDGE and not judge.wait(0)

    def _watch(self, program: _Program, judge: _Judge, left_s: float) -> tuple[str, bytes]:
        """Wait until the tests are over; return why the program was killed before, if it was.

        A look counts for little, however long it took: a machine that stood still is not the
        program's fault.
        """
        poll = select.poll()
        for readable in (judge.pidfd, judge.jobs):
            poll.register(readable, select.POLLIN)
        poll.register(self.control, select.POLLHUP)
        killed = ""
        while True:
            started_s = time.monotonic()
            ready = {descriptor for descriptor, _ in poll.poll(LOOK_EVERY_MS)}
            left_s -= min(time.monotonic() - started_s, LONGEST_LOOK_S)
            if self.control.fileno() in ready:
                # The harness is gone; nobody will ask again.
                os._exit(0)
            if judge.jobs.fileno() in ready:
                return killed, judge.done()
            if judge.pidfd in ready:
                return killed, b""
            if left_s <= 0:
                if killed:
                    return killed, b""
                killed, left_s = "wall", 1.0
                program.signal()
            elif not killed and (killed := self._excess(program)):
                program.signal()

    def _excess(self, program: _Program) -> str:
        """Return what a program has more of than it may, if anything."""
        if threads.count(self.proc, program.pidfd) > MAX_THREADS:
            return "threads"
        return "disk" if _is_overfull(self.tier) else ""


def _is_overfull(tier: isolation.Tier) -> bool:
    # A tier with namespaces has a file system that is small by itself.
    if tier.name == isolation.NAMESPACES:
        return False
    return scratch.exceeds(tier.scratch, MAX_SCRATCH_BYTES, MAX_SCRATCH_ENTRIES)


class _Child:
    """A process, watched through a descriptor that cannot come to mean another one."""

    def __init__(self, pid: int):
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.ended: _End | None = None

    def signal(self) -> None:
        if self.ended is None:
            os.kill(self.pid, signal.SIGKILL)

    def wait(self, timeout_ms: int) -> bool:
        """Say whether it has ended, after waiting that long at most."""
        if self.ended is None and select.select([self.pidfd], [], [], timeout_ms / 1000)[0]:
            self.ended = self._reap()
        return self.ended is not None

    def ends_soon(self) -> bool:
        """Say whether it ends by itself while we look a few times."""
        return any(self.wait(LOOK_EVERY_MS) for _ in range(LOOKS_OF_GRACE))

    def kill(self) -> None:
        self.signal()
        self.ended = self.ended or self._reap()
        os.close(self.pidfd)

    def _reap(self) -> _End:
        return _wait(self.pid)

    def report(self) -> dict[str, Any]:
        return (self.ended or _End(0, 0.0, 0))._asdict()


class _End(NamedTuple):
    """How a process ended, and what it took."""

    code: int
    cpu_s: float
    max_rss_kb: int


def _wait(pid: int) -> _End:
    _, status, usage = os.wait4(pid, 0)
    cpu_s = usage.ru_utime + usage.ru_stime
    return _End(os.waitstatus_to_exitcode(status), cpu_s, usage.ru_maxrss)


def _fork(work: Callable[[], int]) -> int:
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            code = work()
        finally:
            os._exit(code)
    return pid


class _Nursery(_Child):
    """A process that programs are forked from: it holds all of their layers that can be inherited.

    It does nothing else, so that it writes to few of the pages that it shares with them: each one
    is copied once more for every fork.
    """

    def __init__(self, tier: isolation.Tier, limits: dict[str, int]):
        self.limits = limits
        self.jobs, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        super().__init__(_fork(lambda: _be_nursery(tier, theirs, limits)))
        theirs.close()

    def fork(self, sock: socket.socket) -> int:
        """Return the number of a new process that serves a program over `sock`."""
        socket.send_fds(self.jobs, [b"fork"], [sock.fileno()])
        return int(self.jobs.recv(16))

    def reap(self, pid: int) -> _End:
        """Wait for a process that has ended or was killed."""
        self.jobs.send(str(pid).encode())
        code, cpu_s, max_rss_kb = self.jobs.recv(64).split()
        return _End(int(code), float(cpu_s), int(max_rss_kb))

    def kill(self) -> None:
        self.jobs.close()
        super().kill()


class _Program(_Child):
    """A program's process, confined and waiting; `ours` is the tests' end of its socket."""

    def __init__(self, nursery: _Nursery):
        self.nursery = nursery
        theirs, self.ours = socket.socketpair()
        with theirs:
            super().__init__(nursery.fork(theirs))

    def _reap(self) -> _End:
        return self.nursery.reap(self.pid)

    def kill(self) -> None:
        self.ours.close()
        super().kill()


class _Judge(_Child):
    """The tests' process; `jobs` is our end of the socket by which it is handed sockets."""

    def __init__(self, tier: isolation.Tier, limits: dict[str, int]):
        self.jobs, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.n_taken = 0
        self.is_free = True
        super().__init__(_fork(lambda: _be_judge(tier, theirs, limits)))
        theirs.close()

    def take(self, harness: socket.socket, program: socket.socket, cpu_s: int) -> None:
        """Hand over a program with its harness; `done` says when its tests are over."""
        self.n_taken += 1
        self.is_free = False
        with contextlib.suppress(ConnectionError):  # it died; its pidfd tells
            descriptors = [harness.fileno(), program.fileno()]
            socket.send_fds(self.jobs, [str(cpu_s).encode()], descriptors)

    def done(self) -> bytes:
        """Return its word on the program: `GONE`, or nothing if it died."""
        with contextlib.suppress(ConnectionError):
            word = self.jobs.recv(16)
            self.is_free = bool(word)
            return word
        return b""

    def kill(self) -> None:
        self.jobs.close()
        super().kill()


def _be_nursery(tier: isolation.Tier, jobs: socket.socket, limits: dict[str, int]) -> int:
    fault = ""
    try:
        isolation.shelter(tier, [jobs], limits, writes=True)
    except OSError as error:
        fault = f"the program's process could not be confined: {error}"
    while True:
        text, rights, _, _ = jobs.recvmsg(16, ROOM_FOR_ONE)
        if not text:
            return 0
        if rights:
            sock = socket.socket(fileno=int.from_bytes(rights[0][2][:4], sys.byteorder))
            with sock:
                pid = _fork(lambda: _be_program(sock, jobs, limits["cpu_s"], tier, fault))  # noqa: B023
            jobs.send(str(pid).encode())
        else:
            jobs.send("{} {} {}".format(*_wait(int(text))).encode())


def _be_program(
    sock: socket.socket, jobs: socket.socket, cpu_s: int, tier: isolation.Tier, fault: str
) -> int:
    jobs.close()
    channel = Channel(sock)
    try:
        isolation.confine(tier, cpu_s)
    except OSError as error:
        fault = fault or f"the program's process could not be confined: {error}"
    if fault:
        channel.send({"fault": fault})
        return 71
    channel.send({"ready": True})
    serve_program(channel)
    return 0


def _be_judge(tier: isolation.Tier, jobs: socket.socket, limits: dict[str, int]) -> int:
    own = {"memory_bytes": limits["judge_memory_bytes"]}
    fault = ""
    try:
        isolation.shelter(tier, [jobs], own, writes=False)
        isolation.confine(tier, MAX_JUDGE_CPU_S, seccomp.FOR_TESTS)
    except OSError as error:
        fault = f"the tests' process could not be confined: {error}"
    signal.signal(signal.SIGXCPU, lambda *_: os._exit(LATE))
    known: judge.Checks = {}
    while job := _receive_pair(jobs):
        cpu_s, harness, program = job
        with harness, program:
            if fault:
                Channel(harness).send({"fault": fault})
                return 71
            _allow_cpu(cpu_s)
            word = DONE
            with contextlib.suppress(ClosedError):
                word = GONE if judge.serve(Channel(harness), Channel(program), known) else DONE
        jobs.send(word)
    return 0


def _receive_pair(jobs: socket.socket) -> tuple[int, socket.socket, socket.socket] | None:
    text, rights, _, _ = jobs.recvmsg(16, socket.CMSG_SPACE(8))
    if not text:
        return None
    descriptors = array.array("i")
    descriptors.frombytes(rights[0][2][:8])
    harness, program = (socket.socket(fileno=descriptor) for descriptor in descriptors)
    return int(text), harness, program


def _allow_cpu(cpu_s: int) -> None:
    """Grant so many seconds from now on; the signal at their end cannot be missed."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    soft = math.ceil(usage.ru_utime + usage.ru_stime) + cpu_s
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (min(soft, hard), hard))
