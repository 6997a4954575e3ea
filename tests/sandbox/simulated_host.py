"""Run as a script: probe the tiers on a host that lacks something, and print what was found.

Arguments: what to deny (``unshare``, ``landlock``, ``abi1``), then ``user`` to give up root first,
then ``corpus`` to run the hostile and honest programs in the tier that was found.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from peval.sandbox import canaries, worker
from peval.sandbox.inside import kernel, landlock, seccomp
from peval.sandbox.inside.seccomp import ALLOW, ERRNO, JUMP_EQUAL, LOAD, RETURN
from peval.sandbox.programs import Limits, Program, Script
from peval.sandbox.worker import Worker

UNSHARE = {"x86_64": 272, "aarch64": 97}
DENIALS = {
    "unshare": ([UNSHARE[kernel.MACHINE]], errno.EPERM),
    "landlock": (
        [landlock.CREATE_RULESET, landlock.ADD_RULE, landlock.RESTRICT_SELF],
        errno.ENOSYS,
    ),
}
NOBODY = 65534


def deny(numbers: list[int], error: int) -> None:
    """Refuse system calls to this process and all below it."""
    code = [seccomp._instruction(LOAD, seccomp.NR_OFFSET)]
    for number in numbers:
        code.append(seccomp._instruction(JUMP_EQUAL, number, 0, 1))
        code.append(seccomp._instruction(RETURN, ERRNO | error))
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    seccomp.Filter([*code, seccomp._instruction(RETURN, ALLOW)]).install(os.getpid())


def pretend_abi_1() -> None:
    """Let supervisors believe in the oldest Landlock."""
    pretence = "from inside import landlock; landlock.abi = lambda: 1; from inside.supervisor"
    worker.START = worker.START.replace("from inside.supervisor", pretence)


def judge_corpus(tier: str) -> dict[str, list[str]]:
    """Return the hostile programs that passed or were our fault, and the honest that failed."""
    test = Script("add", "assert add(1, 2) == 3\nassert add('a', 'b') == 'ab'")
    out: dict[str, list[str]] = {"hostile": [], "honest": []}
    place = Path(tempfile.mkdtemp())
    secret, target = place / "secret", place / "target"
    secret.write_text("secret")
    aims = {"@PID@": os.getpid(), "@PORT@": 9, "@SECRET@": secret, "@TARGET@": target}
    with Worker(tier) as one:
        for name, found in out.items():
            text = (Path(__file__).parent / f"{name}.txt").read_text()
            for part in text.split("\n## "):
                heading, _, code = part.removeprefix("## ").partition("\n")
                if heading.startswith("exhaust/"):
                    continue
                for mark, value in aims.items():
                    code = code.replace(mark, str(value))
                verdict = one.judge(Program(heading, code, test, Limits(2, 6)))
                if verdict.passed == (name == "hostile") or verdict.status == "fault":
                    found.append(f"{heading} {verdict}")
    if target.exists() or secret.read_text() != "secret":
        out["hostile"].append("left or changed a file outside")
    shutil.rmtree(place)
    return out


def main(arguments: list[str]) -> None:
    if "user" in arguments:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    for name in DENIALS.keys() & arguments:
        deny(*DENIALS[name])
    if "abi1" in arguments:
        pretend_abi_1()
    tier, reports = canaries.strongest()
    found = {"tier": tier, "refusal": canaries.refusal(reports), "abi": reports[-1].landlock_abi}
    if tier and "corpus" in arguments:
        found["corpus"] = judge_corpus(tier)
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
