"""Training data, held-out data and canaries to the samples of the memorization probes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peval.datasets.canaries import check_trained, holds, read_canaries
from peval.datasets.records import Record, first_of_each_task, read_records
from peval.errors import DataError, TaskError, UsageError
from peval.memorization.attacks import ATTACKS
from peval.memorization.extraction import MEASURES
from peval.memorization.sets import (
    FEW_RECORDS,
    FEW_TASKS,
    GAPS,
    HELD_OUT,
    MEMBER,
    NON_MEMBER,
    SHOT,
    TRAINED,
    UNSEEN,
)
from peval.types import Dataset, Instruction, Sample, Task

OPTIONS = (
    "train_data", "heldout_data", "canaries", "scope", "prefix_tokens", "suffix_tokens",
    "canary_references",
)  # fmt: skip
"""What a person can set; `configured` says what each becomes."""

PREFIX_TOKENS = {"target": (0, 5, 10, 25, 50), "document": (10, 25, 50, 100)}
SUFFIX_TOKENS = 50
REFERENCES = 255
SHOTS = 5
SHOTS_SHARE = 0.1


@dataclass(frozen=True)
class _Data:
    """The files' records: trained, held out of the trained tasks, and of tasks never trained."""

    trained: tuple[Record, ...]
    held_out: tuple[Record, ...]
    unseen: tuple[Record, ...]
    n_equal: int


def configured(task: Task, options: Mapping[str, Any]) -> Task | None:
    """Return a probe with its files and settings, or None where its data was not given.

    Raises
    ------
    UsageError
        No training data, or a setting that makes no sense.
    DataError
        The files are malformed.
    """
    if not options.get("train_data"):
        raise UsageError(f"the task {task.name} needs --train-data FILE, what was trained on")
    train = Path(options["train_data"]).expanduser()
    prompted = bool(read_records(train)[0].prompt)
    scope = options.get("scope") or ("target" if prompted else "document")
    if scope == "target" and not prompted:
        raise UsageError(f"--scope target: {train} holds whole texts, which have no target")
    settings = dict(task.settings) | {"scope": scope, "prompted": prompted}
    settings |= {key: options[key] for key in ("heldout_data", "canaries") if options.get(key)}
    probe = settings["probe"]
    metrics: tuple[str, ...] = task.metrics
    if probe == "extraction":
        ks = _prefixes(options.get("prefix_tokens"), scope)
        settings |= {"prefix_tokens": list(ks)}
        settings |= {"suffix_tokens": _positive(options, "suffix_tokens", SUFFIX_TOKENS)}
        metrics = tuple(f"{measure}@{k}" for k in ks for measure in MEASURES)
    if probe == "membership":
        metrics = tuple(f"auroc,{attack}" for attack in ATTACKS)
    if probe == "exposure":
        settings |= {"references": _positive(options, "canary_references", REFERENCES)}
    found = dataclasses.replace(task, source=str(train), settings=settings, metrics=metrics)
    if probe == "tasks":
        found = dataclasses.replace(found, metrics=_task_metrics(found))
    return found if _applies(found) else None


def _task_metrics(task: Task) -> tuple[str, ...]:
    """Return the metrics that the data allow, gaps first: they are what is asked."""
    data = _data(task)
    own = task.metrics if task.settings["prompted"] else ("nll",)
    sets = {HELD_OUT: data.held_out, UNSEEN: data.unseen}
    gaps = [m + ending for ending, name in GAPS.items() if sets[name] for m in own]
    return (*gaps, *own)


def _prefixes(given: Sequence[int] | None, scope: str) -> tuple[int, ...]:
    ks = tuple(sorted(set(given or PREFIX_TOKENS[scope])))
    least = 0 if scope == "target" else 1
    if ks[0] < least:
        raise UsageError(f"--prefix-tokens {ks[0]}: give {least} or more with --scope {scope}")
    return ks


def _positive(options: Mapping[str, Any], name: str, default: int) -> int:
    value = options.get(name)
    if value is not None and value < 1:
        raise UsageError(f"--{name.replace('_', '-')} {value}: give 1 or more")
    return int(value or default)


def _applies(task: Task) -> bool:
    probe = task.settings["probe"]
    if probe == "exposure":
        return "canaries" in task.settings
    return probe != "membership" or bool(_data(task).held_out)


def files_of(task: Task) -> tuple[Path, ...]:
    """Return the files that a probe reads."""
    names = [task.source, task.settings.get("heldout_data"), task.settings.get("canaries")]
    return tuple(Path(str(name)).expanduser() for name in names if name)


def read(task: Task) -> Dataset:
    """Return a probe's samples; their category is the set that they belong to.

    Raises
    ------
    DataError
        The files are malformed, or no held-out record differs from the trained ones.
    """
    probes = {
        "tasks": _tasks,
        "extraction": _extraction,
        "membership": _membership,
        "exposure": _exposure,
    }
    name = str(task.settings.get("probe"))
    if name not in probes:
        raise TaskError(f"{task.name}: no probe {name!r}; known: {', '.join(probes)}")
    samples, notes = probes[name](task)
    return Dataset(samples, files_of(task), notes=tuple(notes))


