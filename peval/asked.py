"""What a job asks: its tasks as the flags change them, checked before anything is generated."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from peval import catalog, datasets
from peval.bridges import lm_eval_samples
from peval.coding import UNSANDBOXED, check_metrics, is_code, programs_allowed
from peval.datasets import memorization, nlu
from peval.errors import UsageError
from peval.job import Job
from peval.scorers.open_text import OPEN_METRICS
from peval.scoring import tokenizer_of
from peval.sweeps import read_rule
from peval.types import Chat, Decoding, Task

SHORTENED = ("prompts", "jsonl")  # the readers whose answers may be limited otherwise


def tasks_of(job: Job) -> tuple[tuple[Task, ...], dict[str, list[str]]]:
    """Return what a job asks, checked, and the clusters it narrows each task to."""
    selection = catalog.select(job.suites, job.tasks, job.profile)
    clusters = _narrowed(job, selection)
    tasks = tuple(
        part
        for task in selection.tasks
        if not selection.clusters or task.reader != "superni" or task.name in clusters
        for part in _expanded(_adjusted(task, job), job)
    )
    _check_draws(job, tasks)
    _check_max_tokens(job, tasks)
    for task in tasks:
        tokenizer_of(task)  # what scoring needs must be there before anything is generated
    tasks = programs_allowed(tasks, job.allow_code_execution, job.allow_unsandboxed_code)
    for task in tasks:
        if is_code(task):
            check_metrics(task)
    _check_margins(job.margins, tasks)
    read_rule(job.select, [task.name for task in tasks])
    return tasks, clusters


def _narrowed(job: Job, selection: catalog.Selection) -> dict[str, list[str]]:
    """Return the clusters that each task is narrowed to; nothing where all are wanted."""
    if not selection.clusters:
        return {}
    return datasets.narrow(selection.tasks, job.data_path, selection.clusters)


def _adjusted(task: Task, job: Job) -> Task:
    """Return a task with the job's limit and seed, and the metrics that its data allows."""
    profile = task.profile
    # A published subset is of an evaluation set, not of one's own training data.
    own = None if task.reader == "memorization" else profile.instances_per_task
    sizes = [n for n in (job.limit, own) if n is not None]
    metrics = datasets.metrics_of(task)
    decoding = dataclasses.replace(profile.decoding, seed=job.seed)
    if job.max_tokens is not None and task.reader in SHORTENED:
        decoding = dataclasses.replace(decoding, max_tokens=job.max_tokens)
    if job.samples_per_prompt > 1 and metrics == OPEN_METRICS:
        decoding = _drawing(task, decoding, job.samples_per_prompt)
    profile = dataclasses.replace(
        profile,
        instances_per_task=min(sizes) if sizes else None,
        decoding=decoding,
        chat=_chat(task, job),
    )
    margin = job.margins.get(task.name, job.margins.get("", task.margin))
    return dataclasses.replace(task, profile=profile, metrics=metrics, margin=margin)


def _check_max_tokens(job: Job, tasks: Sequence[Task]) -> None:
    """Refuse a longest answer that no task here takes."""
    if job.max_tokens is None:
        return
    if job.max_tokens < 1:
        raise UsageError(f"--max-tokens {job.max_tokens}: give 1 or more")
    if not any(task.reader in SHORTENED for task in tasks):
        raise UsageError(
            f"--max-tokens {job.max_tokens}: {tasks[0].name} says itself how long an answer is; it "
            "is for open prompts and one's own rows (lm-eval's tasks take --gen-kwargs)"
        )


def _check_draws(job: Job, tasks: Sequence[Task]) -> None:
    """Refuse several answers for each open prompt where there is none."""
    if job.samples_per_prompt > 1 and not any(task.metrics == OPEN_METRICS for task in tasks):
        raise UsageError(
            f"--samples-per-prompt {job.samples_per_prompt}: no open prompts here; "
            f"{tasks[0].name} is scored on one answer, or on as many as its profile draws"
        )


def answered_once(job: Job, task: Task) -> tuple[str, ...]:
    """Return a note on a task that several answers were asked for and that takes one."""
    if job.samples_per_prompt == 1 or task.metrics == OPEN_METRICS:
        return ()
    return (f"--samples-per-prompt {job.samples_per_prompt} is for open prompts: this task is "
            "answered as its profile says",)  # fmt: skip


def _drawing(task: Task, decoding: Decoding, n: int) -> Decoding:
    """Return how several answers are drawn for each prompt."""
    if decoding.temperature == 0:
        raise UsageError(
            f"--samples-per-prompt {n}: {task.name} is answered greedily by the profile "
            f"'{task.profile.name}', and greedy answers are all alike; choose one with a "
            "temperature, such as vicuna"
        )
    return dataclasses.replace(decoding, n=n)


def _chat(task: Task, job: Job) -> Chat | None:
    """Return how a task's conversations are held, by its profile and the job."""
    chat = task.profile.chat
    if job.apply_chat_template:
        named = job.apply_chat_template if isinstance(job.apply_chat_template, str) else None
        chat = dataclasses.replace(chat or Chat(), template=named)
    if chat is None:
        if job.system_instruction is not None and task.reader != "lm-eval":
            raise UsageError(
                f"--system-instruction: {task.name} is not asked in a conversation; add "
                "--apply-chat-template"
            )
        return None
    multiturn = job.lm_eval.get("fewshot_as_multiturn") is not False
    return dataclasses.replace(chat, system=job.system_instruction, multiturn=multiturn)


def _expanded(task: Task, job: Job) -> list[Task]:
    """Return the tasks that another harness knows by one name, a probe where its data is given.

    Any other task is itself.
    """
    if task.reader == "memorization":
        found = memorization.configured(task, job.memorization)
        return [found] if found else []
    if task.reader == "nlu":
        return nlu.expand(task, job.shots, job.contexts, job.sequence_likelihood)
    if task.reader != "lm-eval":
        return [task]
    settings = dict(job.lm_eval)
    if job.system_instruction is not None:
        settings["system_instruction"] = job.system_instruction
    if job.allow_unsandboxed_code:
        settings[UNSANDBOXED] = True
    return lm_eval_samples.expand(dataclasses.replace(task, settings=settings))


def _check_margins(margins: Mapping[str, float], tasks: Sequence[Task]) -> None:
    """Refuse margins of no task, or that are no share."""
    for name, margin in margins.items():
        if name and name not in {task.name for task in tasks}:
            known = ", ".join(task.name for task in tasks[:5])
            raise UsageError(f"--margin {name}={margin:g}: no such task here; there are {known}")
        if not 0 <= margin < 1:
            raise UsageError(f"--margin {margin:g}: give a loss of at least 0 and less than 1")
