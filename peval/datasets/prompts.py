"""Open prompts, in one turn or several, for answers that a person or a judge would compare.

AlpacaEval, MT-Bench, Vicuna, Self-Instruct's user-oriented set, Tulu's human evaluation, and
IFEval's prompts with the instructions to be checked. Local files are read as their authors publish
them; those that the hub has are fetched from there where no folder is named.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from peval import hub
from peval.datasets import files, places
from peval.errors import DataError, PevalError, TaskError
from peval.types import Dataset, Query, Sample, Task

Row = Mapping[str, Any]

FASTCHAT = "fastchat"
"""The way of asking whose temperature depends on the category (``settings.temperatures``)."""


@dataclass(frozen=True)
class PromptSet:
    """One set: its place in a data folder, how many prompts were published, where, as what.

    ``repository`` and ``revision`` are the hub's, where it is there; ``references`` is a file with
    answers beside it.
    """

    folder: str
    file: str
    n_prompts: int
    source: str
    sample: Callable[[Row], Sample]
    repository: str | None = None
    revision: str | None = None
    hub_file: str = ""
    references: str = ""


def read(task: Task, data_dir: Path | None) -> Dataset:
    """Return the samples of the set that a task's split names, each prompt once.

    Raises
    ------
    DataError
        The file is missing or malformed.
    TaskError
        There is no such set.
    """
    which = _set_of(task)
    (path, *more) = files_of(task, data_dir)
    references = dict(_references(more[0])) if more else {}
    found: dict[str, Sample] = {}
    for where, row in _rows(path):
        sample = _checked(which.sample, row, where)
        found.setdefault(sample.id, _with_references(sample, references.get(sample.id)))
    if not found:
        raise DataError(f"{path}: no prompts; get it from {which.source}")
    notes: tuple[str, ...] = ()
    if len(found) != which.n_prompts:
        notes = (f"{task.name}: {len(found):,} of the {which.n_prompts} published prompts",)
    kept = list(found.values())[: task.profile.instances_per_task]
    return Dataset(tuple(_asked(task, s) for s in kept), (path, *more), notes=notes)


def files_of(task: Task, data_dir: Path | None) -> tuple[Path, ...]:
    """Return the prompts' file and that of its references, if there; raises as `read` does."""
    which = _set_of(task)
    given = data_dir or os.environ.get("PEVAL_DATA")
    if not given and which.repository:
        return (_download(which) / which.hub_file,)
    layout = f"{which.folder}/{which.file} ({which.source})"
    folder = places.folder(data_dir, which.folder, layout)
    path = places.require(folder / which.file, layout)
    beside = places.either(folder / which.references) if which.references else None
    return (path,) if beside is None else (path, beside)


def _set_of(task: Task) -> PromptSet:
    if task.split not in SETS:
        raise TaskError(f"{task.name}: no prompts {task.split!r}; known: {', '.join(SETS)}")
    return SETS[task.split]


def _download(which: PromptSet) -> Path:
    try:
        return hub.download(str(which.repository), [which.hub_file], which.revision, "dataset")
    except PevalError as fault:
        raise DataError(
            f"{which.repository} at {str(which.revision)[:8]}: {fault}; set --data-dir (or "
            f"PEVAL_DATA) to a folder with {which.folder}/{which.file}"
        ) from fault


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield a file's records: of a JSON list, or of JSON lines."""
    if path.name.removesuffix(".gz").endswith(".json"):
        rows = files.parse(files.decode(files.read_bytes(path), str(path)), str(path))
        yield from ((f"{path}: record {n}", row) for n, row in enumerate(rows))
    else:
        yield from ((where, files.parse(text, where)) for where, _, text in files.read_lines(path))


def _checked(make: Callable[[Row], Sample], row: Any, where: str) -> Sample:
    try:
        sample = make(row)
        texts = (sample.input, *sample.follow_ups, *sample.targets)
        if not all(isinstance(text, str) for text in texts) or not sample.input.strip():
            raise TypeError
    except KeyError as error:
        raise DataError(f"{where}: no field {error}") from error
    except (TypeError, IndexError, ValueError, AttributeError) as error:
        raise DataError(f"{where}: not a prompt of this set") from error
    return sample


def _asked(task: Task, sample: Sample) -> Sample:
    """Return a sample that is asked at its category's temperature, where categories have one."""
    temperatures = task.settings.get("temperatures")
    if task.profile.prompt != FASTCHAT or not isinstance(temperatures, Mapping):
        return sample
    how = task.profile.decoding
    how = replace(how, temperature=float(temperatures.get(sample.category, how.temperature)))
    if how.temperature == 0:  # greedy answers are all alike
        how = replace(how, n=1, top_p=1.0)
    asked = Query(sample.input, decoding=how, role="user" if task.profile.chat else None)
    return replace(sample, queries=(asked,))


