"""Which answers sooner on vLLM: LoRAs in one batch, or each merged into the base in turn.

Applying a LoRA to single requests of a batch costs time for every token; merging one costs time
once. Both were measured with ``tests/benchmarks/bench_routes.py``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from peval.types import Sample

_CHARACTERS_PER_TOKEN = 4
_SPARE_CHARACTERS = 40  # of the words around a sample's own


@dataclass(frozen=True)
class Work:
    """What is to be answered: ``n_tokens`` are those of all prompts and answers of one adapter."""

    n_adapters: int
    n_tokens: int
    n_layers: int
    n_parameters: int


@dataclass(frozen=True)
class Costs:
    """Seconds on one kind of device.

    A batch of LoRAs takes ``layer_s`` longer per token and layer, and ``weight_s`` per token and
    parameter. ``first_s`` pass before the first merge is ready; each takes ``turn_s``, and
    ``fold_s`` per parameter.
    """

    layer_s: float
    weight_s: float
    first_s: float
    turn_s: float
    fold_s: float


CPU = Costs(layer_s=9e-6, weight_s=0.0, first_s=3.5, turn_s=0.7, fold_s=2e-8)


def batching_s(work: Work, costs: Costs) -> float:
    """Return how much longer answers take because LoRAs are applied to single requests."""
    per_token = work.n_layers * costs.layer_s + work.n_parameters * costs.weight_s
    return work.n_adapters * work.n_tokens * per_token


def merging_s(work: Work, costs: Costs) -> float:
    """Return how long it takes to merge each adapter and to put it into the base's place."""
    turn = costs.turn_s + work.n_parameters * costs.fold_s
    return costs.first_s + work.n_adapters * turn


def merging_is_faster(work: Work, costs: Costs) -> bool:
    """Say whether merging the adapters in turn is the faster way.

    >>> toy = Work(n_adapters=4, n_tokens=14_000, n_layers=4, n_parameters=1_000_000)
    >>> merging_is_faster(toy, CPU)
    False
    >>> merging_is_faster(Work(4, 140_000, 4, 1_000_000), CPU)
    True
    """
    return merging_s(work, costs) < batching_s(work, costs)


def n_tokens(samples: Iterable[Sample], longest_prompt: int | None, longest_answer: int) -> int:
    """Return about how many tokens the prompts and answers of some samples have."""
    return sum(_n_tokens(sample, longest_prompt, longest_answer) for sample in samples)


def _n_tokens(sample: Sample, longest_prompt: int | None, longest_answer: int) -> int:
    prompts = [query.head + "".join(query.shots) + query.text for query in sample.queries]
    if sample.instruction is not None:
        shown = (example.input + example.output for example in sample.instruction.examples)
        prompts.append(sample.instruction.definition + "".join(shown) + sample.input)
    elif not prompts:
        prompts.append(sample.input)
    total = 0
    for prompt in prompts:
        n = (len(prompt) + _SPARE_CHARACTERS) // _CHARACTERS_PER_TOKEN
        total += n if longest_prompt is None else min(n, longest_prompt)
    answer = max(map(len, (*sample.targets, *sample.choices)), default=0)
    return total + min(longest_answer, 1 + answer // _CHARACTERS_PER_TOKEN)
