"""Judges that need no endpoint: a local model, a reward model, people."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from peval import engines, hub
from peval.chat import Voice, template_for
from peval.errors import JudgeError
from peval.judge_job import local_base
from peval.judging.judges import Judge
from peval.tokenizer import load_tokenizer
from peval.types import Chat, Completion, Decoding, Engine, EngineSpec, Message, Request

CONTEXT_STEP = 2048


def local_engine(judge: Judge, turns: Mapping[str, tuple[Message, ...]], log: Path) -> Engine:
    """Return a local model in vLLM (or transformers) as a judge; it starts with the first call."""
    base = local_base(judge)
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
    """Return a reward model (sequence classification with one output) as a judge.

    It is found here: transformers, given a hub id, takes 46 s to miss the network.

    Raises
    ------
    JudgeError
        There is no such model here, and it cannot be downloaded.
    """
    from peval.engines.reward import RewardEngine

    path = hub.resolve(judge.model, "--model", JudgeError)
    if not any(path.glob("*.safetensors")):
        path = hub.resolve(judge.model, "--model", JudgeError, hub.PICKLED)
    return RewardEngine(path, turns)


@dataclasses.dataclass(frozen=True)
class PeoplesLabels:
    """People's verdicts by request key; what nobody judged stays open."""

    said: Mapping[str, str]

    def launch(self) -> None:
        """Do nothing: everything is said already."""

    def complete(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """Yield a completion for each distinct key that has a verdict."""
        for key in dict.fromkeys(request.key for request in requests):
            if key in self.said:
                yield Completion(key, self.said[key], (), "stop")

    def close(self) -> None:
        """Do nothing."""
