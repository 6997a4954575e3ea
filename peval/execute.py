"""A prepared job is begun, gone on with, or answered from disk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from peval import engines, routing
from peval.conclude import conclude
from peval.prepare import Setup
from peval.progress import Progress
from peval.proven import open_reference, proven
from peval.results import Results, load_results
from peval.run import OpenEngine, run
from peval.rundir import REPEATED, RunDir
from peval.scorers.text import SCORER_VERSION
from peval.store import Store
from peval.types import Engine

RETOLD = ("facts", "select", "tasks")
"""What of a manifest may change when nothing else does: how answers are looked at."""


def score_job(
    setup: Setup,
    progress: Progress,
    command: Sequence[str],
    opener: OpenEngine | None = None,
) -> Results:
    """Run a prepared job, or return what it found if it is finished already."""
    rundir = setup.rundir
    going_on = rundir.claim(setup.config)
    if is_finished(rundir) and not _lacks_repeat(setup):
        return conclude(rundir) if _is_told_anew(setup) else load_results(rundir.results)
    if going_on:
        _is_told_anew(setup)
    if not going_on:
        rundir.write_manifest(setup.manifest(command))
    try:
        return run(setup, opener or open_engine, progress)
    finally:
        progress.close()


def _is_told_anew(setup: Setup) -> bool:
    """Take over what no answer depends on; tell whether any of it is new."""
    held = setup.rundir.read_manifest()
    told = {key: value for key, value in setup.manifest([]).items() if key in RETOLD}
    told = json.loads(json.dumps(told))
    if all(held.get(key) == value for key, value in told.items()):
        return False
    setup.rundir.write_manifest(held | told)
    return True


def _lacks_repeat(setup: Setup) -> bool:
    """Tell whether everything is still to be asked a second time."""
    return setup.job.repeat_engine and not setup.rundir.read_manifest().get(REPEATED)


def is_finished(rundir: RunDir) -> bool:
    """Tell whether a run has answered, scored and reported everything with this peval's scorer."""
    if not rundir.manifest.exists():
        return False
    manifest = rundir.read_manifest()
    done = manifest["status"] == "complete" and manifest.get("scorer") == SCORER_VERSION
    return done and rundir.results.exists() and rundir.report.exists()


def open_engine(setup: Setup, progress: Progress) -> Engine:
    """Start the engine that a job asks for."""
    if setup.job.replay is None:
        engine = engines.open_engine(
            routing.specs(setup.spec()), setup.rundir.engine_log, on_event=progress.note
        )
        return proven(engine, setup, progress, open_reference(setup))
    with Store(RunDir(Path(setup.job.replay)).store) as recorded:
        keys = [request.key for request in recorded.requests()]
        return engines.ReplayEngine(recorded.completions(keys))
