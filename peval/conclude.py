"""From answers on disk to scores, estimates and a report. Starts no engine, needs no GPU."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import numpy as np

from peval import estimation, families, pools, programs
from peval.answers import Answers, column, only
from peval.baselines import BASELINES
from peval.coding import UNSANDBOXED, Sandbox, is_code
from peval.estimation import Signer, control_of
from peval.forgetting import judged
from peval.garbage import uncollected
from peval.generalization import generalization
from peval.items import items
from peval.judging import concluded, together
from peval.judging.opponents import is_opponent
from peval.lineup import Lineup, Part
from peval.memorization.extras import extras
from peval.memorization.overlap import overlapping
from peval.noise import Noise, floored, noise
from peval.parquet import AnswersFile
from peval.report.write import write_report
from peval.results import Results
from peval.rundir import PLANNED, PROOFS, RunDir, adapter_of, pool_of, record, task_of, write_json
from peval.samples import write_samples
from peval.scorers.text import SCORER_VERSION
from peval.scoring import aggregates, is_open, score_prediction, tokenizer_of
from peval.signature import pool_signature, signature
from peval.store import Store
from peval.sweeps import read_rule, sweep
from peval.types import Adapter, Comparison, Estimate, Pool, Task
from peval.version import __version__


def conclude(rundir: RunDir) -> Results:
    """Score what the store holds, estimate, and write results, table, report and manifest.

    Raises
    ------
    RunError
        If the directory holds no run.
    """
    with uncollected():
        return _conclude(rundir)


def _conclude(rundir: RunDir) -> Results:
    manifest = rundir.read_manifest()
    tasks = [task_of(fields) for fields in manifest["tasks"]]
    with (
        Store(rundir.store) as store,
        _second(rundir) as repeat,
        _sandbox(manifest, tasks) as sandbox,
        AnswersFile(rundir.completions) as file,
    ):
        samples, lineup = store.samples(), Lineup(store, repeat, sandbox, file)
        parts = [lineup.part(task, samples[task.name]) for task in tasks]
        verdicts = concluded.judged(rundir, store, {t.name: t for t in tasks}, samples)
        judged_parts = [lineup.judged(one) for one in verdicts]
        if sandbox.tier is not None:
            manifest["sandbox"] = {"tier": sandbox.tier, "landlock_abi": sandbox.abi}
    found = dataclasses.replace(
        _results(manifest, [*parts, *judged_parts]), judged=together.record(verdicts)
    )
    for part in parts:
        if is_code(part.task):
            write_samples(rundir.path, part.task, part.samples, part.scores)
    write_json(rundir.results, found.to_dict())
    write_report(rundir, found)
    rundir.write_manifest(manifest | {"status": found.run["status"], "scorer": SCORER_VERSION})
    return found


def _second(rundir: RunDir) -> AbstractContextManager[Store | None]:
    """Return the store of second answers, where everything was asked twice."""
    return Store(rundir.repeat) if rundir.repeat.exists() else nullcontext()


def _sandbox(manifest: Mapping[str, Any], tasks: Sequence[Task]) -> Sandbox:
    """Return what runs programs, where there are any to run."""
    unsandboxed = any(task.settings.get(UNSANDBOXED) for task in tasks)
    return Sandbox(unsandboxed or bool(manifest["job"].get("allow_code_execution")), unsandboxed)


def _results(manifest: Mapping[str, Any], parts: Sequence[Part]) -> Results:
    """Turn scores into estimates and comparisons."""
    adapters = [adapter_of(fields) for fields in manifest["adapters"]]
    memory = _memory(manifest)
    estimates: list[Estimate] = []
    comparisons: list[Comparison] = []
    for part in parts:
        estimates += _estimates(manifest, part, adapters)
        comparisons += _comparisons(part, adapters, len(parts))
        more, drawn = _of_memory(manifest, part, adapters, memory.get("overlap"))
        estimates += more
        memory |= drawn
    groups = [pool_of(fields) for fields in manifest.get("groups", [])]
    lined_up = {part.task.name: (part.samples, part.systems) for part in parts}
    for pool in groups:
        sign = partial(pool_signature, manifest)
        estimates += pools.estimates(pool, lined_up, adapters, sign)
        comparisons += pools.comparisons(pool, lined_up, adapters)
    measured = [one for part in parts for one in _noise(part)]
    found = Results(
        run=_run_record(manifest, parts),
        adapters=tuple(
            record(a) | {"facts": manifest.get("facts", {}).get(a.name, {})} for a in adapters
        ),
        tasks=tuple(_task_record(manifest, part) for part in parts),
        estimates=tuple(estimates),
        comparisons=_decided(list(floored(comparisons, measured)), parts, groups),
        baselines=tuple(one for part in parts for one in _baselines(part)),
        memorization=memory,
        programs=tuple(
            row for p in parts if is_code(p.task) for row in programs.rows(p.task, p.scores)
        ),
        noise=tuple(dataclasses.asdict(one) for one in measured),
        generalization=generalization([part.task for part in parts], lined_up, estimates),
        proofs=tuple(manifest.get(PROOFS, {}).values()),
    )
    rule = read_rule(manifest.get("select", "last"), [part.task.name for part in parts])
    return dataclasses.replace(found, sweep=sweep(found, _outputs(parts), rule))


def _estimates(
    manifest: Mapping[str, Any], part: Part, adapters: Sequence[Adapter]
) -> Iterator[Estimate]:
    """Yield the scores of the base, where it was asked, and of each adapter."""
    sign, how = partial(signature, manifest), aggregates(part.task)
    base: list[Adapter | None] = [None] if None in part.systems else []
    for who in (*base, *adapters):
        system = part.systems[who.name if who else None]
        found = estimation.estimates(part.task, part.items, who, system, sign, how)
        against = part.task.settings.get("against")
        if part.task.reader == "judge" and is_opponent(against, who.name if who else None):
            # Half of a win by rule: nothing was measured that could be uncertain.
            found = (dataclasses.replace(one, low=one.value, high=one.value) for one in found)
        yield from found


def _comparisons(part: Part, adapters: Sequence[Adapter], n_parts: int) -> Iterator[Comparison]:
    """Yield each adapter's differences to the base, where it was asked."""
    compared = [one for one in adapters if not one.is_control] if None in part.systems else []
    for adapter in compared:
        against = control_of(adapter, adapters)
        pair = part.systems[adapter.name], part.systems[against]
        alpha = families.LEVEL / (len(compared) * n_parts)
        how = aggregates(part.task)
        yield from estimation.comparisons(part.task, part.items, adapter, pair, alpha, how, against)


