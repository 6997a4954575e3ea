"""A program, the check it has to meet, and the verdict on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Status(StrEnum):
    """How a program fared. Only `FAULT` is ours; it is never a wrong answer."""

    PASSED = "passed"
    FAILED = "failed"
    TIMEOUT = "timeout"
    CRASHED = "crashed"
    REFUSED = "refused"
    FAULT = "fault"


@dataclass(frozen=True)
class Limits:
    """What a program may use.

    `cpu_s` is what judges a slow program; `wall_s` only stops one that sleeps. As whatever timed
    out runs once more alone, a busy machine fails nobody.
    """

    cpu_s: int = 3
    wall_s: int = 9
    memory_mb: int = 2048


@dataclass(frozen=True)
class Script:
    """Tests in Python, run where the program is not; the entry point is a proxy there.

    Attributes
    ----------
    setup
        Trusted code run first: what the test may use beside the entry point.
    calls_check
        Whether the test defines a function `check` that is to be called with the entry point.
    """

    entry_point: str
    test: str
    setup: str = ""
    calls_check: bool = False

    def job(self) -> dict[str, Any]:
        """Return what the process that runs the tests is told."""
        return {"kind": "script", **vars(self)}


@dataclass(frozen=True)
class Differential:
    """Inputs with a reference's outputs, both as the codec's JSON text.

    `oracle` is ``suite:entry_point``, which selects EvalPlus's special oracles.
    """

    entry_point: str
    inputs: str
    expected: str
    tolerance: float
    oracle: str

    def job(self) -> dict[str, Any]:
        """Return what the process that runs the tests is told."""
        return {"kind": "differential", **vars(self)}


@dataclass(frozen=True)
class Record:
    """Run a reference on inputs and keep its outputs; `not_none` keeps whether they are any."""

    entry_point: str
    inputs: str
    not_none: bool = False

    def job(self) -> dict[str, Any]:
        """Return what the process that runs the tests is told."""
        return {"kind": "record", **vars(self)}


Check = Script | Differential | Record


@dataclass(frozen=True)
class Program:
    """Code, untrusted, with the check it has to meet."""

    key: str
    code: str
    check: Check
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class Verdict:
    """What is known of one program.

    Attributes
    ----------
    reason
        One of `REASONS`; empty when it passed.
    form
        ``values`` when only plain values crossed; ``objects`` when the tests also used objects of
        the program through proxies, whose answers the program decides: clearly weaker.
    outputs
        What a `Record` kept, as the codec's JSON.
    """

    key: str
    status: Status
    reason: str = ""
    detail: str = ""
    form: str = "values"
    cpu_s: float = 0.0
    max_rss_mb: float = 0.0
    n_runs: int = 1
    outputs: Any = None

    @property
    def passed(self) -> bool:
        """Whether the program met its check."""
        return self.status is Status.PASSED


STATUS_OF = {
    "wrong": Status.FAILED,
    "exception": Status.FAILED,
    "syntax": Status.FAILED,
    "missing": Status.FAILED,
    "memory": Status.FAILED,
    "value_limit": Status.FAILED,
    "protocol": Status.CRASHED,
    "exit": Status.CRASHED,
    "signal": Status.CRASHED,
    "cpu": Status.TIMEOUT,
    "wall": Status.TIMEOUT,
    "disk": Status.REFUSED,
    "threads": Status.REFUSED,
    "system_call": Status.REFUSED,
    "not_permitted": Status.REFUSED,
    "sandbox": Status.FAULT,
    "unsupported_test": Status.FAULT,
    "broken_test": Status.FAULT,
}
REASONS = tuple(STATUS_OF)
