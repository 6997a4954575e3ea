"""One worker process: its process group, its pipes, and its certain end.

The worker runs in a session of its own, so a terminal's Ctrl-C never reaches it. It forks a guard
that waits on a pipe which only this process holds open: whatever ends this process, the guard
then kills the worker's whole group, vLLM's own children included.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from peval.engines.wire import Message, decode, encode
from peval.patience import turns

_READ_BYTES = 1 << 20
_LAST_BREATH_S = 10.0  # from its pipe's end to its own
# What torchrun tells its ranks would make an engine believe that it is one of them.
_TORCHRUN = (
    "RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "GROUP_WORLD_SIZE",
    "ROLE_RANK", "ROLE_WORLD_SIZE", "ROLE_NAME", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_",
)  # fmt: skip


class WorkerDeathError(Exception):
    """The worker ended or broke the protocol; the message says how. Never leaves the engine."""


class WorkerHangError(WorkerDeathError):
    """The worker is silent."""


class WorkerProcess:
    """A worker that has been started and not yet killed.

    Parameters
    ----------
    command : sequence of str
        The worker's program; three file descriptor numbers are appended: requests to read,
        events to write, and the guard's pipe to read.
    log_path : Path
        File to which the worker's stdout and stderr are appended.
    """

    def __init__(self, command: Sequence[str], log_path: Path) -> None:
        theirs_in, self._requests = os.pipe()
        self._events, theirs_out = os.pipe()
        guard, self._guard = os.pipe()
        ends = (theirs_in, theirs_out, guard)
        try:
            with log_path.open("ab") as log:
                self._popen = subprocess.Popen(
                    [*command, *map(str, ends)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    pass_fds=ends,
                    env={k: v for k, v in os.environ.items() if not k.startswith(_TORCHRUN)},
                    start_new_session=True,
                )
        except BaseException:
            self._close_pipes()
            raise
        finally:
            for end in ends:
                os.close(end)
        os.set_blocking(self._requests, False)
        os.set_blocking(self._events, False)
        self._unsent = bytearray()
        self._unread = bytearray()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._events, selectors.EVENT_READ)

    @property
    def pid(self) -> int:
        """The worker's process id, which is its group's id too."""
        return self._popen.pid

    def send(self, message: Message) -> None:
        """Send a message; what does not fit the pipe travels while ``receive`` waits."""
        if not self._unsent:
            self._selector.register(self._requests, selectors.EVENT_WRITE)
        self._unsent += encode(message)
        self._write()

    def receive(self, timeout_s: float) -> list[Message] | None:
        """Wait for messages; an empty list is a timeout, None the worker's end."""
        for turn_s in turns(timeout_s):
            ready = {key.fd for key, _ in self._selector.select(turn_s)}
            if self._requests in ready:
                self._write()
            if self._events in ready:
                messages = self._read()
                if messages is None or messages:
                    return messages
        return []

    def _write(self) -> None:
        try:
            del self._unsent[: os.write(self._requests, self._unsent)]
        except BlockingIOError:
            return
        except BrokenPipeError:  # the worker is gone: its events end too, and say so
            self._unsent.clear()
        if not self._unsent:
            self._selector.unregister(self._requests)

    def _read(self) -> list[Message] | None:
        data = os.read(self._events, _READ_BYTES)
        if not data:
            return None
        self._unread += data
        *lines, rest = self._unread.split(b"\n")
        self._unread = rest
        return [decode(bytes(line)) for line in lines]

    def ending(self) -> str:
        """Say how the worker ended, waiting a moment for it to do so."""
        self._await_end(_LAST_BREATH_S)
        end = self._peek_end()
        if end is None:
            return "closed its pipe but lives on"
        if end.si_code == os.CLD_EXITED:
            return f"exited with status {end.si_status}"
        memory = "; is the machine out of memory?" if end.si_status == signal.SIGKILL else ""
        return f"killed by {signal.Signals(end.si_status).name}{memory}"

    def stop(self, grace_s: float) -> None:
        """Let the worker end by itself for a moment, then kill its group."""
        self._selector.close()
        os.close(self._requests)
        self._requests = -1
        self._await_end(grace_s)
        self.kill()

    def _await_end(self, timeout_s: float) -> None:
        for turn_s in turns(timeout_s, 0.01):
            if self._peek_end() is not None:
                return
            time.sleep(turn_s)

    def _peek_end(self) -> os.waitid_result | None:
        """Look at the worker's end but leave it unreaped, so that its group id stays its own."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)

    def kill(self) -> None:
        """Kill the whole group and close the pipes; safe to call twice."""
        if self._popen.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self._popen.wait()
        self._selector.close()
        self._close_pipes()

    def _close_pipes(self) -> None:
        for name in ("_requests", "_events", "_guard"):
            if getattr(self, name) >= 0:
                os.close(getattr(self, name))
                setattr(self, name, -1)
