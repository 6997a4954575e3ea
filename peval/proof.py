"""Whether an adapter was applied: its log-probabilities beside the base's and a reference's.

A few fixed texts are asked of the engine and of transformers with peft: how likely is the second
half, and what follows the first. These are ordinary requests; nothing here asks them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from peval.prompts import Tokenizer
from peval.types import Adapter, Completion, Decoding, Likelihood, Request

VERSION = 2
TEXTS = (
    ("The water cycle describes how water evaporates from the surface of the earth,",
     " rises into the atmosphere, cools and condenses into rain or snow in clouds."),
    ("Question: A shop sells pens at three for two dollars. How much do twelve pens cost?\nAnswer:",
     " Twelve pens are four times three pens, so they cost eight dollars."),
    ("Definition: In this task, you are given a sentence and have to name its subject.\n"
     "Input: The old dog slept beside the fire.\nOutput:", " The old dog"),
    ("def mean(values):\n", '    """Return the mean."""\n    return sum(values) / len(values)\n'),
)  # fmt: skip
N_PROMPT, N_CHOICE, N_GREEDY = 48, 24, 16
TIMES = 1.5
"""How much further than transformers itself an engine may be from transformers in float32. Rounding
takes both about as far: over seven systems of the toy in bfloat16, vLLM's distance was 0.8 to 1.05
times that of transformers, by native LoRA and merged (`tests/benchmarks/bench_proof.py`)."""
SLACK_NAT = {"float32": 1e-3, "float16": 5e-3, "bfloat16": 0.01}
"""What may come on top, by dtype. In float32 there is nothing else: both ran into 2e-5 nat."""
ROUNDING_NAT = {"float32": 1e-5, "float16": 1e-3, "bfloat16": 5e-3}
"""Mean distance from the base that rounding alone can make: an adapter below it has no effect."""


@dataclass(frozen=True)
class Proof:
    """What was found of one adapter (None: the base itself). Differences are per token, in nat.

    ``base_nat`` is the mean absolute difference to the base; ``mean_nat`` and ``max_nat`` are
    those to transformers in float32; ``rounding_nat`` is the mean by which transformers in the
    engine's own dtype differs from that, ``allowed_nat`` what ``mean_nat`` may be, and ``why_none``
    says why there is nothing of all this. Greedy tokens are those of transformers in the engine's
    dtype, alike up to the first that differs. ``has_effect`` and ``agrees`` are None where nothing
    tells; ``is_cached`` says that an earlier run on this machine found it.
    """

    adapter: str | None
    base_nat: float | None = None
    n_tokens: int = 0
    why_none: str | None = None
    mean_nat: float | None = None
    max_nat: float | None = None
    rounding_nat: float | None = None
    allowed_nat: float | None = None
    n_greedy_equal: int | None = None
    n_greedy: int = 0
    has_effect: bool | None = None
    agrees: bool | None = None
    is_cached: bool = False


def requests(
    tokenizer: Tokenizer, adapter: str | None, with_likelihoods: bool = True
) -> list[Request]:
    """Return what is asked of one system."""
    made = []
    for number, (text, rest) in enumerate(TEXTS):
        prompt = tuple(tokenizer([text])["input_ids"][0][-N_PROMPT:])
        both = tokenizer([rest], add_special_tokens=False)["input_ids"][0]
        key, choice = f"proof/{adapter}/{number}", tuple(both[:N_CHOICE])
        greedy = Request(key, "proof", str(number), adapter, prompt, Decoding(N_GREEDY))
        made.append(greedy)
        if with_likelihoods and choice:
            likely = replace(greedy, key=f"{key}?", sample_id=f"{number}?", choices=(choice,))
            made.append(replace(likely, decoding=Decoding(max_tokens=0)))
    return made


def head_requests(tokenizer: Tokenizer, adapter: Adapter) -> list[Request]:
    """Return what is asked of one classification head: how likely each class is."""
    classes = tuple((number,) for number in range(len(adapter.labels)))
    made = []
    for number, texts in enumerate(TEXTS):
        prompt = tuple(tokenizer(["".join(texts)])["input_ids"][0][:N_PROMPT])
        key = f"proof/{adapter.name}/{number}"
        made.append(Request(key, "proof", str(number), adapter.name, prompt,
                            Decoding(max_tokens=0), choices=classes, of_head=True))  # fmt: skip
    return made


Logprobs = Mapping[int, tuple[float, ...]]
"""Log-probabilities of the second halves of `TEXTS`, or of a head's classes, by text."""


@dataclass(frozen=True)
class Said:
    """What one system said to `requests`: greedy tokens and log-probabilities, by text.

    A reference's ``exact`` log-probabilities are those in float32.
    """

    greedy: Mapping[int, tuple[int, ...]]
    logprobs: Logprobs
    exact: Logprobs
    error: str | None = None


def said(adapter: str | None, answers: Mapping[str, Completion], n_choices: int = 1) -> Said:
    """Sort out one system's answers, by their keys; a reference has every choice twice."""
    greedy, logprobs, exact = {}, {}, {}
    error = None
    for number in range(len(TEXTS)):
        key = f"proof/{adapter}/{number}"
        for one in (answers.get(key), answers.get(f"{key}?")):
            if one is not None and one.error is not None:
                error = error or one.error
            elif one is not None and one.likelihoods:
                logprobs[number] = _joined(one.likelihoods[:n_choices])
                exact[number] = _joined(one.likelihoods[-n_choices:])
            elif one is not None:
                greedy[number] = one.token_ids
    return Said(greedy, logprobs, exact, error)


