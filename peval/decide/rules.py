"""Gate rules from YAML. Strict: an unknown key or a rule without a task is an error."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from peval.errors import UsageError
from peval.spelling import meant
from peval.strict_yaml import read_yaml

Kind = Literal["floor", "gain", "margin"]
KINDS: tuple[Kind, ...] = ("floor", "gain", "margin")
KEYS = ("task", "metric", "adapter", *KINDS)


@dataclass(frozen=True)
class Rule:
    """One thing that must hold.

    ``floor``: the score is at least `bound`. ``gain``: it is more than `bound` above the base's.
    ``margin``: it is no more than `bound` below the base's (non-inferiority). Where less is better
    (refusals, extracted records), gain is below the base's and margin above. ``metric`` of None
    is the task's headline; ``adapter`` of None is every adapter, ``base`` the base.
    """

    task: str
    kind: Kind
    bound: float
    metric: str | None = None
    adapter: str | None = None


def read_rules(path: Path) -> tuple[Rule, ...]:
    """Read a gate file.

    Raises
    ------
    UsageError
        If it cannot be read, holds no rules, or one of them is malformed.
    """
    body = read_yaml(path, UsageError)
    if not isinstance(body, dict) or set(body) != {"rules"}:
        raise UsageError(f"{path}: expected one key, rules, with a list of rules")
    if not isinstance(body["rules"], list) or not body["rules"]:
        raise UsageError(f"{path}: rules holds no rule")
    return tuple(_rule(fields, f"{path}: rule {n}") for n, fields in enumerate(body["rules"], 1))


def _rule(fields: Any, where: str) -> Rule:
    if not isinstance(fields, dict):
        raise UsageError(f"{where}: expected keys and values")
    for key in fields:
        if key not in KEYS:
            raise UsageError(f"{where}: unknown key {key!r}; {meant(str(key), KEYS)}")
    if not fields.get("task"):
        raise UsageError(f"{where}: names no task; add task: NAME")
    for key in ("task", "metric", "adapter"):
        if not isinstance(fields.get(key, ""), str):
            raise UsageError(f"{where}: {key} cannot be {fields[key]!r}")
    kinds = [kind for kind in KINDS if kind in fields]
    if len(kinds) != 1:
        raise UsageError(f"{where}: expected one of floor, gain, margin; found {len(kinds)}")
    return Rule(
        task=fields["task"],
        kind=kinds[0],
        bound=_bound(fields[kinds[0]], f"{where}: {kinds[0]}"),
        metric=fields.get("metric"),
        adapter=fields.get("adapter"),
    )


def _bound(value: Any, where: str) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value <= 1:
        raise UsageError(f"{where} cannot be {value!r}; scores are fractions from 0 to 1")
    return float(value)
