"""`peval judge`: a judge's verdicts on a finished run, kept beside it like every other answer.

answers -> calls -> verdicts, and from there as every score: estimates, report
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from peval import conclude
from peval.engines.budget import Budget, CapReachedError
from peval.engines.server import Endpoint, ServerEngine, UnreachableError
from peval.errors import RunError
from peval.judge_engines import PeoplesLabels, local_engine, reward_engine
from peval.judge_job import Judging
from peval.judge_plan import Work, prepared
from peval.judging import opponents
from peval.judging.judges import Judge
from peval.judging.parts import Part
from peval.judging.place import Place, places
from peval.judging.verdicts import IDENTICAL
from peval.progress import Progress
from peval.results import Results
from peval.rundir import RunDir
from peval.store import Store
from peval.types import Completion, Engine, Sample


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
    stopped, spent_usd = None, 0.0
    for one in prepared(job):
        work = dataclasses.replace(one, elsewhere_usd=spent_usd)
        work.place.write({"has_begun": False, **work.about})
        with Store(work.place.store) as store:
            keep(store, work)
            _take_over(store, job, work)
            try:
                _ask(store, job, work, progress, opener or open_judge)
            except (UnreachableError, CapReachedError) as error:
                stopped = str(error)
            finally:
                progress.close()
            spent_usd += _note(work.place, stopped)
        if stopped:
            progress.note(stopped)
            break
    return conclude.conclude(RunDir(Path(job.run)))


def open_judge(job: Judging, work: Work) -> Engine:
    """Return the engine that a judge asks for."""
    turns = {call.request.key: call.turns for call in work.calls}
    match work.judge.engine:
        case "server":
            budget = Budget(work.place.spending, job.max_cost, work.elsewhere_usd)
            return ServerEngine(_endpoint(job, work.judge), turns, budget)
        case "local":
            return local_engine(work.judge, turns, work.place.path / "engine.log")
        case "reward":
            return reward_engine(work.judge, turns)
        case "labels":
            return PeoplesLabels(work.said)


def _endpoint(job: Judging, how: Judge) -> Endpoint:
    return Endpoint(
        url=job.endpoint, model=how.model, key_variable=how.key_variable,
        max_tokens=how.max_tokens, temperature=how.temperature, top_logprobs=how.top_logprobs,
        labels=how.labels if how.reply == "probabilities" else (),
        price_input=how.price_input, price_output=how.price_output, n_workers=job.n_workers,
        per_minute=job.per_minute, timeout_s=job.timeout_s, pause_s=job.pause_s,
    )  # fmt: skip


def keep(store: Store, work: Work) -> None:
    """Store what is asked before it is asked."""
    prompts: dict[str, dict[str, Sample]] = {}
    for call in work.calls:
        if call.turns:
            prompts.setdefault(call.request.task, {})[call.request.key] = call.as_sample()
    plan: dict[str, list[Sample]] = {task: list(some.values()) for task, some in prompts.items()}
    for task, by_id in work.opponents.items():
        plan[opponents.TASK.format(task)] = opponents.as_samples(by_id)
    store.put_plan(plan, work.requests)
    for call in work.calls:
        if Part.of(call.request.part).is_same:
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
    engine = opener(job, work) if todo else None
    work.place.write(work.place.read() | {"has_begun": True})  # from here on there is a result
    progress.start(work.requests, done)
    if engine is None:
        return
    with closing(engine):
        for completion in engine.complete(todo):
            committed = store.add(completion)
            progress.finished(committed + store.flush(), [completion])


def _note(place: Place, stopped: str | None) -> float:
    """Write down what was spent, which is returned, and why asking stopped."""
    spent = Budget(place.spending, None).spent_usd if place.spending.exists() else 0.0
    place.write(place.read() | {"spent_usd": spent, "stopped": stopped})
    return spent


def is_complete(job: Judging, results: Results) -> bool:
    """Tell whether every call of this very work has its verdict; other judges' is their own."""
    names = {work.place.path.name for work in prepared(job)}
    mine = [s for s in results.judged.get("sections", []) if s["place"] in names]
    return bool(mine) and not any(s["n_pending"] or s["stopped"] for s in mine)
