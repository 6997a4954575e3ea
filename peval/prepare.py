"""From what a person asked to what will be run: everything vetted and hashed, nothing started."""

from __future__ import annotations

import dataclasses
import glob
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peval import adapters as adapter_files
from peval import datasets, engines, estimate, routing
from peval.adapters.routes import NO_ENCODERS, PROMPT
from peval.adapters.training_facts import Facts, facts_of, read_facts
from peval.asked import tasks_of
from peval.bases import file_hashes, load_base, n_layers, weight_shapes
from peval.bridges.lm_eval_groups import pools_of
from peval.chat import template_for
from peval.errors import AdapterError, DataError, RunError, UsageError
from peval.estimate import Work
from peval.heads import asks_heads, named_classes, why_not_in_vllm
from peval.installed import versions
from peval.job import Job, check
from peval.machine import file_sha256
from peval.plan import Serving
from peval.rundir import RunDir, digest, record
from peval.types import HF, Adapter, Base, Dataset, EngineSpec, Sample, Task

CONTEXT_STEP = 2048
ON_CPU = "+cpu"  # ends the name of vLLM's build for a CPU


@dataclass(frozen=True)
class Setup:
    """A job made definite. ``config`` is what makes two runs the same run."""

    job: Job
    rundir: RunDir
    base: Base
    adapters: tuple[Adapter, ...]
    tasks: tuple[Task, ...]
    clusters: Mapping[str, list[str]]
    serving: Serving
    engine: str
    config: dict[str, Any]
    facts: Mapping[str, Facts]

    def spec(self) -> EngineSpec:
        """Return what the run needs of engines; `routing.specs` parts it."""
        return EngineSpec(
            kind="hf" if self.engine == "hf" else "vllm",
            base=self.base,
            adapters=self.adapters,
            dtype=self.serving.dtype,
            max_model_len=self.serving.max_model_len,
            seed=self.job.seed,
            options=self.serving.options,
        )

    def read(self, task: Task) -> Dataset:
        """Read one task's samples."""
        return datasets.read(task, self.job.data_path, self.clusters.get(task.name))

    def manifest(self, command: Sequence[str]) -> dict[str, Any]:
        """Return everything needed to repeat the run."""
        return {
            "status": "running",
            "command": list(command),
            "config": self.config,
            "base": record(self.base),
            "base_files": file_hashes(self.base),
            "adapters": [record(adapter) for adapter in self.adapters],
            "tasks": [record(task) for task in self.tasks],
            "groups": [record(pool) for pool in pools_of(self.tasks)],
            "facts": dict(self.facts),
            "select": self.job.select,
            "job": record(self.job),
            "serving": record(self.serving),
            "versions": versions(),
        }


def prepare(job: Job, may_merge: bool = True) -> Setup:
    """Vet and hash everything that a job names; start no engine.

    Without ``may_merge``, LoRAs stay LoRAs even where merging them would be faster: an engine that
    is up already takes no other weights.

    Raises
    ------
    PevalError
        Whatever is missing, malformed or contradictory, in one line.
    """
    check(job)
    tasks, clusters = tasks_of(job)
    base, adapters = _models(job)
    _check_readers(base, tasks)
    if asks_heads(tasks, adapters):
        job = dataclasses.replace(job, with_base=False)  # a base has no head, so no control
    engine, serving = _serving(job, base, adapters, tasks)
    adapters = _routed(job, base, adapters, serving, lambda: _samples(job, tasks, clusters))
    before = _routes_before(job, serving.engine)
    adapters = routing.as_before(adapters, job.routes, before)
    if may_merge and serving.engine.endswith(ON_CPU):  # elsewhere the costs were not measured
        adapters = routing.faster(
            adapters, job.routes, before, lambda n: _work(n, job, base, tasks, clusters)
        )
    if engine == "vllm" and any(a.route == HF for a in adapters):
        serving = dataclasses.replace(serving, second=engines.fingerprint(HF))
    chat = {task.name: _templates(task, base, adapters) for task in tasks if task.profile.chat}
    config = {
        "base": base.sha256,
        "adapters": {a.name: [a.sha256, a.route, *a.labels] for a in adapters},
        "with_base": job.with_base,
        "tasks": {task.name: _asked(task) for task in tasks},
        "clusters": clusters,
        **({"chat": chat} if chat else {}),
        "data": {task.name: _data_sha256(task, job, clusters.get(task.name)) for task in tasks},
        "engine": serving.engine,
        **({"second_engine": serving.second} if serving.second else {}),
        "dtype": serving.dtype,
        "max_model_len": serving.max_model_len,
        "engine_options": dict(serving.options),
        "seed": job.seed,
    }
    rundir = RunDir(Path(job.out) if job.out else _default_out(job, base, config))
    return Setup(
        job, rundir, base, adapters, tasks, clusters, serving, engine, config,
        _facts(job, base, adapters),
    )  # fmt: skip


