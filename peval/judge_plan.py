"""What a judge is asked about a finished run: which answers, beside which, on which items."""

from __future__ import annotations

import dataclasses
import random
import re
import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peval.bases import load_base
from peval.errors import DataError, JudgeError, RunError, UsageError
from peval.judging.concluded import BASE
from peval.judging.judges import Judge, load_judge
from peval.judging.opponents import read_reference
from peval.judging.place import FOLDER, Place, Texts, item_of, texts_of
from peval.judging.questions import NULLS, SAME, Asking, Call, Item
from peval.machine import file_sha256
from peval.rundir import PLANNED, RunDir, digest, task_of
from peval.store import Store
from peval.types import Message, Request, Task

TARGETS = "targets"
BASELINE = "baseline"
"""What a task's setting ``targets`` says where they are another system's answers: not references
that a judge should take as right.
"""
TOKENS_PER_BYTE = 0.25
_TUNED = re.compile(r"([-_.](instruct|chat|it|sft|dpo|hf|base))+$")


@dataclass(frozen=True)
class Judging:
    """What a person asks for; the arguments of `peval.judge` and the flags of `peval judge`.

    Parameters
    ----------
    run
        A finished run's directory.
    judge
        A shipped judge's name, or a YAML file.
    against
        For pairs: ``base``, an adapter, ``targets`` (the task's own reference answers), a file of
        reference answers, or ``each`` (every system with every other); None is the base where the
        run has it.
    tasks
        Which tasks to judge; empty for all that have generated answers.
    limit
        Judge so many items of each task, drawn at random.
    nulls
        Ask about null answers on so many items.
    model, endpoint, key_variable
        In place of the judge's own.
    max_cost
        The most that may be spent on this judge's work here, in US dollars.
    replay
        Runs whose verdicts may be taken over.
    labels
        A CSV file of people's verdicts, for judges of the engine ``labels``.
    """

    run: str
    judge: str
    against: str | None = None
    tasks: tuple[str, ...] = ()
    limit: int | None = None
    nulls: int = 50
    model: str | None = None
    endpoint: str | None = None
    key_variable: str | None = None
    max_cost: float | None = None
    orders: str | None = None
    seed: int = 0
    n_workers: int = 8
    per_minute: float | None = None
    timeout_s: float = 120.0
    pause_s: float = 1.0
    replay: tuple[str, ...] = ()
    labels: str | None = None


@dataclass(frozen=True)
class Work:
    """One judge against one opponent, made definite: what to ask and where it is kept."""

    place: Place
    about: Mapping[str, Any]
    judge: Judge
    calls: Sequence[Call]
    opponents: Mapping[str, Mapping[str, tuple[str, ...]]]

    @property
    def requests(self) -> list[Request]:
        """Return the calls as requests."""
        return [call.request for call in self.calls]


def prepared(job: Judging) -> Iterator[Work]:
    """Yield what is to be asked, one opponent after the other; writes nothing."""
    rundir = RunDir(Path(job.run))
    manifest = rundir.read_manifest()
    if PLANNED not in manifest or not rundir.results.exists():
        raise RunError(f"{job.run}: not a finished run; finish it with `peval score` first")
    how = judge_of(job)
    answered = _answered(rundir, manifest, job.tasks)
    for against, only in _opponents(job, how, manifest):
        about: dict[str, Any] = {
            "against": against, "tasks": [one.task.name for one in answered], "limit": job.limit,
            "nulls": job.nulls, "seed": job.seed, "orders": how.orders,
            "file": _file_sha256(against),
        }  # fmt: skip
        place = Place(rundir.path / FOLDER / _label(how, about))
        kept = place.read() if place.about.exists() else {}
        about |= {"judge": how.record(), "salt": kept.get("salt") or secrets.token_hex(16),
                  "same_base": _same_base(how, manifest), "cap_usd": job.max_cost}  # fmt: skip
        calls: list[Call] = []
        opponents: dict[str, Mapping[str, tuple[str, ...]]] = {}
        for one in answered:
            theirs = one.against(against) if how.kind == "pairwise" else {}
            asking = Asking(how, one.task, about["salt"])
            calls += _calls(asking, one.only(only), theirs, job)
            opponents[one.task.name] = theirs
        yield Work(place, kept | about, how, calls, opponents)