def _data(task: Task) -> _Data:
    train = read_records(Path(str(task.source)).expanduser())
    limit = task.profile.instances_per_task
    # Canaries have a probe of their own; among members their strange texts would stand out.
    secrets = _canaries(task)
    plain = tuple(r for r in train if not holds(r.prompt, r.target.strip(), secrets))
    trained = tuple(first_of_each_task(plain, limit))
    if not trained:
        raise DataError(f"{task.source}: every record holds a canary; nothing else was trained on")
    if "heldout_data" not in task.settings:
        return _Data(trained, (), (), 0)
    path = Path(str(task.settings["heldout_data"])).expanduser()
    known = {(record.prompt, record.target) for record in train}
    given = read_records(path)
    others = tuple(r for r in given if (r.prompt, r.target) not in known)
    if not others:
        raise DataError(
            f"{path}: every record is in {task.source} too; held-out data is what was not "
            "trained on"
        )
    tasks = {record.task for record in plain}
    kept = tuple(first_of_each_task(others, limit))
    held_out = tuple(r for r in kept if r.task in tasks)
    unseen = tuple(r for r in kept if r.task not in tasks)
    return _Data(trained, held_out, unseen, len(given) - len(others))


def _canaries(task: Task) -> set[tuple[str, str]]:
    """Return prompt and target of each canary that was put into the training data."""
    if "canaries" not in task.settings:
        return set()
    path = Path(str(task.settings["canaries"])).expanduser()
    return {(c.prompt, c.target(c.secret).strip()) for c in read_canaries(path)}


_Found = tuple[tuple[Sample, ...], list[str]]


def _tasks(task: Task) -> _Found:
    data = _data(task)
    sets = {TRAINED: data.trained, HELD_OUT: data.held_out, UNSEEN: data.unseen}
    samples = _samples(sets, has_category=True)
    notes = _notes(data)
    if not data.held_out and not data.unseen:
        notes.append("without --heldout-data there are no gaps and no membership attacks")
    return samples, notes


def _extraction(task: Task) -> _Found:
    return _samples({TRAINED: _data(task).trained}), []


def _membership(task: Task) -> _Found:
    data = _data(task)
    n_shots = max(1, min(SHOTS, int(SHOTS_SHARE * len(data.held_out))))
    shots, others = data.held_out[:n_shots], data.held_out[n_shots:]
    if not others:
        raise DataError(
            f"{task.settings['heldout_data']}: one record of the trained tasks is too few for "
            "membership attacks, which need one more to put before the others"
        )
    sets = {MEMBER: data.trained, NON_MEMBER: others, SHOT: shots}
    return _samples(sets), []


def _notes(data: _Data) -> list[str]:
    notes = []
    if data.n_equal:
        notes.append(
            f"{data.n_equal:,} held-out records are in the training data too and are left out"
        )
    for name, records in ((TRAINED, data.trained), (HELD_OUT, data.held_out)):
        if 0 < len(records) < FEW_RECORDS:
            notes.append(
                f"only {len(records)} {name} records: means and AUROCs have wide intervals; rates "
                "at low false-positive rates, balanced accuracy and the blind check are left out"
            )
    n_tasks = len({record.task for record in (*data.trained, *data.held_out, *data.unseen)})
    if 1 < n_tasks < FEW_TASKS:
        notes.append(
            f"{n_tasks} tasks are too few to stand for others: intervals are over records and "
            "speak of these tasks alone"
        )
    return notes


def _samples(
    sets: Mapping[str, Sequence[Record]], *, has_category: bool = False
) -> tuple[Sample, ...]:
    """Return the samples of all sets; their tasks are clusters where there are enough."""
    n_tasks = len({record.task for records in sets.values() for record in records})
    return tuple(
        Sample(
            id=f"{name}/{record.id}",
            input=record.prompt,
            targets=(record.target,),
            cluster=record.task if n_tasks >= FEW_TASKS else "all",
            category=name if has_category else "",
            instruction=Instruction(record.definition) if record.definition else None,
        )
        for name, records in sets.items()
        for record in records
    )


def _exposure(task: Task) -> _Found:
    path, train = Path(str(task.settings["canaries"])).expanduser(), Path(str(task.source))
    canaries = read_canaries(path)
    check_trained(canaries, read_records(train.expanduser()), path, train)
    return tuple(_canary_samples(task, path)), []


def _canary_samples(task: Task, path: Path) -> Iterator[Sample]:
    n_others = int(str(task.settings["references"]))
    for canary in read_canaries(path):
        secrets = (canary.secret, *canary.space.others(canary.secret, n_others, canary.id))
        how_often = "" if canary.repeats is None else f"{canary.repeats} times"
        yield Sample(
            id=canary.id,
            input=canary.prompt,
            targets=(canary.secret,),
            cluster=canary.space.pattern,
            category=how_often,
            instruction=Instruction(canary.definition) if canary.definition else None,
            choices=tuple(map(canary.target, secrets)),
        )
