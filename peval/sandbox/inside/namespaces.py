"""Namespaces: an empty root of its own, no network, and process numbers of its own.

The supervisor enters them once, with a small file system to write to, which it empties after each
program. Programs cannot start processes, so one process namespace serves all of a worker's; it
ends with its first process, the supervisor, and takes everything along.
"""

from __future__ import annotations

import os
import signal

from . import kernel
from .readable import hidden, readable

SCRATCH = "/tmp"
SCRATCH_OPTIONS = "size=64m,nr_inodes=4096,mode=700"

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_NOATIME, MS_NODIRATIME = 32, 1024, 2048
MS_BIND, MS_REC, MS_PRIVATE, MS_RELATIME = 4096, 16384, 1 << 18, 1 << 21
# statvfs flags that a bind mount of another user's mount has to keep.
KEPT = {2: MS_NOSUID, 4: MS_NODEV, 8: MS_NOEXEC, 1024: MS_NOATIME, 2048: MS_NODIRATIME}

SHARED = kernel.CLONE_NEWNS | kernel.CLONE_NEWNET | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS


def enter(workplace: str) -> None:
    """Put this process into namespaces of its own with an almost empty root.

    It returns in a new process, the first of its process namespace; the old one waits for it.
    """
    _unshare()
    _become_first()
    kernel.mount("none", "/", None, MS_REC | MS_PRIVATE)
    _new_root(workplace)


def _unshare() -> None:
    uid, gid = os.geteuid(), os.getegid()
    try:
        kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWPID | SHARED)
    except PermissionError:
        # A container may refuse user namespaces to a root that can do without them.
        kernel.unshare(kernel.CLONE_NEWPID | SHARED)
        return
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{uid} {uid} 1")
    _write("/proc/self/gid_map", f"{gid} {gid} 1")


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:  # noqa: PTH123
        file.write(text)


def _become_first() -> None:
    pid = os.fork()
    if pid == 0:
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        return
    # Only the child may hold the descriptors: their closing tells that it is gone.
    os.closerange(0, 256)
    _, status = os.waitpid(pid, 0)
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def _new_root(workplace: str) -> None:
    kernel.mount("none", workplace, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=755")
    for path in readable():
        _bind(path, workplace)
        for inner in hidden(path):
            kernel.mount("none", workplace + inner, "tmpfs", MS_RDONLY, "size=4k,mode=000")
    _links(workplace)
    _bind_null(workplace)
    os.makedirs(workplace + SCRATCH, exist_ok=True)  # noqa: PTH103
    os.mkdir(workplace + "/.old")  # noqa: PTH102
    kernel.pivot_root(workplace, workplace + "/.old")
    os.chdir("/")
    kernel.umount("/.old")
    os.rmdir("/.old")  # noqa: PTH106
    kernel.mount("none", "/", None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)
    kernel.mount("none", SCRATCH, "tmpfs", MS_NOSUID | MS_NODEV, SCRATCH_OPTIONS)


def _bind(path: str, root: str) -> None:
    target = root + path
    os.makedirs(target, exist_ok=True)  # noqa: PTH103
    kernel.mount(path, target, None, MS_BIND | MS_REC)
    flags = os.statvfs(target).f_flag
    kept = sum(flag for bit, flag in KEPT.items() if flags & bit)
    relatime = MS_RELATIME if flags & 4096 else 0
    fixed = MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV
    kernel.mount("none", target, None, fixed | kept | relatime)


def _bind_null(root: str) -> None:
    os.mkdir(root + "/dev")  # noqa: PTH102
    os.close(os.open(root + "/dev/null", os.O_CREAT | os.O_WRONLY))
    kernel.mount("/dev/null", root + "/dev/null", None, MS_BIND)


def _links(root: str) -> None:
    """Repeat links such as /lib -> usr/lib, by which libraries are looked up."""
    for name in ("/lib", "/lib64"):
        if os.path.islink(name) and not os.path.lexists(root + name):  # noqa: PTH114
            os.symlink(os.readlink(name), root + name)  # noqa: PTH115, PTH211
