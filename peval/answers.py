"""One system's answers and scores on one task as columns, in the order of its samples."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from types import NoneType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from peval.types import Asked, Completion, Score, Task


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


def lined_up(
    task: Task,
    requests: Sequence[Asked],
    completions: Mapping[str, Completion],
    scores: Sequence[Score | None],
) -> Answers:
    """Line up one system's completions and scores with the samples of a task.

    Parameters
    ----------
    requests, scores
        The system's requests and score for each sample, in the samples' order.
    completions
        By request key.
    """
    posed = [one for asked in requests for one in asked]
    found = [completions.get(one.key) for one in posed]
    sizes = [len(asked) for asked in requests]
    # Extraction asks for so many tokens and no more: there the limit cuts nothing off.
    limited = task.settings.get("probe") != "extraction"
    happened = {
        "n_truncated": [limited and c is not None and c.was_truncated for c in found],
        "n_prompts_cut": [one.prompt_was_cut for one in posed],
        "n_empty": [c is not None and _is_empty(c) for c in found],
    }
    troubles = {kind: _any(flags, sizes) for kind, flags in happened.items()}
    troubles["n_unparsed"] = np.array([bool(s and s.status == "unparsed") for s in scores])
    found_values = [s.values if s else {} for s in scores]
    values = {m: column([of.get(m) for of in found_values]) for m in task.metrics}
    return Answers(
        values=values,
        said=_by_sample(list(map(_said, found)), sizes),
        unasked=_unasked(values, scores),
        troubles=troubles,
    )


def _any(flags: Sequence[bool], sizes: Sequence[int]) -> NDArray[np.bool_]:
    """Tell for each sample whether any of its requests is flagged; ``sizes`` counts them."""
    mask = np.zeros(len(sizes), dtype=bool)
    mask[np.repeat(np.arange(len(sizes)), sizes)[np.array(flags, dtype=bool)]] = True
    return mask


def _by_sample(said: Sequence[bytes | None], sizes: Sequence[int]) -> tuple[object, ...]:
    """Return each sample's hashes as one, or None if one failed or is missing."""
    if len(said) == len(sizes):  # one request each
        return tuple(said)
    rest = iter(said)
    parts = (tuple(islice(rest, size)) for size in sizes)
    return tuple(None if None in mine else mine for mine in parts)


def only(system: Answers, kept: NDArray[np.bool_]) -> Answers:
    """Return a system's answers to some of the samples."""
    return Answers(
        values={metric: values[kept] for metric, values in system.values.items()},
        said=tuple(said for said, keep in zip(system.said, kept, strict=True) if keep),
        unasked={metric: mask[kept] for metric, mask in system.unasked.items()},
        troubles={kind: mask[kept] for kind, mask in system.troubles.items()},
    )


def _unasked(
    values: Mapping[str, NDArray[Any]], scores: Sequence[Score | None]
) -> dict[str, NDArray[np.bool_]]:
    """Mask, by metric, the samples whose score says that it does not apply."""
    masks = {}
    for metric, mine in values.items():
        if not is_there(mine).all():
            unasked = [s is not None and s.values.get(metric, 0) is None for s in scores]
            if any(unasked):
                masks[metric] = np.array(unasked)
    return masks


def _is_empty(completion: Completion) -> bool:
    """Tell whether any text that was generated is nothing but white space."""
    if completion.likelihoods or completion.finish_reason == "error":
        return False
    if not completion.more:
        return not completion.text.strip()
    return not all(one.text.strip() for one in completion.drawn)


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


def _said(answer: Completion | None) -> bytes | None:
    """Return a hash of what an answer holds, or None if it failed or is missing."""
    if answer is None or answer.error:
        return None
    held = answer.text
    if answer.more or answer.likelihoods:
        held = repr((held, [one.text for one in answer.more], answer.likelihoods))
    return hashlib.blake2b(held.encode("utf-8", "surrogatepass"), digest_size=16).digest()
