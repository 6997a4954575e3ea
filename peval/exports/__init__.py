"""A finished run in the formats of others. All of it is read from the run's files."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from peval.errors import UsageError
from peval.results import load_results
from peval.rundir import RunDir

Format = Literal["lm-eval", "every-eval-ever"]
FORMATS: tuple[str, ...] = get_args(Format)


def export(run_dir: str | Path, form: str, out: str | Path | None = None) -> list[Path]:
    """Write a finished run in another format; return the files.

    Parameters
    ----------
    form
        "lm-eval": its ``results_*.json`` and ``samples_*.jsonl``, a folder for each system.
        "every-eval-ever": one JSON file for each system, schema 0.3.0 of evaleval/every_eval_ever.
    out
        The folder to write into; "exports" in the run's own if left out.

    Raises
    ------
    UsageError
        There is no such format.
    RunError
        The directory holds no finished run, or a file cannot be written.
    """
    if form not in FORMATS:
        raise UsageError(f"--format {form}: no such format; known: {', '.join(FORMATS)}")
    rundir = RunDir(Path(run_dir))
    results = load_results(rundir.results)
    folder = Path(out) if out else rundir.path / "exports" / form
    if form == "lm-eval":
        from peval.exports.lm_eval_layout import write
    else:
        from peval.exports.every_eval_ever import write
    return write(rundir, results, folder)
