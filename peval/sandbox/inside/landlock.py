"""Landlock: no file but those granted, no TCP, no signal and no abstract socket outside.

Numbers from the kernel's ``include/uapi/linux/landlock.h``; the same on every architecture.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable

from . import kernel

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
CREATE_RULESET_VERSION = 1
RULE_PATH_BENEATH = 1

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
# How many file rights each ABI version knows, from the lowest bit on.
N_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
FILE_RIGHTS = EXECUTE | WRITE_FILE | READ_FILE | 1 << 14 | 1 << 15
NET_BIND_AND_CONNECT = 3
SCOPE_ABSTRACT_SOCKET_AND_SIGNAL = 3

Grant = tuple[str, int]


def abi() -> int:
    """Return the version of Landlock that this kernel offers, 0 for none."""
    try:
        return kernel.call(CREATE_RULESET, "landlock", None, 0, CREATE_RULESET_VERSION)
    except OSError:
        return 0


def _all_rights(version: int) -> int:
    return (1 << N_RIGHTS.get(version, 16)) - 1


def ruleset(grants: Iterable[Grant], version: int) -> int:
    """Return a descriptor of the rules that allow `grants`, (path, rights) each, and no more."""
    handled = _all_rights(version)
    net = NET_BIND_AND_CONNECT if version >= 4 else 0
    scoped = SCOPE_ABSTRACT_SOCKET_AND_SIGNAL if version >= 6 else 0
    words = (handled, net, scoped)[: 1 + (version >= 4) + (version >= 6)]
    attributes = ctypes.create_string_buffer(struct.pack(f"={len(words)}Q", *words))
    size = 8 * len(words)
    rules = kernel.call(CREATE_RULESET, "landlock_create_ruleset", attributes, size, 0)
    for path, rights in grants:
        _allow(rules, path, rights & handled)
    return rules


def _allow(rules: int, path: str, rights: int) -> None:
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not os.path.isdir(path):  # noqa: PTH112 - pathlib is not worth its import here
            rights &= FILE_RIGHTS
        beneath = ctypes.create_string_buffer(struct.pack("=Qi", rights, place))
        kernel.call(ADD_RULE, "landlock_add_rule", rules, RULE_PATH_BENEATH, beneath, 0)
    finally:
        os.close(place)


def everything_but_execute(version: int) -> int:
    """Return every right to files except running them."""
    return _all_rights(version) & ~EXECUTE


def restrict(rules: int) -> None:
    """Bind this process to the rules; `no_new_privs` must be set."""
    kernel.call(RESTRICT_SELF, "landlock_restrict_self", rules, 0)
