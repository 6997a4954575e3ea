"""The references of command line and library are those of the code."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
from scripted import ROOT


def pages() -> dict[str, Any]:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "docs" / "make_reference.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return dict(module.PAGES)


@pytest.mark.parametrize("name", ["cli.md", "api.md"])
def test_references_are_generated_from_the_code(name: str) -> None:
    held = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert held == pages()[name](), "run `make reference`"


def test_every_public_name_and_command_is_there() -> None:
    import peval
    from peval.flags import parser

    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert [n for n in peval.__all__ if n[0] != "_" and f".{n}\n" not in text] == []
    commands = next(a.choices for a in parser()._actions if a.dest == "==SUPPRESS==" or a.choices)
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert commands
    assert [name for name in commands if f"## peval {name}\n" not in text] == []
