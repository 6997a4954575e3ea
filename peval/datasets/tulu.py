"""The Tulu evaluations as samples: MMLU, GSM8K, BBH and TyDi QA as allenai/open-instruct asks.

A task's settings say which variant: ``reasoning`` (chain of thought or the answer alone), ``shots``
(MMLU), ``passage`` (TyDi QA) and ``subset`` (the seeded subset of the published tables, or
everything).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, cast

from peval.datasets import bbh, gsm8k, hub_rows, mmlu, places, tydiqa
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
_MODULES: dict[str, Any] = {"mmlu": mmlu, "gsm8k": gsm8k, "tydiqa": tydiqa}
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
    source = _Source.of(task, data_dir)
    if task.reader == "tydiqa":
        samples, absent = _tydiqa(task, source)
    else:
        samples, absent = _ONE_KIND[task.reader](task, source), []
    return Dataset(tuple(samples), source.files(), tuple(absent))


def files_of(task: Task, data_dir: Path | None) -> tuple[Path, ...]:
    """Return the files that `read` would read; raises as it does."""
    return _Source.of(task, data_dir).files()


@dataclass(frozen=True)
class _Source:
    """Where a task's data is: a folder in one of the layouts, or the hub (None)."""

    reader: str
    folder: Path | None

    @classmethod
    def of(cls, task: Task, data_dir: Path | None) -> _Source:
        if task.reader in hub_rows.SOURCES and not places.is_given(data_dir):
            return cls(task.reader, None)
        name = _FOLDERS.get(task.reader, task.reader)
        return cls(task.reader, places.folder(data_dir, name, _LAYOUTS[task.reader]))

    def read(self, split: Any) -> Any:
        """Return the records of a split, as the reader's own ``read`` does."""
        module = _MODULES[self.reader]
        if not self._is_rows():
            assert self.folder is not None
            return module.read(self.folder, split)
        rows = hub_rows.rows(self.reader, split, self.folder, _LAYOUTS[self.reader])
        return module.from_rows(rows) if self.reader == "tydiqa" else module.from_rows(rows, split)

    def files(self) -> tuple[Path, ...]:
        """Return the files, unread; those of the hub are downloaded."""
        if self._is_rows():
            splits = hub_rows.SOURCES[self.reader].splits
            layout = _LAYOUTS[self.reader]
            found = [hub_rows.rows(self.reader, one, self.folder, layout) for one in splits]
            return tuple(path for rows in found for path in rows.files)
        folder = self.folder
        assert folder is not None
        if self.reader == "tydiqa":
            both = [tydiqa.files_of(folder, split) for split in ("dev", "train")]
            return tuple(path for found in both for path, _ in found)
        if self.reader == "gsm8k":
            return (places.require(folder / "test.jsonl", gsm8k.LAYOUT),)
        if self.reader == "mmlu":
            kinds = [mmlu.files_of(folder, split) for split in ("test", "dev")]
            return tuple(path for one in kinds for path in one.values())
        shots = (folder / "cot-prompts").glob("*")
        return tuple(sorted((folder / "bbh").glob("*.json*")) + sorted(shots))

    def _is_rows(self) -> bool:
        """Tell whether the data has the hub's form: there, or in a copy of its repository."""
        if self.folder is None:
            return True
        return any(
            hub_rows.local_files(self.folder, self.reader, split)
            for split in ("test", "dev", "train")
        )


def _gsm8k(task: Task, source: _Source) -> list[Sample]:
    problems: Sequence[gsm8k.Problem] = source.read("test")
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


def _bbh(task: Task, source: _Source) -> list[Sample]:
    assert source.folder is not None
    tasks = bbh.read(source.folder)
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


def _mmlu(task: Task, source: _Source) -> list[Sample]:
    n_shots = cast(int, task.settings.get("shots", 0))
    shown, asked = source.read("dev"), source.read("test")
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


def _tydiqa(task: Task, source: _Source) -> tuple[list[Sample], list[str]]:
    """Return the samples, and the languages that are not there.

    Every language has as many questions, so that the mean over all is the mean over languages.
    """
    dev, train = source.read("dev"), source.read("train")
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


_ONE_KIND: dict[str, Callable[[Task, _Source], list[Sample]]] = {
    "mmlu": _mmlu, "gsm8k": _gsm8k, "bbh": _bbh,
}  # fmt: skip
