"""Asks the process of `merging` for checkpoints, one adapter ahead of what is needed."""

from __future__ import annotations

import json
import selectors
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO

from peval.adapters.whole import is_whole
from peval.bases import weight_files
from peval.engines.merging import Fold
from peval.engines.scratch import Scratch
from peval.errors import EngineError
from peval.types import Adapter, EngineSpec

_PACKAGE_ROOT = str(Path(__file__).parents[2])
_COMMAND = (
    *(sys.executable, "-P", "-c"),
    f"import sys; sys.path.append({_PACKAGE_ROOT!r}); "
    "from peval.engines.merging import main; main()",
)


class Merger:
    """Whole checkpoints of adapters, made when the turn is near and removed after it."""

    def __init__(self, spec: EngineSpec, adapters: Sequence[Adapter], scratch: Scratch) -> None:
        self._spec = spec
        self._adapters = {adapter.name: adapter for adapter in adapters}
        self._scratch = scratch
        self._asked: dict[str, Path] = {}
        self._folds: dict[Path, Fold] = {}
        self._answers: dict[str, str | None] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._unread = b""
        for name in list(self._adapters)[:1]:
            self._ask(name)

    def checkpoint(self, name: str, wait_s: float) -> Path | None:
        """Return an adapter's checkpoint, or None if it is not ready within ``wait_s``.

        Raises
        ------
        EngineError
            PEFT cannot fold it.
        """
        out = self._ask(name)
        if str(out) not in self._answers:
            self._read(wait_s)
        if str(out) not in self._answers:
            return None
        why = self._answers[str(out)]
        if why is not None:
            raise EngineError(f"PEFT cannot merge it: {why}")
        names = list(self._adapters)
        for following in names[names.index(name) + 1 :][:1]:
            self._ask(following)
        return out

    def discard(self, name: str) -> None:
        """Remove a checkpoint whose turn is over."""
        out = self._asked.pop(name, None)
        if out is not None and out != self._adapters[name].path:
            self._answers.pop(str(out), None)
            shutil.rmtree(out, ignore_errors=True)

    def close(self) -> None:
        """End the process; safe to call twice."""
        if self._process is not None:
            self._process.kill()
            with suppress(BrokenPipeError), self._process:  # closes its pipes and waits for it
                pass
        self._process, self._unread = None, b""

    def _ask(self, name: str) -> Path:
        if name in self._asked:
            return self._asked[name]
        adapter = self._adapters[name]
        if is_whole(adapter.path):
            out = adapter.path
            self._answers[str(out)] = None
        else:
            base = self._spec.base.path
            n_bytes = 2 * sum(file.stat().st_size for file in weight_files(base))
            out = self._scratch.place(n_bytes) / f"merged-{adapter.sha256[:32]}"
            self._folds[out] = Fold(str(base), str(adapter.path), self._spec.dtype,
                                    adapter.vocabulary_size, len(adapter.labels),
                                    str(out))  # fmt: skip
            self._send(self._folds[out])
        self._asked[name] = out
        return out

    def _send(self, fold: Fold) -> None:
        if self._process is None:
            self._process = subprocess.Popen(
                _COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        with suppress(BrokenPipeError):  # it has ended, which is found out when it is read
            self._pipe(self._process.stdin).write(json.dumps(asdict(fold)).encode() + b"\n")
            self._pipe(self._process.stdin).flush()

    def _read(self, wait_s: float) -> None:
        """Take in what the process has to say, waiting for a moment."""
        assert self._process is not None
        pipe = self._pipe(self._process.stdout)
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            if not selector.select(wait_s):
                return
        data = pipe.read1()  # type: ignore[attr-defined]
        if not data:
            self._bury()
            return
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            answer = json.loads(line)
            self._answers[answer["out"]] = answer["why"]

    def _bury(self) -> None:
        """Blame the fold at which the process ended; the others are asked of a new one."""
        assert self._process is not None
        status = self._process.wait()
        self.close()
        lost, *others = [out for out in self._asked.values() if str(out) not in self._answers]
        self._answers[str(lost)] = f"the process that merges ended with status {status}"
        for out in others:
            self._send(self._folds[out])

    @staticmethod
    def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
        assert pipe is not None
        return pipe
