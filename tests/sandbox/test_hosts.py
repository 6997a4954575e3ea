"""Hosts that lack something get the tier that they can have, or the reason for none."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from peval.sandbox.canaries import ATTACKS, probe

from .conftest import HERE, TIERS

ROOT = HERE.parent.parent


@pytest.fixture(scope="module", autouse=True)
def both_tiers() -> None:
    for tier in TIERS:
        if problems := probe(tier).problems:
            pytest.skip(f"this machine has no tier {tier}: {problems[0]}")


def found_on(*lacks: str, python: str = sys.executable, before: tuple[str, ...] = ()) -> Any:
    """What a host finds that lacks `lacks`."""
    command = [*before, python, str(HERE / "simulated_host.py"), *lacks]
    environment = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "TMPDIR": "/tmp"}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    run = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_a_host_without_user_namespaces_gets_landlock() -> None:
    assert found_on("unshare")["tier"] == "landlock"


def test_a_host_without_landlock_gets_namespaces() -> None:
    found = found_on("landlock")
    assert (found["tier"], found["abi"]) == ("namespaces", 0)


def test_a_host_without_both_is_refused_with_what_is_missing() -> None:
    found = found_on("unshare", "landlock")
    assert found["tier"] is None
    assert found["refusal"].startswith("no sandbox works on this machine")
    assert "unshare" in found["refusal"]
    assert "Landlock: this kernel has none" in found["refusal"]


def test_the_oldest_landlock_holds() -> None:
    found = found_on("unshare", "abi1", "corpus")
    assert (found["tier"], found["abi"]) == ("landlock", 1)
    assert found["corpus"] == {"hostile": [], "honest": []}


def test_namespaces_hold_without_landlock() -> None:
    assert found_on("landlock", "corpus")["corpus"] == {"hostile": [], "honest": []}


def test_a_host_without_proc_gets_landlock() -> None:
    if os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("needs root and the unshare command to take /proc away")
    without = ("unshare", "-m", "sh", "-c", 'umount -l /proc && exec "$@"', "sh")
    assert found_on(before=without)["tier"] == "landlock"


@pytest.mark.parametrize("lacks", [(), ("unshare",)], ids=["namespaces", "landlock"])
def test_an_ordinary_user_is_as_safe(lacks: tuple[str, ...], tmp_path: Path) -> None:
    python = reachable_python()
    if os.geteuid() == 0 and python is None:
        pytest.skip("no Python 3.11 that an ordinary user can run")
    user = ("user",) if os.geteuid() == 0 else ()
    found = found_on(*lacks, *user, "corpus", python=python or sys.executable)
    assert found["tier"] == ("landlock" if lacks else "namespaces")
    assert found["corpus"] == {"hostile": [], "honest": []}


def reachable_python() -> str | None:
    for name in ("/usr/bin/python3", "/usr/local/bin/python3"):
        if Path(name).exists():
            shown = subprocess.run([name, "-V"], capture_output=True, text=True, check=True)
            if tuple(map(int, shown.stdout.split()[1].split(".")[:2])) >= (3, 11):
                return name
    return None


def test_a_hole_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A canary that gets through is reported: here one that nothing forbids."""
    monkeypatch.setitem(ATTACKS, "add two numbers", "return str(1 + 1)")
    assert probe("namespaces").problems == ("a program could add two numbers",)
