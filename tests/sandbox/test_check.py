from __future__ import annotations

import json

import pytest

from peval.cli import main
from peval.sandbox import check
from peval.sandbox.canaries import TierReport


def test_the_strongest_tier_is_named(tier: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sandbox-check", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["tier"] in ("namespaces", "landlock")
    assert found["tiers"][-1]["holds"]
    assert len(found["attacks"]) >= 7


def test_what_is_missing_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    problems = {
        "namespaces": TierReport("namespaces", 0, ("unshare: Operation not permitted",)),
        "landlock": TierReport("landlock", 3, ("a program could read a file outside",)),
    }
    monkeypatch.setattr(check, "probe", problems.get)
    assert main(["sandbox-check"]) == 2
    said = capsys.readouterr().out
    assert "unshare: Operation not permitted" in said
    assert "needs unprivileged user namespaces" in said
    assert "a program could read a file outside" in said
    assert "no sandbox works on this machine" in said
