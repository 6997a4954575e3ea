"""Does the sandbox hold here? Attacks are run, not versions read."""

from __future__ import annotations

import os
import socket
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .inside.isolation import LANDLOCK, NAMESPACES
from .programs import Limits, Program, Script, Status
from .worker import TierRefusedError, Worker

TIERS = (NAMESPACES, LANDLOCK)
LIMITS = Limits(cpu_s=5, wall_s=20)
# Each attack returns what it got hold of; a refusal is an exception or nothing.
ATTACKS = {
    "read a file outside": "return open({secret!r}).read()",
    "write a file outside": "open({target!r}, 'w').write('x'); return 'written'",
    "connect to this machine": (
        "import socket; s = socket.create_connection(('127.0.0.1', {port}), 1); return 'connected'"
    ),
    "signal another process": "import os; os.kill({pid}, 0); return 'signalled'",
    "start a process": "import os; return 'forked' if os.fork() >= 0 else ''",
    "run a program": "import os; os.execv('/bin/true', ['true'])",
    "read the environment": (
        "import os; return repr([v for v in os.environ.values() if not v.startswith('/')]) "
        "if set(os.environ) - {{'HOME', 'TMPDIR'}} else ''"
    ),
}
ATTEMPT = """
def attempt():
    try:
        return attack() or ""
    except OSError:
        return ""

def attack():
    {body}
"""
HELD = Script("attempt", "assert attempt() == ''")
WORKS = Script("answer", "assert answer(20) == 42")
WORKING = "def answer(x):\n    return 2 * x + 2"


@dataclass(frozen=True)
class TierReport:
    """What became of one tier here; no `problems` means that it holds."""

    tier: str
    landlock_abi: int
    problems: tuple[str, ...]


def probe(tier: str) -> TierReport:
    """Set a tier up, attack it, and report what got through."""
    try:
        with Worker(tier) as worker:
            return TierReport(tier, worker.abi, tuple(_problems(worker)))
    except TierRefusedError as error:
        return TierReport(tier, 0, (str(error),))


def _problems(worker: Worker) -> list[str]:
    verdict = worker.judge(Program("works", WORKING, WORKS, LIMITS))
    if not verdict.passed:
        return [f"an honest program did not run: {verdict.detail or verdict.reason}"]
    with tempfile.TemporaryDirectory() as place, socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        secret, target = Path(place, "secret"), Path(place, "target")
        secret.write_text("secret")
        aims = {
            "secret": str(secret),
            "target": str(target),
            "port": listener.getsockname()[1],
            "pid": os.getpid(),
        }
        found = [name for name in ATTACKS if not _holds(worker, name, aims)]
        return [f"a program could {name}" for name in found]


def _holds(worker: Worker, name: str, aims: dict[str, object]) -> bool:
    code = ATTEMPT.format(body=ATTACKS[name].format(**aims))
    verdict = worker.judge(Program(name, code, HELD, LIMITS))
    # Nothing else will do: a program that ran another one looks as if it had crashed.
    held = (Status.PASSED, Status.REFUSED)
    return verdict.status in held and not Path(str(aims["target"])).exists()


@cache
def strongest() -> tuple[str | None, list[TierReport]]:
    """Return the strongest tier that holds here, if any, with what was tried."""
    reports = []
    for tier in TIERS:
        reports.append(probe(tier))
        if not reports[-1].problems:
            return tier, reports
    return None, reports


def refusal(reports: list[TierReport]) -> str:
    """Return the one line that says why model-written code does not run here."""
    tried = "; ".join(f"{report.tier} ({', '.join(report.problems)})" for report in reports)
    return (
        f"no sandbox works on this machine, so no model-written code is run. Tried: {tried}. "
        "Use a host with user namespaces or Landlock (Linux 5.13 or newer), or leave out the "
        "coding tasks"
    )