def _joined(found: Sequence[Likelihood]) -> tuple[float, ...]:
    return tuple(value for one in found for value in one.logprobs)


def judged_head(adapter: str, dtype: str, own: Said, reference: Said | str) -> Proof:
    """Return what is proven of a classification head, which has no base beside it."""
    why = own.error or (reference if isinstance(reference, str) else reference.error)
    if why or isinstance(reference, str):
        return Proof(adapter, why_none=why)
    return replace(_agreement(Proof(adapter), dtype, own, reference), n_greedy_equal=None)


def judged(
    adapter: str | None, dtype: str, own: Said, base: Said, reference: tuple[Said, Said] | str
) -> Proof:
    """Return what the answers of an engine prove of an adapter.

    Where the engine gives no log-probabilities (trained prompts in vLLM), the effect is read off
    the reference's, and at least half of the greedy tokens have to be the reference's.

    Parameters
    ----------
    own, base
        What the engine says with the adapter and without.
    reference
        What transformers says with it and without, or why that is not known.
    """
    if own.error or base.error:
        return Proof(adapter, why_none=own.error or base.error)
    if isinstance(reference, str):
        return _effect(Proof(adapter, why_none=reference), dtype, own.logprobs, base.logprobs)
    theirs, their_base = reference
    if theirs.error or their_base.error:
        why = f"transformers: {theirs.error or their_base.error}"
        return _effect(Proof(adapter, why_none=why), dtype, own.logprobs, base.logprobs)
    found = Proof(adapter)
    if own.logprobs:
        found = _effect(found, dtype, own.logprobs, base.logprobs)
    exact = _effect(found, "float32", theirs.exact, their_base.exact)
    if not own.logprobs:
        found = exact
    elif exact.has_effect is False:  # what is left is how merged weights are rounded
        found = replace(found, has_effect=False)
    return _agreement(found, dtype, own, theirs)


def _effect(found: Proof, dtype: str, own: Logprobs, base: Logprobs) -> Proof:
    """Add how far an adapter is from the base; a NaN is an effect."""
    distances = _distances(own, base)
    if not distances or found.adapter is None:
        return replace(found, n_tokens=len(distances))
    mean, rounding = _mean(distances), ROUNDING_NAT.get(dtype, ROUNDING_NAT["bfloat16"])
    return replace(
        found, base_nat=_finite(mean), n_tokens=len(distances), has_effect=not mean <= rounding
    )


def _agreement(found: Proof, dtype: str, own: Said, theirs: Said) -> Proof:
    """Add how far an engine is from the reference; dtypes not named round no finer than bf16."""
    equal, total = _greedy(own.greedy, theirs.greedy)
    found = replace(found, n_greedy_equal=equal, n_greedy=total)
    apart = _distances(own.logprobs, theirs.exact)
    if not apart:
        return replace(found, agrees=2 * equal >= total)
    mean, rounding = _mean(apart), _mean(_distances(theirs.logprobs, theirs.exact))
    limit = TIMES * rounding + SLACK_NAT.get(dtype, SLACK_NAT["bfloat16"])
    most = max(apart, key=lambda value: math.inf if math.isnan(value) else value)
    return replace(
        found, mean_nat=_finite(mean), max_nat=_finite(most), rounding_nat=_finite(rounding),
        allowed_nat=_finite(limit), agrees=mean <= limit,
    )  # fmt: skip


def complaint(found: Proof, dtype: str) -> str:
    """Say in one line how an adapter disagrees with transformers."""
    who = f"adapter {found.adapter}" if found.adapter else "the base"
    what = []
    if found.n_greedy_equal is not None:
        what.append(f"{found.n_greedy_equal} of {found.n_greedy} greedy tokens are alike")
    if found.mean_nat is not None:
        what.append(
            f"log-probabilities are {found.mean_nat:.2g} nat on average from float32's, of which "
            f"rounding to {dtype} explains {found.allowed_nat:.2g}"
        )
    elif found.allowed_nat is not None:
        what.append("log-probabilities are no numbers")
    way = f"--route {found.adapter}=hf, or " if found.adapter else ""
    return (
        f"{who}: the engine does not say what transformers and peft say ({', '.join(what)}); {way}"
        "--proof warn to score all the same"
    )


def _distances(mine: Logprobs, others: Logprobs) -> list[float]:
    return [
        abs(a - b)
        for number in mine.keys() & others.keys()
        for a, b in zip(mine[number], others[number], strict=True)
    ]


def _mean(found: list[float]) -> float:
    return math.fsum(found) / len(found)


def _finite(value: float) -> float | None:
    """Return a number that JSON has, or None."""
    return value if math.isfinite(value) else None


def _greedy(
    mine: Mapping[int, tuple[int, ...]], theirs: Mapping[int, tuple[int, ...]]
) -> tuple[int, int]:
    """Return how many greedy tokens agree up to the first difference, and of how many."""
    pairs = [(mine[n], theirs[n]) for n in mine.keys() & theirs.keys()]
    equal = sum(sum(1 for _ in _common(a, b)) for a, b in pairs)
    return equal, sum(max(len(a), len(b)) for a, b in pairs)


def _common(mine: tuple[int, ...], theirs: tuple[int, ...]) -> Iterator[int]:
    for a, b in zip(mine, theirs, strict=False):
        if a != b:
            return
        yield a
