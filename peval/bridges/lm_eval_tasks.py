"""Tasks of lm-evaluation-harness by name: found, refused or made, each with its data loaded.

Written for lm_eval 0.4.13 (github.com/EleutherAI/lm-evaluation-harness).
"""

from __future__ import annotations

import difflib
import json
import logging
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from peval.errors import DataError, TaskError, UsageError

PREFIX = "lm-eval:"
MISSING = 'lm-eval is not installed: pip install "peval[lm-eval]"'
SETTINGS = (
    "num_fewshot", "include_path", "allow_task_code", "fewshot_as_multiturn", "gen_kwargs",
)  # fmt: skip
FEWSHOT_SEED = 1234  # as in lm_eval.evaluator


def load(name: str, settings: Mapping[str, object]) -> dict[str, Any]:
    """Return lm-eval's tasks of a name (a task, group or tag), by their own names.

    Parameters
    ----------
    name
        As lm-eval knows it.
    settings
        ``num_fewshot``, ``gen_kwargs``, ``include_path`` (a folder of task files) and
        ``allow_task_code``.

    Raises
    ------
    TaskError
        lm-eval is not installed, has no such task, or the task runs code.
    DataError
        The task's data cannot be loaded.
    """
    wanted = {key: settings[key] for key in SETTINGS if key in settings}
    return _load(name, json.dumps(wanted, sort_keys=True))


def generation_settings(given: Sequence[str]) -> dict[str, Any]:
    """Read ``--gen-kwargs`` as lm-eval's own command line does: KEY=VALUE pairs or JSON.

    Raises
    ------
    UsageError
        A word is no pair.
    """
    try:
        from lm_eval._cli.utils import key_val_to_dict, try_parse_json
    except ImportError as error:
        raise TaskError(MISSING) from error
    whole = try_parse_json(given[0])
    if isinstance(whole, dict):
        return whole
    found: dict[str, Any] = {}
    for word in given:
        try:
            found |= key_val_to_dict(word)
        except ValueError as error:
            raise UsageError(f"--gen-kwargs {word}: {error}") from None
    return found


def harness_version() -> str:
    """Return the version of lm-eval, which is part of what a score means."""
    return version("lm_eval")


@cache
def _load(name: str, settings_text: str) -> dict[str, Any]:
    settings = json.loads(settings_text)
    include = settings.get("include_path")
    if include and not settings.get("allow_task_code"):
        _refuse_code(Path(include))
    manager = _manager(include)
    try:
        tasks: dict[str, Any] = manager.load([name])["tasks"]
    except KeyError:
        known = [*manager.all_tasks]
        near = ", ".join(difflib.get_close_matches(name, known, n=3, cutoff=0.4))
        raise TaskError(f"lm-eval has no task {name!r}; nearest: {near or 'none'}") from None
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise DataError(f"lm-eval's {name}: its data cannot be loaded ({reason})") from error
    for task in tasks.values():
        _prepare(task, settings)
    return tasks


@cache
def _manager(include_path: str | None) -> Any:
    try:
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise TaskError(MISSING) from error
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    return TaskManager(include_path=include_path)


def _refuse_code(folder: Path) -> None:
    """Refuse task files of one's own that name Python code, which loading them would run."""
    for file in sorted(folder.rglob("*.yaml")):
        if "!function" in file.read_text(encoding="utf-8", errors="replace"):
            raise TaskError(f"{file}: runs Python code (!function); allow it by --allow-task-code")


def _prepare(task: Any, settings: Mapping[str, Any]) -> None:
    """Set what lm-eval's own command line would set, and refuse what peval cannot run."""
    name = task.config.task
    if getattr(task, "UNSAFE_CODE", False):
        raise TaskError(f"lm-eval's {name} runs code that models write: not without a sandbox")
    if getattr(task, "MULTIMODAL", False):
        raise TaskError(f"lm-eval's {name} needs images or sound, which peval does not pass on")
    n_fewshot = settings.get("num_fewshot")
    own = task.get_config("num_fewshot")
    # As in lm_eval.evaluator: a task that says 0 means it; one that says nothing gets 0.
    if n_fewshot is not None and own != 0:
        task.set_config(key="num_fewshot", value=n_fewshot)
    elif own is None:
        task.set_config(key="num_fewshot", value=0)
    if settings.get("gen_kwargs") and task.get_config("output_type") == "generate_until":
        task.set_config(key="generation_kwargs", value=settings["gen_kwargs"], update=True)
    task.set_fewshot_seed(seed=FEWSHOT_SEED)
