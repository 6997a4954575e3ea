"""The loop: what is not answered yet goes to the engine; all else reads files.

tasks, adapters -> requests -> completions -> scores -> estimates -> report
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from peval import conclude, turns
from peval.asked import answered_once
from peval.chat import Voice, voice_for
from peval.choices import prompts_of
from peval.datasets.records import read_records
from peval.machine import record_rate
from peval.memorization.overlap import overlaps
from peval.plan import Encoded, context_for, plan, without_unasked
from peval.prepare import Setup, reusable_stores
from peval.progress import Progress
from peval.prompts import Prompt, Tokenizer
from peval.results import Results
from peval.rundir import PLANNED, REPEATED, RunDir
from peval.sitting import Meter, Sitting
from peval.store import Store
from peval.tokenizer import tokenizers
from peval.types import MERGE, Adapter, Dataset, Engine, Request, Sample, Task

ENOUGH_TO_TIME = 50
ORDER_SEED = 1

OpenEngine = Callable[[Setup, Progress], Engine]


def run(setup: Setup, open_engine: OpenEngine, progress: Progress) -> Results:
    """Answer, score, estimate and report; every stage is on disk when it is done.

    Stopped at any moment and called again, it goes on where it stopped.
    """
    with Store(setup.rundir.store) as store, closing(open_engine(setup, progress)) as engine:
        requests: list[Request] = []
        answer(setup, store, rounds(setup, store, engine, requests), engine, progress)
    if setup.job.repeat_engine:
        repeat(setup, requests, open_engine, progress)
    return conclude.conclude(setup.rundir)


def rounds(
    setup: Setup, store: Store, engine: Engine, asked: list[Request]
) -> Iterator[list[Request]]:
    """Yield what is to be asked, then whatever follows from the answers; ``asked`` grows by it."""
    new = turns.openings(setup, planned(setup, store, engine))
    while new:
        take_over(setup, store, new)
        asked += new
        yield new
        new = turns.follow_ups(setup, store, asked)
        store.put_plan({}, new)


def planned(setup: Setup, store: Store, engine: Engine) -> list[Request]:
    """Return the run's requests: from the store, or planned now, while the engine starts."""
    if stored := store.requests():
        return stored
    if not setup.job.reuse:  # else there may be nothing left to answer
        engine.launch()
    data, requests = plan_requests(setup)
    absent = {task: dataset.absent for task, dataset in data.items()}
    notes = {
        task.name: (*data[task.name].notes, *answered_once(setup.job, task)) for task in setup.tasks
    }
    found = {PLANNED: absent, "notes": notes, "overlap": overlap_of(setup, data)}
    setup.rundir.write_manifest(setup.rundir.read_manifest() | found)
    store.put_plan({task: dataset.samples for task, dataset in data.items()}, requests)
    return requests


def plan_requests(setup: Setup) -> tuple[dict[str, Dataset], list[Request]]:
    """Read the tasks' data and return it by task, with the requests that it makes."""
    known = tokenizers(setup.base, setup.adapters)
    data = {task.name: setup.read(task) for task in setup.tasks}
    encoded = []
    for task in setup.tasks:
        found = data[task.name]
        made = _prompts(setup, task, found.samples, known)
        data[task.name], prompts = without_unasked(task, found, made)
        encoded.append(Encoded(task, data[task.name].samples, prompts))
    return data, plan(encoded, setup.base, setup.adapters, setup.serving, setup.job.with_base)


def _prompts(
    setup: Setup,
    task: Task,
    samples: Sequence[Sample],
    known: Mapping[str | None, Tokenizer],
) -> dict[str | None, list[tuple[Prompt, ...]]]:
    """Return each system's prompts; systems that are spoken to alike share theirs."""
    chat = task.profile.chat
    made: dict[tuple[Voice, int], list[tuple[Prompt, ...]]] = {}
    found = {}
    for adapter in (*([None] if setup.job.with_base else []), *setup.adapters):
        name = adapter.name if adapter else None
        voice = voice_for(adapter, setup.base, chat, known[name])
        context = context_for(adapter, setup.base, setup.serving)
        if (voice, context) not in made:
            made[voice, context] = prompts_of(samples, task, voice, context)
        found[name] = made[voice, context]
    return found


def overlap_of(setup: Setup, data: Mapping[str, Dataset]) -> dict[str, Any] | None:
    """Return what the evaluation sets have in common with the training data, if that was given."""
    train = setup.job.memorization.get("train_data")
    if not train:
        return None
    records = read_records(Path(str(train)).expanduser())
    sets = {t.name: data[t.name].samples for t in setup.tasks if t.reader != "memorization"}
    return overlaps((record.words for record in records), sets)


def take_over(setup: Setup, store: Store, requests: Sequence[Request]) -> None:
    """Copy into the store what other runs have answered."""
    keys = [request.key for request in requests]
    for other in reusable_stores(setup.job):
        store.reuse(other, keys)


def repeat(
    setup: Setup, requests: Sequence[Request], open_engine: OpenEngine, progress: Progress
) -> None:
    """Ask everything once more of a fresh engine, in an order that makes other batches."""
    progress.note("once more, in other batches")
    store, engine = Store(setup.rundir.repeat), open_engine(setup, progress)
    with store, closing(engine):
        answer(setup, store, [mixed(requests, setup.adapters)], engine, progress)
    setup.rundir.write_manifest(setup.rundir.read_manifest() | {REPEATED: True})


def mixed(requests: Sequence[Request], adapters: Sequence[Adapter]) -> list[Request]:
    """Return requests in another order; weights that take the base's place stay together."""
    alone = {a.name: a.name for a in adapters if a.route == MERGE}
    order = list(requests)
    random.Random(ORDER_SEED).shuffle(order)
    return sorted(order, key=lambda request: alone.get(request.adapter or "", ""))


def answer(
    setup: Setup,
    store: Store,
    rounds: Iterable[Sequence[Request]],
    engine: Engine,
    progress: Progress,
) -> None:
    """Bring the completions of each round's requests into the store before the next begins.

    What is there is not asked again.
    """
    meter = Meter()
    try:
        for requests in rounds:
            done = store.done([request.key for request in requests])
            todo = [request for request in requests if request.key not in done]
            progress.start(requests, done)
            meter.ask(todo)
            for completion in engine.complete(todo) if todo else ():
                meter.count(completion)
                progress.finished(store.add(completion), [completion])
            progress.finished(store.flush(), [])
    finally:
        spent = meter.sitting(_n_starts(setup, engine), getattr(engine, "up_at_s", None))
        if meter.was_needed:
            _note_cost(setup.rundir, spent)
    if spent.n_answered >= ENOUGH_TO_TIME:
        rate = spent.n_answered / (spent.wall_s - spent.starting_s)
        record_rate(setup.base.sha256, setup.serving.engine, rate, spent.starting_s)


def _n_starts(setup: Setup, engine: Engine) -> int:
    """Return how often an engine was started; recorded answers need none."""
    return 0 if setup.job.replay else 1 + int(getattr(engine, "n_restarts", 0))


def _note_cost(rundir: RunDir, spent: Sitting) -> None:
    """Add what was spent to what earlier processes spent on the same run."""
    manifest = rundir.read_manifest()
    sittings = [*manifest.get("sittings", []), asdict(spent)]
    rundir.write_manifest(manifest | {"sittings": sittings})
