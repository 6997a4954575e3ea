"""The nouns. Read this file and `run.py`, and you know how peval works.

Standard library only; everything is frozen. Scores are fractions in [0, 1]; only the report
writes percent.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol


@dataclass(frozen=True)
class Decoding:
    """How an answer is generated. A temperature of 0 is greedy.

    ``stop`` strings end an answer and are left out of it. ``top_p`` keeps the likeliest tokens
    that together have this probability, ``top_k`` so many of the likeliest (0: all). ``n`` answers
    are drawn independently.
    """

    max_tokens: int
    temperature: float = 0.0
    stop: tuple[str, ...] = ()
    seed: int = 0
    top_p: float = 1.0
    n: int = 1
    top_k: int = 0


@dataclass(frozen=True)
class Chat:
    """Asking in conversations, which the chat template of a model turns into text.

    The template is the adapter's, else the base's, else the profile's ``own`` (a file of
    ``tasks/chat``); a model without any is asked in plain text. ``template`` names one of several
    that a model may have. ``multiturn`` makes each of lm-eval's examples a turn.
    """

    own: str | None = None
    template: str | None = None
    system: str | None = None
    multiturn: bool = True


@dataclass(frozen=True)
class Profile:
    """A published way of asking: prompt, lengths, decoding, instances per task.

    ``max_source_tokens`` is the longest prompt in tokens; None means what the model's context
    leaves beside the answer. ``instances_per_task`` of None means all. With ``chat``, prompts are
    conversations.
    """

    name: str
    prompt: Literal[
        "tk-instruct", "plain", "tulu1", "tulu2", "codex", "evalplus",
        "verbalizers", "minimal", "gpt-3", "eval-harness", "head", "head-pattern", "fastchat",
    ]  # fmt: skip
    n_positive_examples: int
    max_source_tokens: int | None
    instances_per_task: int | None
    decoding: Decoding
    chat: Chat | None = None

    @property
    def asks_heads(self) -> bool:
        """Whether it is classification heads that are asked."""
        return self.prompt in ("head", "head-pattern")


@dataclass(frozen=True)
class Task:
    """One evaluation: which data, which way of asking, which metrics (the first is the headline).

    ``source`` is a file path where the reader needs one (``jsonl``), or the name that another
    harness knows; ``settings`` are for the reader. ``rule`` says how an answer is found in a longer
    text (`peval.scorers.extraction`). ``margin`` is the largest loss against the base that does
    not matter. Data, never code.
    """

    name: str
    version: int
    description: str
    reader: Literal[
        "superni", "jsonl", "lm-eval", "mmlu", "gsm8k", "bbh", "tydiqa", "memorization", "code",
        "nlu", "prompts", "judge",
    ]  # fmt: skip
    split: str
    profile: Profile
    metrics: tuple[str, ...]
    tokenizer: Literal["default", "xlingual"] = "default"
    source: str | None = None
    settings: Mapping[str, object] = field(default_factory=dict)
    rule: str | None = None
    margin: float = 0.02


@dataclass(frozen=True)
class Example:
    """One demonstration: an input with its output."""

    input: str
    output: str


@dataclass(frozen=True)
class Instruction:
    """What all samples of one Super-NaturalInstructions task share."""

    definition: str
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


PASSAGE = "\ufffc"
"""Stands in a query's text for one of its passages (Unicode's object replacement character)."""


@dataclass(frozen=True)
class Query:
    """One question in words: go on from ``text``, or say how likely each continuation is.

    ``rolling`` asks for the likelihood of the text itself, in windows where it is long. Before the
    text come ``head`` and ``shots``, the last of which are left out until the prompt has at most
    ``max_tokens``. With a ``label``, a continuation stands for its first or last token alone.

    With a ``role``, all that is the last turn of a conversation after ``turns``: the user's, or
    the assistant's, which the answer continues. A chat template makes it text; ``cue`` stands
    behind. A model without a template is asked ``plain`` instead.

    ``passages`` stand where the text says `PASSAGE`, each cut to ``max_passage_tokens`` tokens.
    """

    text: str
    continuations: tuple[str, ...] = ()
    decoding: Decoding | None = None
    rolling: bool = False
    head: str = ""
    shots: tuple[str, ...] = ()
    max_tokens: int | None = None
    label: Literal["first", "last"] | None = None
    role: Literal["user", "assistant"] | None = None
    turns: tuple[Message, ...] = ()
    cue: str = ""
    plain: Query | None = None
    passages: tuple[str, ...] = ()
    max_passage_tokens: int | None = None


@dataclass(frozen=True)
class Labelling:
    """Which of a sample's ``choices`` a text has, said in words: one for each choice.

    Without words, nothing can be asked, but predictions can be scored. A prompt of more than
    ``max_tokens`` is cut at its end or left out. Each word must be one token,
    unless ``as_sequence`` compares the likelihoods of whole words.

    A classification head is asked ``text``, or the pair of it and ``second``; its words are the
    labels themselves.
    """

    text: str
    words: tuple[str, ...]
    max_tokens: int | None = None
    too_long: Literal["cut-end", "leave-out"] = "cut-end"
    as_sequence: bool = False
    second: str | None = None


@dataclass(frozen=True)
class Sample:
    """One item to be answered. ``targets`` are alternatives: any of them is right.

    Of ``choices``, the likeliest continuation of the input counts as the answer; a sample without
    choices is answered by generation. ``queries`` stand in for input and choices where another
    harness has its own.

    ``problem`` is what answers are held against, as JSON, where that is more than texts: programs'
    tests, instructions to be followed.

    ``follow_ups`` are a user's later turns, each asked once the turn before it is answered
    (`peval.turns`).

    ``cluster`` names what makes items alike (the SuperNI task): intervals resample clusters.
    ``category`` groups clusters in tables. Ids are unique within a task.
    """

    id: str
    input: str
    targets: tuple[str, ...]
    cluster: str
    category: str = ""
    instruction: Instruction | None = None
    choices: tuple[str, ...] = ()
    queries: tuple[Query, ...] = ()
    problem: str = ""
    labelling: Labelling | None = None
    follow_ups: tuple[str, ...] = ()

    def draw_and_turn(self, part: int) -> tuple[int, int]:
        """Return which of the drawn openings a request's part follows, and in which turn.

        Turn 0 is the opening; part 0 draws all of them.

        >>> Sample("1", "Hello", (), "1", follow_ups=("Why?", "How?")).draw_and_turn(4)
        (1, 1)
        """
        return divmod(part, 1 + len(self.follow_ups)) if self.follow_ups else (0, 0)


@dataclass(frozen=True)
class Dataset:
    """What a reader found: samples, the files they came from, and what a split lists but lacks.

    ``notes`` are sentences on the data that a report must not leave out.
    """

    samples: tuple[Sample, ...]
    files: tuple[Path, ...]
    absent: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Base:
    """A base model on disk; ``sha256`` covers its weights, config and tokenizer files.

    An encoder-decoder reads the prompt with its encoder and writes the answer with its decoder.
    """

    name: str
    path: Path
    sha256: str
    dtype: str
    context_tokens: int
    vocabulary_size: int
    is_encoder_decoder: bool = False


NATIVE = "native-lora"
"""The route of a LoRA that vLLM applies to single requests of a batch."""

HF = "hf"
"""The route through transformers and peft."""

MERGE = "merge"
"""The route of weights that take the base's place in a live engine."""

