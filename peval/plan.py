"""Tasks x adapters -> requests, each under a key that covers all that can change its answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from peval.prompts import Prompt
from peval.types import Adapter, Base, Decoding, Request, Sample, Task

KEY_SCHEMA = 1
ADAPTERS_PER_BATCH = 16


@dataclass(frozen=True)
class Serving:
    """What the engine contributes to an answer: its identity and its settings."""

    engine: str
    dtype: str
    max_model_len: int
    options: Mapping[str, object]


@dataclass(frozen=True)
class Encoded:
    """One task with its samples and their prompts, in the same order."""

    task: Task
    samples: Sequence[Sample]
    prompts: Sequence[Prompt]


def plan(
    encoded: Sequence[Encoded],
    base: Base,
    adapters: Sequence[Adapter],
    serving: Serving,
    with_base: bool = True,
) -> list[Request]:
    """Return all requests in the order in which the engine should see them.

    The adapters of one prompt stand next to each other, so that every batch mixes the base and
    all adapters; more adapters than an engine batches at once follow in further rounds.

    Parameters
    ----------
    encoded
        Tasks with samples and prompts.
    with_base
        Whether the base itself is asked as the control (in the first round).
    """
    rounds: list[list[Adapter | None]] = [
        list(adapters[start : start + ADAPTERS_PER_BATCH])
        for start in range(0, len(adapters), ADAPTERS_PER_BATCH)
    ] or [[]]
    if with_base:
        rounds[0].insert(0, None)
    return [
        request
        for members in rounds
        for part in encoded
        for request in _round(part, members, base, serving)
    ]


def _round(
    part: Encoded, members: Sequence[Adapter | None], base: Base, serving: Serving
) -> list[Request]:
    """Return the requests of one task for the adapters of one round."""
    decoding = part.task.profile.decoding
    askers = [(a.name if a else None, key_prefix(base, a, serving, decoding)) for a in members]
    return [
        Request(
            key=_key(prefix, prompt.token_ids),
            task=part.task.name,
            sample_id=sample.id,
            adapter=name,
            prompt_token_ids=prompt.token_ids,
            decoding=decoding,
            prompt_was_cut=prompt.was_cut,
        )
        for sample, prompt in zip(part.samples, part.prompts, strict=True)
        for name, prefix in askers
    ]


def key_prefix(base: Base, adapter: Adapter | None, serving: Serving, decoding: Decoding) -> bytes:
    """Return the part of a request's key that all prompts of one adapter and task share."""
    greedy = decoding.temperature == 0
    parts = {
        "schema": KEY_SCHEMA,
        "base": base.sha256,
        "adapter": adapter.sha256 if adapter else None,
        "route": adapter.route if adapter else None,
        "engine": serving.engine,
        "dtype": serving.dtype,
        "max_model_len": serving.max_model_len,
        "options": dict(serving.options),
        "max_tokens": decoding.max_tokens,
        "temperature": float(decoding.temperature),
        "stop": list(decoding.stop),
        # A greedy answer does not depend on the seed, so that runs of other seeds share it.
        "seed": None if greedy else decoding.seed,
    }
    return json.dumps(parts, sort_keys=True).encode()


def _key(prefix: bytes, prompt_token_ids: Sequence[int]) -> str:
    ids = ",".join(map(str, prompt_token_ids)).encode()
    return hashlib.sha256(prefix + b"\n" + ids).hexdigest()
