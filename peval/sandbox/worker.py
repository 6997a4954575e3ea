"""One supervisor process, and programs handed to it one at a time."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

from peval.patience import turns

from .ending import judge_cpu_s, verdict
from .inside.channel import Channel, ClosedError
from .inside.codec import MalformedError
from .programs import Check, Program, Status, Verdict

START_TIMEOUT_S = 20
# How long the supervisor may take beyond the program's wall limit before it counts as stuck; a
# machine that stands still for a while makes none of it stuck.
PATIENCE_S = 120
JUDGE_MEMORY_BYTES = 4 * 2**30
MAX_ANSWER_BYTES = 2**28
# One hash seed, so that programs that print or return sets behave alike in every worker; few arenas
# of malloc, as each reserves 64 MB of the memory that a program with many threads may use.
ENVIRONMENT = {"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", "MALLOC_ARENA_MAX": "2"}
START = "import sys; sys.path.insert(0, {path!r}); from inside.supervisor import main; main()"


class SandboxFaultError(Exception):
    """The sandbox itself failed; it says nothing about any program."""


class TierRefusedError(Exception):
    """A tier cannot be set up on this machine, and why."""


class Worker:
    """A supervisor in tier `tier`; a context manager.

    Its processes wait for one another, and run on `cpu` alone where one is named: to wake the next
    on a core that sleeps costs more than most programs.
    """

    def __init__(self, tier: str, cpu: int | None = None):
        self.workplace = tempfile.mkdtemp(prefix="peval-sandbox-")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control = ours
        start = START.format(path=str(Path(__file__).parent))
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-s", "-S", "-P", "-c", start, tier, self.workplace],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=ENVIRONMENT,
                cwd="/",
                start_new_session=True,
            )
        if cpu is not None:
            with contextlib.suppress(OSError):  # the core was taken away; any other will do
                os.sched_setaffinity(self.process.pid, {cpu})
        try:
            hello = self._hear(START_TIMEOUT_S)
        except SandboxFaultError as error:
            self.close()
            raise TierRefusedError(f"{tier}: {error}") from None
        if "refused" in hello:
            self.close()
            raise TierRefusedError(hello["refused"])
        self.abi: int = hello["abi"]

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def judge(self, program: Program) -> Verdict:
        """Run a program and its tests; a fault leaves this worker unusable."""
        limits = program.limits
        try:
            ours, theirs = socket.socketpair()
            with ours:
                with theirs:
                    self._ask(_limits(program), theirs)
                ours.settimeout(limits.wall_s + PATIENCE_S)
                said = _exchange(Channel(ours), program)
                return verdict(program, said, self._hear(limits.wall_s + PATIENCE_S))
        except (SandboxFaultError, MalformedError, OSError) as error:
            return Verdict(program.key, Status.FAULT, "sandbox", f"{error}"[:500])

    def _ask(self, request: dict[str, int], sock: socket.socket) -> None:
        socket.send_fds(self.control, [json.dumps(request).encode()], [sock.fileno()])

    def _hear(self, patience_s: float) -> dict[str, Any]:
        for turn_s in turns(patience_s):
            self.control.settimeout(turn_s)
            try:
                text = self.control.recv(2**16)
            except TimeoutError:
                continue
            except ConnectionError as error:
                raise SandboxFaultError(f"the supervisor does not answer: {error}") from None
            if not text:
                raise SandboxFaultError("the supervisor ended")
            message: dict[str, Any] = json.loads(text)
            return message
        raise SandboxFaultError(f"the supervisor does not answer within {patience_s} s")

    def close(self) -> None:
        """End the supervisor with all that it started, and remove its directory."""
        self.control.close()
        try:
            self.process.wait(2)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, 9)
            self.process.wait()
        shutil.rmtree(self.workplace, ignore_errors=True)


def _limits(program: Program) -> dict[str, int]:
    return {
        "cpu_s": program.limits.cpu_s,
        "wall_s": program.limits.wall_s,
        "memory_bytes": program.limits.memory_mb * 2**20,
        "judge_cpu_s": judge_cpu_s(program),
        "judge_memory_bytes": JUDGE_MEMORY_BYTES,
    }


def _exchange(channel: Channel, program: Program) -> dict[str, Any] | None:
    """Send the job, which waits until both processes are confined; return the tests' verdict."""
    name, check = _told(program.check)
    job = json.dumps({"check": name, "code": program.code}).encode()
    try:
        channel.send_bytes(job)
        greeting = channel.receive()
    except ClosedError:
        raise SandboxFaultError("the tests' process ended before it was confined") from None
    if "ready" not in greeting:
        raise SandboxFaultError(greeting.get("fault", "no word of being confined"))
    try:
        said: dict[str, Any] = channel.receive(MAX_ANSWER_BYTES)
        if "want" in said:
            channel.send_bytes(check)
            said = channel.receive(MAX_ANSWER_BYTES)
    except ClosedError:
        return None
    return said


@lru_cache(64)
def _told(check: Check) -> tuple[str, bytes]:
    """Return a check's name and what the tests' process is told of it, once for its programs."""
    text = json.dumps(check.job()).encode()
    return hashlib.sha256(text).hexdigest(), text
