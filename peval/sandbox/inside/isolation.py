"""Putting processes behind every layer that a tier has; what fails raises OSError."""

from __future__ import annotations

import os
import resource
import signal
import socket
from collections.abc import Mapping
from typing import NamedTuple

from . import kernel, landlock, namespaces, seccomp
from .readable import pieces, readable

NAMESPACES, LANDLOCK = "namespaces", "landlock"
NO_SANDBOX = "none"  # limits on resources, and nothing else
MAX_FILE_BYTES = 16 * 2**20
MAX_DESCRIPTORS = 128


class Tier(NamedTuple):
    """How programs are isolated here.

    `rules` are Landlock's, where there is any: for processes
    that do not write to `scratch`, and for those that do.
    """

    name: str
    abi: int
    scratch: str
    rules: tuple[int, int] | None = None


def prepare(name: str, workplace: str) -> Tier:
    """Isolate the supervisor as far as the tier does, and say how to isolate programs."""
    version = landlock.abi()
    if name != NO_SANDBOX:
        seccomp.prepare()
    if name == NAMESPACES:
        namespaces.enter(workplace)
        tier = Tier(name, version, namespaces.SCRATCH)
    else:
        tier = Tier(name, version, workplace)
    if name == NO_SANDBOX or (name == NAMESPACES and not version):
        return tier
    if not version:
        raise OSError("Landlock: this kernel has none, or a container hides it")
    rules = [landlock.ruleset(_grants(tier, writes), version) for writes in (False, True)]
    return tier._replace(rules=(rules[False], rules[True]))


def shelter(tier: Tier, kept: list[socket.socket], limits: Mapping[str, int], writes: bool) -> None:
    """Put this process behind every layer that its children inherit.

    Parameters
    ----------
    kept
        What stays open.
    limits
        `memory_bytes`.
    writes
        Whether it may write to the tier's scratch directory: programs may, tests may not.
    """
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    os.chdir(tier.scratch if writes else "/")
    rules = tier.rules[writes] if tier.rules else None
    _close_all_but({sock.fileno() for sock in kept} | ({rules} if rules is not None else set()))
    _limit({resource.RLIMIT_AS: limits["memory_bytes"], **FIXED_LIMITS})
    if tier.name == NO_SANDBOX:
        return
    kernel.drop_capabilities()
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    if rules is not None:
        landlock.restrict(rules)
        os.close(rules)


def confine(tier: Tier, cpu_s: int, more_calls: tuple[str, ...] = ()) -> None:
    """Add to a sheltered process what is its own, for good: nothing untrusted has run in it yet."""
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    os.setsid()
    _limit({resource.RLIMIT_CPU: cpu_s})
    if tier.name != NO_SANDBOX:
        seccomp.restrict(more_calls)


def _grants(tier: Tier, writes: bool) -> list[landlock.Grant]:
    read = landlock.READ_FILE | landlock.READ_DIR
    grants = [(tier.scratch, landlock.everything_but_execute(tier.abi))] if writes else []
    if tier.name == NAMESPACES:
        # The root holds nothing else than what may be read.
        return [*grants, ("/", read), ("/dev/null", landlock.WRITE_FILE)]
    grants.append(("/dev/null", landlock.READ_FILE | landlock.WRITE_FILE))
    for path in readable():
        grants.append((path, landlock.READ_DIR))
        grants += [(piece, read) for piece in pieces(path)]
    return grants


def silence() -> None:
    """Point standard input, output and error at nothing, for this process and what it forks."""
    null = os.open("/dev/null", os.O_RDWR)
    for standard in range(3):
        os.dup2(null, standard)
    os.close(null)


def _close_all_but(kept: set[int]) -> None:
    low = 3
    for descriptor in sorted(kept):
        os.closerange(low, descriptor)
        low = descriptor + 1
    os.closerange(low, MOST_DESCRIPTORS)


def _limit(values: Mapping[int, int]) -> None:
    # At the hard limit nothing can be caught, so soft and hard are the same.
    for kind, value in values.items():
        if kind in HARD_LIMITS:
            value = min(value, HARD_LIMITS[kind])
        resource.setrlimit(kind, (value, value))


FIXED_LIMITS = {
    resource.RLIMIT_FSIZE: MAX_FILE_BYTES,
    resource.RLIMIT_NOFILE: MAX_DESCRIPTORS,
    resource.RLIMIT_CORE: 0,
    resource.RLIMIT_MEMLOCK: 0,
    resource.RLIMIT_MSGQUEUE: 0,
}
# Looked up once, before any fork: each page that a forked process touches costs it.
HARD_LIMITS = {
    kind: hard
    for kind in (resource.RLIMIT_AS, resource.RLIMIT_CPU, *FIXED_LIMITS)
    if (hard := resource.getrlimit(kind)[1]) != resource.RLIM_INFINITY
}
MOST_DESCRIPTORS = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
