"""From how two processes ended to a verdict."""

from __future__ import annotations

import signal
from typing import Any

from .inside.supervisor import LATE
from .programs import STATUS_OF, Program, Status, Verdict

# The kernel counts time for the limit and for the report differently, in ticks and exactly; a
# process killed by anything else (want of memory) hardly ever used half its time.
CPU_SHARE = 0.5


def verdict(program: Program, said: dict[str, Any] | None, report: dict[str, Any]) -> Verdict:
    """Return the verdict from what the tests' process said and what the supervisor saw.

    Parameters
    ----------
    said
        The tests' verdict, or None if that process ended without one.
    report
        How both processes ended.
    """
    if said is None:
        reason, detail = _without_tests(program, report)
    elif said["status"] == "passed":
        reason, detail = "", ""
    elif said["reason"] == "closed":
        reason, detail = _closed(program, report)
    else:
        reason, detail = said["reason"], said["detail"]
    return Verdict(
        key=program.key,
        status=STATUS_OF[reason] if reason else Status.PASSED,
        reason=reason,
        # A program may raise half a character, which no file can hold.
        detail=detail.encode("utf-8", "backslashreplace").decode(),
        form=said["form"] if said else "values",
        cpu_s=round(report["program"]["cpu_s"], 3),
        max_rss_mb=round(report["program"]["max_rss_kb"] / 1024, 1),
        outputs=said["outputs"] if said else None,
    )


def _closed(program: Program, report: dict[str, Any]) -> tuple[str, str]:
    """Say why the program's end of the channel closed before the tests were over."""
    if report["killed"]:
        return report["killed"], LIMIT_TEXT[report["killed"]]
    ended = report["program"]
    if not ended["ended"]:
        return "protocol", "it closed the channel to its tests"
    if _ran_out(ended, program.limits.cpu_s):
        return "cpu", f"more than {program.limits.cpu_s} s of CPU time"
    if -ended["code"] == signal.SIGSYS:
        return "system_call", "it made a system call of another ABI"
    if ended["code"] < 0:
        return "signal", signal.Signals(-ended["code"]).name
    return "exit", f"it left with exit code {ended['code']}"


def _ran_out(ended: dict[str, Any], limit_s: int) -> bool:
    return bool(-ended["code"] == signal.SIGKILL and ended["cpu_s"] >= CPU_SHARE * limit_s)


LIMIT_TEXT = {
    "wall": "it did not answer in time",
    "disk": "it wrote more than it may",
    "threads": "it started more threads than it may",
}


def _without_tests(program: Program, report: dict[str, Any]) -> tuple[str, str]:
    tests = report["tests"]
    if report["killed"]:
        return report["killed"], LIMIT_TEXT[report["killed"]]
    limit_s = judge_cpu_s(program)
    if tests["code"] == LATE:
        return "cpu", f"comparing its answers took more than {limit_s} s"
    return "sandbox", f"the tests' process ended with code {tests['code']} and no verdict"


def judge_cpu_s(program: Program) -> int:
    """Return how much CPU time the tests themselves may take."""
    return program.limits.cpu_s + 10
