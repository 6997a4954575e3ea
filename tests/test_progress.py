from __future__ import annotations

import io

import pytest

from peval import progress
from peval.progress import Lines, Screen, Tally, clock
from peval.types import Completion, Decoding, Request


def request(key: str, adapter: str | None) -> Request:
    return Request(key, "superni", key, adapter, (1,), Decoding(4))


# Two requests share a key: one answer finishes both.
REQUESTS = [request("a", None), request("b", "x"), request("c", "x"), request("c", "y")]
ANSWER = Completion("c", "hi", (1, 2, 3), "stop")


@pytest.fixture
def now_s(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_the_clock_starts_with_the_first_answer(now_s: list[float]) -> None:
    tally = Tally()
    tally.start(REQUESTS, ["a"])
    now_s[0] += 60
    assert tally.rates() == "engine starting"
    tally.finished(["c"], [ANSWER])
    assert tally.done == {("base", "superni"): 1, ("x", "superni"): 1, ("y", "superni"): 1}
    now_s[0] += 6
    assert tally.rates() == "0 tokens/s, 3 s left"
    tally.finished(["b"], [])
    assert tally.rates() == "0 tokens/s"


def test_what_is_asked_once_more_counts_once_more(now_s: list[float]) -> None:
    tally = Tally()
    for n_rounds in (1, 2):
        tally.start(REQUESTS, [])
        assert (tally.done.total(), tally.total.total()) == (4 * (n_rounds - 1), 4 * n_rounds)
        tally.finished(["a", "b", "c"], [ANSWER])
        assert tally.done == tally.total
    assert tally.n_new == 8


def test_lines_are_plain_and_few(now_s: list[float]) -> None:
    stream = io.StringIO()
    lines = Lines(stream)
    lines.start(REQUESTS, [])
    for _ in range(50):
        now_s[0] += 0.1
        lines.finished(["c"], [ANSWER])
    lines.note("engine restarted: worker killed")
    lines.close()
    said = stream.getvalue().splitlines()
    assert len(said) == 3
    assert all(line.startswith("peval: ") for line in said)
    assert "0 of 4 requests answered, engine starting" in said[0]
    assert "\x1b" not in stream.getvalue()


def test_a_display_that_never_started_closes_quietly() -> None:
    Screen().close()
    stream = io.StringIO()
    Lines(stream).close()
    assert stream.getvalue() == ""


def test_the_screen_shows_adapters_by_tasks() -> None:
    from rich.console import Console

    screen = Screen()
    screen._tally.start(REQUESTS, ["a"])
    console = Console(file=io.StringIO(), width=80)
    console.print(screen._draw())
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for expected in ("adapter", "superni", "base", "0/2", "1 of 4 answered, engine starting"):
        assert expected in text


def test_durations() -> None:
    assert [clock(s) for s in (4.4, 89, 150, 7200)] == ["4 s", "89 s", "2 min", "2.0 h"]
