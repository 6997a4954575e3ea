"""From answers on disk to scores, estimates and a report. Starts no engine, needs no GPU."""

from __future__ import annotations

import dataclasses
import gc
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from peval import families, pools, programs, results
from peval.baselines import BASELINES
from peval.coding import UNSANDBOXED, Sandbox, is_code
from peval.forgetting import judged
from peval.memorization.extras import extras
from peval.memorization.overlap import overlapping
from peval.noise import Noise, floored, noise
from peval.parquet import write_parquet
from peval.report.write import write_report
from peval.results import Answers, Results
from peval.rundir import PLANNED, RunDir, adapter_of, pool_of, record, task_of, write_json
from peval.samples import write_samples
from peval.scorers.text import SCORER_VERSION
from peval.scoring import (
    Asked,
    aggregates,
    by_system_and_sample,
    score_prediction,
    score_system,
    tokenizer_of,
)
from peval.signature import pool_signature, signature
from peval.store import Store
from peval.sweeps import read_rule, sweep
from peval.types import Adapter, Comparison, Completion, Estimate, Request, Sample, Score, Task
from peval.version import __version__

Systems = Mapping[str | None, Answers]


@dataclass(frozen=True)
class Scored:
    """One task with its samples; each system's requests and score for each, in their order."""

    task: Task
    samples: list[Sample]
    requests: dict[str | None, list[Asked]]
    scores: dict[str | None, list[Score | None]]

    def rows(self) -> Iterator[tuple[Request, Score | None]]:
        """Yield every request with its sample's score, system by system."""
        for name, asked in self.requests.items():
            for requests, score in zip(asked, self.scores[name], strict=True):
                yield from ((request, score) for request in requests)


def conclude(rundir: RunDir) -> Results:
    """Score what the store holds, estimate, and write results, table, report and manifest.

    Raises
    ------
    RunError
        If the directory holds no run.
    """
    with _uncollected():
        return _conclude(rundir)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keep the collector of cycles from walking millions of records, which hold none."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _conclude(rundir: RunDir) -> Results:
    manifest = rundir.read_manifest()
    tasks = [task_of(fields) for fields in manifest["tasks"]]
    with Store(rundir.store) as store, _sandbox(manifest, tasks) as sandbox:
        samples, requests = store.samples(), store.requests()
        completions = store.completions(request.key for request in requests)
        parts = [_score(store, task, samples, requests, completions, sandbox) for task in tasks]
        if sandbox.tier is not None:
            manifest["sandbox"] = {"tier": sandbox.tier, "landlock_abi": sandbox.abi}
    again = _repeated(rundir, parts, requests)
    found = _results(manifest, parts, completions, again)
    rows = [row for part in parts for row in part.rows()]
    write_parquet(rundir.completions, rows, samples, completions)
    for part in parts:
        if is_code(part.task):
            write_samples(rundir.path, part.task, part.samples, part.scores)
    write_json(rundir.results, found.to_dict())
    write_report(rundir, found)
    rundir.write_manifest(manifest | {"status": found.run["status"], "scorer": SCORER_VERSION})
    return found


def _score(
    store: Store,
    task: Task,
    samples: Mapping[str, Mapping[str, Sample]],
    requests: Sequence[Request],
    completions: Mapping[str, Completion],
    sandbox: Sandbox,
) -> Scored:
    """Score every system on one task."""
    items = list(samples[task.name].values())
    mine = [request for request in requests if request.task == task.name]
    asked = {
        name: [by_id[s.id] for s in items] for name, by_id in by_system_and_sample(mine).items()
    }
    scores = {
        name: score_system(store, task, items, theirs, completions, sandbox)
        for name, theirs in asked.items()
    }
    return Scored(task, items, asked, scores)


def _repeated(
    rundir: RunDir, parts: Sequence[Scored], requests: Sequence[Request]
) -> dict[str, Systems]:
    """Return each task's second answers by system, where everything was asked twice.

    Programs are not run a second time, so coding tasks have none.
    """
    if not rundir.repeat.exists():
        return {}
    found: dict[str, Systems] = {}
    with Store(rundir.repeat) as store:
        completions = store.completions(request.key for request in requests)
        for part in parts:
            if not is_code(part.task):
                found[part.task.name] = {
                    name: results.answers(
                        part.task,
                        asked,
                        completions,
                        score_system(store, part.task, part.samples, asked, completions),
                    )
                    for name, asked in part.requests.items()
                }
    return found


