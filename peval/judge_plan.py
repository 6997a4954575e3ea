"""What a judge is asked about a finished run: which answers, beside which, on which items."""

from __future__ import annotations

import dataclasses
import random
import re
import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from peval.errors import DataError, RunError, UsageError
from peval.judge_job import Judging, judge_of, local_base
from peval.judging.judges import Judge
from peval.judging.opponents import BASE
from peval.judging.people import matched, read_verdicts
from peval.judging.place import FOLDER, Place, Texts, item_of, texts_of
from peval.judging.questions import NULLS, Asking, Call, Draws, Item
from peval.judging.reference_file import read_reference
from peval.machine import file_sha256
from peval.rundir import PLANNED, RunDir, digest, task_of
from peval.store import Store
from peval.types import Request, Task

TARGETS = "targets"
BASELINE = "baseline"
"""What a task's setting ``targets`` says where they are another system's answers: not references
that a judge should take as right.
"""
_TUNED = re.compile(r"([-_.](instruct|chat|it|sft|dpo|hf|base))+$")


@dataclass(frozen=True)
class Work:
    """One judge against one opponent, made definite: what to ask and where it is kept.

    ``said`` holds people's verdicts by request key, ``elsewhere_usd`` what was spent against other
    opponents under the same cap.
    """

    place: Place
    about: Mapping[str, Any]
    judge: Judge
    calls: Sequence[Call]
    opponents: Mapping[str, Mapping[str, Draws]]
    said: Mapping[str, str] = field(default_factory=dict)
    elsewhere_usd: float = 0.0

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
        if drawn := {one.task.name: one.n_draws for one in answered if one.n_draws > 1}:
            about["draws"] = drawn
        place = Place(rundir.path / FOLDER / _label(how, about))
        kept = place.read() if place.about.exists() else {}
        about |= {"judge": how.record(), "salt": kept.get("salt") or secrets.token_hex(16),
                  "same_base": _same_base(how, manifest), "cap_usd": job.max_cost}  # fmt: skip
        calls: list[Call] = []
        opponents: dict[str, Mapping[str, Draws]] = {}
        for one in answered:
            theirs = one.against(against) if how.kind == "pairwise" else {}
            asking = Asking(how, one.task, about["salt"])
            calls += _calls(asking, one.only(only), theirs, job)
            opponents[one.task.name] = theirs
        work = Work(place, kept | about, how, calls, opponents)
        yield _with_labels(work, Path(job.labels)) if job.labels else work


def _with_labels(work: Work, path: Path) -> Work:
    """Return the work with people's verdicts; rows that are of nothing here are counted.

    Raises
    ------
    DataError
        The file is malformed, or none of its rows fits a request.
    """
    verdicts = read_verdicts(path, work.judge)
    try:
        said, n_unused = matched(verdicts, work.judge, work.requests)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    if not said:
        n = len(verdicts)
        raise DataError(f"{path}: none of its {n:,} rows is of a system and sample here")
    about = {**work.about, "n_unused_labels": n_unused}
    return dataclasses.replace(work, about=about, said=said)


@dataclass(frozen=True)
class _Answered:
    """One task of the run: what was asked that anybody answered, and what each system said."""

    task: Task
    items: list[Item]
    texts: Texts

    @property
    def n_draws(self) -> int:
        """Return how many answers to a sample were drawn, where most were."""
        return max(len(draws) for by_id in self.texts.values() for draws in by_id.values())

    def only(self, systems: Collection[str | None] | None) -> _Answered:
        """Return the same with the answers of some systems; None means all."""
        if systems is None:
            return self
        kept = {name: said for name, said in self.texts.items() if name in systems}
        return dataclasses.replace(self, texts=kept)

    def against(self, against: str | None) -> Mapping[str, Draws]:
        """Return the opponent's answers by sample id."""
        system = None if against == BASE else against
        if system in self.texts:
            return self.texts[system]
        if against == TARGETS:
            return _once(_own_references(self.items))
        if against == BASE or against is None or not Path(against).is_file():
            return {}
        return _once(read_reference(Path(against), self.items))


def _once(answers: Mapping[str, tuple[str, ...]]) -> dict[str, Draws]:
    """Return answers of which there is one to each sample."""
    return {name: (said,) for name, said in answers.items()}


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
    asking: Asking, one: _Answered, opponents: Mapping[str, Draws], job: Judging
) -> list[Call]:
    """Return one task's calls: the systems', then those of null answers on some of the items."""
    chosen = list(one.items)
    if one.task.settings.get("targets") == BASELINE:
        chosen = [dataclasses.replace(item, references=()) for item in chosen]
    if job.limit is not None:
        chosen = random.Random(job.seed).sample(chosen, min(job.limit, len(chosen)))
    calls = list(asking.calls(chosen, one.texts, opponents, job.seed))
    some = random.Random(job.seed + 1).sample(chosen, min(job.nulls, len(chosen)))
    nulls: dict[str | None, dict[str, Draws]] = {}
    for name, text in NULLS.items() if asking.judge.engine != "labels" else ():
        if text is not None:
            nulls[name] = _once({item.sample.id: (text,) * len(item.turns) for item in some})
        elif asking.judge.kind == "pairwise":
            nulls[name] = {i.sample.id: opponents[i.sample.id][:1] for i in some
                           if i.sample.id in opponents}  # fmt: skip
    return calls + list(asking.calls(some, nulls, opponents, job.seed))


def _label(how: Judge, about: Mapping[str, Any]) -> str:
    """Name a judge's work so that the same command finds it again."""
    against = ""
    if about["against"] is not None:
        against = f"-vs-{re.sub(r'[^A-Za-z0-9._-]', '-', Path(about['against']).stem)}"
    return f"{how.name}{against}-{digest([how.sha256, about, how.combine])[:6]}"


def _same_base(how: Judge, manifest: Mapping[str, Any]) -> bool:
    """Tell whether judge and evaluated models share a base: its files, or its name as far as that
    tells (what is tuned is named after it).
    """
    base = manifest["base"]
    if how.engine == "local" and local_base(how).sha256 == base["sha256"]:
        return True
    names = [_TUNED.sub("", Path(str(name)).name.lower()) for name in (how.model, base["name"])]
    return names[0] == names[1] != ""