def _asked(task: Task) -> dict[str, Any]:
    """Return what of a task makes two runs the same run; its margin only judges them."""
    return {key: value for key, value in record(task).items() if key != "margin"}


def reusable_stores(job: Job) -> list[Path]:
    """Return the stores of the runs that a job may take completions from.

    Raises
    ------
    RunError
        If ``reuse`` names no run.
    """
    stores = []
    for pattern in job.reuse:
        found = [RunDir(Path(path)).store for path in sorted(glob.glob(pattern))]  # noqa: PTH207
        there = [store for store in found if store.exists()]
        if not there:
            raise RunError(f"--reuse {pattern}: no peval run there")
        stores += there
    return stores


def _routes_before(job: Job, engine: str) -> dict[str, str]:
    """Return the routes of adapters, by hash, in the runs whose answers a job may take."""
    runs = [Path(job.replay)] if job.replay else []
    runs += [store.parent for store in reusable_stores(job)]
    found: dict[str, str] = {}
    for run in runs:
        manifest = RunDir(run).read_manifest()
        if manifest["serving"]["engine"] != engine:
            continue
        for adapter in manifest["adapters"]:
            found.setdefault(adapter["sha256"], adapter["route"])
    return found


def _facts(job: Job, base: Base, adapters: Sequence[Adapter]) -> dict[str, Facts]:
    """Return facts on each adapter; those in a table of one's own come before its files'."""
    own = read_facts(Path(job.facts), [a.name for a in adapters]) if job.facts else {}
    n_base = sum(map(math.prod, weight_shapes(base).values())) if adapters else None
    return {a.name: facts_of(a, n_base) | own.get(a.name, {}) for a in adapters}


def _check_readers(base: Base, tasks: Sequence[Task]) -> None:
    """Refuse probes of memorization where no answer continues the prompt's text."""
    probes = [task.name for task in tasks if task.reader == "memorization"]
    if base.is_encoder_decoder and probes:
        raise UsageError(f"{probes[0]}: asks how a text goes on, which an encoder-decoder "
                         f"({base.name}) was not trained to say; leave the task out")  # fmt: skip


def _models(job: Job) -> tuple[Base, tuple[Adapter, ...]]:
    """Return the base and its vetted adapters."""
    paths = adapter_files.expand(job.adapters)
    base = load_base(job.base or _base_named_by(paths))
    if not paths:
        return base, ()
    shapes = weight_shapes(base)
    found = tuple(
        named_classes(
            adapter_files.load_adapter(path, name, base, shapes, job.allow_base_mismatch),
            job.labels,
        )
        for path, name in zip(paths, adapter_files.names(paths), strict=True)
    )
    return base, found


def _routed(
    job: Job,
    base: Base,
    adapters: Sequence[Adapter],
    serving: Serving,
    samples: Callable[[], Iterator[Sample]],
) -> tuple[Adapter, ...]:
    """Return the adapters on their routes, with the control that these need."""
    kind = serving.engine.partition("-")[0]
    found = routing.routed(adapters, job.routes, kind)
    if any(adapter.route == PROMPT for adapter in found):
        found = routing.with_likelihoods(found, samples())
    return routing.with_control(found, base, kind, job.with_base)


def _work(
    n_adapters: int,
    job: Job,
    base: Base,
    tasks: Sequence[Task],
    clusters: Mapping[str, list[str]],
) -> Work:
    """Return about what so many adapters of a job have to answer."""
    n_tokens = 0
    for task in tasks:
        samples = datasets.read(task, job.data_path, clusters.get(task.name)).samples
        longest = task.profile.max_source_tokens, task.profile.decoding.max_tokens
        n_tokens += task.profile.decoding.n * estimate.n_tokens(samples, *longest)
    n_parameters = sum(map(math.prod, weight_shapes(base).values()))
    return Work(n_adapters, n_tokens, n_layers(base) or 1, n_parameters)


