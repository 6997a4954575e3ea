"""`peval judge`: a judge's verdicts on a finished run, kept beside it like every other answer.

answers -> calls -> verdicts, and from there as every score: estimates, report
"""

from __future__ import annotations

import dataclasses
import random
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peval import conclude
from peval.engines.budget import Budget, CapReachedError
from peval.engines.server import Endpoint, ServerEngine, UnreachableError
from peval.errors import DataError, JudgeError, RunError, UsageError
from peval.judge_engines import labels_engine, local_engine, reward_engine
from peval.judging.concluded import OPPONENTS
from peval.judging.judges import Judge, load_judge
from peval.judging.opponents import read_reference
from peval.judging.place import FOLDER, Place, item_of, places, texts_of
from peval.judging.questions import NULLS, SAME, Asking, Call, Item
from peval.judging.verdicts import IDENTICAL
from peval.machine import file_sha256
from peval.progress import Progress
from peval.results import Results
from peval.rundir import PLANNED, RunDir, digest, task_of
from peval.store import Store
from peval.types import Completion, Engine, Message, Query, Request, Sample

BASE = "base"
TOKENS_PER_BYTE = 0.25


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
        For pairs: ``base``, an adapter, a file of reference answers, or ``each`` (every system
        with every other); None is the base where the run has it.
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


def judge(job: Judging, progress: Progress, opener: Callable[..., Engine] | None = None) -> Results:
    """Judge a run's answers; every verdict is on disk before the next figure is computed.

    Stopped at any moment and called again, it goes on where it stopped.

    Raises
    ------
    JudgeError
        The judge is malformed, or cannot be asked.
    DataError
        The file of reference answers or of labels does not fit the run.
    """
    stopped = None
    for work in prepared(job):
        work.place.write(work.about)
        with Store(work.place.store) as store:
            keep(store, work)
            _take_over(store, job, work)
            try:
                _ask(store, job, work, progress, opener or open_judge)
            except (UnreachableError, CapReachedError) as error:
                stopped = str(error)
            finally:
                progress.close()
            _note(work.place, job, stopped)
        if stopped:
            progress.note(stopped)
            break
    return conclude.conclude(RunDir(Path(job.run)))


def prepared(job: Judging) -> Iterator[Work]:
    """Yield what is to be asked, one opponent after the other; writes nothing."""
    rundir = RunDir(Path(job.run))
    manifest = rundir.read_manifest()
    if PLANNED not in manifest or not rundir.results.exists():
        raise RunError(f"{job.run}: not a finished run; finish it with `peval score` first")
    how = judge_of(job)
    with Store(rundir.store) as store:
        samples = store.samples()
        tasks = [task_of(fields) for fields in manifest["tasks"]]
        if strange := set(job.tasks) - {task.name for task in tasks}:
            known = ", ".join(task.name for task in tasks)
            raise UsageError(f"--task {min(strange)}: the run has {known}")
        said = {
            task.name: texts_of(samples[task.name], dict(store.asked(task.name)), store)
            for task in tasks
            if not job.tasks or task.name in job.tasks
        }
    said = {name: texts for name, texts in said.items() if any(texts.values())}
    if not said:
        raise RunError(f"{job.run}: none of the tasks has generated answers to judge")
    by_name = {task.name: task for task in tasks}
    for against, only in _opponents(job, how, manifest):
        about: dict[str, Any] = {
            "against": against, "tasks": list(said), "limit": job.limit, "nulls": job.nulls,
            "seed": job.seed, "orders": how.orders,

        }  # fmt: skip
        place = Place(rundir.path / FOLDER / _label(how, about))
        kept = place.read() if place.about.exists() else {}
        about |= {"judge": how.record(), "salt": kept.get("salt") or secrets.token_hex(16),
                  "same_base": _same_base(how, manifest), "cap_usd": job.max_cost}  # fmt: skip
        calls: list[Call] = []
        opponents: dict[str, dict[str, tuple[str, ...]]] = {}
        for name, texts in said.items():
            items = [item_of(sample) for sample in samples[name].values()]
            opponents[name] = (
                _texts_against(against, items, texts) if how.kind == "pairwise" else {}
            )
            answers = {
                system: by_id for system, by_id in texts.items() if only is None or system in only
            }
            asking = Asking(how, by_name[name], about["salt"])
            calls += _calls(asking, items, answers, opponents[name], job)
        yield Work(place, kept | about, how, calls, opponents)


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


