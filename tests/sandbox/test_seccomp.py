"""The filter's numbers against the kernel's own headers, where they are installed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from peval.sandbox.inside.seccomp import ALWAYS, MISSING, program
from peval.sandbox.inside.syscall_numbers import NUMBERS

HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
FORBIDDEN = """
    fork vfork execve execveat socket connect bind listen accept accept4 sendmsg recvmsg ptrace
    process_vm_readv process_vm_writev chmod fchmod fchmodat chown fchown lchown fchownat
    truncate utimensat setxattr mount umount2 pivot_root chroot unshare setns bpf io_uring_setup
    keyctl add_key memfd_create shmget semget msgget mq_open perf_event_open userfaultfd mknod
    mknodat tkill rt_sigqueueinfo rt_tgsigqueueinfo setuid setgid setresuid capset
    sched_setaffinity setpriority ioprio_set personality pidfd_open pidfd_getfd
    pidfd_send_signal openat2 open_by_handle_at name_to_handle_at kcmp process_madvise seccomp
""".split()  # noqa: SIM905


def header_numbers(text: str) -> dict[str, int]:
    found = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", text)
    return {name: int(number) for name, number in found}


@pytest.mark.parametrize("machine", HEADERS)
def test_numbers_are_the_kernels(machine: str) -> None:
    if not HEADERS[machine].exists():
        pytest.skip("no kernel headers here")
    kernel = header_numbers(HEADERS[machine].read_text())
    # The generic table calls it fstatat.
    kernel.setdefault("newfstatat", kernel.get("fstatat", -1))
    assert {name: kernel[name] for name in NUMBERS[machine]} == NUMBERS[machine]


@pytest.mark.parametrize("machine", HEADERS)
def test_the_filter_fits_and_its_jumps_are_short(machine: str) -> None:
    instructions = program(machine, 1)
    assert len(instructions) < 4096
    assert {len(instruction) for instruction in instructions} == {8}


def test_nothing_dangerous_is_allowed_unconditionally() -> None:
    assert not set(FORBIDDEN) & set(ALWAYS)
    assert "openat2" in MISSING
