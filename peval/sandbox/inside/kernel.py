"""System calls that Python does not offer, through libc."""

from __future__ import annotations

import ctypes
import os
import platform

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_NO_NEW_PRIVS = 38

CAPABILITY_VERSION_3 = 0x20080522
NUMBERS = {
    "x86_64": {"pivot_root": 155, "capset": 126, "seccomp": 317},
    "aarch64": {"pivot_root": 41, "capset": 91, "seccomp": 277},
}

_libc = ctypes.CDLL(None, use_errno=True)
_prctl = _libc.prctl
# Told once: a forked process that converts arguments anew touches, and so copies, many more pages.
_prctl.argtypes = [ctypes.c_int, *4 * [ctypes.c_ulong]]
_seccomp = _libc["syscall"]
_seccomp.argtypes = [*3 * [ctypes.c_long], ctypes.c_void_p]
SET_MODE_FILTER = 1


MACHINE = platform.machine()
"""The processor's architecture."""


def _checked(result: int, what: str) -> int:
    if result < 0:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno), what)
    return result


def call(number: int, what: str, *arguments: object) -> int:
    """Make a system call by number; an OSError names `what`."""
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return _checked(_libc.syscall(ctypes.c_long(number), *words), what)


def prctl(option: int, value: int) -> None:
    """Set an attribute of this process."""
    _checked(_prctl(option, value, 0, 0, 0), f"prctl({option})")


def install_filter(header: int) -> None:
    """Install the seccomp filter whose header (`struct sock_fprog`) is at this address."""
    number = NUMBERS[MACHINE]["seccomp"]
    _checked(_seccomp(number, SET_MODE_FILTER, 0, header), "seccomp")


def unshare(flags: int) -> None:
    """Leave the namespaces that `flags` name."""
    _checked(_libc.unshare(flags), "unshare")


def mount(source: str, target: str, kind: str | None, flags: int, data: str = "") -> None:
    """Mount a file system."""
    fields = [os.fsencode(text) if text is not None else None for text in (source, target, kind)]
    result = _libc.mount(*fields, ctypes.c_ulong(flags), data.encode() or None)
    _checked(result, f"mount {target}")


def umount(target: str) -> None:
    """Detach a file system."""
    _checked(_libc.umount2(os.fsencode(target), 2), f"umount {target}")


def pivot_root(new: str, old: str) -> None:
    """Make `new` the root; the old one appears at `old`."""
    call(NUMBERS[MACHINE]["pivot_root"], "pivot_root", os.fsencode(new), os.fsencode(old))


def drop_capabilities() -> None:
    """Give up every privilege of root."""
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    call(NUMBERS[MACHINE]["capset"], "capset", ctypes.byref(header), (ctypes.c_uint32 * 6)())
