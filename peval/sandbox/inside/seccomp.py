"""A seccomp filter: the system calls that an ordinary program needs, and no others.

It has no way to start a process, to run another program, to open a socket, to reach another
process, or to change a file's owner or mode. Another ABI than the native one is killed.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from functools import cache

from . import kernel
from .syscall_numbers import NUMBERS

ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
X32_BIT = 0x40000000

ALLOW = 0x7FFF0000
KILL_PROCESS = 0x80000000
ERRNO = 0x00050000

LOAD, JUMP_EQUAL, JUMP_GREATER_EQUAL, JUMP_SET, AND, RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
NR_OFFSET, ARCH_OFFSET, ARGUMENTS_OFFSET = 0, 4, 16

INSTRUCTION_BYTES = 8
ANY_PID = 0x7E57AB1D  # stands for a number that no process has
FOR_TESTS = ("recvmsg",)  # their process is handed sockets

Segment = tuple[int, list[bytes]]

CLONE_THREAD = 0x00010000
AF_UNIX = 1
SOCK_STREAM, SOCK_TYPE_MASK = 1, 0xF

# F_DUPFD .. F_SETFL, record locks, F_DUPFD_CLOEXEC, F_GETPIPE_SZ. Not F_SETOWN, F_SETSIG: signals.
FCNTL = (0, 1, 2, 3, 4, 5, 6, 7, 1030, 1032)
# TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX.
IOCTL = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
# PR_SET_NAME, PR_GET_NAME, PR_SET_VMA (malloc names its arenas).
PRCTL = (15, 16, 0x53564D41)

ALWAYS = """
    read write close fstat stat lstat newfstatat statx lseek mmap mprotect munmap brk mremap madvise
    msync mincore poll ppoll select pselect6 pread64 pwrite64 readv writev access faccessat
    faccessat2 pipe pipe2 dup dup2 dup3 sched_yield pause nanosleep clock_nanosleep clock_gettime
    clock_getres gettimeofday time times getitimer setitimer alarm getpid getppid gettid getuid
    geteuid getgid getegid getresuid getresgid getgroups getpgrp getpgid getsid uname fsync
    fdatasync ftruncate getcwd chdir fchdir rename renameat renameat2 mkdir mkdirat rmdir creat link
    linkat unlink unlinkat symlink symlinkat readlink readlinkat umask getrlimit getrusage sysinfo
    sigaltstack statfs fstatfs arch_prctl futex set_tid_address set_robust_list restart_syscall rseq
    membarrier sched_getaffinity getcpu epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait
    eventfd eventfd2 exit exit_group open openat getdents64 rt_sigaction rt_sigprocmask rt_sigreturn
    rt_sigpending rt_sigsuspend rt_sigtimedwait getrandom sendfile copy_file_range flock
    fadvise64 sendto recvfrom shutdown getsockopt getsockname getpeername close_range preadv pwritev
