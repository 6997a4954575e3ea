"""`peval doctor`: what this machine can run, and what to do about each gap."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from peval import catalog, datasets
from peval.errors import PevalError
from peval.installed import versions

IMPORT_TIMEOUT_S = 180
HUB_TIMEOUT_S = 3

ENGINES = (
    ("vllm", "vllm", 'pip install "peval[gpu]" (CUDA) or "peval[cpu]"'),
    ("hf", "peft", 'pip install "peval[hf]"'),
)

Check = dict[str, Any]
"""name; ok (None: for information only); found; do (what to do, empty where all is well)."""


def examine(data_dir: str | None) -> list[Check]:
    """Return every check with its finding; starts no engine, but imports what they need."""
    with ThreadPoolExecutor() as threads:  # each waits for a process that imports for seconds
        engines = list(threads.map(_engine, *zip(*ENGINES, strict=True)))
    return [_versions(), *engines, _devices(), _data(data_dir), _hub()]


def text(checks: list[Check]) -> str:
    """Return the checks as a person reads them."""
    marks = {True: "ok     ", False: "missing", None: "       "}
    lines = []
    for check in checks:
        lines.append(f"{marks[check['ok']]}  {check['name']:<14} {check['found']}")
        if check["do"]:
            lines.append(f"{'':<9}{'':<14} -> {check['do']}")
    return "\n".join(lines)


def _check(name: str, ok: bool | None, found: str, do: str = "") -> Check:
    return {"name": name, "ok": ok, "found": found, "do": "" if ok else do}


def _versions() -> Check:
    return _check("versions", None, ", ".join(f"{k} {v}" for k, v in versions().items()))


def _engine(name: str, module: str, install: str) -> Check:
    """Import an engine's package in a process of its own: only that shows that it can start."""
    label = f"engine {name}"
    if find_spec(module) is None:
        return _check(label, False, f"the package {module} is not installed", install)
    command = [sys.executable, "-c", f"import {module}; print({module}.__version__)"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=IMPORT_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return _check(label, False, f"importing {module} took over {IMPORT_TIMEOUT_S} s", install)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return _check(label, False, f"{module} cannot be imported: {reason}", install)
    return _check(label, True, f"{module} {done.stdout.strip().splitlines()[-1]}")


def _devices() -> Check:
    cores = len(os.sched_getaffinity(0))
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    found = f"{cores} CPU cores, {memory_gib:.0f} GiB"
    if shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
        listed = subprocess.run(query, capture_output=True, text=True, timeout=30).stdout
        found = "; ".join([*listed.strip().splitlines(), found])
    return _check("devices", None, found)


def _data(data_dir: str | None) -> Check:
    task = catalog.load_task("superni")
    try:
        dataset = datasets.read(task, Path(data_dir) if data_dir else None)
    except PevalError as error:
        return _check("data", False, "no Super-NaturalInstructions", str(error))
    n_found = len({sample.cluster for sample in dataset.samples})
    where = dataset.files[0].parent if dataset.files else data_dir
    of = f" of {n_found + len(dataset.absent)}" if dataset.absent else ""
    return _check("data", True, f"{n_found}{of} held-out Super-NaturalInstructions tasks, {where}")


def _hub() -> Check:
    """Knock at the hub's door without asking for anything."""
    from huggingface_hub import constants

    advice = "give local paths, or copy what you need into HF_HOME from a connected machine"
    if constants.HF_HUB_OFFLINE:
        return _check("hub", False, "offline by HF_HUB_OFFLINE", advice)
    address = urlsplit(constants.ENDPOINT)
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        socket.create_connection((address.hostname or "", port), HUB_TIMEOUT_S).close()
    except OSError as error:
        return _check("hub", False, f"not reachable ({error.strerror or error})", advice)
    return _check("hub", True, "reachable")
