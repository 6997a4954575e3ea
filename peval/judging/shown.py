"""What a judge was shown on one task: whose answers, and beside what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from peval.judging.place import Texts
from peval.judging.questions import Draws, facing
from peval.types import Sample


@dataclass(frozen=True)
class Shown:
    """The samples of a task by id, what each system said on them, and what stood beside it."""

    samples: Mapping[str, Sample]
    texts: Texts
    opponents: Mapping[str, Draws]

    def answer(self, system: str | None, item: str, draw: int) -> tuple[str, ...]:
        """Return the turns of one of a system's answers."""
        return self.texts[system][item][draw]

    def opponent(self, item: str, draw: int) -> tuple[str, ...]:
        """Return the turns of what stood beside it; nothing where answers were rated."""
        return facing(self.opponents[item], draw) if item in self.opponents else ()
