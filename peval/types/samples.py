"""What the data say: items, and what each of them is asked in words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from peval.types.tasks import Decoding


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
