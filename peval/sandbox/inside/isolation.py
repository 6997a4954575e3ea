"""Putting one process behind every layer that a tier has; what fails raises OSError."""

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

    `own` is a pidfd of the supervisor; `rules` are Landlock's, for processes that write to
    `scratch` and for those that do not. Where each program has its own `scratch` there are none
    yet.
    """

    name: str
    abi: int
    scratch: str
    own: int = -1
    rules: tuple[int, int] | None = None


def prepare(name: str, workplace: str) -> Tier:
    """Isolate the supervisor as far as the tier does, and say how to isolate programs."""
    version = landlock.abi()
    if name == NAMESPACES:
        namespaces.enter(workplace)
        return Tier(name, version, namespaces.SCRATCH, os.pidfd_open(os.getpid()))
    if name == NO_SANDBOX:
        return Tier(name, 0, workplace)
    if not version:
        raise OSError("Landlock: this kernel has none, or a container hides it")
    tier = Tier(name, version, workplace)
    rules = [landlock.ruleset(_grants(tier, writes), version) for writes in (False, True)]
    return tier._replace(rules=(rules[False], rules[True]))


def fork(tier: Tier) -> int:
    """Fork, into a process namespace of its own where the tier has one."""
    return namespaces.fork(tier.own) if tier.name == NAMESPACES else os.fork()


def confine(tier: Tier, kept: list[socket.socket], limits: Mapping[str, int], writes: bool) -> None:
    """Confine this process for good: nothing untrusted has run in it yet."""
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    os.setsid()
    if tier.name == NAMESPACES and writes:
        namespaces.mount_scratch()
    os.chdir(tier.scratch if writes else "/")
    rules = _rules(tier, writes)
    _close_all_but({sock.fileno() for sock in kept} | ({rules} if rules is not None else set()))
    _limit(limits)
    if tier.name == NO_SANDBOX:
        return
    kernel.drop_capabilities()
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    if rules is not None:
        landlock.restrict(rules)
        os.close(rules)
    seccomp.restrict()


def _rules(tier: Tier, writes: bool) -> int | None:
    if tier.rules:
        return tier.rules[writes]
    return landlock.ruleset(_grants(tier, writes), tier.abi) if tier.abi else None


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


def _close_all_but(kept: set[int]) -> None:
    null = os.open("/dev/null", os.O_RDWR)
    for standard in range(3):
        os.dup2(null, standard)
    low = 3
    for descriptor in sorted(kept):
        os.closerange(low, descriptor)
        low = descriptor + 1
    os.closerange(low, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _limit(limits: Mapping[str, int]) -> None:
    # The first process of a namespace ignores SIGXCPU, so soft and hard limit are the same.
    values = {
        resource.RLIMIT_AS: limits["memory_bytes"],
        resource.RLIMIT_CPU: limits["cpu_s"],
        resource.RLIMIT_FSIZE: MAX_FILE_BYTES,
        resource.RLIMIT_NOFILE: MAX_DESCRIPTORS,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
    }
    for kind, value in values.items():
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))
