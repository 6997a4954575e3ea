"""What a judge's work would take, before anything is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from peval.judge_job import Judging, judge_of
from peval.judge_plan import prepared
from peval.judging.judges import Judge
from peval.judging.parts import Part
from peval.judging.place import Place
from peval.store import Store
from peval.types import Message

TOKENS_PER_BYTE = 0.25


def estimate(job: Judging) -> dict[str, Any]:
    """Return what asking would take, before anything is asked; ``usd`` is None without a price."""
    counts = ("n_calls", "n_held", "n_left", "prompt_tokens", "completion_tokens_at_most")
    total: dict[str, Any] = dict.fromkeys(counts, 0)
    for work in prepared(job):
        todo = {c.request.key: c for c in work.calls if not Part.of(c.request.part).is_same}
        held = _held(work.place, list(todo))
        n_bytes = sum(len(_words(c.turns).encode()) for k, c in todo.items() if k not in held)
        n_left = len(todo) - len(held)
        total["n_calls"] += len(todo)
        total["n_held"] += len(held)
        total["n_left"] += n_left
        total["prompt_tokens"] += round(n_bytes * TOKENS_PER_BYTE)
        total["completion_tokens_at_most"] += n_left * work.judge.max_tokens
    return total | {"usd": _usd(judge_of(job), total)}


def _held(place: Place, keys: Sequence[str]) -> set[str]:
    if not place.store.exists():
        return set()
    with Store(place.store) as store:
        return store.done(keys)


def _usd(how: Judge, total: Mapping[str, Any]) -> float | None:
    if how.engine != "server":
        return 0.0
    if not (how.price_input or how.price_output):
        return None
    prompt, completion = total["prompt_tokens"], total["completion_tokens_at_most"]
    return float((prompt * how.price_input + completion * how.price_output) / 1e6)


def estimate_text(found: Mapping[str, Any]) -> str:
    """Return an estimate as a person reads it."""
    cost = "at an unknown price (--price)" if found["usd"] is None else f"about ${found['usd']:.2f}"
    return (
        f"Would ask {found['n_left']:,} of {found['n_calls']:,} calls ({found['n_held']:,} are "
        f"answered): about {found['prompt_tokens']:,} prompt tokens and at most "
        f"{found['completion_tokens_at_most']:,} more, {cost}"
    )


def _words(turns: Sequence[Message]) -> str:
    return "\n".join(turn.content for turn in turns)
