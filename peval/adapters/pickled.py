"""Pickled weights, on request: read once in a process of its own, written again as safetensors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from peval.adapters.links import check_links
from peval.adapters.weights import (
    BOTTLENECKS_FILE,
    HEAD_FILE,
    PICKLED_BOTTLENECKS,
    PICKLED_FILES,
    PICKLED_HEAD,
    WEIGHTS_FILE,
)
from peval.errors import AdapterError
from peval.strict_json import show

_LIMIT_S = 120.0
# torch before 2.10 let crafted files past weights_only (CVE-2025-32434, CVE-2026-24747).
_CHILD = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (1 << 35, 1 << 35))
import torch
from safetensors.torch import save_file
def stop(why): print(why); sys.exit(0)
version = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
if version < (2, 10): stop(f"torch {torch.__version__} reads pickles unsafely; 2.10 is needed")
try:
    found = torch.load(sys.argv[1], weights_only=True, map_location="cpu")
except Exception as fault:
    stop(f"holds more than weights, or is broken ({type(fault).__name__})")
if not (isinstance(found, dict) and found and all(
        isinstance(n, str) and isinstance(t, torch.Tensor) for n, t in found.items())):
    stop("is not a table of named tensors")
save_file({n: t.detach().clone().contiguous() for n, t in found.items()}, sys.argv[2])
"""


_FORMS = {
    WEIGHTS_FILE: PICKLED_FILES,
    BOTTLENECKS_FILE: (PICKLED_BOTTLENECKS,),
    HEAD_FILE: (PICKLED_HEAD,),
}


def convert_pickles(directory: Path) -> list[Path]:
    """Write an adapter's pickled weights as safetensors beside them, where it has no others.

    Returns
    -------
    list of Path
        The new files.

    Raises
    ------
    AdapterError
        A file holds anything but tensors.
    """
    made = []
    for name, pickled in _FORMS.items():
        old = next((directory / n for n in pickled if (directory / n).is_file()), None)
        if old is not None and not (directory / name).exists():
            check_links(directory)
            made.append(_convert(old, directory / name))
    return made


def _convert(old: Path, new: Path) -> Path:
    part = new.with_name(f".{new.name}.part")
    try:
        child = subprocess.run(
            [sys.executable, "-I", "-c", _CHILD, str(old), str(part)],
            capture_output=True, timeout=_LIMIT_S, env={}, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise AdapterError(f"{old}: not read within {_LIMIT_S:g} s") from None
    why = child.stdout.decode("utf-8", "replace").strip()
    if why or child.returncode:
        part.unlink(missing_ok=True)
        raise AdapterError(f"{old}: {show(why or 'could not be converted')[1:-1]}")
    return part.rename(new)
