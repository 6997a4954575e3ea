"""The Tulu evaluations as samples: MMLU, GSM8K, BBH and TyDi QA as allenai/open-instruct asks.

A task's settings say which variant: ``reasoning`` (chain of thought or the answer alone), ``shots``
(MMLU), ``passage`` (TyDi QA) and ``subset`` (the seeded subset of the published tables, or
everything).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal, cast

from peval.datasets import bbh, gsm8k, mmlu, places, tydiqa
from peval.datasets.tulu_prompts import (
    CHOICES,
    MMLU_MAX_PROMPT_TOKENS,
    TYDIQA_MAX_CONTEXT_TOKENS,
    Profile,
    Prompt,
    Suite,
    bbh_prompt,
    decoding,
    gsm8k_prompt,
    mmlu_prompt,
    tydiqa_prompt,
)
from peval.errors import DataError, TaskError
from peval.types import PASSAGE, Dataset, Query, Sample, Task

_LAYOUTS = {"mmlu": mmlu.LAYOUT, "gsm8k": gsm8k.LAYOUT, "bbh": bbh.LAYOUT,
            "tydiqa": tydiqa.LAYOUT}  # fmt: skip
_FOLDERS = {"tydiqa": "tydiqa_goldp"}
READERS = tuple(_LAYOUTS)


def read(task: Task, data_dir: Path | None) -> Dataset:
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
    folder = _folder(task, data_dir)
    if task.reader == "tydiqa":
        samples, absent = _tydiqa(task, folder)
    else:
        samples, absent = readers[task.reader](task, folder), []
    return Dataset(tuple(samples), files_of(task, data_dir), tuple(absent))


def _folder(task: Task, data_dir: Path | None) -> Path:
    name = _FOLDERS.get(task.reader, task.reader)
    return places.folder(data_dir, name, _LAYOUTS[task.reader])


def files_of(task: Task, data_dir: Path | None) -> tuple[Path, ...]:
    """Return the files that `read` would read; raises as it does."""
    folder = _folder(task, data_dir)
    if task.reader == "tydiqa":
        both = [tydiqa.files_of(folder, split) for split in ("dev", "train")]
        return tuple(path for found in both for path, _ in found)
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


def _tydiqa(task: Task, folder: Path) -> tuple[list[Sample], list[str]]:
    """Return the samples, and the languages that are not there.

    Every language has as many questions, so that the mean over all is the mean over languages.
    """
    dev, train = tydiqa.read(folder, "dev"), tydiqa.read(folder, "train")
    languages = [one for one in tydiqa.LANGUAGES if one in dev and one in train]
    absent = [one for one in tydiqa.LANGUAGES if one not in languages]
    limit = task.profile.instances_per_task
    samples = [
        Sample(
            id=question.id,
            input=question.text,
            targets=question.answers,
            cluster=question.id,
            category=language,
            queries=(_tydiqa_query(task, question, one.demonstration),),
        )
        for language, one in tydiqa.tulu_subset(dev, train, languages).items()
        for question in one.questions[:limit]
    ]
    return samples, absent


def _tydiqa_query(task: Task, question: tydiqa.Question, shot: tydiqa.Question) -> Query:
    passage = PASSAGE if task.settings.get("passage") else None
    query = _query(task, tydiqa_prompt(_profile(task), question, shot, passage))
    if passage is None:
        return query
    if query.text.count(PASSAGE) != 2:
        raise DataError(f"TyDi QA: {question.id} or its demonstration holds U+FFFC; remove it")
    return dataclasses.replace(
        query, passages=(shot.context, question.context),
        max_passage_tokens=TYDIQA_MAX_CONTEXT_TOKENS,
    )  # fmt: skip


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