CONTROL = "control"
"""The method of what stands for the base itself in a second engine."""


@dataclass(frozen=True)
class Adapter:
    """A vetted adapter checkpoint. ``None`` in its place means the base model itself.

    ``sha256`` covers its tensors and the part of its config that has an effect. ``rank`` is 0 for
    methods without one. ``changes_nothing`` is true when every update it holds is exactly zero, a
    head aside. ``labels`` name the classes of its classification head, in their order; without one
    there are none. ``route`` is the way in which an engine applies it. ``vocabulary_size`` is given
    where its embedding has another size than the base's; ``is_apart`` says that its weights cannot
    take the base's place in a live engine. With ``own_words`` it brings a tokenizer or end tokens
    that are not the base's, which ``sha256`` then covers too. ``n_virtual_tokens`` trained vectors
    take places of the context.
    """

    name: str
    path: Path
    sha256: str
    method: str
    rank: int
    target_modules: tuple[str, ...]
    base_name: str | None
    changes_nothing: bool
    route: str = NATIVE
    vocabulary_size: int | None = None
    is_apart: bool = False
    own_words: bool = False
    n_virtual_tokens: int = 0
    labels: tuple[str, ...] = ()

    @property
    def is_control(self) -> bool:
        """Whether this is the base once more, in the engine of the adapters held against it."""
        return self.method == CONTROL


