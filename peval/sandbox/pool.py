"""Many programs at once: one supervisor per worker, verdicts as they come."""

from __future__ import annotations

import itertools
import os
import queue
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace

from .programs import Program, Status, Verdict
from .worker import Worker

# Programs taken from the caller ahead of their turn, per worker: memory stays bounded.
AHEAD = 4


class Pool:
    """A context manager with `n_workers` supervisors in tier `tier`, started when first needed."""

    def __init__(self, tier: str, n_workers: int | None = None):
        self.tier = tier
        self.n_workers = n_workers or len(os.sched_getaffinity(0))
        # From any of them on: two runs on a machine should not meet on the same core.
        cpus = sorted(os.sched_getaffinity(0))
        first = os.getpid() % len(cpus)
        self._cpus = itertools.cycle(cpus[first:] + cpus[:first])
        self._idle: queue.LifoQueue[Worker | None] = queue.LifoQueue()
        for _ in range(self.n_workers):
            self._idle.put(None)

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def judge(self, programs: Iterable[Program]) -> Iterator[Verdict]:
        """Yield one verdict for each program, in the order in which they are reached.

        A timeout is yielded only after the program ran once more with nothing beside it; a fault
        only after a second try in a fresh worker.
        """
        late: list[Program] = []
        for program, verdict in self._all(iter(programs)):
            if verdict.status is Status.TIMEOUT:
                late.append(program)
            else:
                yield verdict
        for program in late:
            yield replace(self._one(program), n_runs=2)

    def _all(self, programs: Iterator[Program]) -> Iterator[tuple[Program, Verdict]]:
        with ThreadPoolExecutor(self.n_workers) as threads:
            running: dict[Future[Verdict], Program] = {}
            try:
                while True:
                    for program in _take(programs, AHEAD * self.n_workers - len(running)):
                        running[threads.submit(self._one, program)] = program
                    if not running:
                        return
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        yield running.pop(future), future.result()
            finally:
                for future in running:
                    future.cancel()

    def _one(self, program: Program) -> Verdict:
        verdict = self._once(program)
        if verdict.status is Status.FAULT and verdict.reason == "sandbox":
            verdict = replace(self._once(program), n_runs=2)
        return verdict

    def _once(self, program: Program) -> Verdict:
        worker = self._idle.get()
        try:
            worker = worker or Worker(self.tier, next(self._cpus))
            verdict = worker.judge(program)
            if verdict.reason == "sandbox":
                worker.close()
                worker = None
            return verdict
        finally:
            self._idle.put(worker)

    def close(self) -> None:
        """End every supervisor."""
        while not self._idle.empty():
            worker = self._idle.get()
            if worker:
                worker.close()


def _take(programs: Iterator[Program], count: int) -> Iterator[Program]:
    for _, program in zip(range(count), programs, strict=False):
        yield program
