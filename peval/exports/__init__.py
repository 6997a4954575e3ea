"""A finished run in the formats of others. All of it is read from the run's files."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from peval.errors import UsageError
from peval.results import load_results
from peval.rundir import RunDir

_WRITERS = {
    "lm-eval": "lm_eval_layout.write",
    "inspect": "inspect_logs.write",
    "every-eval-ever": "every_eval_ever.write",
    "eval-results": "eval_results.write",
    "tensorboard": "trackers.tensorboard",
    "wandb": "trackers.wandb",
    "mlflow": "trackers.mlflow",
}
FORMATS = tuple(_WRITERS)


def export(
    run_dir: str | Path,
    form: str,
    out: str | Path | None = None,
    benchmarks: Mapping[str, str] = {},
) -> list[Path]:
    """Write a finished run in another format; return the files.

    Parameters
    ----------
    form
        "lm-eval": its ``results_*.json`` and ``samples_*.jsonl``, a folder for each system.
        "inspect": an ``.eval`` log of Inspect for each system and task.
        "every-eval-ever": one JSON file for each system, schema 0.3.0 of evaleval/every_eval_ever.
        "eval-results": the hub's ``.eval_results/TASK.yaml``, a folder for each system.
        "tensorboard": an event file for each system.
        "wandb": an offline run of Weights & Biases for each system, for ``wandb sync``.
        "mlflow": a run for each system at ``MLFLOW_TRACKING_URI``, else in a file, ``mlflow.db``.
    out
        The folder to write into; "exports" in the run's own if left out.
    benchmarks
        For "eval-results": the hub's name of a task's benchmark, as ``OWNER/NAME:TASK_ID``.

    Raises
    ------
    UsageError
        There is no such format, or the package that writes it is not installed.
    RunError
        The directory holds no finished run, or a file cannot be written.
    """
    if form not in FORMATS:
        raise UsageError(f"--format {form}: no such format; known: {', '.join(FORMATS)}")
    if benchmarks and form != "eval-results":
        raise UsageError(f"--benchmark is for --format eval-results, not {form}")
    rundir = RunDir(Path(run_dir))
    results = load_results(rundir.results)
    folder = Path(out) if out else rundir.path / "exports" / form
    module, _, name = _WRITERS[form].partition(".")
    more = (benchmarks,) if form == "eval-results" else ()
    try:
        write = getattr(import_module(f"peval.exports.{module}"), name)
        written: list[Path] = write(rundir, results, folder, *more)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        raise UsageError(f"--format {form} needs the package {package}: install it") from error
    return written
