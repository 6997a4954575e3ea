"""Many adapters, one after the other, in one engine that stays up."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from peval import routing
from peval.api import job_of
from peval.engines import SupervisedEngine, WatchedEngine
from peval.engines.room import room_for
from peval.errors import UsageError
from peval.execute import open_engine, score_job
from peval.prepare import Setup, prepare
from peval.progress import Progress, Silent
from peval.proven import proven
from peval.results import Results
from peval.rundir import RunDir, digest
from peval.types import Completion, Engine, EngineSpec, LoraRoom, Request


class Scorer:
    """Scores adapters as they come; a context manager, whose engine stays up between them.

    Each call of `score` is a run of its own, with its own directory. The base is asked once:
    later runs take its answers from the first.

    Parameters
    ----------
    base
        A directory or hub id; None reads it from each adapter's config.
    suite
        The name of a suite, or several.
    out
        The folder in which each run gets a directory, named after adapter and configuration.
    max_adapters
        How many adapters one call may bring without a new start of the engine.
    max_lora_rank, target_modules
        What later adapters may have without one; None takes both from the first adapter. An
        adapter that does not fit makes the engine start again, which ``progress`` is told.
    progress
        Is told how far each run is; see `peval.progress`.
    **options
        As in `peval.score`.

    Raises
    ------
    PevalError
        In one line, what is wrong and what to do.

    Examples
    --------
    >>> from peval import Scorer
    >>> with Scorer(suite="superni", data_dir="tests/toy/data", limit=1) as scorer:
    ...     scorer.n_engine_starts
    0
    """

    def __init__(
        self,
        base: str | None = None,
        suite: str | Sequence[str] = (),
        *,
        out: str | Path = "peval-runs",
        max_adapters: int = 1,
        max_lora_rank: int | None = None,
        target_modules: Sequence[str] = (),
        progress: Progress | None = None,
        **options: Any,
    ) -> None:
        for name in {"adapters", "reuse", "replay", "repeat_engine"} & options.keys():
            raise UsageError(f"peval.Scorer has no option {name!r}")
        self._base, self._suite, self._options = base, suite, options
        job_of(base, (), suite, options)
        self._out = Path(out)
        self._progress = progress or Silent()
        self._room = LoraRoom(max_adapters, max_lora_rank or 0, tuple(target_modules))
        self._engine: WatchedEngine | None = None
        self._earlier: Path | None = None
        self._n_past_starts = 0

    @property
    def n_engine_starts(self) -> int:
        """How often an engine came up so far."""
        return self._n_past_starts + (self._engine.n_starts if self._engine else 0)

    def score(self, *adapters: str | Path) -> Results:
        """Score one adapter or several; see `peval.score`.

        Raises
        ------
        PevalError
            In one line, what is wrong and what to do. The next adapter may fare better.
        """
        options = dict(self._options)
        if self._earlier is not None:
            options["reuse"] = (glob.escape(str(self._earlier)),)
        job = job_of(self._base, [str(one) for one in adapters], self._suite, options)
        setup = prepare(job, may_merge=False)
        names = "-".join(adapter.name.replace("/", "-") for adapter in setup.adapters) or "base"
        rundir = RunDir(self._out / f"{names[:80]}-{digest(setup.config)[:8]}")
        setup = replace(setup, rundir=rundir)
        results = score_job(setup, self._progress, ["peval.Scorer"], self._open)
        self._earlier = self._earlier or rundir.path
        return results

    def close(self) -> None:
        """Stop the engine; safe to call twice. A later `score` starts it again."""
        if self._engine is not None:
            self._engine.close()
            self._n_past_starts += self._engine.n_starts
            self._engine = None

    def __enter__(self) -> Scorer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _open(self, setup: Setup, progress: Progress) -> Engine:
        """Return the live engine for one run; a run that needs several engines has its own."""
        specs = list(routing.specs(setup.spec()))
        if len(specs) > 1 or setup.engine != "vllm":
            self.close()
            return open_engine(setup, progress)
        lent = Lent(self._adopted(specs[0], setup.rundir.engine_log, progress))
        return proven(lent, setup, progress)

    def _adopted(self, spec: EngineSpec, log: Path, progress: Progress) -> WatchedEngine:
        self._room = room_for(spec, self._room)
        spec = replace(spec, room=self._room)
        if self._engine is None:
            engine = SupervisedEngine(spec, log, progress.note)
            self._engine = WatchedEngine(engine, spec, progress.note)
        else:
            self._engine.adopt(spec)
        return self._engine


class Lent:
    """The live engine in the hands of one run, which cannot close it."""

    def __init__(self, engine: WatchedEngine) -> None:
        self._engine = engine
        self._n_starts_before = engine.n_starts

    @property
    def n_restarts(self) -> int:
        """One less than the engine's starts during this run."""
        return self._engine.n_starts - self._n_starts_before - 1

    @property
    def up_at_s(self) -> float | None:
        """When the engine gave its first answer in this run."""
        return self._engine.up_at_s

    def launch(self) -> None:
        """Begin to start, without waiting."""
        self._engine.launch()

    def complete(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """Yield one completion per distinct request key."""
        return self._engine.complete(requests)

    def close(self) -> None:
        """Leave the engine up for the next run."""