@dataclass(frozen=True, slots=True)
class Request:
    """One question put to one adapter (None: the base): to generate, or to score ``choices``.

    ``key`` is a hash of everything that can change the answer, so equal keys may share one
    completion. ``choices`` are the token ids of continuations whose likelihoods are asked for,
    ``with_moments`` where their `Moments` are too; without any, an answer is generated. A sample
    may need several requests: ``part`` counts them. ``prompt_was_cut`` says that a length limit
    removed text.

    ``of_head`` asks a classification head: each of the choices is then a group of its classes,
    which is as likely as the likeliest of them.
    """

    key: str
    task: str
    sample_id: str
    adapter: str | None
    prompt_token_ids: tuple[int, ...]
    decoding: Decoding
    prompt_was_cut: bool = False
    choices: tuple[tuple[int, ...], ...] = ()
    part: int = 0
    with_moments: bool = False
    of_head: bool = False


class Posed(NamedTuple):
    """What scoring needs of a `Request`: not its prompt; ``n`` answers were asked for."""

    key: str
    sample_id: str
    prompt_was_cut: bool
    choices: tuple[tuple[int, ...], ...] = ()
    part: int = 0
    n: int = 1


Asked = tuple[Posed, ...]
"""What one system was asked of one sample, part by part."""


class Moments(NamedTuple):
    """What log-probabilities to expect where a token stands, whichever token it is.

    ``means`` and ``deviations`` hold, for each position, mean and standard deviation of the
    log-probability of a token that the model itself draws from its whole vocabulary.
    """

    means: tuple[float, ...]
    deviations: tuple[float, ...]


class Likelihood(NamedTuple):
    """How likely a continuation is after its prompt.

    ``logprobs`` holds the natural logarithm of each token's probability; ``is_greedy`` says that
    each was the likeliest token, so that greedy decoding would have written it. ``moments`` are
    there where the request asked for them.
    """

    logprobs: tuple[float, ...]
    is_greedy: bool
    moments: Moments | None = None

    @property
    def total(self) -> float:
        """Return the log-probability of the whole continuation."""
        return math.fsum(self.logprobs)


class Drawn(NamedTuple):
    """One of several texts that were drawn for one prompt, and what ended it."""

    text: str
    token_ids: tuple[int, ...]
    finish_reason: Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Completion:
    """An engine's answer to one request key: a text, or one likelihood per choice.

    ``finish_reason`` is "stop", "length" or "error"; ``error`` then says why, and the request
    counts as failed, never as wrong. Where several texts were asked for, ``more`` holds all but
    the first; an error in any of them fails the request.

    ``n_read`` are the tokens of prompts that the engine was given for it, and ``n_cached`` those of
    them that it had read for another request before; both are 0 where an engine does not say.
    """

    key: str
    text: str
    token_ids: tuple[int, ...]
    finish_reason: Literal["stop", "length", "error"]
    error: str | None = None
    likelihoods: tuple[Likelihood, ...] = ()
    more: tuple[Drawn, ...] = ()
    n_read: int = field(default=0, compare=False)
    n_cached: int = field(default=0, compare=False)

    @property
    def drawn(self) -> tuple[Drawn, ...]:
        """Return all texts that were drawn, in order; none where the request failed."""
        if self.finish_reason == "error":
            return ()
        return (Drawn(self.text, self.token_ids, self.finish_reason), *self.more)

    @property
    def was_truncated(self) -> bool:
        """Tell whether any of the texts ran into the token limit."""
        if self.finish_reason == "length" or not self.more:
            return self.finish_reason == "length"
        return any(one.finish_reason == "length" for one in self.more)


Said = tuple[Completion | None, ...]
"""What one system answered to what it was `Asked` of one sample; None: not yet."""


