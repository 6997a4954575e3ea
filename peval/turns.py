"""Conversations of several turns: the next question, once the answer before it is in the store.

A sample's opening is part 0 of what is asked of it and draws ``n`` answers. Each of them begins a
conversation of its own, whose later turns are requests for one answer each, with parts of their
own (`peval.types.Sample.draw_and_turn`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from peval.chat import Voice, voice_for
from peval.plan import context_for, key_prefix, request_after
from peval.prepare import Setup
from peval.prompts import Prompt
from peval.queries import encode_queries
from peval.store import Store
from peval.tokenizer import tokenizers
from peval.types import Completion, Message, Query, Request, Sample

READERS = ("jsonl", "prompts")
"""The readers whose samples may have follow-ups."""

BETWEEN_TURNS = "\n\n"
"""What stands between turns, and before the answer, where there is no chat template."""


@dataclass(frozen=True)
class Talk:
    """A conversation that one system has on one sample, up to an answer."""

    sample: Sample
    opening: Request
    draw: int
    answers: tuple[str, ...]

    @property
    def part(self) -> int:
        """Return the part that the next turn is."""
        return self.draw * (1 + len(self.sample.follow_ups)) + len(self.answers)

    def query(self, voice: Voice) -> Query:
        """Return the next turn, whose draw has a seed of its own."""
        how = self.opening.decoding
        how = dataclasses.replace(how, n=1, seed=how.seed + self.draw)
        asked = (self.sample.input, *self.sample.follow_ups)
        turns = tuple(
            message
            for question, answer in zip(asked, self.answers, strict=False)
            for message in (Message("user", question), Message("assistant", answer))
        )
        question = asked[len(self.answers)]
        if voice.template is None:
            said = [*(turn.content for turn in turns), question, ""]
            return Query(BETWEEN_TURNS.join(said), decoding=how)
        return Query(question, decoding=how, role="user", turns=turns)


def openings(setup: Setup, requests: Sequence[Request]) -> list[Request]:
    """Return requests less the later turns that an earlier process had planned."""
    may_go_on = {task.name for task in setup.tasks if task.reader in READERS}
    return [r for r in requests if r.part == 0 or r.task not in may_go_on]


def follow_ups(setup: Setup, store: Store, asked: Sequence[Request]) -> list[Request]:
    """Return the next turn of every conversation whose last answer is in the store.

    What follows a failed answer is not asked.

    Parameters
    ----------
    asked
        All requests so far.
    """
    names = {task.name for task in setup.tasks if task.reader in READERS}
    mine = [request for request in asked if request.task in names]
    if not mine:
        return []
    samples = store.samples()
    mine = [r for r in mine if samples[r.task][r.sample_id].follow_ups]
    completions = store.completions(request.key for request in mine)
    talks = list(_open_talks(mine, samples, completions))
    return _requests(setup, talks) if talks else []


def _open_talks(
    asked: Sequence[Request],
    samples: Mapping[str, Mapping[str, Sample]],
    completions: Mapping[str, Completion],
) -> Iterator[Talk]:
    """Yield conversations that wait for the user, in the order of their openings."""
    later = {(r.task, r.sample_id, r.adapter, r.part): r for r in asked if r.part}
    for opening in (r for r in asked if r.part == 0):
        sample = samples[opening.task][opening.sample_id]
        said = completions.get(opening.key)
        for draw, one in enumerate(said.drawn if said else ()):
            talk = Talk(sample, opening, draw, (one.text.strip(),))
            mine = (opening.task, opening.sample_id, opening.adapter)
            while request := later.get((*mine, talk.part)):
                answer = completions.get(request.key)
                if answer is None or answer.error is not None:
                    break
                talk = dataclasses.replace(talk, answers=(*talk.answers, answer.text.strip()))
            else:
                if len(talk.answers) <= len(sample.follow_ups):
                    yield talk


def _requests(setup: Setup, talks: Sequence[Talk]) -> list[Request]:
    """Return each conversation's next turn as a request."""
    known = tokenizers(setup.base, setup.adapters)
    adapters = {adapter.name: adapter for adapter in setup.adapters}
    chats = {task.name: task.profile.chat for task in setup.tasks}
    groups: dict[tuple[str, str | None], list[int]] = {}
    for number, talk in enumerate(talks):
        groups.setdefault((talk.opening.task, talk.opening.adapter), []).append(number)
    made: dict[int, Request] = {}
    for (task, name), numbers in groups.items():
        adapter = None if name is None else adapters[name]
        voice = voice_for(adapter, setup.base, chats[task], known[name])
        some = [talks[number] for number in numbers]
        prompts = _prompts(some, voice, context_for(adapter, setup.base, setup.serving))
        for number, talk, prompt in zip(numbers, some, prompts, strict=True):
            assert prompt.decoding is not None
            prefix = key_prefix(setup.base, adapter, setup.serving, prompt.decoding)
            made[number] = request_after(talk.opening, prompt, talk.part, prefix)
    return [made[number] for number in sorted(made)]


def _prompts(talks: Sequence[Talk], voice: Voice, context_tokens: int) -> list[Prompt]:
    asked = [dataclasses.replace(talk.sample, queries=(talk.query(voice),)) for talk in talks]
    return [prompt for (prompt,) in encode_queries(asked, voice, context_tokens)]
