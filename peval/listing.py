"""`peval tasks`: what there is to score on."""

from __future__ import annotations

from typing import Any

from peval import catalog
from peval.rundir import record


def everything() -> dict[str, Any]:
    """Return all suites, tasks and profiles."""
    tasks = [catalog.load_task(name) for name in catalog.task_names()]
    return {
        "suites": {name: list(tasks) for name, tasks in catalog.suites().items()},
        "tasks": {task.name: record(task) for task in tasks},
        "profiles": {name: record(profile) for name, profile in catalog.profiles().items()},
    }


def one(name: str) -> dict[str, Any]:
    """Return one suite, task or profile; TaskError if the name is unknown."""
    found = everything()
    kept = {kind: {name: body[name]} for kind, body in found.items() if name in body}
    if not kept:
        raise catalog.unknown(
            "suite, task or profile", name, {n for k in found.values() for n in k}
        )
    return kept


def text(found: dict[str, Any]) -> str:
    """Return a listing as a person reads it."""
    blocks = []
    if "suites" in found:
        rows = [f"  {name:<18} {', '.join(tasks)}" for name, tasks in found["suites"].items()]
        blocks.append("\n".join(["suites (--suite)", *rows]))
    if "tasks" in found:
        blocks.append("\n".join(["tasks (--task)", *map(_task, found["tasks"].values())]))
    if "profiles" in found:
        rows = [_profile(profile) for profile in found["profiles"].values()]
        blocks.append("\n".join(["profiles (--profile)", *rows]))
    return "\n\n".join(blocks)


def _task(task: dict[str, Any]) -> str:
    about = f"profile {task['profile']['name']}; {', '.join(task['metrics'])}"
    return f"  {task['name']:<18} {task['description']}\n  {'':<18} {about}"


def _profile(profile: dict[str, Any]) -> str:
    source = profile["max_source_tokens"]
    parts = [
        profile["prompt"],
        f"{profile['n_positive_examples']} examples",
        f"prompts up to {source} tokens" if source else "prompts as long as fit",
        f"answers up to {profile['decoding']['max_tokens']}",
    ]
    if profile["instances_per_task"]:
        parts.append(f"{profile['instances_per_task']} instances of each task")
    return f"  {profile['name']:<18} {'; '.join(parts)}"