def _references(path: Path) -> Iterator[tuple[str, list[str]]]:
    for where, row in _rows(path):
        try:
            yield str(row["question_id"]), list(row["choices"][0]["turns"])
        except (KeyError, IndexError, TypeError) as error:
            raise DataError(f"{where}: not a reference answer of FastChat's") from error


def _with_references(sample: Sample, turns: list[str] | None) -> Sample:
    """Return a sample with the reference of its first turn as target, and of all in ``problem``."""
    if not turns:
        return sample
    return replace(sample, targets=(turns[0],), problem=json.dumps({"references": turns}))


def _alpaca(row: Row) -> Sample:
    # The set has no ids; its instructions differ.
    name = hashlib.sha256(row["instruction"].encode()).hexdigest()[:12]
    category = str(row.get("dataset", ""))
    return Sample(name, row["instruction"], (row["output"],), name, category)


def _fastchat(row: Row) -> Sample:
    name, (first, *later) = str(row["question_id"]), row["turns"]
    return Sample(name, first, (), name, str(row["category"]), follow_ups=tuple(later))


def _self_instruct(row: Row) -> Sample:
    (instance, *_) = row["instances"]
    text, name = row["instruction"].strip(), str(row["id"])
    text += f"\n\n{instance['input'].strip()}" if instance["input"].strip() else ""
    return Sample(name, text, (instance["output"],), name, str(row["motivation_app"]))


def _tulu(row: Row) -> Sample:
    name = str(row["id"])
    return Sample(name, row["prompt"], (), name, name.rpartition("_")[0])


def _ifeval(row: Row) -> Sample:
    name = str(row["key"])
    # The hub's form names every argument in each instruction, most of them null.
    kwargs = [{key: v for key, v in one.items() if v is not None} for one in row["kwargs"]]
    instructions = list(row["instruction_id_list"])
    if len(kwargs) != len(instructions) or not instructions:
        raise ValueError
    problem = {"instructions": instructions, "kwargs": kwargs}
    return Sample(name, row["prompt"], (), name, problem=json.dumps(problem))


SETS = {
    "alpaca-eval": PromptSet(
        "alpaca_eval", "alpaca_eval.json", 805, "huggingface.co/datasets/tatsu-lab/alpaca_eval",
        _alpaca, "tatsu-lab/alpaca_eval", "2edc6fad8be6b14ea7230aabfd08188da6b8b814",
        "alpaca_eval.json",
    ),
    "alpaca-eval-2": PromptSet(
        "alpaca_eval", "alpaca_eval_gpt4_baseline.json", 805,
        "huggingface.co/datasets/tatsu-lab/alpaca_eval", _alpaca, "tatsu-lab/alpaca_eval",
        "2edc6fad8be6b14ea7230aabfd08188da6b8b814", "alpaca_eval_gpt4_baseline.json",
    ),
    "mt-bench": PromptSet(
        "mt_bench", "question.jsonl", 80,
        "github.com/lm-sys/FastChat at 0e6d3e4, fastchat/llm_judge/data/mt_bench", _fastchat,
        references="reference_answer/gpt-4.jsonl",
    ),
    "vicuna": PromptSet(
        "vicuna_bench", "question.jsonl", 80,
        "github.com/lm-sys/FastChat at 0e6d3e4, fastchat/llm_judge/data/vicuna_bench", _fastchat,
        references="reference_answer/gpt-4.jsonl",
    ),
    "self-instruct": PromptSet(
        "self_instruct_human_eval", "user_oriented_instructions.jsonl", 252,
        "github.com/yizhongw/self-instruct at 0b26cca, human_eval", _self_instruct,
    ),
    "tulu-human-eval": PromptSet(
        "tulu_human_eval", "eval_instances_tulu_1.jsonl", 332,
        "github.com/allenai/open-instruct at e6c3044, human_eval/data", _tulu,
    ),
    "ifeval": PromptSet(
        "ifeval", "input_data.jsonl", 541,
        "github.com/google-research/google-research, instruction_following_eval/data", _ifeval,
        "google/IFEval", "966cd89545d6b6acfd7638bc708b98261ca58e84", "ifeval_input_data.jsonl",
    ),
}  # fmt: skip
"""By the name that a task's ``split`` gives."""
