"""A handful of items where an adapter and the base part ways, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from peval.metrics import is_share
from peval.report.tables import headline
from peval.results import Results
from peval.rundir import task_of
from peval.scorers.choice import likeliest
from peval.scoring import Asked, by_system_and_sample, score_system
from peval.store import Store
from peval.types import Completion, Sample

N_SHOWN = 6
LONGEST_TEXT = 320


@dataclass(frozen=True)
class Flip:
    """One item with both answers; ``delta`` is the adapter's score minus the base's."""

    task: str
    adapter: str
    sample: Sample
    base_text: str
    adapter_text: str
    delta: float
    metric: str


def flips(results: Results, store: Store) -> list[Flip]:
    """Return the widest gains and losses, the adapters and both directions taking turns."""
    if not results.run["with_base"] or not results.adapters:
        return []
    found = list(_differing(results, store))
    shown: list[Flip] = []
    for turn in range(N_SHOWN):
        for adapter in results.adapters:
            seen = {(flip.task, flip.sample.id) for flip in shown}
            fresh = (
                flip
                for flip in found
                if flip.adapter == adapter["name"]
                and (flip.delta > 0) == (turn % 2 == 0)
                and (flip.task, flip.sample.id) not in seen
            )
            # max() keeps the first of equals, so the choice is the same in every run.
            widest = max(fresh, key=lambda flip: abs(flip.delta), default=None)
            if widest and len(shown) < N_SHOWN:
                shown.append(widest)
    return shown


def short(text: str) -> str:
    """Return text with its middle left out where it is long."""
    half = LONGEST_TEXT // 2
    return text if len(text) <= LONGEST_TEXT else f"{text[:half]} […] {text[-half:]}"


def _differing(results: Results, store: Store) -> Iterator[Flip]:
    """Yield every item on which an adapter's score differs from the base's."""
    samples, requests = store.samples(), store.requests()
    completions = store.completions(request.key for request in requests)
    for fields in results.tasks:
        if not is_share(headline(fields)):
            continue
        items = samples[fields["name"]]
        asked = by_system_and_sample(r for r in requests if r.task == fields["name"])
        scored = {
            name: _scored(store, fields, items, by_id, completions) for name, by_id in asked.items()
        }
        base = scored.pop(None)
        for name, theirs in scored.items():
            for sample_id in filter(base.__contains__, theirs):
                (text, value), (base_text, base_value) = theirs[sample_id], base[sample_id]
                if value != base_value:
                    yield Flip(
                        fields["name"], name or "", items[sample_id], base_text, text,
                        value - base_value, headline(fields),
                    )  # fmt: skip


def _scored(
    store: Store,
    fields: dict[str, Any],
    items: Mapping[str, Sample],
    by_id: Mapping[str, Asked],
    completions: Mapping[str, Completion],
) -> dict[str, tuple[str, float]]:
    """Return what a system said and its headline score by sample id, where it has both."""
    samples = list(items.values())
    requests = [by_id[sample.id] for sample in samples]
    scores = score_system(store, task_of(fields), samples, requests, completions)
    return {
        sample.id: (_text(sample, asked, completions), score.values[headline(fields)])
        for sample, asked, score in zip(samples, requests, scores, strict=True)
        if score and isinstance(score.values.get(headline(fields)), int | float)
    }


def _text(sample: Sample, asked: Asked, completions: Mapping[str, Completion]) -> str:
    """Return a system's last text, or the choice that it finds likeliest."""
    last = completions[asked[-1].key]
    choices = sample.queries[0].continuations if sample.queries else sample.choices
    if len(choices) == len(last.likelihoods) > 0:
        return choices[likeliest(last.likelihoods)]
    return last.text
