"""One line that says how a number came about, in the manner of sacreBLEU (Post, W18-6319)."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

from peval import stats
from peval.bridges.lm_eval_tasks import harness_version
from peval.coding import JUDGE_VERSION, is_code
from peval.plan import Serving
from peval.rundir import task_of
from peval.scorers import code
from peval.scorers.text import SCORER_VERSION
from peval.types import Adapter, Pool, Task
from peval.version import __version__

_UNSAID = ("include_path", "system_instruction", "heldout_data", "canaries")


def signature(
    manifest: Mapping[str, Any], task: Task, metric: str, adapter: Adapter | None, n_items: int
) -> str:
    """Return the signature of one estimate; `adapter` of None is the base."""
    serving, profile = Serving(**manifest["serving"]).of(adapter), task.profile
    who = None if adapter is None or adapter.is_control else adapter
    scorer = f"lm-eval-{harness_version()}" if task.reader == "lm-eval" else task.tokenizer
    if is_code(task):
        scorer = f"sandbox{JUDGE_VERSION}.{code.SCORER_VERSION}"
    decoding = profile.decoding
    how = "greedy" if decoding.temperature == 0 else f"t{decoding.temperature:g}s{decoding.seed}"
    if decoding.top_p < 1:
        how += f"p{decoding.top_p:g}"
    if decoding.top_k:
        how += f"k{decoding.top_k}"
    if decoding.n > 1:
        how += f"n{decoding.n}"
    options = ",".join(f"{key}={value}" for key, value in sorted(serving.options.items()))
    settings = ",".join(
        " ".join(f"{key}={value}".replace("|", "¦").split())
        for key, value in sorted(task.settings.items())
        if key not in _UNSAID
    )
    parts = {
        "task": f"{task.name}.v{task.version}",
        "profile": profile.name,
        "metric": f"{metric}.v{SCORER_VERSION}.{scorer}",
        **({"rule": task.rule.format(profile=profile.prompt)} if task.rule else {}),
        "base": manifest["base"]["sha256"][:12],
        "adapter": who.sha256[:12] if who else "none",
        "route": who.route if who else "none",
        "decoding": f"{how},{decoding.max_tokens}",
        **_chat(manifest, task, adapter),
        **({"settings": settings} if settings else {}),
        "n": str(n_items),
        "interval": stats.INTERVAL,
        "engine": serving.engine,
        "dtype": serving.dtype,
        "options": options or "none",
        "peval": __version__,
    }
    return "|".join(f"{key}:{value}" for key, value in parts.items())


def _chat(manifest: Mapping[str, Any], task: Task, adapter: Adapter | None) -> dict[str, str]:
    """Return whose chat template spoke, its hash and the system instruction's, if in any chat."""
    chat = task.profile.chat
    system = chat.system if chat else task.settings.get("system_instruction")
    said = (
        {} if system is None
        else {"system": hashlib.sha256(str(system).encode()).hexdigest()[:12]}
    )  # fmt: skip
    if chat is None:
        return said
    asked = task.settings.get("of", task.name) if task.reader == "judge" else task.name
    origin, sha256 = manifest["config"]["chat"][asked][adapter.name if adapter else ""] or (
        "nobody", "none",
    )  # fmt: skip
    turns = "" if chat.multiturn else ",one-turn"
    return {"chat": sha256[:12] + turns, "chat-of": origin} | said


def pool_signature(
    manifest: Mapping[str, Any], pool: Pool, adapter: Adapter | None, n_items: int
) -> str:
    """Return the signature of a group's score: its first task's, under the group's name."""
    fields = next(one for one in manifest["tasks"] if one["name"] == pool.tasks[0])
    task = dataclasses.replace(task_of(fields), name=pool.name)
    if task.profile.chat and pool.tasks[0] in manifest["config"].get("chat", {}):
        of_first = manifest["config"]["chat"][pool.tasks[0]]
        config = manifest["config"] | {"chat": {pool.name: of_first}}
        manifest = {**manifest, "config": config}
    how = "items" if pool.by_size else "tasks"
    return f"{signature(manifest, task, pool.metric, adapter, n_items)}|mean-of:{how}"


FREE = ("adapter", "route", "chat-of", "n", "interval")
"""Fields that a comparison may differ in: its subject, and what it counts and computes anew."""


def unlike(one: str, other: str) -> dict[str, tuple[str, str]]:
    """Return the fields that forbid a comparison of two signatures, with both values."""
    mine, theirs = _fields(one), _fields(other)
    names = [name for name in (*mine, *(theirs.keys() - mine.keys())) if name not in FREE]
    pairs = {name: (mine.get(name, "absent"), theirs.get(name, "absent")) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _fields(signature: str) -> dict[str, str]:
    pairs = (part.partition(":") for part in signature.split("|"))
    return {name: value for name, _, value in pairs}
