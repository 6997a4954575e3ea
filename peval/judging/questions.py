"""From a run's answers to what a judge is asked: who is shown beside whom, in which order."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from peval.errors import JudgeError
from peval.judging.judges import Judge
from peval.judging.template import Prompt, fields_of, fill
from peval.rundir import digest
from peval.types import Message, Query, Request, Sample, Task

NULL = "null:"
NULLS: Mapping[str, str | None] = {
    f"{NULL}empty": "",
    f"{NULL}colon": ":",
    f"{NULL}constant": "Thought process: the request was understood and is answered in full above.",
    f"{NULL}reference": None,
}
"""Answers that deserve no win; None stands for what the others are held against."""
SAME = 99
"""The part of a pair whose answers are identical: a tie by rule, which asks nobody."""


@dataclass(frozen=True)
class Item:
    """One sample: what was asked, turn by turn, with reference answers where there are any."""

    sample: Sample
    turns: tuple[str, ...]
    references: tuple[str, ...] = ()


@dataclass(frozen=True)
class Call:
    """One question to the judge, as a request with the turns that put it into words."""

    request: Request
    turns: tuple[Message, ...]

    @property
    def text(self) -> str:
        """Return the user's turn."""
        return self.turns[-1].content

    def as_sample(self) -> Sample:
        """Return the call in the form in which a store keeps its prompt."""
        *before, last = self.turns
        role: Literal["user", "assistant"] = "assistant" if last.role == "assistant" else "user"
        query = Query(last.content, turns=tuple(before), role=role)
        return Sample(self.request.key, "", (), self.request.sample_id, queries=(query,))


@dataclass(frozen=True)
class Asking:
    """A judge at work on one task: ``salt`` makes fences that no answer can know."""

    judge: Judge
    task: Task
    salt: str

    def calls(
        self,
        items: Sequence[Item],
        answers: Mapping[str | None, Mapping[str, tuple[str, ...]]],
        opponents: Mapping[str, tuple[str, ...]],
        seed: int,
    ) -> Iterator[Call]:
        """Yield all calls, items in a random order, so that a part of them is a fair sample.

        Parameters
        ----------
        answers
            By system and sample id, one text for each turn; what is missing is not judged.
        opponents
            By sample id, what a pairwise judge shows beside the answers.
        """
        order = list(items)
        random.Random(seed).shuffle(order)
        for item in order:
            for system, by_id in answers.items():
                said = by_id.get(item.sample.id)
                if said is not None:
                    yield from self._of(item, system, said, opponents.get(item.sample.id))

    def _of(
        self,
        item: Item,
        system: str | None,
        said: tuple[str, ...],
        opponent: tuple[str, ...] | None,
    ) -> Iterator[Call]:
        if self.judge.kind != "pairwise":
            for turn in range(len(said)):
                yield self._call(item, system, turn * 2, (said,))
            return
        if opponent is None:
            return
        if said == opponent and not str(system).startswith(NULL):
            yield self._same(item, system)
            return
        for turn in range(len(said)):
            for swapped in self._orders(item):
                pair = (said, opponent) if swapped else (opponent, said)
                yield self._call(item, system, turn * 2 + swapped, pair)

    def _orders(self, item: Item) -> tuple[int, ...]:
        if self.judge.orders == "both":
            return 0, 1
        return (int(hashlib.sha256(item.turns[0].encode()).digest()[0] % 2),)

    def _same(self, item: Item, system: str | None) -> Call:
        key = digest(["identical", item.turns, self.judge.sha256])
        return Call(self._request(key, item, system, SAME), ())

    def _call(
        self, item: Item, system: str | None, part: int, shown: Sequence[tuple[str, ...]]
    ) -> Call:
        variant, prompt = self._prompt(part // 2, bool(item.references))
        values = _values(item, part // 2, shown, self.judge)
        used = {name: values[name] for name in sorted(fields_of(prompt)) if name in values}
        if missing := fields_of(prompt) - used.keys():
            raise JudgeError(
                f"{self.judge.name}: its prompt {variant!r} needs {{{min(missing)}}}, which sample "
                f"{item.sample.id!r} of {self.task.name} does not have"
            )
        # People may say two things of one text: theirs are told apart by whose it is.
        whose = [item.sample.id, system] if self.judge.engine == "labels" else []
        key = digest([self.judge.sha256, variant, used, *whose])
        fence = None
        if self.judge.fence == "random":
            fence = "text-" + hashlib.sha256(f"{self.salt}{key}".encode()).hexdigest()[:12]
        if self.judge.engine == "reward":  # plain data for a model without instructions
            return Call(self._request(key, item, system, part), _talk(used))
        said = [Message("user", fill(prompt.user, used, fence))]
        if prompt.system:
            said.insert(0, Message("system", fill(prompt.system, used, fence)))
        return Call(self._request(key, item, system, part), tuple(said))

    def _request(self, key: str, item: Item, system: str | None, part: int) -> Request:
        how = self.task.profile.decoding
        return Request(key, self.task.name, item.sample.id, system, (), how, part=part)

    def _prompt(self, turn: int, has_reference: bool) -> tuple[str, Prompt]:
        prompts = self.judge.prompts
        wanted = [*(["turn-2-reference"] if turn and has_reference else []),
                  *(["turn-2"] if turn else []),
                  *(["reference"] if has_reference else []), "plain"]  # fmt: skip
        found = next((name for name in wanted if name in prompts), None)
        if found is None:  # judges without words: people, and reward models
            return _wordless(turn, self.judge.kind == "pairwise")
        if turn and (turn > 1 or not found.startswith("turn-2")):
            what = "no prompt 'turn-2'" if turn == 1 else "prompts for two at most"
            raise JudgeError(f"{self.judge.name}: {self.task.name} has several turns, and this "
                             f"judge has {what}; choose other tasks with --task")  # fmt: skip
        return found, prompts[found]


def _wordless(turn: int, is_pair: bool) -> tuple[str, Prompt]:
    """Return what a verdict depends on where there is no prompt: the whole conversation."""
    names = ("answer_a", "answer_b") if is_pair else ("answer",)
    fields = [f"{{{name}_{at}}}" for at in range(1, turn + 2) for name in ("question", *names)]
    return f"turn-{turn + 1}", Prompt("", "\n".join(fields))


def _talk(used: Mapping[str, str]) -> tuple[Message, ...]:
    """Return a conversation up to the answer that is rated."""
    return tuple(
        message
        for at in range(1, len(used) // 2 + 1)
        for message in (
            Message("user", used[f"question_{at}"]), Message("assistant", used[f"answer_{at}"])
        )
    )  # fmt: skip


def _values(
    item: Item, turn: int, shown: Sequence[tuple[str, ...]], judge: Judge
) -> dict[str, str]:
    """Return every field that a prompt may have at one turn."""
    values = {"question": item.turns[turn]}
    if len(item.references) > turn:
        values["reference"] = item.references[turn]
    names = ("answer_a", "answer_b") if judge.kind == "pairwise" else ("answer",)
    for name, texts in zip(names, shown, strict=True):
        values[name] = texts[turn]
        values |= {f"{name}_{at}": text for at, text in enumerate(texts[: turn + 1], start=1)}
    for at in range(turn + 1):
        values[f"question_{at + 1}"] = item.turns[at]
        if len(item.references) > at:
            values[f"reference_{at + 1}"] = item.references[at]
    values["criteria"] = "\n".join(f"{name}: {text}" for name, text in judge.criteria.items())
    return values