def _samples(
    job: Job, tasks: Sequence[Task], clusters: Mapping[str, list[str]]
) -> Iterator[Sample]:
    """Yield all samples of some tasks."""
    for task in tasks:
        yield from datasets.read(task, job.data_path, clusters.get(task.name)).samples


def _base_named_by(paths: Sequence[Path]) -> str:
    """Return the one base model that all adapters name in their configs."""
    named = [base for base in map(adapter_files.base_of, paths) if base]
    distinct = {str(Path(b).resolve()) if Path(b).is_dir() else b: b for b in named}
    if len(distinct) != 1:
        what = f"different bases ({', '.join(sorted(distinct))})" if distinct else "no base"
        raise AdapterError(f"the adapters name {what} in adapter_config.json: give --base")
    return named[0]


def _templates(task: Task, base: Base, adapters: Sequence[Adapter]) -> dict[str, list[str] | None]:
    """Return by system ("" is the base) whose chat template speaks to it, and its hash."""
    found: dict[str, list[str] | None] = {}
    for adapter in (None, *adapters):
        template = template_for(adapter, base, task.profile.chat)
        name = adapter.name if adapter else ""
        found[name] = [template.origin, template.sha256] if template else None
    return found


def _serving(
    job: Job, base: Base, adapters: Sequence[Adapter], tasks: Sequence[Task]
) -> tuple[str, Serving]:
    """Choose the engine and its settings; a replay has those of the run that it replays.

    Where only transformers can apply the adapters, all of the run goes there.
    """
    if job.replay is not None:
        held = RunDir(Path(job.replay)).read_manifest()["serving"]
        return "replay", Serving(**held)
    needs_hf = base.is_encoder_decoder or (
        bool(adapters) and all(adapter.route == HF for adapter in adapters)
    )
    has_heads = any(adapter.labels for adapter in adapters)
    if job.engine == "vllm" and has_heads and (why := why_not_in_vllm(base)):
        raise UsageError(f"--engine vllm: {why}; leave the flag out")
    if job.engine == "vllm" and base.is_encoder_decoder:
        raise UsageError(f"--engine vllm: {base.name} is an encoder-decoder, and {NO_ENCODERS}; "
                         "leave the flag out")  # fmt: skip
    kind = engines.choose_kind(HF if needs_hf and job.engine == "auto" else job.engine)
    return kind, Serving(
        engine=engines.fingerprint(kind),
        dtype=job.dtype or base.dtype,
        max_model_len=job.max_model_len or _context(base, tasks),
        options=dict(job.engine_options),
    )


def _context(base: Base, tasks: Sequence[Task]) -> int:
    """Return the context that the tasks need, in coarse steps so that runs can share answers."""
    needed = [
        task.profile.max_source_tokens + task.profile.decoding.max_tokens
        for task in tasks
        if task.profile.max_source_tokens is not None
    ]
    if len(needed) < len(tasks):
        return base.context_tokens
    return min(base.context_tokens, -(-max(needed) // CONTEXT_STEP) * CONTEXT_STEP)


def _data_sha256(task: Task, job: Job, clusters: Sequence[str] | None) -> str:
    """Return a hash of the files that a task reads, by name and content."""
    if task.reader == "lm-eval":
        samples = datasets.read(task, job.data_path).samples
        return digest([[s.id, s.targets, [record(q) for q in s.queries]] for s in samples])
    files = datasets.files_of(task, job.data_path, clusters)
    try:
        return digest([[file.name, file_sha256(file)] for file in files])
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror})") from error


def _default_out(job: Job, base: Base, config: dict[str, Any]) -> Path:
    """Name a run directory so that the same command finds it again."""
    stems = [Path(name).name.removesuffix(".jsonl") for name in (*job.suites, *job.tasks)]
    label = "-".join([Path(base.name).resolve().name or "base", *stems])[:80].replace("*", "")
    return Path("peval-runs") / f"{label}-{digest(config)[:8]}"
