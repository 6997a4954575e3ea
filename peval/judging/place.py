"""Where a judge's work on a run lies: ``judged/<name>/`` in the run directory."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peval.errors import RunError
from peval.judging.judges import Judge
from peval.judging.questions import Item
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
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.about, dict(about))

    @property
    def judge(self) -> Judge:
        """Return the judge as it was when it began."""
        return Judge.from_record(self.read()["judge"])


def places(rundir: RunDir) -> Iterator[Place]:
    """Yield every judge's place in a run."""
    for about in sorted((rundir.path / FOLDER).glob("*/judging.json")):
        yield Place(about.parent)


Texts = dict[str | None, dict[str, tuple[str, ...]]]


def texts_of(
    samples: Mapping[str, Sample],
    asked: Mapping[str | None, Mapping[str, Asked]],
    store: Store,
) -> Texts:
    """Return what each system said on one task, by sample id, one text for each turn.

    Answers that failed or are missing are left out; so are likelihoods, which say nothing. Of
    several drawn conversations the first counts.
    """
    found: Texts = {}
    for system, by_id in asked.items():
        completions = store.completions(one.key for parts in by_id.values() for one in parts)
        said = {name: _said(samples[name], by_id[name], completions) for name in by_id}
        found[system] = {name: texts for name, texts in said.items() if texts}
    return found


def _said(sample: Sample, asked: Asked, completions: Mapping[str, Completion]) -> tuple[str, ...]:
    """Return the turns of the first conversation, or nothing where one of them is missing."""
    mine = sorted((one for one in asked if not sample.draw_and_turn(one.part)[0]), key=_by_part)
    answers = [completions.get(one.key) for one in mine]
    kept = [one.text for one in answers if one and one.error is None and not one.likelihoods]
    return tuple(kept) if len(kept) == 1 + len(sample.follow_ups) else ()


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
