"""What a job would do, told without doing it: `peval score --dry-run`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from peval.machine import known_rate
from peval.prepare import Setup, reusable_stores
from peval.progress import clock
from peval.run import plan_requests
from peval.store import Store
from peval.types import Dataset, Request


def outline(setup: Setup) -> dict[str, Any]:
    """Plan a job in memory and count; writes nothing and starts no engine.

    Returns
    -------
    dict
        Requests by adapter and task, prompt tokens, adapters with their routes, what stores hold
        already, and seconds needed (None where this machine never ran this base).
    """
    data, requests = plan_requests(setup)
    by_key = {request.key: request for request in requests}
    held = _held(setup, list(by_key))
    todo = [request for key, request in by_key.items() if key not in held]
    rate = known_rate(setup.base.sha256, setup.serving.engine)
    return {
        "out": str(setup.rundir.path),
        "base": str(setup.base.path),
        "engine": setup.serving.engine,
        "dtype": setup.serving.dtype,
        "max_model_len": setup.serving.max_model_len,
        "adapters": [
            {"name": a.name, "method": a.method, "rank": a.rank, "route": a.route}
            for a in setup.adapters
        ],
        "requests": _counts(requests),
        "n_requests": len(requests),
        "n_distinct": len(by_key),
        "n_held": len(held),
        "n_later_turns": _n_later_turns(data, requests),
        "n_prompt_tokens": sum(len(request.prompt_token_ids) for request in todo),
        "n_prompts_cut": sum(request.prompt_was_cut for request in requests),
        "seconds": rate.start_s + len(todo) / rate.requests_per_s if rate and todo else None,
    }


def text(found: dict[str, Any]) -> str:
    """Return an outline as a person reads it."""
    lines = [f"Would run into {found['out']}", f"  base      {found['base']}"]
    lines += [
        f"  adapter   {a['name']}: {a['method']}, rank {a['rank']}, route {a['route']}"
        for a in found["adapters"]
    ]
    lines.append(
        f"  engine    {found['engine']}, {found['dtype']}, context {found['max_model_len']}"
    )
    for task, by_adapter in found["requests"].items():
        counts = ", ".join(f"{name} {n:,}" for name, n in by_adapter.items())
        lines.append(f"  task      {task}: {counts}")
    left = found["n_distinct"] - found["n_held"]
    lines.append(
        f"  requests  {found['n_requests']:,}, of which {found['n_distinct']:,} differ, "
        f"{found['n_held']:,} are answered already and {left:,} are left "
        f"({found['n_prompt_tokens']:,} prompt tokens)"
    )
    if found["n_later_turns"]:
        lines.append(f"  turns     {found['n_later_turns']:,} more requests follow from answers")
    if found["n_prompts_cut"]:
        lines.append(f"  prompts   {found['n_prompts_cut']:,} do not fit and are cut")
    seconds = found["seconds"]
    known = f"about {clock(seconds)}, as fast as the last run of this base here" if seconds else ""
    unknown = "unknown: this machine has not run this base with this engine yet"
    lines.append(f"  time      {'none' if not left else known or unknown}")
    return "\n".join(lines)


def _held(setup: Setup, keys: Sequence[str]) -> set[str]:
    """Return the keys that the run's own store or a reusable one has answered."""
    stores = [
        store for store in (setup.rundir.store, *reusable_stores(setup.job)) if store.exists()
    ]
    held: set[str] = set()
    for path in stores:
        with Store(path) as store:
            held |= store.done(keys)
    return held


def _n_later_turns(data: Mapping[str, Dataset], requests: Sequence[Request]) -> int:
    """Return how many requests follow once the ones before them are answered."""
    n_turns = {(t, s.id): len(s.follow_ups) for t, found in data.items() for s in found.samples}
    # A greedy answer is drawn once; where several are, each begins a conversation of its own.
    return sum(n_turns[r.task, r.sample_id] * r.decoding.n for r in requests if r.part == 0)


def _counts(requests: Sequence[Request]) -> dict[str, dict[str, int]]:
    """Return the number of requests by task and adapter."""
    counts: dict[str, Counter[str]] = {}
    for request in requests:
        counts.setdefault(request.task, Counter())[request.adapter or "base"] += 1
    return {task: dict(counter) for task, counter in counts.items()}
