"""The examples in docstrings say what they say they print."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest
from scripted import ROOT, ScriptedEngine

import peval
from peval import execute

MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "peval").rglob("*.py")
    if ">>>" in path.read_text(encoding="utf-8")
)


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with the toy and a run of it, which the library's examples read."""
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(execute, "open_engine", lambda setup, progress: ScriptedEngine())
    peval.score(
        adapters=["tests/toy/adapters/generalist"], suite="superni",
        data_dir="tests/toy/data", limit=3, out="peval-runs/first",
    )  # fmt: skip


def run(module: str) -> doctest.TestResults:
    return doctest.testmod(
        importlib.import_module(module),
        optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS,
    )


@pytest.mark.parametrize("module", sorted({*MODULES} - {"peval.api", "peval.live"}))
def test_examples(module: str) -> None:
    found = run(module)
    assert not found.failed


@pytest.mark.usefixtures("toy")
def test_examples_of_the_library() -> None:
    for module in ("peval.api", "peval.live"):
        found = run(module)
        assert found.attempted
        assert not found.failed


@pytest.mark.parametrize("name", sorted({*peval.__all__} - {"Results", "__version__"}))
def test_each_function_of_the_library_has_an_example(name: str) -> None:
    assert ">>> " in (getattr(peval, name).__doc__ or "")
