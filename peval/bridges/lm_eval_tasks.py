"""Tasks of lm-evaluation-harness by name: found, refused or made, each with its data loaded.

Written for lm_eval 0.4.13 (github.com/EleutherAI/lm-evaluation-harness).
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from peval.bridges import lm_eval_index
from peval.bridges.lm_eval_index import MISSING
from peval.errors import DataError, TaskError, UsageError
from peval.spelling import meant

PREFIX = "lm-eval:"
SETTINGS = (
    "num_fewshot", "include_path", "allow_task_code", "fewshot_as_multiturn", "gen_kwargs",
)  # fmt: skip
UNSANDBOXED = "unsandboxed"  # the setting of every task whose programs may run unprotected
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
    wanted = {key: settings[key] for key in (*SETTINGS, UNSANDBOXED) if key in settings}
    tasks: dict[str, Any] = _load(name, json.dumps(wanted, sort_keys=True))["tasks"]
    return tasks


def groups(name: str, settings: Mapping[str, object]) -> dict[str, Any]:
    """Return lm-eval's groups that a name stands for, by their own names; raises as `load`."""
    wanted = {key: settings[key] for key in (*SETTINGS, UNSANDBOXED) if key in settings}
    found: dict[str, Any] = _load(name, json.dumps(wanted, sort_keys=True)).get("groups", {})
    return found


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
        with _foreign_code(bool(settings.get("allow_task_code"))):
            found: dict[str, Any] = manager.load([name])
    except KeyError:
        near = meant(name, manager.all_tasks)
        raise TaskError(f"lm-eval has no task {name!r}; {near}") from None
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise DataError(f"lm-eval's {name}: its data cannot be loaded ({reason})") from error
    for task in found["tasks"].values():
        _prepare(task, settings)
    return found


@contextlib.contextmanager
def _foreign_code(allowed: bool) -> Iterator[None]:
    """Keep lm-eval from importing Python code for task files that are not its own.

    However such a file is reached: by its path, or as what another one includes.
    """
    from lm_eval.tasks import _yaml_loader

    own = Path(_yaml_loader.__file__).parent.resolve()
    load_function = _yaml_loader._import_func_in_yml

    def guarded(function: str, folder: Path) -> Any:
        if not folder.resolve().is_relative_to(own):
            raise TaskError(
                f"{folder}: a task file runs Python code (!function {function}); allow it by "
                "--allow-task-code"
            )
        return load_function(function, folder)

    _yaml_loader._import_func_in_yml = load_function if allowed else guarded
    try:
        yield
    finally:
        _yaml_loader._import_func_in_yml = load_function


@cache
def _manager(include_path: str | None) -> Any:
    return lm_eval_index.manager(include_path)


def _refuse_code(folder: Path) -> None:
    """Refuse task files of one's own that name Python code, which loading them would run."""
    for file in sorted(folder.rglob("*.yaml")):
        if "!function" in file.read_text(encoding="utf-8", errors="replace"):
            raise TaskError(f"{file}: runs Python code (!function); allow it by --allow-task-code")


def _prepare(task: Any, settings: Mapping[str, Any]) -> None:
    """Set what lm-eval's own command line would set, and refuse what peval cannot run."""
    name = task.config.task
    if getattr(task, "UNSAFE_CODE", False) and not settings.get(UNSANDBOXED):
        raise TaskError(
            f"lm-eval's {name} runs code that models write, without a sandbox: choose a coding "
            "suite of peval's, which has one, or allow it by --allow-unsandboxed-code"
        )
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
