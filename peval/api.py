"""What training code calls: `score`, `load`, `compare`, `gate`. Nothing here prints or exits."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peval.conclude import conclude
from peval.errors import UsageError
from peval.execute import score_job
from peval.job import Job
from peval.prepare import prepare
from peval.progress import Progress, Silent
from peval.report.write import Form, write_report
from peval.results import Results, load_results
from peval.rundir import PLANNED, RunDir
from peval.spelling import meant

if TYPE_CHECKING:
    from peval.decide.compare import Adjustment, Compared
    from peval.decide.gate import Gate


def score(
    base: str | None = None,
    adapters: Sequence[str] = (),
    suite: str | Sequence[str] = (),
    *,
    progress: Progress | None = None,
    **options: Any,
) -> Results:
    """Score a base model and its adapters on a suite.

    Parameters
    ----------
    base
        A directory or hub id; None reads it from the adapters' configs.
    adapters
        Paths, globs, parent directories or hub ids.
    suite
        The name of a suite, or several.
    progress
        Is told how far the run is; see `peval.progress`.
    **options
        The other fields of `peval.job.Job`: ``tasks``, ``limit``, ``out``, ``engine``,
        ``data_dir``, ``seed``, ``profile`` and so on.

    Returns
    -------
    Results
        What the run found, also in ``results.json`` and ``report.md`` in the run directory. It
        may be partial: see `Results.complete`.

    Raises
    ------
    PevalError
        In one line, what is wrong and what to do.

    Examples
    --------
    >>> import peval
    >>> results = peval.score(
    ...     adapters=["tests/toy/adapters/generalist"], suite="superni",
    ...     data_dir="tests/toy/data", limit=3, out="peval-runs/first",
    ... )
    >>> results.complete
    True
    >>> results.estimate("superni", "rougeL", "generalist").n_items
    42
    """
    job = job_of(base, adapters, suite, options)
    return score_job(prepare(job), progress or Silent(), command=["peval.score"])


def job_of(
    base: str | None,
    adapters: Sequence[str],
    suite: str | Sequence[str],
    options: Mapping[str, Any],
) -> Job:
    """Return a library call's arguments as a job, on the first process of several alone.

    Raises
    ------
    UsageError
        An option is unknown, or torchrun started this process as another than its first.
    """
    if (rank := os.environ.get("RANK", "0")) != "0":
        raise UsageError(
            f"peval scores on rank 0 alone, this is rank {rank}: ask for the rank first"
        )
    settings = _fields(options, Job, "peval.score")
    suites = (suite,) if isinstance(suite, str) else tuple(suite)
    named = (adapters,) if isinstance(adapters, str) else map(str, adapters)
    return Job(base=base, adapters=tuple(named), suites=suites, **settings)


def _fields(options: Mapping[str, Any], job: type, caller: str) -> dict[str, Any]:
    """Return a job's fields from a caller's options; UsageError names one that is none."""
    known = [field.name for field in dataclasses.fields(job)]
    for name in options:
        if name not in known:
            raise UsageError(f"{caller} has no option {name!r}; {meant(name, known)}")
    return {name: tuple(one) if isinstance(one, list) else one for name, one in options.items()}


def load(run_dir: str | Path) -> Results:
    """Read back what a run found.

    Raises
    ------
    RunError
        If the directory holds no finished run.

    Examples
    --------
    >>> import peval
    >>> peval.load("peval-runs/first").comparison("superni", "rougeL", "generalist").n_items
    42
    """
    return load_results(RunDir(Path(run_dir)).results)


def rescore(run_dir: str | Path) -> Results:
    """Score a run's stored completions anew and rewrite its results and report.

    Examples
    --------
    >>> from peval.api import rescore
    >>> rescore("peval-runs/first").complete
    True
    """
    return conclude(RunDir(Path(run_dir)))


def score_predictions(predictions: Sequence[str | Path], task: str, **options: Any) -> Results:
    """Score other people's predictions, without any model.

    Parameters
    ----------
    predictions, task, **options
        The fields of `peval.prediction_job.PredictionJob`, which says what each may be.

    Raises
    ------
    PevalError
        In one line, what is wrong and what to do.

    Examples
    --------
    >>> from pathlib import Path
    >>> import peval
    >>> _ = Path("sums.jsonl").write_text('{"id": "1", "input": "2 + 2", "output": "4"}')
    >>> _ = Path("theirs.jsonl").write_text('{"id": "1", "prediction": "4"}')
    >>> results = peval.score_predictions(["theirs.jsonl"], "sums.jsonl")
    >>> results.estimate("sums", "exact_match", "theirs").value
    1.0
    """
    from peval.prediction_job import PredictionJob
    from peval.predictions import import_predictions

    settings = _fields(options, PredictionJob, "peval.score_predictions")
    return conclude(import_predictions(PredictionJob(tuple(predictions), task, **settings)))


def report(run_dir: str | Path, form: Form = "md") -> Path:
    """Rewrite a run's report from its results; return its path.

    Parameters
    ----------
    form
        "md": ``report.md`` with its figures; "html": one file for browsers; "latex": the tables;
        "csv": a folder of tables.

    A run that is still in progress, or was stopped, is reported as far as it is, as partial.

    Examples
    --------
    >>> from peval.api import report
    >>> report("peval-runs/first", "csv").name
    'tables'
    """
    rundir = RunDir(Path(run_dir))
    if not rundir.results.exists() and PLANNED in rundir.read_manifest():
        conclude(rundir)
    return write_report(rundir, load_results(rundir.results), form)


def compare(
    *runs: str | Path,
    against: str | None = None,
    adjust: Adjustment = "holm",
    common_items: bool = False,
    ignore: Sequence[str] = (),
) -> Compared:
    """Compare the systems of finished runs on identical items.

    Parameters
    ----------
    *runs
        Run directories. One run compares its adapters with its base; of several, each later
        run's systems are compared with those of the same name in the first.
    against
        Compare with this instead: ``base`` or an adapter's name (each run's own, else the first
        run's that has it), ``RUN/NAME``, a run, or ``each``: every system with
        every other.
    adjust
        How p-values are adjusted over all headline differences: "holm", "max-t" (all at once, by
        permutation) or "bh" (for exploring).
    common_items
        Compare the items that both have, where they have different ones.
    ignore
        Fields of the signatures that may differ.

    Returns
    -------
    Compared
        Differences with intervals, adjusted p-values and minimum detectable effects.

    Raises
    ------
    RunError
        If signatures or items differ, or a run cannot be read.

    Examples
    --------
    >>> import peval
    >>> found = peval.compare("peval-runs/first", against="base")
    >>> {(c.task, c.adapter) for c in found.comparisons}
    {('superni', 'generalist')}
    """
    from peval.decide.compare import compare as decide

    if not runs:
        raise UsageError("peval.compare needs a run")
    return decide([Path(run) for run in runs], against, adjust, common_items, ignore)


def judge(
    run: str | Path,
    judge: str,
    against: str | None = None,
    *,
    progress: Progress | None = None,
    **options: Any,
) -> Results:
    """Let a judge compare or rate a finished run's answers; its verdicts are kept in the run.

    Parameters
    ----------
    run
        A finished run's directory.
    judge
        A shipped judge's name, or a YAML file with its prompts in a ``.md`` beside it.
    against
        For pairs: ``base``, an adapter, ``targets`` (the task's own references), a file of
        reference answers, or ``each``.
    progress
        Told how far it is; by default nobody is.
    **options
        `peval.judge_job.Judging`, whose fields are the flags of ``peval judge``.

    Returns
    -------
    Results
        The run's, with a task for each task judged, named "TASK by JUDGE", and ``judged``.

    Raises
    ------
    JudgeError
        The judge is malformed, or cannot be asked.
    DataError
        The file of reference answers or of labels does not fit the run.

    Examples
    --------
    >>> import peval
    >>> peval.judge("runs/open", "rubric").estimates  # doctest: +SKIP
    """
    from peval.judge_job import Judging
    from peval.judge_run import judge as ask

    settings = _fields(options, Judging, "peval.judge")
    return ask(Judging(str(run), judge, against, **settings), progress or Silent())


def gate(run: str | Path, rules: str | Path) -> Gate:
    """Hold a run against the rules of a YAML file.

    Raises
    ------
    UsageError
        If the file is malformed or names what the run does not have.
    RunError
        If the run cannot be read.

    Examples
    --------
    >>> from pathlib import Path
    >>> import peval
    >>> rules = "rules: [{task: superni, adapter: generalist, floor: 0.99}]"
    >>> _ = Path("gate.yaml").write_text(rules)
    >>> peval.gate("peval-runs/first", "gate.yaml").verdict
    'fail'
    """
    from peval.decide.gate import gate as decide

    return decide(Path(run), Path(rules))
