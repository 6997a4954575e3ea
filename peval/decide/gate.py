"""A run held against rules: pass, fail, or undecided where the data cannot tell."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from peval.decide.pairs import BASE
from peval.decide.rules import Rule, read_rules
from peval.decide.runs import in_progress
from peval.errors import UsageError
from peval.families import LEVEL
from peval.metrics import higher_is_better, is_share
from peval.results import Results, load_results
from peval.rundir import RunDir
from peval.spelling import meant
from peval.stats import Interval, retention
from peval.types import Comparison, Estimate

Verdict = Literal["pass", "fail", "undecided"]
UNFINISHED = "the run is still in progress"
NO_INTERVAL = "these items show no interval"


@dataclass(frozen=True)
class Check:
    """One rule for one system. ``value`` is its score or difference, with the interval."""

    rule: Rule
    adapter: str
    metric: str
    verdict: Verdict
    value: float | None
    low: float | None
    high: float | None
    why: str


@dataclass(frozen=True)
class Gate:
    """What every rule came to."""

    run: str
    checks: tuple[Check, ...]

    @property
    def verdict(self) -> Verdict:
        """Fail if any check fails, else undecided if any is, else pass."""
        found = {check.verdict for check in self.checks}
        return "fail" if "fail" in found else "undecided" if "undecided" in found else "pass"

    def to_dict(self) -> dict[str, Any]:
        """Return what `peval gate --json` prints."""
        return {"verdict": self.verdict} | dataclasses.asdict(self)


def gate(path: Path, rules_file: Path) -> Gate:
    """Hold a run against the rules of a file; see `peval.gate`."""
    rules = read_rules(rules_file)
    if in_progress(path):
        return Gate(str(path), tuple(_unfinished(rule) for rule in rules))
    results = load_results(RunDir(path).results)
    checks = [
        check
        for n, rule in enumerate(rules, 1)
        for check in _checks(results, rule, f"{rules_file}: rule {n}")
    ]
    return Gate(str(path), tuple(checks))


def _unfinished(rule: Rule) -> Check:
    adapter, metric = rule.adapter or "every adapter", rule.metric or "headline metric"
    return Check(rule, adapter, metric, "undecided", None, None, None, UNFINISHED)


def _checks(results: Results, rule: Rule, where: str) -> Iterator[Check]:
    """Yield a rule's check for each system that it is about."""
    tasks = {task["name"]: task for task in results.tasks}
    _known(rule.task, tasks, f"{where}: task")
    metrics = tasks[rule.task]["metrics"]
    metric = rule.metric or metrics[0]
    _known(metric, metrics, f"{where}: metric")
    if not is_share(metric):
        raise UsageError(f"{where}: {metric} is no share of 1; gates are on shares")
    adapters = [adapter["name"] for adapter in results.adapters]
    if rule.kind != "floor" and not results.run["with_base"]:
        raise UsageError(f"{where}: {rule.kind} needs the base, and the run left it out")
    asked = [*adapters, BASE] if rule.kind == "floor" and results.run["with_base"] else adapters
    if rule.adapter is not None:
        _known(rule.adapter, asked, f"{where}: adapter")
    wanted = [rule.adapter] if rule.adapter is not None else adapters
    if not wanted:
        raise UsageError(f"{where}: the run has no adapter; add adapter: {BASE}")
    for adapter in wanted:
        if rule.kind == "floor":
            name = None if adapter == BASE and BASE not in adapters else adapter
            estimate = results.estimate(rule.task, metric, name)
            yield _floor(rule, adapter, estimate)
        else:
            compared = results.comparison(rule.task, metric, adapter)
            yield _against_base(rule, compared, tasks[rule.task]["n_samples"])


def _known(name: str, names: Iterable[str], where: str) -> None:
    listed = list(names)
    if name not in listed:
        raise UsageError(f"{where} {name!r} is not in the run; {meant(name, listed)}")


def _floor(rule: Rule, adapter: str, e: Estimate) -> Check:
    """Check that a score is at least the bound."""
    verdict: Verdict = "undecided"
    why = _missing(e.n_missing, e.n_items + e.n_missing)
    if not why and e.low is not None and e.high is not None:
        verdict = "pass" if e.low >= rule.bound else "fail" if e.high < rule.bound else verdict
        why = {
            "pass": "the interval lies above the floor",
            "fail": "the interval lies below the floor",
            "undecided": "the interval holds the floor",
        }[verdict]
    return Check(rule, adapter, e.metric, verdict, e.value, e.low, e.high, why or NO_INTERVAL)


def _against_base(rule: Rule, c: Comparison, n_samples: int) -> Check:
    """Check a gain over the base, or that no more than a margin was lost."""
    verdict: Verdict = "undecided"
    why = _missing(n_samples - c.n_items, n_samples)
    if not why and c.delta is not None and c.low is not None and c.high is not None:
        better = (c.delta, c.low, c.high)
        if not higher_is_better(c.metric):
            better = (-c.delta, -c.high, -c.low)
        verdict, why = (
            _gained(rule.bound, c, *better[1:])
            if rule.kind == "gain"
            else _kept(rule.bound, Interval(*better, c.n_items, c.n_clusters))
        )
    return Check(rule, c.adapter, c.metric, verdict, c.delta, c.low, c.high, why or NO_INTERVAL)


def _gained(bound: float, c: Comparison, low: float, high: float) -> tuple[Verdict, str]:
    if high <= bound:
        return "fail", "the interval lies at or below the gain asked for"
    if low <= bound:
        return "undecided", "the interval holds the gain asked for"
    if c.p_adjusted is not None and c.p_adjusted > LEVEL:
        return "undecided", "its adjusted p-value is above 0.05"
    return "pass", "the interval lies above the gain asked for"


def _kept(margin: float, difference: Interval) -> tuple[Verdict, str]:
    verdicts: dict[str, tuple[Verdict, str]] = {
        "kept": ("pass", "kept: the interval holds no loss beyond the margin"),
        "lost": ("fail", "lost: the whole interval is a loss beyond the margin"),
        "undecided": ("undecided", "neither kept nor lost: the interval holds the margin"),
    }
    return verdicts[retention(difference, margin)]


def _missing(n_missing: int, n_items: int) -> str:
    return f"{n_missing:,} of {n_items:,} items have no answer" if n_missing else ""


def worst_first(checks: Sequence[Check]) -> list[Check]:
    """Return failed checks, then undecided, then passed ones."""
    return sorted(checks, key=lambda check: ("fail", "undecided", "pass").index(check.verdict))
