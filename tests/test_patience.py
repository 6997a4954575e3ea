"""Waiting by turns, and what waits so: time in which everything stood still is nobody's silence."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from peval.adapters.template import check_template
from peval.patience import turns
from peval.sandbox.inside.isolation import NAMESPACES
from peval.sandbox.inside.supervisor import DONE, Supervisor

HOUR_S = 3600.0


class Clock:
    """A clock that can be moved on."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    found = Clock()
    with monkeypatch.context() as patch:
        patch.setattr(time, "monotonic", found)
        yield found


def test_a_late_turn_counts_for_no_more_than_it_was_given(clock: Clock) -> None:
    given = []
    for turn_s in turns(3.5):
        given.append(turn_s)
        clock.now_s += HOUR_S if len(given) == 2 else turn_s
    assert given == [1.0, 1.0, 1.0, 0.5]


def test_an_early_turn_counts_for_what_it_took(clock: Clock) -> None:
    n_turns = 0
    for turn_s in turns(2.0, 0.5):
        assert turn_s <= 0.5
        clock.now_s += 0.125
        n_turns += 1
    assert n_turns == 16


class Watched:
    """A program and the process of its tests, which say their word at the third look."""

    def __init__(self) -> None:
        self.jobs, self.theirs = socket.socketpair()
        self.quiet, self.pidfd = socket.socketpair()
        self.n_looks = 0
        self.was_killed = False

    def signal(self) -> None:
        self.was_killed = True

    def done(self) -> bytes:
        return self.jobs.recv(16)

    def close(self) -> None:
        for end in (self.jobs, self.theirs, self.quiet, self.pidfd):
            end.close()


def test_a_machine_that_stands_still_is_not_held_against_a_program(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched, (control, harness) = Watched(), socket.socketpair()
    poll = select.poll

    class Standing:
        """A poll during which an hour passes, once."""

        def __init__(self) -> None:
            self.real = poll()
            self.register = self.real.register

        def poll(self, _: int) -> Any:
            watched.n_looks += 1
            clock.now_s += HOUR_S if watched.n_looks == 1 else 0.05
            if watched.n_looks == 3:
                watched.theirs.send(DONE)
            return self.real.poll(0)

    monkeypatch.setattr(select, "poll", Standing)
    supervisor = Supervisor(SimpleNamespace(name=NAMESPACES), control, -1)  # type: ignore[arg-type]
    try:
        assert supervisor._watch(watched, watched, 1.0) == ("", DONE)  # type: ignore[arg-type]
        assert not watched.was_killed
    finally:
        watched.close()
        for end in (control, harness):
            end.close()


def test_a_template_is_judged_by_what_it_computes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However far the clock moves on between two looks at it."""
    (tmp_path / "chat_template.jinja").write_text("{{ messages | length }}")
    looks = iter(range(10_000))
    monkeypatch.setattr(time, "monotonic", lambda: HOUR_S * next(looks))
    check_template(tmp_path)
