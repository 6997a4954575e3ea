"""Results in an adapter's model card: ``model-index`` for the hub, a table for people."""

from __future__ import annotations

import re
from pathlib import Path

from peval.errors import AdapterError, UsageError
from peval.exports.systems import systems, whole
from peval.results import Results, load_results
from peval.rundir import RunDir, write_text
from peval.types import Estimate

BEGIN, END = "<!-- peval: begin -->", "<!-- peval: end -->"
_SECTION = re.compile(rf"{re.escape(BEGIN)}.*?{re.escape(END)}\n?", re.DOTALL)


def card(adapter: str | Path, run_dir: str | Path) -> Path:
    """Write a run's results into the README of an adapter; what else stands there is kept.

    Parameters
    ----------
    adapter
        The adapter's folder. In the run, it is known by its name, or as the only adapter.

    Raises
    ------
    AdapterError
        The folder is missing, or its README has no readable head.
    UsageError
        The run has scored no such adapter.
    """
    from huggingface_hub import ModelCard
    from yaml import YAMLError

    folder = Path(adapter)
    if not folder.is_dir():
        raise AdapterError(f"{folder}: no such folder; give the adapter's")
    results = load_results(RunDir(Path(run_dir)).results)
    name = _known_as(folder, results, run_dir)
    readme = folder / "README.md"
    try:
        text = readme.read_text(encoding="utf-8") if readme.exists() else f"---\n---\n\n# {name}\n"
        found = ModelCard(text, ignore_metadata_errors=False)
    except (OSError, ValueError, YAMLError) as error:
        why = " ".join(str(error).split())
        raise AdapterError(f"{readme}: cannot be read as a model card ({why})") from error
    found.data.model_name = found.data.model_name or name
    found.data.eval_results = _results(name, results)
    section = f"{BEGIN}\n{_table(name, results)}{END}\n"
    found.text = _SECTION.sub("", found.text).rstrip() + f"\n\n{section}"
    write_text(readme, str(found))
    return readme


def _known_as(folder: Path, results: Results, run_dir: str | Path) -> str:
    names = [name for name in systems(results) if name is not None]
    here = folder.resolve()
    for one in results.adapters:
        if one["name"] in names and Path(one["path"]).resolve() == here:
            return str(one["name"])
    alike = [name for name in names if name.rpartition("/")[2] == here.name]
    if len(alike) != 1:
        raise UsageError(f"{run_dir}: no adapter {here.name!r} there; there are {', '.join(names)}")
    return alike[0]


def _results(name: str, results: Results) -> list[object]:
    from huggingface_hub import EvalResult

    return [
        EvalResult(
            task_type="text-generation",
            dataset_type=e.task,
            dataset_name=e.task,
            metric_type=e.metric,
            metric_name=e.metric,
            metric_value=e.value,
        )
        for e in whole(results, name)
    ]


def _table(name: str, results: Results) -> str:
    base = {(e.task, e.metric): e for e in whole(results, None)}
    lines = ["## Evaluation", "", "| task | metric | base | this adapter | items |",
             "|---|---|---:|---:|---:|"]  # fmt: skip
    for e in whole(results, name):
        cells = (e.task, e.metric, _percent(base.get((e.task, e.metric))), _percent(e), e.n_items)
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join([*lines, "", "Percent, with 95 % intervals; scored by peval.", ""])


def _percent(e: Estimate | None) -> str:
    if e is None or e.value is None:
        return ""
    spread = "" if e.low is None or e.high is None else f" [{100 * e.low:.1f}, {100 * e.high:.1f}]"
    return f"{100 * e.value:.1f}{spread}"
