from __future__ import annotations

from pathlib import Path

import pytest

from peval import catalog
from peval.errors import RunError
from peval.rundir import PLANNED, RunDir, adapter_of, record, task_of, write_text
from peval.types import Adapter

CONFIG = {"base": "x", "seed": 0, "tasks": {"t": (1, 2)}}


def test_the_same_configuration_may_come_back(tmp_path: Path) -> None:
    rundir = RunDir(tmp_path / "a" / "run")
    assert not rundir.claim(CONFIG)
    rundir.write_manifest({"config": CONFIG, PLANNED: {}})
    assert rundir.claim(CONFIG)
    assert rundir.read_manifest()["config"]["seed"] == 0


def test_another_configuration_is_refused_with_what_differs(tmp_path: Path) -> None:
    rundir = RunDir(tmp_path)
    rundir.write_manifest({"config": CONFIG, PLANNED: {}})
    with pytest.raises(RunError, match=r"differs in base, seed\).*--out.*--reuse"):
        rundir.claim(CONFIG | {"base": "y", "seed": 1})


def test_a_run_that_stopped_before_its_plan_holds_nothing_to_lose(tmp_path: Path) -> None:
    rundir = RunDir(tmp_path)
    rundir.write_manifest({"config": CONFIG})
    assert not rundir.claim(CONFIG | {"seed": 1})


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RunError, match=r"other files \(thesis.tex\)"):
        RunDir(tmp_path).claim(CONFIG)


def test_a_file_is_no_run_directory(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(RunError, match="choose another --out"):
        RunDir(path).claim(CONFIG)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is this a peval run"),
        ("{", "not readable as JSON"),
        ('{"manifest_version": 99}', "version 99; this peval reads 1"),
    ],
)
def test_unreadable_manifests_are_one_line_errors(
    tmp_path: Path, content: str | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(RunError, match=message):
        RunDir(tmp_path).read_manifest()


def test_records_come_back_as_they_were() -> None:
    task = catalog.load_task("superni")
    adapter = Adapter("n", Path("p"), "a" * 64, "LoRA", 8, ("q", "v"), None, True)
    assert task_of(record(task) | {"n_samples": 3}) == task
    assert adapter_of(record(adapter)) == adapter


def test_a_failed_write_leaves_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.md"
    path.write_text("old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RunError, match=r"report\.md: cannot be written \(No space.*goes on"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["report.md"]