@dataclass(frozen=True)
class Answered:
    """Some samples with what one system was asked of each of them and what it said."""

    samples: Sequence[Sample]
    asked: Sequence[Asked]
    said: Sequence[Said]


class Judged(NamedTuple):
    """What became of one drawn program: ``outcome`` is "passed" or the kind of its failure.

    ``program`` is what was found in the text and run; None where it holds no code.
    """

    outcome: str
    program: str | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Score:
    """What one sample's answers are worth, by metric: a number, or what its aggregate needs.

    ``status`` is "ok"; "unparsed" (no answer found in the text: counts as 0, tallied apart); or
    "failed" (the engine's fault, or the sandbox's: no values, never averaged).

    ``judged`` says of each drawn program how it fared.
    """

    key: str
    values: Mapping[str, Any]
    status: Literal["ok", "unparsed", "failed"] = "ok"
    extracted: str | None = None
    why: str | None = None
    judged: tuple[Judged, ...] = ()


@dataclass(frozen=True)
class Pool:
    """A group of tasks with one number of its own: the mean of a metric of theirs.

    Every item counts alike with ``by_size``, else every task.
    """

    name: str
    metric: str
    tasks: tuple[str, ...]
    by_size: bool


@dataclass(frozen=True)
class Estimate:
    """A mean over items with its 95 % interval.

    ``adapter`` is None for the base; ``group`` is None for the whole task, else
    ``category:NAME`` or ``task:NAME``. ``n_items`` were scored, ``n_missing`` failed,
    ``n_truncated`` answers ran into the token limit, ``n_prompts_cut`` prompts did not fit;
    ``n_empty`` answers were nothing but white space, and in ``n_unparsed`` no answer was found
    (they count as wrong).
    """

    task: str
    metric: str
    adapter: str | None
    group: str | None
    value: float | None
    low: float | None
    high: float | None
    n_items: int
    n_clusters: int
    n_missing: int
    n_truncated: int
    n_prompts_cut: int
    signature: str
    n_empty: int = 0
    n_unparsed: int = 0


@dataclass(frozen=True)
class Comparison:
    """A paired difference on identical items: ``adapter`` minus ``against`` (None: the base).

    ``p_adjusted`` is the p-value adjusted within ``family``: "primary" or "exploratory".
    ``mde`` is the minimum detectable effect: the true difference that would be found (adjusted)
    in 80 % of repetitions. All three are None where nothing was tested.

    ``retention`` says whether the base's score was kept to within ``margin``, on whole tasks.
    ``noise_floor`` is the difference that the engine alone makes between two scorings of equal
    systems in 95 % of cases; None where that was not measured.
    """

    task: str
    metric: str
    adapter: str
    against: str | None
    group: str | None
    delta: float | None
    low: float | None
    high: float | None
    p_value: float | None
    test: str
    n_items: int
    n_clusters: int
    n_identical: int
    p_adjusted: float | None = None
    family: str | None = None
    mde: float | None = None
    margin: float | None = None
    retention: Literal["kept", "lost", "undecided"] | None = None
    noise_floor: float | None = None

    @property
    def is_noise(self) -> bool:
        """Whether the engine alone may have made this difference."""
        return bool(self.noise_floor) and abs(self.delta or 0.0) <= (self.noise_floor or 0.0)


@dataclass(frozen=True)
class LoraRoom:
    """What an engine keeps free for LoRAs that come while it lives."""

    n_adapters: int
    rank: int
    target_modules: tuple[str, ...]


@dataclass(frozen=True)
class EngineSpec:
    """Everything an engine needs to start. ``options`` are passed to it as they are.

    A "reference" is what the others are held against (`peval.engines.hf_reference`).
    """

    kind: Literal["vllm", "hf", "reference"]
    base: Base
    adapters: tuple[Adapter, ...]
    dtype: str
    max_model_len: int
    seed: int
    options: Mapping[str, object] = field(default_factory=dict)
    room: LoraRoom | None = None


class Engine(Protocol):
    """Answers requests in any order, as they finish."""

    def launch(self) -> None:
        """Begin to start, without waiting; `complete` starts what is not up yet."""
        ...

    def complete(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """Yield one completion per distinct request key."""
        ...

    def close(self) -> None:
        """Free the device; safe to call twice."""
        ...