def _sandbox(manifest: Mapping[str, Any], tasks: Sequence[Task]) -> Sandbox:
    """Return what runs programs, where there are any to run."""
    unsandboxed = any(task.settings.get(UNSANDBOXED) for task in tasks)
    return Sandbox(unsandboxed or bool(manifest["job"].get("allow_code_execution")), unsandboxed)


def _results(
    manifest: Mapping[str, Any],
    parts: Sequence[Scored],
    completions: Mapping[str, Completion],
    again: Mapping[str, Systems],
) -> Results:
    """Turn scores into estimates and comparisons; `again` holds second scorings by task."""
    adapters = [adapter_of(fields) for fields in manifest["adapters"]]
    n_compared = sum(not adapter.is_control for adapter in adapters)
    estimates: list[Estimate] = []
    comparisons: list[Comparison] = []
    baselines: list[Estimate] = []
    measured: list[Noise] = []
    memory = _memory(manifest)
    lined_up: dict[str, pools.Part] = {}
    for part in parts:
        systems = {
            name: results.answers(part.task, asked, completions, part.scores[name])
            for name, asked in part.requests.items()
        }
        lined_up[part.task.name] = (part.samples, systems)
        sign = partial(signature, manifest)
        how = aggregates(part.task)
        base = systems.get(None)
        if base:
            estimates += results.estimates(part.task, part.samples, None, base, sign, how)
        for adapter in adapters:
            theirs = systems[adapter.name]
            estimates += results.estimates(part.task, part.samples, adapter, theirs, sign, how)
            if base and not adapter.is_control:
                alpha = families.LEVEL / (n_compared * len(parts))
                against = results.control_of(adapter, adapters)
                comparisons += results.comparisons(
                    part.task,
                    part.samples,
                    adapter,
                    (theirs, systems[against]),
                    alpha,
                    how,
                    against,
                )
        for name, second in again.get(part.task.name, {}).items():
            measured += noise(part.task, part.samples, name, (systems[name], second))
        baselines += _baselines(part)
        if part.task.reader == "memorization":
            more, drawn = extras(part.task, part.samples, systems, adapters, sign)
            estimates += more
            memory |= drawn
        elif memory.get("overlap"):
            estimates += _by_overlap(part, systems, adapters, memory["overlap"], sign)
    sweep_rule = read_rule(manifest.get("select", "last"), [part.task.name for part in parts])
    groups = [pool_of(fields) for fields in manifest.get("groups", [])]
    for pool in groups:
        sign_pool = partial(pool_signature, manifest)
        estimates += pools.estimates(pool, lined_up, adapters, sign_pool)
        comparisons += pools.comparisons(pool, lined_up, adapters)
    headlines = {part.task.name: part.task.metrics[0] for part in parts}
    headlines |= {pool.name: pool.metric for pool in reversed(groups)}
    comparisons = list(floored(comparisons, measured))
    margins = {part.task.name: part.task.margin for part in parts}
    found = Results(
        run=_run_record(manifest, parts),
        adapters=tuple(
            record(a) | {"facts": manifest.get("facts", {}).get(a.name, {})} for a in adapters
        ),
        tasks=tuple(_task_record(manifest, part) for part in parts),
        estimates=tuple(estimates),
        comparisons=judged(families.adjusted(comparisons, headlines), margins),
        baselines=tuple(baselines),
        memorization=memory,
        programs=tuple(
            row
            for part in parts
            if is_code(part.task)
            for row in programs.rows(part.task, part.scores)
        ),
        noise=tuple(dataclasses.asdict(one) for one in measured),
    )
    return dataclasses.replace(found, sweep=sweep(found, _outputs(lined_up), sweep_rule))


def _outputs(lined_up: Mapping[str, pools.Part]) -> dict[str | None, str | None]:
    """Return a hash of all that each system said; None where an answer is missing."""
    said: dict[str | None, list[object]] = {}
    for _, systems in lined_up.values():
        for name, answers in systems.items():
            said.setdefault(name, []).extend(answers.said)
    return {
        name: None if None in many else hashlib.sha256(repr(many).encode()).hexdigest()
        for name, many in said.items()
    }


