"""YAML files to tasks, suites and profiles. Strict: an unknown key is an error."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from peval.errors import TaskError
from peval.shipped import shipped
from peval.spelling import meant
from peval.strict_yaml import read_yaml
from peval.types import Chat, Decoding, Profile, Task

Noun = TypeVar("Noun", Task, Profile, Decoding, Chat)

LM_EVAL = "lm-eval:"
_NOT_TASKS = ("profiles", "suites")
_NEEDS_A_NAME = ("jsonl", "lm-eval")


@dataclass(frozen=True)
class Selection:
    """Which tasks a run evaluates; ``clusters`` narrows them (empty: everything)."""

    tasks: tuple[Task, ...]
    clusters: tuple[str, ...] = ()


def profiles(folder: Path | None = None) -> dict[str, Profile]:
    """Return every profile by name."""
    path = (folder or shipped("tasks")) / "profiles.yaml"
    return {name: _profile(name, body, path) for name, body in _mapping(path).items()}


def suites(folder: Path | None = None) -> dict[str, tuple[str, ...]]:
    """Return every suite's task names; each task is also a suite of its own."""
    folder = folder or shipped("tasks")
    path = folder / "suites.yaml"
    named = {}
    for name, body in _mapping(path).items():
        where = f"{path.name}: {name}"
        _check_keys(body, {"description", "tasks"}, where)
        named[name] = tuple(_list_of_strings(body.get("tasks"), f"{where}: tasks"))
    return {name: (name,) for name in task_names(folder) if name not in _NEEDS_A_NAME} | named


def task_names(folder: Path | None = None) -> list[str]:
    """Return the names of all tasks, sorted."""
    files = (folder or shipped("tasks")).glob("*.yaml")
    return sorted(path.stem for path in files if path.stem not in _NOT_TASKS)


def load_task(name: str, profile: str | None = None, folder: Path | None = None) -> Task:
    """Read one task.

    Parameters
    ----------
    name
        The task's name: its file in ``tasks/`` without ``.yaml``.
    profile
        The profile to use in place of the task's own.

    Raises
    ------
    TaskError
        If the task or profile is unknown or its file is malformed.
    """
    folder = folder or shipped("tasks")
    path = folder / f"{name}.yaml"
    if name not in task_names(folder):
        raise unknown("task", name, task_names(folder))
    body = _mapping(path)
    _check_keys(body, {f.name for f in dataclasses.fields(Task)} - {"source"}, path.name)
    if body.get("name") != name:
        raise TaskError(f"{path}: name is {body.get('name')!r}, but the file says {name!r}")
    known = profiles(folder)
    wanted = profile or body.get("profile", "")
    if wanted not in known:
        raise unknown("profile", str(wanted), known)
    metrics = tuple(_list_of_strings(body.get("metrics"), f"{path.name}: metrics"))
    return _build(Task, body | {"profile": known[wanted], "metrics": metrics}, path.name)


def select(suite_names: Sequence[str], names: Sequence[str], profile: str | None) -> Selection:
    """Choose tasks by suites and by ``--task`` values.

    A ``--task`` value is a JSONL file, a task of the catalogue, or else the name or pattern of a
    Super-NaturalInstructions task within the suites chosen.
    """
    chosen: dict[str, Task] = {}
    for suite in suite_names:
        known = suites()
        if suite not in known:
            raise unknown("suite", suite, known)
        chosen |= {name: load_task(name, profile) for name in known[suite]}
    clusters = []
    for name in names:
        if name.startswith(LM_EVAL):
            task = _lm_eval_task(name)
            chosen[task.name] = task
        elif name.endswith((".jsonl", ".jsonl.gz")):
            task = _jsonl_task(name, profile, taken=chosen)
            chosen[task.name] = task
        elif name in task_names() and name not in _NEEDS_A_NAME:
            chosen[name] = load_task(name, profile)
        else:
            clusters.append(name)
    if clusters and not any(task.reader == "superni" for task in chosen.values()):
        raise unknown("task", clusters[0], task_names())
    return Selection(tuple(chosen.values()), tuple(clusters))


def unknown(kind: str, name: str, known: Iterable[str]) -> TaskError:
    """Return the error for an unknown name, with the nearest ones."""
    return TaskError(f"no {kind} named {name!r}; {meant(name, known)}")


