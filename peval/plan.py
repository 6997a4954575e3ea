"""Tasks x adapters -> requests, each under a key that covers all that can change its answer."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import compress, zip_longest

from peval.errors import DataError
from peval.prompts import Prompt
from peval.types import HF, MERGE, Adapter, Base, Dataset, Decoding, Request, Sample, Task

KEY_SCHEMA = 1
ADAPTERS_PER_BATCH = 16
SCORED = Decoding(max_tokens=0)  # where choices are scored, nothing is generated


@dataclass(frozen=True)
class Serving:
    """What the engine contributes to an answer: its identity and its settings.

    ``second`` is the engine of the route ``hf`` in a run whose engine is vLLM.
    """

    engine: str
    dtype: str
    max_model_len: int
    options: Mapping[str, object]
    second: str | None = None

    def of(self, adapter: Adapter | None) -> Serving:
        """Return what answers an adapter's requests."""
        if self.second is None or adapter is None or adapter.route != HF:
            return self
        return Serving(self.second, self.dtype, self.max_model_len, {})


def context_for(adapter: Adapter | None, base: Base, serving: Serving) -> int:
    """Return how many tokens a system's prompt and answer may have.

    Trained vectors take places of the model's context, and none of a smaller one that was chosen.
    """
    if adapter is None or not adapter.n_virtual_tokens:
        return serving.max_model_len
    return min(serving.max_model_len, base.context_tokens - adapter.n_virtual_tokens)


@dataclass(frozen=True)
class Encoded:
    """One task with its samples and, by system, the prompts of each in the same order.

    A system is an adapter's name, or None for the base: its tokenizer or its chat template may
    make its prompts others than the base's.
    """

    task: Task
    samples: Sequence[Sample]
    prompts: Mapping[str | None, Sequence[Sequence[Prompt]]]


def without_unasked(
    task: Task, found: Dataset, prompts: Mapping[str | None, Sequence[Sequence[Prompt]]]
) -> tuple[Dataset, Mapping[str | None, Sequence[Sequence[Prompt]]]]:
    """Return a dataset and its prompts less the samples that are asked of no system, or not of all.

    What is left out is counted, by cluster, in the dataset's notes.

    Raises
    ------
    DataError
        Nothing is left.
    """
    kept = [all(asked) for asked in zip(*prompts.values(), strict=True)]
    if all(kept):
        return found, prompts
    if not any(kept):
        raise DataError(f"{task.name}: no prompt fits: every context is too long for the model")
    total = Counter(sample.cluster for sample in found.samples)
    left = Counter(sample.cluster for sample in compress(found.samples, kept))
    short = [f"{cluster} ({left[cluster]:,} of {n:,} kept)"
             for cluster, n in total.items() if left[cluster] < n]  # fmt: skip
    note = f"prompts too long for the model are left out: {', '.join(short)}"
    samples = tuple(compress(found.samples, kept))
    fitting = {name: list(compress(theirs, kept)) for name, theirs in prompts.items()}
    return dataclasses.replace(found, samples=samples, notes=(*found.notes, note)), fitting


def plan(
    encoded: Sequence[Encoded],
    base: Base,
    adapters: Sequence[Adapter],
    serving: Serving,
    with_base: bool = True,
) -> list[Request]:
    """Return all requests in the order in which the engine should see them.

    The adapters of one prompt stand next to each other, so that every batch mixes the base and
    all adapters; more adapters than an engine batches at once follow in further rounds. Those that
    take the base's place, or have a head, follow one by one.

    Parameters
    ----------
    encoded
        Tasks with samples and prompts.
    with_base
        Whether the base itself is asked as the control (in the first round).
    """
    together = [a for a in adapters if a.route != MERGE and not a.labels]
    rounds: list[list[Adapter | None]] = [
        list(together[start : start + ADAPTERS_PER_BATCH])
        for start in range(0, len(together), ADAPTERS_PER_BATCH)
    ] or [[]]
    if with_base:
        rounds[0].insert(0, None)
    rounds += [[adapter] for adapter in adapters if adapter not in together]
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
    own = part.task.profile.decoding

    @cache
    def prefix(adapter: Adapter | None, decoding: Decoding) -> bytes:
        return key_prefix(base, adapter, serving, decoding)

    return [
        Request(
            key=_key(prefix(adapter, decoding_of(prompt, own)), prompt),
            task=part.task.name,
            sample_id=sample.id,
            adapter=adapter.name if adapter else None,
            prompt_token_ids=prompt.token_ids,
            decoding=decoding_of(prompt, own),
            prompt_was_cut=prompt.was_cut,
            choices=prompt.choices,
            part=number,
            with_moments=prompt.with_moments,
            of_head=prompt.of_head,
        )
        for sample, asked in _asked(part, members)
        for number, adapter, prompt in asked
    ]


def _asked(
    part: Encoded, members: Sequence[Adapter | None]
) -> Iterator[tuple[Sample, list[tuple[int, Adapter | None, Prompt]]]]:
    """Yield each sample with its numbered prompts; all members' first ones come first."""
    theirs = [part.prompts[member.name if member else None] for member in members]
    for sample, *prompts in zip(part.samples, *theirs, strict=True):
        rows = enumerate(zip_longest(*prompts))
        yield (
            sample,
            [
                (number, member, prompt)
                for number, row in rows
                for member, prompt in zip(members, row, strict=True)
                if prompt is not None
            ],
        )


def decoding_of(prompt: Prompt, own: Decoding) -> Decoding:
    """Return how a prompt is answered: its own way, or the profile's, or not by generation."""
    if prompt.choices:
        return SCORED
    return dataclasses.replace(prompt.decoding, seed=own.seed) if prompt.decoding else own


def key_prefix(base: Base, adapter: Adapter | None, serving: Serving, decoding: Decoding) -> bytes:
    """Return the part of a request's key that all prompts of one adapter and task share."""
    greedy = decoding.temperature == 0
    serving = serving.of(adapter)
    who = None if adapter is None or adapter.is_control else adapter
    parts = {
        "schema": KEY_SCHEMA,
        "base": base.sha256,
        "adapter": who.sha256 if who else None,
        "route": who.route if who else None,
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
    if decoding.top_p < 1:
        parts["top_p"] = float(decoding.top_p)
    if decoding.top_k:
        parts["top_k"] = decoding.top_k
    if decoding.n > 1:
        parts["n"] = decoding.n
    return json.dumps(parts, sort_keys=True).encode()


def request_after(before: Request, prompt: Prompt, part: int, prefix: bytes) -> Request:
    """Return the request that goes on where another was answered, under a key of its own."""
    return dataclasses.replace(
        before,
        key=_key(prefix, prompt),
        part=part,
        prompt_token_ids=prompt.token_ids,
        decoding=prompt.decoding or before.decoding,
        prompt_was_cut=prompt.was_cut,
    )


def _key(prefix: bytes, prompt: Prompt) -> str:
    ids = "\n".join(",".join(map(str, ids)) for ids in (prompt.token_ids, *prompt.choices))
    kind = b"\nmoments" if prompt.with_moments else b"\nhead" if prompt.of_head else b""
    return hashlib.sha256(prefix + b"\n" + ids.encode() + kind).hexdigest()
