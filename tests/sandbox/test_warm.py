from __future__ import annotations

import random
import sys

import pytest

from peval.sandbox.inside import warm


def test_it_leaves_nothing_behind() -> None:
    modules, drawn = set(sys.modules), random.getstate()
    warm.warm_up()
    assert set(sys.modules) == modules
    assert random.getstate() == drawn


def test_a_program_of_ours_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm, "PROGRAM", "def f(xs, n, text): return no_such_name")
    with pytest.raises(RuntimeError, match="no_such_name"):
        warm.warm_up()
