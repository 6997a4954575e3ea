"""Every command and every Python block in the documents is run, engines scripted."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from scripted import ROOT, ScriptedEngine

from peval import execute
from peval.cli import kebab, main
from peval.flags import parser

PAGES = (
    "README.md",
    "docs/adapters.md",
    "docs/lm-eval.md",
    "docs/low-resource.md",
    "docs/chat.md",
    "docs/tulu.md",
    "docs/coding.md",
    "docs/instruction.md",
    "docs/judges.md",
    "docs/memorization.md",
    "docs/runs.md",
    "docs/report.md",
    "docs/sweeps.md",
    "docs/statistics.md",
    "docs/decisions.md",
    "docs/exports.md",
    "docs/library.md",
    "docs/training.md",
    "docs/performance.md",
    "docs/own-data.md",
    "docs/offline.md",
    "docs/cli.md",
    "docs/api.md",
)
MAKE_TARGETS = {
    match[1] for match in re.finditer(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
}


def blocks(language: str) -> list[tuple[str, str]]:
    """Return (page, block) for every fenced block of a language, in order."""
    return [
        (page, block)
        for page in PAGES
        for block in re.findall(rf"```{language}\n(.*?)```", _text(page), re.DOTALL)
    ]


def _text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place that looks like the checkout, for runs to be written into."""
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(execute, "open_engine", lambda setup, progress: ScriptedEngine())
    return tmp_path


@pytest.mark.parametrize("page", PAGES)
def test_each_command_runs(page: str, checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # One place for all of a page's commands: later ones read what earlier ones wrote.
    if page == "README.md":
        assert any("peval score" in block for _, block in blocks("sh"))
    for _, block in [found for found in blocks("sh") if found[0] == page]:
        for line in block.replace("\\\n", " ").splitlines():
            program, *arguments = shlex.split(line, comments=True)
            if program == "peval":
                assert main(arguments) == 0, line
            else:
                assert program == "make", line
                assert arguments[0] in MAKE_TARGETS, line
    capsys.readouterr()


def test_each_console_command_has_known_flags() -> None:
    """Commands that need a GPU or the hub are at least parsed."""
    parsed = 0
    for _, block in blocks("console"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            if words[:1] == ["peval"]:
                parser().parse_args(kebab(words[1:]))
                parsed += 1
    assert parsed >= 2


def test_each_python_block_runs(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = blocks("python")
    assert found
    for page, block in found:
        exec(compile(block, page, "exec"), {})
    assert re.match(r"0\.\d+\n", capsys.readouterr().out)


def test_each_link_leads_somewhere() -> None:
    for page in (
        *PAGES,
        "peval/README.md",
        "tests/toy/README.md",
        "reports/example/report.md",
        "reports/series/report.md",
        "reports/sweep/report.md",
    ):
        for target in re.findall(r"\]\(([^)#]+)\)", _text(page)):
            if "://" not in target:
                assert (ROOT / page).parent.joinpath(target).exists(), f"{page}: {target}"