def _of_memory(
    manifest: Mapping[str, Any],
    part: Part,
    adapters: Sequence[Adapter],
    overlap: Mapping[str, Any] | None,
) -> tuple[list[Estimate], dict[str, Any]]:
    """Return what a probe shows beside its metrics; of other tasks, scores by overlap."""
    sign = partial(signature, manifest)
    if part.task.reader == "memorization":
        return extras(part.task, part.samples, part.systems, adapters, sign)
    if not overlap or part.task.reader == "judge":
        return [], {}
    return list(_by_overlap(part, adapters, overlap, sign)), {}


def _noise(part: Part) -> Iterator[Noise]:
    for name, second in part.again.items():
        pair = part.systems[name], second
        yield from noise(part.task, part.items, name, pair, aggregates(part.task))


def _decided(
    comparisons: Sequence[Comparison], parts: Sequence[Part], groups: Sequence[Pool]
) -> tuple[Comparison, ...]:
    """Return the comparisons with adjusted p-values and what they say of forgetting.

    What only describes open answers is for exploring: no run is about it alone.
    """
    scored = [part.task for part in parts if not is_open(part.task)]
    headlines = {task.name: task.metrics[0] for task in scored}
    headlines |= {pool.name: pool.metric for pool in reversed(groups)}
    margins = {task.name: task.margin for task in scored}
    return judged(families.adjusted(comparisons, headlines), margins)


def _outputs(parts: Sequence[Part]) -> dict[str | None, str | None]:
    """Return a hash of all that each system said; None where an answer is missing."""
    said: dict[str | None, list[object]] = {}
    for part in parts:
        for name, answers in part.systems.items():
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
    part: Part,
    adapters: Sequence[Adapter],
    found: Mapping[str, Any],
    sign: Signer,
) -> Iterator[Estimate]:
    """Yield headline scores on the items that the training data touch, and on the others."""
    touched = overlapping(found, part.task.name)
    if not 0 < len(touched) < len(part.samples):
        return
    task = dataclasses.replace(part.task, metrics=part.task.metrics[:1])
    names: dict[str | None, Adapter | None] = {None: None} | {a.name: a for a in adapters}
    for group, wanted in (("overlap:clean", False), ("overlap:overlapping", True)):
        kept = np.array([(sample.id in touched) == wanted for sample in part.samples])
        columns = items([s for s, keep in zip(part.samples, kept, strict=True) if keep])
        for name, system in part.systems.items():
            some = only(system, kept)
            for e in estimation.estimates(task, columns, names[name], some, sign, aggregates(task)):
                if e.group is None:
                    yield dataclasses.replace(e, group=group)


def _baselines(part: Part) -> Iterator[Estimate]:
    """Yield the estimates of answers that need no model, on the same items."""
    untargeted = ("lm-eval", "memorization", "code", "prompts", "judge")
    if part.task.reader in untargeted or is_open(part.task):
        # Only the harness that asked can score, or a sandbox; memory is compared with the base;
        # open prompts have no targets to be met.
        return
    task, tokenize = part.task, tokenizer_of(part.task)
    for name, baseline in BASELINES.items():
        predictions = baseline(part.samples)
        if predictions is None:
            continue
        scores = [score_prediction(predictions[s.id], s, task, tokenize) for s in part.samples]
        system = Answers(
            values={m: column([score[m] for score in scores]) for m in task.metrics},
            said=tuple(predictions[s.id] for s in part.samples),
        )
        yield from estimation.estimates(
            task, part.items, name, system, _baseline_signature, aggregates(task)
        )


def _baseline_signature(
    task: Task, metric: str, adapter: Adapter | str | None, n_items: int
) -> str:
    """Return the signature of a score that no model had a part in."""
    how = f"metric:{metric}.v{SCORER_VERSION}.{task.tokenizer}|n:{n_items}|peval:{__version__}"
    return f"task:{task.name}.v{task.version}|profile:{task.profile.name}|baseline:{adapter}|{how}"


def _run_record(manifest: Mapping[str, Any], parts: Sequence[Part]) -> dict[str, Any]:
    """Return what was run and how it ended."""
    tally = sum((part.tally for part in parts), Counter[str]())
    n_open, n_failed = tally["open"], tally["failed"]
    return {
        "status": "partial" if n_open or n_failed else "complete",
        "n_requests": tally["asked"],
        "n_failed": n_failed,
        "n_unanswered": n_open,
        "failures": sorted({why for part in parts for why in part.failures}),
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


def _task_record(manifest: Mapping[str, Any], part: Part) -> dict[str, Any]:
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
            "absent": manifest[PLANNED].get(part.task.name, []),
        }
    )
