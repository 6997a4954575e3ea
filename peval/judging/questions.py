"""From a run's answers to what a judge is asked: who is shown beside whom, in which order."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from peval.errors import JudgeError
from peval.judging.judges import Judge
from peval.judging.parts import MOST_TURNS, Part
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
Draws = tuple[tuple[str, ...], ...]
"""What one system answers to one sample: a text for each turn of each drawn conversation."""


@dataclass(frozen=True)
class Item:
    """One sample: what was asked, turn by turn, with reference answers where there are any."""

    sample: Sample
    turns: tuple[str, ...]
    references: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """One of the answers that a system gave to an item: ``said`` has a text for each turn."""

    item: Item
    system: str | None
    draw: int
    said: tuple[str, ...]


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
        answers: Mapping[str | None, Mapping[str, Draws]],
        opponents: Mapping[str, Draws],
        seed: int,
    ) -> Iterator[Call]:
        """Yield all calls, items in a random order, so that a part of them is a fair sample.

        Parameters
        ----------
        answers
            By system and sample id; what is missing is not judged.
        opponents
            By sample id, what a pairwise judge shows beside the answers (`facing`).
        """
        order = list(items)
        random.Random(seed).shuffle(order)
        for item in order:
            name = item.sample.id
            for system, by_id in answers.items():
                for draw, said in enumerate(by_id.get(name, ())):
                    one = Answer(item, system, draw, said)
                    yield from self._of(one, opponents.get(name, ()))

    def _of(self, one: Answer, opponents: Draws) -> Iterator[Call]:
        if len(one.said) > MOST_TURNS:
            raise JudgeError(
                f"{self.judge.name}: sample {one.item.sample.id!r} of {self.task.name} has "
                f"{len(one.said)} turns; {MOST_TURNS} at most can be judged"
            )
        if self.judge.kind != "pairwise":
            for turn in range(len(one.said)):
                yield self._call(one, Part(one.draw, turn, False), (one.said,))
        elif opponents:
            yield from self._pairs(one, facing(opponents, one.draw))

    def _pairs(self, one: Answer, opponent: tuple[str, ...]) -> Iterator[Call]:
        if one.said == opponent and not str(one.system).startswith(NULL):
            key = digest(["identical", one.item.turns, self.judge.sha256])
            yield Call(self._request(key, one, Part.same(one.draw)), ())
            return
        for turn in range(len(one.said)):
            for swapped in self._orders(one.item):
                pair = (one.said, opponent) if swapped else (opponent, one.said)
                yield self._call(one, Part(one.draw, turn, swapped), pair)

    def _orders(self, item: Item) -> tuple[bool, ...]:
        if self.judge.orders == "both":
            return False, True
        return (hashlib.sha256(item.turns[0].encode()).digest()[0] % 2 == 1,)

    def _call(self, one: Answer, part: Part, shown: Sequence[tuple[str, ...]]) -> Call:
        item = one.item
        variant, prompt = self._prompt(part.turn, bool(item.references))
        values = _values(item, part.turn, shown, self.judge)
        used = {name: values[name] for name in sorted(fields_of(prompt)) if name in values}
        if missing := fields_of(prompt) - used.keys():
            raise JudgeError(
                f"{self.judge.name}: its prompt {variant!r} needs {{{min(missing)}}}, which sample "
                f"{item.sample.id!r} of {self.task.name} does not have"
            )
        # People may say two things of one text: theirs are told apart by whose it is.
        whose = [item.sample.id, one.system] if self.judge.engine == "labels" else []
        if whose and one.draw:
            whose.append(str(one.draw))
        key = digest([self.judge.sha256, variant, used, *whose])
        fence = None
        if self.judge.fence == "random":
            fence = "text-" + hashlib.sha256(f"{self.salt}{key}".encode()).hexdigest()[:12]
        if self.judge.engine == "reward":  # plain data for a model without instructions
            return Call(self._request(key, one, part.number), _talk(used))
        said = [Message("user", fill(prompt.user, used, fence))]
        if prompt.system:
            said.insert(0, Message("system", fill(prompt.system, used, fence)))
        return Call(self._request(key, one, part.number), tuple(said))

    def _request(self, key: str, one: Answer, part: int) -> Request:
        how = self.task.profile.decoding
        return Request(key, self.task.name, one.item.sample.id, one.system, (), how, part=part)

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


def facing(opponents: Draws, draw: int) -> tuple[str, ...]:
    """Return what stands beside a drawn answer: the opponent's of the same number.

    Where it has fewer, as a file has one, they come again.

    >>> facing((("a",),), 2), facing((("a",), ("b",)), 1)
    (('a',), ('b',))
    """
    return opponents[draw % len(opponents)]


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
