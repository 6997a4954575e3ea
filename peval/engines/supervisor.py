"""The engine that a run sees: a worker process, watched, replaced when it dies, never orphaned."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from peval.engines.causes import is_permanent, last_cause
from peval.engines.flight import Flight
from peval.engines.process import WorkerDeathError, WorkerHangError, WorkerProcess
from peval.engines.room import no_room
from peval.engines.wire import (
    Message,
    adapters_message,
    failed,
    read_completion,
    request_message,
    spec_message,
)
from peval.errors import EngineError
from peval.types import Completion, EngineSpec, Request

_PACKAGE_ROOT = str(Path(__file__).parents[2])
# -P: a folder called vllm where the user happens to be must not be taken for the library.
WORKER = (
    *(sys.executable, "-P", "-c"),
    f"import sys; sys.path.append({_PACKAGE_ROOT!r}); "
    "from peval.engines.worker import main; main()",
)
_MAX_STARTS = 3
_MAX_FRUITLESS_DEATHS = 8
_GRACE_S = 3.0


class SupervisedEngine:
    """Answers requests through a worker process; an `Engine` for ``EngineSpec``.

    Parameters
    ----------
    spec : EngineSpec
        What the worker loads.
    log_path : Path
        File that gets everything the worker prints.
    on_event : callable, optional
        Called with a one-line notice when something was mended ("engine restarted: ...").
    command : sequence of str, optional
        The worker's program.
    stall_timeout_s, start_timeout_s : float, optional
        Longest silence of a worker that has work, and longest start.

    Attributes
    ----------
    ready : Message
        What the worker said of itself: engine, version, device, dtype, max_model_len, window and
        ``refused``, the adapters it could not load, with reasons. Empty before the first start.
    n_starts, n_restarts : int
        Workers that came up, and those of them that replaced one that died.
    """

    def __init__(
        self,
        spec: EngineSpec,
        log_path: Path,
        on_event: Callable[[str], None] | None = None,
        *,
        command: Sequence[str] = WORKER,
        stall_timeout_s: float = 300.0,
        start_timeout_s: float = 1800.0,
    ) -> None:
        self._spec = spec
        self._log_path = log_path
        self._on_event = on_event or (lambda notice: None)
        self._command = command
        self._stall_timeout_s = stall_timeout_s
        self._start_timeout_s = start_timeout_s
        self._worker: WorkerProcess | None = None
        self._is_up = False
        self._log_start = 0
        self._busy = False
        self._death: str | None = None
        self.ready: Message = {}
        self.n_starts = self.n_restarts = 0

    @property
    def worker_pid(self) -> int | None:
        """Process id, and process group id, of the live worker."""
        return self._worker.pid if self._worker else None

    def launch(self) -> None:
        """Begin to start the worker, and do not wait for it; nothing if one is live."""
        if self._worker is None:
            self._log_path.parent.mkdir(parents=True, exist_ok=True)
            self._log_start = self._log_path.stat().st_size if self._log_path.exists() else 0
            self._worker = WorkerProcess(self._command, self._log_path)
            self._worker.send(spec_message(self._spec))

    def start(self) -> None:
        """Start the worker and wait until it has loaded everything; nothing if one is up.

        Raises
        ------
        EngineError
            The worker failed to start three times, or once for a reason that will not change.
        """
        for attempt in itertools.count(1):
            if self._is_up:
                break
            try:
                self._start_once()
            except WorkerDeathError as death:
                hopeless = isinstance(death, WorkerHangError) or is_permanent(str(death))
                if hopeless or attempt == _MAX_STARTS:
                    raise self._error(f"did not start: {death}") from None
                self._on_event(f"engine did not start, trying again: {death}")
        if self._death:
            self.n_restarts += 1
            self._on_event(f"engine restarted: {self._death}")
            self._death = None

    def adopt(self, spec: EngineSpec) -> None:
        """Answer for another spec from now on; the worker goes on if its room will do.

        Else it is stopped, the reason is told, and the next request starts another.
        """
        if self._busy:
            raise RuntimeError("this engine is answering a stream of requests")
        why = no_room(self._spec, spec)
        if why is None:
            spec = replace(self._spec, adapters=spec.adapters)
        self._spec = spec
        if self._worker is None:
            return
        if why is None:
            self._worker.send(adapters_message(spec.adapters))
        else:
            self._on_event(f"engine has to start again: {why}")
            self.close()

    def complete(self, requests: Iterable[Request | None]) -> Generator[Completion]:
        """Yield one completion per distinct request key, as they finish; None is no request yet.

        Leaving the iterator early kills the worker, because its answers are stale by then.

        Raises
        ------
        EngineError
            The engine cannot start, or dies again and again without answering anything.
        """
        if self._busy:
            raise RuntimeError("this engine is already answering another stream of requests")
        self._busy = True
        flight = Flight(requests)
        try:
            while flight.has_work():
                yield from self._serve(flight)
        finally:
            self._busy = False
            if flight.in_flight:
                self._kill()

    def replace(self, why: str) -> None:
        """Throw the worker away, whatever it is doing; the next request starts another."""
        self._kill()
        self._death = why

    def close(self) -> None:
        """Stop the worker and everything it started; safe to call twice."""
        if not self._is_up:
            self._kill()
        elif self._worker is not None:
            worker, self._worker, self._is_up = self._worker, None, False
            worker.stop(_GRACE_S)

    def _serve(self, flight: Flight) -> Iterator[Completion]:
        """Answer until the flight is empty or the worker dies."""
        self.start()
        try:
            while flight.has_work():
                self._submit(flight)
                yield from flight.pop_rejected()
                if flight.in_flight:
                    yield from self._answers(flight)
        except WorkerDeathError as death:
            self._kill()
            self._death = str(death)
            poison = flight.blame()
            if flight.n_fruitless_deaths >= _MAX_FRUITLESS_DEATHS:
                raise self._error(f"dies on every request: {death}") from None
            if poison is not None:
                yield failed(poison, f"engine_fault: {death}")

    def _submit(self, flight: Flight) -> None:
        assert self._worker is not None
        for request in flight.take(int(self.ready["window"])):
            self._worker.send(request_message(request))

    def _answers(self, flight: Flight) -> Iterator[Completion]:
        for message in self._receive(self._stall_timeout_s):
            if message["event"] == "done":
                yield flight.settle(read_completion(message))

    def _receive(self, timeout_s: float) -> list[Message]:
        assert self._worker is not None
        messages = self._worker.receive(timeout_s)
        if messages is None:
            raise WorkerDeathError(self._cause_of_death(self._worker.ending()))
        if not messages:
            raise WorkerHangError(f"no sign of life for {timeout_s:g} s")
        for message in messages:
            if message["event"] == "fatal":
                self._kill()
                raise self._error(message["why"])
        return messages

    def _cause_of_death(self, ending: str) -> str:
        """Prefer what the worker's log says to how it ended; a killed one had no last words."""
        if ending.startswith("killed"):
            return f"worker {ending}"
        return last_cause(self._log_path, self._log_start) or f"worker {ending}"

    def _start_once(self) -> None:
        self.launch()
        try:
            self.ready = self._first_words()
            self._is_up = True
            self.n_starts += 1
        finally:
            if not self._is_up:
                self._kill()

    def _first_words(self) -> Message:
        """Wait for what a worker says of itself; before it, there may be signs of life."""
        while True:
            for message in self._receive(self._start_timeout_s):
                if message["event"] == "ready":
                    return message

    def _kill(self) -> None:
        self._is_up = False
        if self._worker is not None:
            self._worker.kill()
            self._worker = None

    def _error(self, what: str) -> EngineError:
        return EngineError(f"{self._spec.kind} engine {what} (log: {self._log_path})")