""".split()  # noqa: SIM905
# Callers fall back when these are missing, and only then.
MISSING = ("clone3", "openat2", "futex_waitv")


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _action(value: int) -> bytes:
    return _instruction(RETURN, value)


def _argument(index: int) -> bytes:
    return _instruction(LOAD, ARGUMENTS_OFFSET + 8 * index)


def _one_of(index: int, values: tuple[int, ...]) -> list[bytes]:
    """Allow when an argument is one of `values`, else refuse."""
    code = [_argument(index)]
    for value in values:
        code += [_instruction(JUMP_EQUAL, value, 0, 1), _action(ALLOW)]
    return [*code, _action(ERRNO | errno.EPERM)]


def _with_flag(index: int, flag: int) -> list[bytes]:
    refuse = _action(ERRNO | errno.EPERM)
    return [_argument(index), _instruction(JUMP_SET, flag, 0, 1), _action(ALLOW), refuse]


def _stream_pair() -> list[bytes]:
    """Allow socketpair for UNIX streams; a datagram socket could send to any path."""
    refuse = _action(ERRNO | errno.EPERM)
    return [
        _argument(0),
        _instruction(JUMP_EQUAL, AF_UNIX, 1, 0),
        refuse,
        _argument(1),
        _instruction(AND, SOCK_TYPE_MASK),
        _instruction(JUMP_EQUAL, SOCK_STREAM, 0, 1),
        _action(ALLOW),
        refuse,
    ]


def _special(pid: int) -> dict[str, list[bytes]]:
    return {
        "clone": _with_flag(0, CLONE_THREAD),
        "kill": _one_of(0, (pid,)),
        "tgkill": _one_of(0, (pid,)),
        "prlimit64": _one_of(0, (0, pid)),
        "fcntl": _one_of(1, FCNTL),
        "ioctl": _one_of(1, IOCTL),
        "prctl": _one_of(0, PRCTL),
        "socketpair": _stream_pair(),
    }


def program(machine: str, pid: int, more: tuple[str, ...] = ()) -> list[bytes]:
    """Return the filter's instructions for a process with number `pid`; `more` is allowed too."""
    return [
        _instruction(LOAD, ARCH_OFFSET),
        _instruction(JUMP_EQUAL, ARCH[machine], 1, 0),
        _action(KILL_PROCESS),
        _instruction(LOAD, NR_OFFSET),
        *_tree(_segments(machine, pid, more)),
    ]


def _segments(machine: str, pid: int, more: tuple[str, ...]) -> list[Segment]:
    """Return what is done from each system call's number on, until the next segment."""
    numbers = NUMBERS[machine]
    bodies = {numbers[name]: [_action(ALLOW)] for name in (*ALWAYS, *more) if name in numbers}
    bodies |= {numbers[name]: [_action(ERRNO | errno.ENOSYS)] for name in MISSING}
    bodies |= {numbers[name]: body for name, body in _special(pid).items()}
    refuse = [_action(ERRNO | errno.EPERM)]
    segments: list[Segment] = []
    for number in range(max(bodies) + 2):
        body = bodies.get(number, refuse)
        if not segments or segments[-1][1] != body:
            segments.append((number, body))
    return [*segments, (X32_BIT, [_action(KILL_PROCESS)])]


def _tree(segments: list[Segment]) -> list[bytes]:
    """Find the segment by halves: the kernel runs a new filter once for each system call."""
    if len(segments) == 1:
        return segments[0][1]
    middle = len(segments) // 2
    below, above = _tree(segments[:middle]), _tree(segments[middle:])
    return [_instruction(JUMP_GREATER_EQUAL, segments[middle][0], len(below), 0), *below, *above]


class Filter:
    """A filter ready to be installed but for the number of the process: forks write that alone."""

    def __init__(self, instructions: list[bytes]):
        code = b"".join(instructions)
        mark = struct.pack("=I", ANY_PID)
        starts = range(0, len(code), INSTRUCTION_BYTES)
        self.places = [at + 4 for at in starts if code[at + 4 : at + 8] == mark]
        self.code = ctypes.create_string_buffer(code)
        n = len(code) // INSTRUCTION_BYTES
        header = struct.pack("@HP", n, ctypes.addressof(self.code))
        self.header = ctypes.create_string_buffer(header)
        self.address = ctypes.addressof(self.header)

    def install(self, pid: int) -> None:
        """Bind this process, whose number is `pid`, for good; `no_new_privs` must be set."""
        for at in self.places:
            struct.pack_into("=I", self.code, at, pid)
        kernel.install_filter(self.address)


@cache
def _filter(more: tuple[str, ...]) -> Filter:
    return Filter(program(kernel.MACHINE, ANY_PID, more))


def prepare() -> None:
    """Make the filters now, so that forked processes need not."""
    _filter(())
    _filter(FOR_TESTS)


def restrict(more: tuple[str, ...] = ()) -> None:
    """Bind this process to the filter for ordinary programs; `more` is allowed too."""
    _filter(more).install(os.getpid())
