"""What a program may read: Python's standard library, shared libraries, and zones of time.

Installed packages are left out: benchmarks' tests and solutions may lie among them.
"""

from __future__ import annotations

import os
import sysconfig
from glob import glob

STDLIB = sysconfig.get_path("stdlib")
ZONES = "/usr/share/zoneinfo"
_MULTIARCH = sysconfig.get_config_var("MULTIARCH") or "none"


def readable() -> list[str]:
    """Return the directories and files that are granted, hidden parts not yet taken out."""
    platstdlib = sysconfig.get_path(
        "platstdlib", vars={"platbase": sysconfig.get_config_var("exec_prefix")}
    )
    libraries = [f"/lib/{_MULTIARCH}", f"/usr/lib/{_MULTIARCH}", "/lib64", "/usr/lib64"]
    found = {os.path.realpath(path) for path in (STDLIB, platstdlib, *libraries, ZONES)}
    return sorted(path for path in found if os.path.isdir(path))  # noqa: PTH112


def hidden(path: str) -> list[str]:
    """Return the directories beneath `path` that are not granted."""
    if path == os.path.realpath(STDLIB):
        names = ["site-packages", "dist-packages", "test", "idlelib", "config-*"]
    else:
        names = ["python*"]
    return sorted(found for name in names for found in glob(f"{path}/{name}"))  # noqa: PTH207


def pieces(path: str) -> list[str]:
    """Return what `path` holds without its hidden parts; `path` itself where it has none."""
    out = set(hidden(path))
    if not out:
        return [path]
    return [entry.path for entry in os.scandir(path) if entry.path not in out]
