"""Where a judge's work on a run lies: ``judged/<name>/`` in the run directory."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peval.errors import RunError
from peval.judging.judges import Judge
from peval.judging.questions import Draws, Item
from peval.rundir import RunDir, write_json
from peval.store import Store
from peval.types import Asked, Completion, Posed, Sample

FOLDER = "judged"


@dataclass(frozen=True)
class Place:
    """The files of one judge's work."""

    path: Path

    @property
    def about(self) -> Path:
        """Who judges what against whom."""
        return self.path / "judging.json"

    @property
    def store(self) -> Path:
        """Each call's prompt and key, and the replies."""
        return self.path / "verdicts.sqlite"

    @property
    def spending(self) -> Path:
        """What calls were reserved and what they cost, line by line."""
        return self.path / "spending.jsonl"

    def read(self) -> dict[str, Any]:
        """Return what `write` wrote."""
        try:
            return dict(json.loads(self.about.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise RunError(f"{self.about}: cannot be read ({error}); remove its folder") from error

    def write(self, about: Mapping[str, Any]) -> None:
        """Replace the description at once."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            write_json(self.about, dict(about))
        except OSError as error:
            why = error.strerror or str(error)
            raise RunError(f"{self.path}: verdicts cannot be kept there ({why})") from error

    @property
    def judge(self) -> Judge:
        """Return the judge as it was when it began."""
        return Judge.from_record(self.read()["judge"])


def places(rundir: RunDir) -> Iterator[Place]:
    """Yield every judge's place in a run."""
    for about in sorted((rundir.path / FOLDER).glob("*/judging.json")):
        yield Place(about.parent)


Texts = dict[str | None, dict[str, Draws]]


def texts_of(
    samples: Mapping[str, Sample],
    asked: Mapping[str | None, Mapping[str, Asked]],
    store: Store,
) -> Texts:
    """Return what each system said on one task, by sample id, draw and turn.

    A sample is left out where any of its answers failed or is missing; so are likelihoods, which
    say nothing.
    """
    found: Texts = {}
    for system, by_id in asked.items():
        completions = store.completions(one.key for parts in by_id.values() for one in parts)
        said = {name: _said(samples[name], by_id[name], completions) for name in by_id}
        found[system] = {name: texts for name, texts in said.items() if texts}
    return found


def _said(sample: Sample, asked: Asked, completions: Mapping[str, Completion]) -> Draws:
    """Return the turns of every drawn conversation, or nothing where one of them is missing."""
    opening, *later = sorted(asked, key=_by_part)
    first = completions.get(opening.key)
    if first is None or first.likelihoods or (later and not sample.follow_ups):
        return ()
    drawn = [[one.text] for one in first.drawn]
    for one in later:
        answer = completions.get(one.key)
        if answer is not None and answer.error is None:
            draw, _ = sample.draw_and_turn(one.part)
            drawn[draw].append(answer.text)
    n_turns = 1 + len(sample.follow_ups)
    return tuple(map(tuple, drawn)) if all(len(turns) == n_turns for turns in drawn) else ()


def _by_part(one: Posed) -> int:
    return one.part


def item_of(sample: Sample) -> Item:
    """Return what a sample asks, in words, turn by turn, with the reference answers it has."""
    asked = sample.input or next((query.text for query in sample.queries), "")
    if sample.instruction:
        asked = f"{sample.instruction.definition}\n\n{asked}".strip()
    turns = (asked, *sample.follow_ups)
    references = _references(sample)
    return Item(sample, turns, references if len(references) == len(turns) else ())


def _references(sample: Sample) -> tuple[str, ...]:
    """Return a reference answer for each turn: of several turns they are part of the problem."""
    if not sample.follow_ups:
        return sample.targets[:1]
    problem = json.loads(sample.problem) if sample.problem else {}
    return tuple(problem.get("references", ()))
