"""The scorer's process as the trainer sees it: never waited for, except at the very end."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from peval.errors import UsageError

Message = dict[str, Any]


class ScorerProcess:
    """A `peval.Scorer` in a process of its own.

    Parameters
    ----------
    options
        The arguments of `peval.Scorer`, and ``stops_between``: whether its engine ends before each
        reply, so that the device is free until the next checkpoint.
    log
        File that gets whatever the process prints.
    environment
        Set for it beside this process's own; ``CUDA_VISIBLE_DEVICES`` gives it a device.
    command
        What starts it: this Python if empty; else as ``("ssh", "host", "python")``. Its files have
        to be the same ones there.

    Raises
    ------
    UsageError
        There is no such command.
    """

    def __init__(
        self,
        options: Message,
        log: Path,
        environment: Mapping[str, str],
        command: Sequence[str] = (),
    ) -> None:
        program = command or [sys.executable]
        try:
            with log.open("ab") as file:
                self._process = subprocess.Popen(
                    [*program, "-m", "peval.training.worker"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=file,
                    env={**os.environ, **environment},
                    start_new_session=True,  # a Ctrl-C is the trainer's
                )
        except OSError as error:
            raise UsageError(f"the scorer's {program[0]}: {error.strerror}") from error
        self._replies: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()
        self._send(options)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def ask(self, step: int, path: Path) -> None:
        """Hand over a checkpoint."""
        self._send({"step": step, "path": str(path.resolve())})

    def reply(self, timeout_s: float = 0.0) -> Message | None:
        """Return the next reply, or None where there is none (in time).

        Raises
        ------
        BrokenPipeError
            The process has ended.
        """
        try:
            found = self._replies.get(timeout=timeout_s) if timeout_s else self._replies.get(False)
        except queue.Empty:
            return None
        if found is None:
            raise BrokenPipeError(f"it ended with status {self._process.wait()}")
        return found

    def close(self) -> None:
        """Let it end, its engine too."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _send(self, message: Message) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # its end is the next reply
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                with suppress(ValueError):  # a greeting of the host's, not the scorer's
                    self._replies.put(json.loads(line))
        self._replies.put(None)
