"""Judges that need no endpoint: a local model, a reward model, people's labels."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from peval import engines
from peval.bases import load_base
from peval.chat import Voice, template_for
from peval.errors import DataError
from peval.judging.judges import Judge
from peval.tokenizer import load_tokenizer
from peval.types import Chat, Completion, Decoding, Engine, EngineSpec, Message, Request

CONTEXT_STEP = 2048


def local_engine(judge: Judge, turns: Mapping[str, tuple[Message, ...]], log: Path) -> Engine:
    """Return a local model in vLLM (or transformers) as a judge; it starts with the first call."""
    base = load_base(judge.model)
    tokenizer = load_tokenizer(base)
    template = template_for(None, base, Chat())
    voice = Voice(tokenizer, template)
    spoken = [
        voice.say(some[:-1], some[-1]) if template else "\n\n".join(t.content for t in some)
        for some in turns.values()
        if some
    ]
    prompts = dict(zip((k for k, some in turns.items() if some), voice.token_ids(spoken),
                       strict=True))  # fmt: skip
    choices: tuple[tuple[int, ...], ...] = ()
    if judge.reply == "probabilities":
        choices = tuple(
            tuple(ids) for ids in tokenizer([*judge.labels], add_special_tokens=False)["input_ids"]
        )
    longest = max(map(len, prompts.values()), default=0) + judge.max_tokens
    context = min(base.context_tokens, -(-longest // CONTEXT_STEP) * CONTEXT_STEP)
    kind: Literal["vllm", "hf"] = "hf" if engines.choose_kind("auto") == "hf" else "vllm"
    spec = EngineSpec(kind, base, (), base.dtype, context, 0)
    engine = engines.open_engine([spec], log)
    how = Decoding(judge.max_tokens, judge.temperature)
    return _Worded(engine, prompts, choices, how, context)


@dataclasses.dataclass(frozen=True)
class _Worded:
    """An engine whose requests get the judge's words; those that do not fit fail alone."""

    engine: Engine
    prompts: Mapping[str, Sequence[int]]
    choices: tuple[tuple[int, ...], ...]
    how: Decoding
    context: int

    def launch(self) -> None:
        self.engine.launch()

    def complete(self, requests: Iterable[Request]) -> Iterator[Completion]:
        fitting = []
        for one in {request.key: request for request in requests}.values():
            ids = tuple(self.prompts[one.key])
            if len(ids) + self.how.max_tokens > self.context:
                why = f"cut off: the prompt has {len(ids)} tokens, the judge reads {self.context}"
                yield Completion(one.key, "", (), "error", why)
                continue
            fitting.append(dataclasses.replace(
                one, prompt_token_ids=ids, decoding=self.how, choices=self.choices, adapter=None
            ))  # fmt: skip
        yield from self.engine.complete(fitting)

    def close(self) -> None:
        self.engine.close()


def reward_engine(judge: Judge, turns: Mapping[str, tuple[Message, ...]]) -> Engine:
    """Return a reward model (sequence classification with one output) as a judge."""
    from peval.engines.reward import RewardEngine

    return RewardEngine(judge.model, turns)


@dataclasses.dataclass(frozen=True)
class _Labels:
    """People's verdicts, found by sample and system; what nobody judged stays open."""

    said: Mapping[str, str]

    def launch(self) -> None:
        pass

    def complete(self, requests: Iterable[Request]) -> Iterator[Completion]:
        for key in dict.fromkeys(request.key for request in requests):
            if key in self.said:
                yield Completion(key, self.said[key], (), "stop")

    def close(self) -> None:
        pass


def labels_engine(judge: Judge, path: Path, requests: Sequence[Request]) -> Engine:
    """Return people's verdicts from a CSV file with ``id``, ``system`` and ``verdict``.

    For pairs a verdict is win, loss or tie (of the system against its opponent), else a number.
    ``task`` is needed where sample ids occur in several tasks.

    Raises
    ------
    DataError
        The file is malformed, or none of its rows fits a request.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as CSV ({error})") from error
    held: dict[tuple[str | None, str, str], str] = {}
    for at, row in enumerate(rows, start=2):
        try:
            name, system, verdict = (row[c].strip() for c in ("id", "system", "verdict"))
        except (KeyError, AttributeError):
            raise DataError(f"{path}: line {at}: needs id, system and verdict") from None
        if judge.kind == "pairwise" and verdict.lower() not in ("win", "loss", "tie"):
            raise DataError(f"{path}: line {at}: verdict {verdict!r} is not win, loss or tie")
        held[((row.get("task") or "").strip() or None, system, name)] = verdict.lower()
    said = {}
    for request in requests:
        system = request.adapter or "base"
        for task in (request.task, None):
            if (verdict := held.get((task, system, request.sample_id))) is not None:
                said[request.key] = _worded(judge, verdict, request.part)
                break
    if not said:
        raise DataError(f"{path}: none of its {len(rows):,} rows is of a system and sample here")
    return _Labels(said)


def _worded(judge: Judge, verdict: str, part: int) -> str:
    """Return a verdict in the words of a judge who saw the answers in a request's order."""
    if judge.kind != "pairwise":
        return verdict
    if verdict == "tie":
        return "[[C]]"
    is_first = part % 2 == 1  # the opponent comes first in an even part
    return judge.labels[0] if (verdict == "win") == is_first else judge.labels[1]