@dataclass(frozen=True)
class _Answered:
    """One task of the run: what was asked that anybody answered, and what each system said."""

    task: Task
    items: list[Item]
    texts: Texts

    def only(self, systems: Collection[str | None] | None) -> _Answered:
        """Return the same with the answers of some systems; None means all."""
        if systems is None:
            return self
        kept = {name: said for name, said in self.texts.items() if name in systems}
        return dataclasses.replace(self, texts=kept)

    def against(self, against: str | None) -> Mapping[str, tuple[str, ...]]:
        """Return the opponent's answers by sample id."""
        system = None if against == BASE else against
        if system in self.texts:
            return self.texts[system]
        if against == TARGETS:
            return _own_references(self.items)
        if against == BASE or against is None or not Path(against).is_file():
            return {}
        return read_reference(Path(against), self.items)


def _answered(
    rundir: RunDir, manifest: Mapping[str, Any], names: Collection[str]
) -> list[_Answered]:
    """Return those of a run's tasks (all, or the named ones) that have generated answers."""
    tasks = [task_of(fields) for fields in manifest["tasks"]]
    if strange := set(names) - {task.name for task in tasks}:
        known = ", ".join(task.name for task in tasks)
        raise UsageError(f"--task {min(strange)}: the run has {known}")
    found = []
    with Store(rundir.store) as store:
        samples = store.samples()
        for task in tasks:
            if names and task.name not in names:
                continue
            texts = texts_of(samples[task.name], dict(store.asked(task.name)), store)
            if known_ids := {name for by_id in texts.values() for name in by_id}:
                items = [item_of(s) for s in samples[task.name].values() if s.id in known_ids]
                found.append(_Answered(task, items, texts))
    if not found:
        raise RunError(f"{rundir.path}: none of the tasks has generated answers to judge")
    return found


def estimate(job: Judging) -> dict[str, Any]:
    """Return what asking would take, before anything is asked."""
    counts = ("n_calls", "n_held", "n_left", "prompt_tokens", "completion_tokens_at_most")
    total: dict[str, Any] = dict.fromkeys(counts, 0) | {"usd_at_most": 0.0}
    for work in prepared(job):
        todo = {c.request.key: c for c in work.calls if c.request.part != SAME}
        total["n_calls"] += len(todo)
        if work.place.store.exists():
            with Store(work.place.store) as store:
                held = store.done(list(todo))
        else:
            held = set()
        n_bytes = sum(len(_words(c.turns).encode()) for k, c in todo.items() if k not in held)
        n_left = len(todo) - len(held)
        tokens = round(n_bytes * TOKENS_PER_BYTE)
        most = n_left * work.judge.max_tokens
        total["n_held"] += len(held)
        total["n_left"] += n_left
        total["prompt_tokens"] += tokens
        total["completion_tokens_at_most"] += most
        usd = (tokens * work.judge.price_input + most * work.judge.price_output) / 1e6
        total["usd_at_most"] += usd
    return total


def estimate_text(found: Mapping[str, Any]) -> str:
    """Return an estimate as a person reads it."""
    return (
        f"Would ask {found['n_left']:,} of {found['n_calls']:,} calls ({found['n_held']:,} are "
        f"answered): about {found['prompt_tokens']:,} prompt tokens and at most "
        f"{found['completion_tokens_at_most']:,} more, at most ${found['usd_at_most']:.2f}"
    )


def judge_of(job: Judging) -> Judge:
    """Return the judge that a job names, with what the job changes of it."""
    changes: dict[str, Any] = {
        "model": job.model, "key_variable": job.key_variable, "orders": job.orders,
    }  # fmt: skip
    found = load_judge(job.judge)
    found = dataclasses.replace(found, **{k: v for k, v in changes.items() if v is not None})
    if found.engine == "labels":
        if job.labels is None:
            raise UsageError(f"--judge {found.name} needs --labels FILE.csv")
        try:  # another file is another judge: no verdict is taken over from one to the other
            model = f"labels {file_sha256(Path(job.labels))[:12]}"
        except OSError as error:
            raise DataError(f"{job.labels}: cannot be read ({error.strerror})") from error
        found = dataclasses.replace(found, model=model)
    if found.engine in ("server", "local", "reward") and not found.model:
        raise JudgeError(f"{found.name} names no model: give --model")
    return found


