"""One system's answers and scores on one task as columns, in the order of its samples."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from types import NoneType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from peval.types import Answered, Completion, Said, Score, Task


@dataclass(frozen=True)
class Answers:
    """One system's scores on one task, in the order of its samples.

    ``values`` maps a metric to an array of shape (n_samples,), NaN (or None) where there is no
    score;
    ``said`` holds hashes of what was answered, and None where something is missing.
    ``unasked`` masks, by metric, the samples that it does not apply to, where there are such.
    ``troubles`` maps fields of an `Estimate` to masks of the same shape: what happened to a sample.
    """

    values: Mapping[str, NDArray[Any]]
    said: tuple[object, ...]
    unasked: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    troubles: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)

    def tally(self, rows: NDArray[np.intp] | None = None) -> dict[str, int]:
        """Return how many samples had each trouble, of some rows or of all."""
        nothing = np.zeros(len(self.said), dtype=bool)
        found = dict.fromkeys(("n_truncated", "n_prompts_cut"), nothing) | dict(self.troubles)
        return {
            kind: int((where if rows is None else where[rows]).sum())
            for kind, where in found.items()
        }


Block = tuple[Answered, Sequence[Score | None]]
"""Some samples' answers with their scores."""

TROUBLES = ("n_truncated", "n_prompts_cut", "n_empty", "n_unparsed")


def lined_up(task: Task, blocks: Iterable[Block]) -> Answers:
    """Line up one system's answers and scores with the samples of a task, block after block."""
    values: dict[str, list[Any]] = {metric: [] for metric in task.metrics}
    unasked: dict[str, list[bool]] = {metric: [] for metric in task.metrics}
    troubles: dict[str, list[bool]] = {kind: [] for kind in TROUBLES}
    said: list[object] = []
    for answered, scores in blocks:
        said += map(_said_to, answered.said)
        for kind, flags in _troubles(task, answered, scores).items():
            troubles[kind] += flags
        held = [score.values if score else {} for score in scores]
        for metric in task.metrics:
            mine = [of.get(metric) for of in held]
            values[metric] += mine
            unasked[metric] += (
                [metric in of and of[metric] is None for of in held]
                if None in mine
                else [False] * len(mine)
            )
    return Answers(
        values={metric: column(mine) for metric, mine in values.items()},
        said=tuple(said),
        unasked={metric: np.array(mask) for metric, mask in unasked.items() if any(mask)},
        troubles={kind: np.array(mask, dtype=bool) for kind, mask in troubles.items()},
    )


def _troubles(
    task: Task, answered: Answered, scores: Sequence[Score | None]
) -> dict[str, list[bool]]:
    """Tell of each sample what happened to any of its answers."""
    # Extraction asks for so many tokens and no more: there the limit cuts nothing off.
    limited = task.settings.get("probe") != "extraction"
    return {
        "n_truncated": [limited and any(map(_was_truncated, said)) for said in answered.said],
        "n_prompts_cut": [any(map(_PROMPT_WAS_CUT, asked)) for asked in answered.asked],
        "n_empty": [any(map(_is_empty, said)) for said in answered.said],
        "n_unparsed": [score is not None and score.status == "unparsed" for score in scores],
    }


_PROMPT_WAS_CUT = attrgetter("prompt_was_cut")


def _was_truncated(answer: Completion | None) -> bool:
    return answer is not None and answer.was_truncated


def _said_to(said: Said) -> object:
    """Return hashes of the answers to one sample, or None if one failed or is missing.

    A list of answers in parts stays a list, that of a single one is its hash.
    """
    hashes = tuple(map(_hash, said))
    return None if None in hashes else hashes if len(hashes) > 1 else hashes[0]


def only(system: Answers, kept: NDArray[np.bool_]) -> Answers:
    """Return a system's answers to some of the samples."""
    return Answers(
        values={metric: values[kept] for metric, values in system.values.items()},
        said=tuple(said for said, keep in zip(system.said, kept, strict=True) if keep),
        unasked={metric: mask[kept] for metric, mask in system.unasked.items()},
        troubles={kind: mask[kept] for kind, mask in system.troubles.items()},
    )


def _is_empty(answer: Completion | None) -> bool:
    """Tell whether any text that was generated is nothing but white space."""
    if answer is None or answer.likelihoods or answer.finish_reason == "error":
        return False
    if not answer.more:
        return not answer.text.strip()
    return not all(one.text.strip() for one in answer.drawn)


def column(values: Sequence[Any]) -> NDArray[Any]:
    """Return numbers as floats with NaN where there is none, anything else as objects."""
    if all(issubclass(kind, int | float | NoneType) for kind in set(map(type, values))):
        return np.array(values, dtype=float)
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def is_there(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell where there is a score."""
    if values.dtype == object:
        return np.array([value is not None for value in values], dtype=bool)
    there: NDArray[np.bool_] = ~np.isnan(values)
    return there


def _hash(answer: Completion | None) -> bytes | None:
    """Return a hash of what an answer holds, or None if it failed or is missing."""
    if answer is None or answer.error:
        return None
    held = answer.text
    if answer.more or answer.likelihoods:
        held = repr((held, [one.text for one in answer.more], answer.likelihoods))
    return hashlib.blake2b(held.encode("utf-8", "surrogatepass"), digest_size=16).digest()
