"""What a person asks for, as they asked it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from peval.errors import UsageError


@dataclass(frozen=True)
class Job:
    """What a person asks to be scored: the options of `peval.score`, the flags of `peval score`.

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
        "auto", "vllm", "hf" or "replay", which answers from the finished run in ``replay``.
    data_dir
        A natural-instructions checkout, or ``hub:OWNER/NAME``.
    seed
        Of the engine, and of what it draws where answers are drawn.
    dtype, max_model_len, engine_options
        Passed to the engine; None and empty choose by the base and the tasks. ``max_model_len``
        is prompt and answer, in tokens.
    routes
        ``ROUTE`` or ``ADAPTER=ROUTE``: how adapters are applied, in place of peval's choice.
    with_base
        Whether the base itself is scored as the control.
    allow_base_mismatch
        Accept adapters that name another base.
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

    @property
    def data_path(self) -> Path | None:
        """Where the data lie, if the job says."""
        return Path(self.data_dir) if self.data_dir else None


def check(job: Job) -> None:
    """Refuse what cannot make sense before touching any file.

    Raises
    ------
    UsageError
        Naming the flag.
    """
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