def _lm_eval_task(name: str) -> Task:
    """Return a task that stands for all that lm-evaluation-harness knows by a name."""
    task = load_task("lm-eval")
    return dataclasses.replace(task, name=name, source=name.removeprefix(LM_EVAL))


def _jsonl_task(file: str, profile: str | None, taken: Mapping[str, Task]) -> Task:
    """Return the task that scores one's own file; its name is the file's."""
    path = Path(file).expanduser()
    name = path.name.removesuffix(".gz").removesuffix(".jsonl")
    if name in taken and taken[name].source != str(path):
        name = f"{path.parent.name}/{name}"
    return dataclasses.replace(load_task("jsonl", profile), name=name, source=str(path))


def _profile(name: str, body: Any, path: Path) -> Profile:
    where = f"{path.name}: {name}"
    fields = {f.name for f in dataclasses.fields(Profile)} - {"name"} | {"description"}
    _check_keys(body, fields, where)
    decoding = body.get("decoding")
    _check_keys(decoding, {f.name for f in dataclasses.fields(Decoding)}, f"{where}: decoding")
    stop = tuple(_list_of_strings(decoding.get("stop", []), f"{where}: stop"))
    built = _build(Decoding, decoding | {"stop": stop}, f"{where}: decoding")
    _check_decoding(built, f"{where}: decoding")
    fields_given = {key: value for key, value in body.items() if key != "description"}
    fields_given |= {"name": name, "decoding": built}
    if "chat" in body:
        _check_keys(body["chat"], {f.name for f in dataclasses.fields(Chat)}, f"{where}: chat")
        fields_given["chat"] = _build(Chat, body["chat"], f"{where}: chat")
    return _build(Profile, fields_given, where)


def _check_decoding(decoding: Decoding, where: str) -> None:
    if not 0 < decoding.top_p <= 1:
        raise TaskError(f"{where}: top_p {decoding.top_p:g}: give more than 0 and at most 1")
    if decoding.top_k < 0:
        raise TaskError(f"{where}: top_k {decoding.top_k}: give 0 (all tokens) or more")
    if decoding.n < 1:
        raise TaskError(f"{where}: n {decoding.n}: give 1 or more")
    if not 0 <= decoding.temperature <= 2:
        raise TaskError(f"{where}: temperature {decoding.temperature:g}: give 0 to 2")
    drawn = decoding.n > 1 or decoding.top_p < 1 or decoding.top_k > 0
    if decoding.temperature == 0 and drawn:
        raise TaskError(
            f"{where}: greedy answers are all alike; n, top_p and top_k need a temperature"
        )


def _build(noun: type[Noun], body: Mapping[str, Any], where: str) -> Noun:
    """Make a frozen record of `body`, after checking every value's type."""
    hints = get_type_hints(noun)
    for field in dataclasses.fields(noun):
        required = field.default is field.default_factory is dataclasses.MISSING
        if required and field.name not in body:
            raise TaskError(f"{where}: {field.name} is missing")
        if field.name in body and not _fits(body[field.name], hints[field.name]):
            raise TaskError(f"{where}: {field.name} cannot be {body[field.name]!r}")
    return noun(**body)


def _fits(value: object, hint: Any) -> bool:
    """Tell whether a YAML value has the type of a record's field."""
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    options = get_args(hint)
    if options and type(hint).__name__ == "_LiteralGenericAlias":
        return value in options
    if type(None) in options:
        return value is None or any(_fits(value, o) for o in options if o is not type(None))
    if get_origin(hint) is Mapping:
        return isinstance(value, dict)
    if hint == tuple[str, ...]:
        return isinstance(value, tuple)
    return isinstance(value, hint)


def _mapping(path: Path) -> dict[str, Any]:
    """Read a YAML file that must hold a mapping."""
    body = read_yaml(path, TaskError)
    if not isinstance(body, dict):
        raise TaskError(f"{path}: expected a mapping of keys to values")
    return body


def _check_keys(body: object, known: set[str], where: str) -> None:
    """Refuse a key that is not in `known`."""
    if not isinstance(body, dict):
        raise TaskError(f"{where}: expected a mapping of keys to values")
    for key in body:
        if key not in known:
            raise TaskError(f"{where}: unknown key {key!r}; {meant(str(key), known)}")


def _list_of_strings(value: object, where: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise TaskError(f"{where}: expected a list of strings, got {value!r}")
    return value
