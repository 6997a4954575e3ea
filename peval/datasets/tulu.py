"""The Tulu evaluations as samples: MMLU, GSM8K and BBH as allenai/open-instruct asks them.

A task's settings say which variant: ``reasoning`` (chain of thought or the answer alone), ``shots``
(MMLU) and ``subset`` (the seeded subset of the published tables, or everything).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal, cast

from peval.datasets import bbh, gsm8k, mmlu, places
from peval.datasets.tulu_prompts import (
    CHOICES,
    MMLU_MAX_PROMPT_TOKENS,
    Profile,
    Prompt,
    Suite,
    bbh_prompt,
    decoding,
    gsm8k_prompt,
    mmlu_prompt,
)
from peval.errors import TaskError
from peval.types import Query, Sample, Task

_LAYOUTS = {"mmlu": mmlu.LAYOUT, "gsm8k": gsm8k.LAYOUT, "bbh": bbh.LAYOUT}
READERS = tuple(_LAYOUTS)


def read(task: Task, data_dir: Path | None) -> tuple[Sample, ...]:
    """Return the samples of a task, at most its profile's instances of each cluster.

    Raises
    ------
    DataError
        The data is missing or malformed.
    TaskError
        The profile is none of Tulu's.
    """
    if task.profile.prompt not in ("tulu1", "tulu2"):
        raise TaskError(f"{task.name} is asked by a profile of Tulu's (tulu1, tulu2), not by "
                        f"'{task.profile.name}'")  # fmt: skip
    readers: dict[str, Callable[[Task, Path], list[Sample]]] = {
        "mmlu": _mmlu, "gsm8k": _gsm8k, "bbh": _bbh,
    }  # fmt: skip
    folder = places.folder(data_dir, task.reader, _LAYOUTS[task.reader])
    return tuple(readers[task.reader](task, folder))


def files_of(task: Task, data_dir: Path | None) -> tuple[Path, ...]:
    """Return the files that `read` would read; raises as it does."""
    folder = places.folder(data_dir, task.reader, _LAYOUTS[task.reader])
    if task.reader == "gsm8k":
        return (places.require(folder / "test.jsonl", gsm8k.LAYOUT),)
    if task.reader == "mmlu":
        splits = [mmlu.files_of(folder, split) for split in ("test", "dev")]
        return tuple(path for split in splits for path in split.values())
    found = sorted((folder / "bbh").glob("*.json*")) + sorted((folder / "cot-prompts").glob("*"))
    return tuple(found)


def _gsm8k(task: Task, folder: Path) -> list[Sample]:
    problems: Sequence[gsm8k.Problem] = gsm8k.read(folder)
    if task.settings.get("subset"):
        problems = gsm8k.tulu_subset(problems)
    return [
        Sample(
            id=problem.id,
            input=problem.question,
            targets=(problem.target,),
            cluster=problem.id,
            queries=(_query(task, gsm8k_prompt(problem, _reasons(task))),),
        )
        for problem in problems[: task.profile.instances_per_task]
    ]


def _bbh(task: Task, folder: Path) -> list[Sample]:
    tasks = bbh.read(folder)
    every = {name: one.problems for name, one in tasks.items()}
    chosen = bbh.tulu_subset(tasks) if task.settings.get("subset") else every
    return [
        Sample(
            id=problem.id,
            input=problem.input,
            targets=(problem.target,),
            cluster=name,
            queries=(_query(task, bbh_prompt(tasks[name], problem, _reasons(task))),),
        )
        for name, problems in chosen.items()
        for problem in problems[: task.profile.instances_per_task]
    ]


def _mmlu(task: Task, folder: Path) -> list[Sample]:
    n_shots = cast(int, task.settings.get("shots", 0))
    shown, asked = mmlu.read(folder, "dev"), mmlu.read(folder, "test")
    return [
        Sample(
            id=question.id,
            input=question.text,
            targets=(_choices(task)[mmlu.LETTERS.index(question.answer)],),
            cluster=subject,
            category=mmlu.subjects()[subject].category,
            choices=_choices(task),
            queries=(_choice_query(task, question, shown[subject][:n_shots]),),
        )
        for subject, questions in asked.items()
        for question in questions[: task.profile.instances_per_task]
    ]


def _query(task: Task, prompt: Prompt) -> Query:
    chat = task.profile.chat is not None
    how = decoding(_profile(task), cast(Suite, task.reader), chat)
    if not chat:
        return Query(prompt.plain, decoding=how)
    return Query(prompt.user, decoding=how, role="user", cue=prompt.cue)


def _choice_query(task: Task, question: mmlu.Question, shots: Sequence[mmlu.Question]) -> Query:
    """Return a question whose shots can be left out from the last one on."""
    prompts = [mmlu_prompt(question, shots[:n]) for n in range(len(shots) + 1)]
    texts = [prompt.user if task.profile.chat else prompt.plain for prompt in prompts]
    head = _common_start(texts)
    bodies = [text[len(head) :] for text in texts]
    tail = bodies[0]
    shown = [
        longer[len(shorter) - len(tail) : len(longer) - len(tail)]
        for shorter, longer in pairwise(bodies)
    ]
    assert all(head + "".join(shown[:n]) + tail == text for n, text in enumerate(texts))
    label: Literal["first", "last"] = "first" if _profile(task) == "tulu1" else "last"
    query = Query(
        tail, _choices(task), head=head, shots=tuple(shown),
        max_tokens=MMLU_MAX_PROMPT_TOKENS, label=label,
    )  # fmt: skip
    if task.profile.chat is None:
        return query
    return dataclasses.replace(query, role="user", cue=prompts[0].cue)


def _common_start(texts: Sequence[str]) -> str:
    """Return what stands before the first question, be it a shot or the one asked."""
    at = texts[0].index("\n\n") + 2
    return texts[0][:at]


def _choices(task: Task) -> tuple[str, ...]:
    return CHOICES[_profile(task)]


def _profile(task: Task) -> Profile:
    return cast(Profile, task.profile.prompt)


def _reasons(task: Task) -> bool:
    return bool(task.settings.get("reasoning"))
