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
SCORED = Decoding(max_tokens=0)  # where choices are scored, nothing is generated


@dataclass(frozen=True)
class Serving:
    """What the engine contributes to an answer: its identity and its settings."""

    engine: str
    dtype: str
    max_model_len: int
    options: Mapping[str, object]


@dataclass(frozen=True)
class Encoded:
    """One task with its samples and the prompts of each, in the same order."""

    task: Task
    samples: Sequence[Sample]
    prompts: Sequence[Sequence[Prompt]]


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
    is_choice = any(prompt.choices for prompts in part.prompts for prompt in prompts)
    decoding = SCORED if is_choice else part.task.profile.decoding
    askers = [(a.name if a else None, key_prefix(base, a, serving, decoding)) for a in members]
    return [
        Request(
            key=_key(prefix, prompt),
            task=part.task.name,
            sample_id=sample.id,
            adapter=name,
            prompt_token_ids=prompt.token_ids,
            decoding=decoding,
            prompt_was_cut=prompt.was_cut,
            choices=prompt.choices,
            part=number,
        )
        for sample, prompts in zip(part.samples, part.prompts, strict=True)
        for number, prompt in enumerate(prompts)
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


def _key(prefix: bytes, prompt: Prompt) -> str:
    ids = "\n".join(",".join(map(str, ids)) for ids in (prompt.token_ids, *prompt.choices))
    return hashlib.sha256(prefix + b"\n" + ids.encode()).hexdigest()