def _memory(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the plan noted on training data; nothing where none was given."""
    if not manifest.get("overlap"):
        return {}
    notes = [note for said in manifest["notes"].values() for note in said]
    return {"overlap": manifest["overlap"], "notes": list(dict.fromkeys(notes))}


def _by_overlap(
    part: Scored,
    systems: Mapping[str | None, Answers],
    adapters: Sequence[Adapter],
    found: Mapping[str, Any],
    sign: results.Signer,
) -> Iterator[Estimate]:
    """Yield headline scores on the items that the training data touch, and on the others."""
    touched = overlapping(found, part.task.name)
    if not 0 < len(touched) < len(part.samples):
        return
    task = dataclasses.replace(part.task, metrics=part.task.metrics[:1])
    names: dict[str | None, Adapter | None] = {None: None} | {a.name: a for a in adapters}
    for group, wanted in (("overlap:clean", False), ("overlap:overlapping", True)):
        kept = np.array([(sample.id in touched) == wanted for sample in part.samples])
        samples = [s for s, keep in zip(part.samples, kept, strict=True) if keep]
        for name in systems:
            some = results.only(systems[name], kept)
            for e in results.estimates(task, samples, names[name], some, sign, aggregates(task)):
                if e.group is None:
                    yield dataclasses.replace(e, group=group)


def _baselines(part: Scored) -> Iterator[Estimate]:
    """Yield the estimates of answers that need no model, on the same items."""
    if part.task.reader in ("lm-eval", "memorization", "code"):
        # Only the harness that asked can score, or a sandbox; memory is compared with the base.
        return
    task, tokenize = part.task, tokenizer_of(part.task)
    for name, baseline in BASELINES.items():
        predictions = baseline(part.samples)
        if predictions is None:
            continue
        scores = [score_prediction(predictions[s.id], s, task, tokenize) for s in part.samples]
        system = Answers(
            values={m: results.column([score[m] for score in scores]) for m in task.metrics},
            said=tuple(predictions[s.id] for s in part.samples),
        )
        yield from results.estimates(
            task, part.samples, name, system, _baseline_signature, aggregates(task)
        )


def _baseline_signature(
    task: Task, metric: str, adapter: Adapter | str | None, n_items: int
) -> str:
    """Return the signature of a score that no model had a part in."""
    how = f"metric:{metric}.v{SCORER_VERSION}.{task.tokenizer}|n:{n_items}|peval:{__version__}"
    return f"task:{task.name}.v{task.version}|profile:{task.profile.name}|baseline:{adapter}|{how}"


def _run_record(manifest: Mapping[str, Any], parts: Sequence[Scored]) -> dict[str, Any]:
    """Return what was run and how it ended."""
    requests = [row for part in parts for row in part.rows()]
    n_open = sum(score is None for _, score in requests)
    n_failed = sum(score is not None and score.status == "failed" for _, score in requests)
    return {
        "status": "partial" if n_open or n_failed else "complete",
        "n_requests": len(requests),
        "n_failed": n_failed,
        "n_unanswered": n_open,
        "failures": sorted({s.why for _, s in requests if s and s.status == "failed" and s.why}),
        "base": manifest["base"],
        "serving": manifest["serving"],
        "seed": manifest["job"]["seed"],
        "with_base": manifest["job"]["with_base"],
        "groups": manifest.get("groups", []),
        "chat": manifest["config"].get("chat", {}),
        "left_out": manifest.get("left_out", {}),
        "sittings": manifest.get("sittings", []),
        "command": manifest["command"],
        "versions": manifest["versions"],
        "scorer": SCORER_VERSION,
        "sandbox": manifest.get("sandbox"),
        "peval": __version__,
    }


def _task_record(manifest: Mapping[str, Any], part: Scored) -> dict[str, Any]:
    """Return what a task is, what of it was there and what was noted on it.

    What was noted on training data is told once for all its tasks (`_memory`).
    """
    notes = manifest.get("notes", {}).get(part.task.name, [])
    noted = {"notes": list(notes)} if notes and part.task.reader != "memorization" else {}
    return (
        record(part.task)
        | noted
        | {
            "n_samples": len(part.samples),
            "n_clusters": len({sample.cluster for sample in part.samples}),
            "absent": manifest[PLANNED][part.task.name],
        }
    )