def open_judge(job: Judging, work: Work) -> Engine:
    """Return the engine that a judge asks for."""
    turns = {call.request.key: call.turns for call in work.calls}
    match work.judge.engine:
        case "server":
            where = _endpoint(job, work.judge)
            if job.max_cost is not None and not (where.price_input or where.price_output):
                raise JudgeError(
                    f"{work.judge.name}: --max-cost needs price_input and price_output in its YAML"
                )
            return ServerEngine(where, turns, Budget(work.place.spending, job.max_cost))
        case "local":
            return local_engine(work.judge, turns, work.place.path / "engine.log")
        case "reward":
            return reward_engine(work.judge, turns)
        case "labels":
            return labels_engine(work.judge, Path(str(job.labels)), work.requests)


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


def _endpoint(job: Judging, how: Judge) -> Endpoint:
    return Endpoint(
        url=job.endpoint, model=how.model, key_variable=how.key_variable,
        max_tokens=how.max_tokens, temperature=how.temperature, top_logprobs=how.top_logprobs,
        labels=how.labels if how.reply == "probabilities" else (),
        price_input=how.price_input, price_output=how.price_output, n_workers=job.n_workers,
        per_minute=job.per_minute, timeout_s=job.timeout_s, pause_s=job.pause_s,
    )  # fmt: skip


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
    if against not in known and not Path(against).is_file():
        raise UsageError(
            f"--against {against}: no file, and the run has no such system: {', '.join(known)}"
        )
    yield against, None


def _texts_against(
    against: str | None, items: Sequence[Item], texts: Mapping[str | None, Any]
) -> dict[str, tuple[str, ...]]:
    """Return the opponent's answers by sample id."""
    system = None if against == BASE else against
    if system in texts:
        return dict(texts[system])
    if against == BASE or against is None or not Path(against).is_file():
        return {}
    return read_reference(Path(against), items)


def _calls(
    asking: Asking,
    items: Sequence[Item],
    answers: Mapping[str | None, Mapping[str, tuple[str, ...]]],
    opponents: Mapping[str, tuple[str, ...]],
    job: Judging,
) -> list[Call]:
    """Return one task's calls: the systems', then those of null answers on some of the items."""
    chosen = list(items)
    if job.limit is not None:
        chosen = random.Random(job.seed).sample(chosen, min(job.limit, len(chosen)))
    calls = list(asking.calls(chosen, answers, opponents, job.seed))
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
    """Tell whether judge and evaluated models share a base, as far as names tell."""
    mine = Path(how.model).name.lower()
    return bool(mine) and mine == Path(str(manifest["base"]["name"])).name.lower()


def keep(store: Store, work: Work) -> None:
    """Store what is asked before it is asked."""
    prompts: dict[str, dict[str, Sample]] = {}
    for call in work.calls:
        if call.turns:
            prompts.setdefault(call.request.task, {})[call.request.key] = call.as_sample()
    plan: dict[str, list[Sample]] = {task: list(some.values()) for task, some in prompts.items()}
    for task, by_id in work.opponents.items():
        plan[OPPONENTS + task] = [
            Sample(name, "", (), name, queries=tuple(map(Query, texts)))
            for name, texts in by_id.items()
        ]
    store.put_plan(plan, work.requests)
    for call in work.calls:
        if call.request.part == SAME:
            store.add(Completion(call.request.key, IDENTICAL, (), "stop"))
    store.flush()


def _take_over(store: Store, job: Judging, work: Work) -> None:
    """Copy verdicts from other judges' work here, and from the runs that were named."""
    keys = [request.key for request in work.requests]
    runs = [Path(job.run), *map(Path, job.replay)]
    for run in runs:
        found = [place for place in places(RunDir(run)) if place.path != work.place.path]
        if not found and run != Path(job.run):
            raise RunError(f"--replay {run}: no verdicts there")
        for place in found:
            if place.store.exists():
                store.reuse(place.store, keys)


def _ask(
    store: Store, job: Judging, work: Work, progress: Progress, opener: Callable[..., Engine]
) -> None:
    """Bring every call's verdict into the store; each is on disk before the next is read."""
    keys = [request.key for request in work.requests]
    done = store.done(keys)
    todo = [request for request in work.requests if request.key not in done]
    progress.start(work.requests, done)
    if not todo:
        return
    with closing(opener(job, work)) as engine:
        for completion in engine.complete(todo):
            committed = store.add(completion)
            progress.finished(committed + store.flush(), [completion])


def _note(place: Place, job: Judging, stopped: str | None) -> None:
    """Write down what was spent and why asking stopped."""
    spent = Budget(place.spending, None).spent_usd if place.spending.exists() else 0.0
    place.write(place.read() | {"spent_usd": spent, "stopped": stopped})


def _words(turns: Sequence[Message]) -> str:
    return "\n".join(turn.content for turn in turns)


def is_complete(results: Results) -> bool:
    """Tell whether every call of a run's judges has its verdict."""
    sections = results.judged.get("sections", [])
    return not any(s["n_pending"] or s["stopped"] for s in sections)
