"""The wheel holds what the checkout holds: a user installs nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

from scripted import ROOT


def test_the_wheel_lists_its_tasks_on_its_own(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    assert {"peval/results.schema.json", "peval/tasks/superni.yaml"} <= set(names)
    assert "peval/tasks/tulu/mmlu_subjects.json" in names
    assert {"peval/report/page.css", "peval/report/page.js"} <= set(names)
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"peval"}
    listed = subprocess.run(
        [sys.executable, "-c", "from peval.cli import main; main(['tasks'])"],
        env=os.environ | {"PYTHONPATH": str(tmp_path / "site"), "PYTHONSAFEPATH": "1"},
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "superni-in-task" in listed.stdout