def _opponents(
    job: Judging, how: Judge, manifest: Mapping[str, Any]
) -> Iterator[tuple[str | None, set[str | None] | None]]:
    """Yield opponents, each with the systems that meet it (None: all)."""
    if how.kind != "pairwise":
        if job.against is not None:
            raise UsageError(f"--against: {how.name} rates single answers")
        yield None, None
        return
    adapters: list[str] = [adapter["name"] for adapter in manifest["adapters"]]
    with_base = manifest["job"]["with_base"]
    systems: list[str | None] = [*([None] if with_base else []), *adapters]
    against = job.against or (BASE if with_base else None)
    if against is None:
        raise UsageError("--against: the run has no base; give an adapter or a reference file")
    if against == "each":
        for at, system in enumerate(systems[:-1]):
            yield system or BASE, {system, *systems[at + 1 :]}
        return
    known = [*([BASE] if with_base else []), *adapters]
    if against != TARGETS and against not in known and not Path(against).is_file():
        raise UsageError(
            f"--against {against}: no file, not {TARGETS}, and the run has no such system: "
            f"{', '.join(known)}"
        )
    yield against, None


def _file_sha256(against: str | None) -> str | None:
    """Return the hash of a file of reference answers: a changed one is another opponent."""
    return file_sha256(Path(against)) if against and Path(against).is_file() else None


def _own_references(items: Sequence[Item]) -> dict[str, tuple[str, ...]]:
    found = {item.sample.id: item.references for item in items if item.references}
    if len(found) < len(items):
        missing = next(item.sample.id for item in items if not item.references)
        raise DataError(
            f"--against {TARGETS}: {len(items) - len(found):,} of {len(items):,} samples have no "
            f"reference answer, such as {missing!r}; give a file of them"
        )
    return found


def _calls(
    asking: Asking, one: _Answered, opponents: Mapping[str, tuple[str, ...]], job: Judging
) -> list[Call]:
    """Return one task's calls: the systems', then those of null answers on some of the items."""
    chosen = list(one.items)
    if one.task.settings.get("targets") == BASELINE:
        chosen = [dataclasses.replace(item, references=()) for item in chosen]
    if job.limit is not None:
        chosen = random.Random(job.seed).sample(chosen, min(job.limit, len(chosen)))
    calls = list(asking.calls(chosen, one.texts, opponents, job.seed))
    some = random.Random(job.seed + 1).sample(chosen, min(job.nulls, len(chosen)))
    nulls: dict[str | None, dict[str, tuple[str, ...]]] = {}
    for name, text in NULLS.items() if asking.judge.engine != "labels" else ():
        if text is not None:
            nulls[name] = {item.sample.id: (text,) * len(item.turns) for item in some}
        elif asking.judge.kind == "pairwise":
            nulls[name] = {i.sample.id: opponents[i.sample.id] for i in some
                           if i.sample.id in opponents}  # fmt: skip
    return calls + list(asking.calls(some, nulls, opponents, job.seed))


def _label(how: Judge, about: Mapping[str, Any]) -> str:
    """Name a judge's work so that the same command finds it again."""
    against = "" if about["against"] is None else f"-vs-{Path(about['against']).stem}"
    return f"{how.name}{against}-{digest([how.sha256, about, how.combine])[:6]}"


def _same_base(how: Judge, manifest: Mapping[str, Any]) -> bool:
    """Tell whether judge and evaluated models share a base: its files, or its name as far as that
    tells (what is tuned is named after it).
    """
    base = manifest["base"]
    if how.engine == "local" and load_base(how.model).sha256 == base["sha256"]:
        return True
    names = [_TUNED.sub("", Path(str(name)).name.lower()) for name in (how.model, base["name"])]
    return names[0] == names[1] != ""


def _words(turns: Sequence[Message]) -> str:
    return "\n".join(turn.content for turn in turns)
