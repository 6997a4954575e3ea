"""Telling a person how far a run is: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import IO, TYPE_CHECKING, Protocol

from peval.types import Completion, Request

if TYPE_CHECKING:
    from rich.console import Group
    from rich.live import Live

LINE_EVERY_S = 10.0
ENOUGH_FOR_A_RATE_S = 3.0


class Progress(Protocol):
    """What a run tells while it works. Every method may be called at any time."""

    def start(self, requests: Sequence[Request], done: Iterable[str]) -> None:
        """Learn what will be asked and which keys are already answered."""
        ...

    def finished(self, keys: Iterable[str], completions: Sequence[Completion]) -> None:
        """Count keys that are safely on disk, and the tokens of completions that arrived."""
        ...

    def note(self, text: str) -> None:
        """Say one thing."""
        ...

    def close(self) -> None:
        """Leave the terminal tidy."""
        ...


class Silent:
    """Says nothing; the default of library calls."""

    def start(self, requests: Sequence[Request], done: Iterable[str]) -> None:
        """Ignore."""

    def finished(self, keys: Iterable[str], completions: Sequence[Completion]) -> None:
        """Ignore."""

    def note(self, text: str) -> None:
        """Ignore."""

    def close(self) -> None:
        """Ignore."""


class Tally:
    """Counts by (adapter, task); what both displays are drawn from."""

    def __init__(self) -> None:
        self.total: Counter[tuple[str, str]] = Counter()
        self.done: Counter[tuple[str, str]] = Counter()
        self.n_tokens = 0
        self.n_new = 0
        self._cells: dict[str, list[tuple[str, str]]] = {}
        self._first_s: float | None = None

    def start(self, requests: Sequence[Request], done: Iterable[str]) -> None:
        """Count what is asked; requests of one key are answered together.

        What was asked before is answered by now, and may be asked once more.
        """
        self._cells = {}
        for request in requests:
            cell = (request.adapter or "base", request.task)
            self.total[cell] += 1
            self._cells.setdefault(request.key, []).append(cell)
        for key in done:
            self.done.update(self._cells.get(key, ()))

    def finished(self, keys: Iterable[str], completions: Sequence[Completion]) -> None:
        """Count new answers; the clock starts with the first, as engines take a while to start."""
        if self._first_s is None:
            self._first_s = time.monotonic()
        for key in keys:
            cells = self._cells.get(key, [])
            self.n_new += len(cells)
            self.done.update(cells)
        self.n_tokens += sum(
            len(one.token_ids) for completion in completions for one in completion.drawn
        )

    def rates(self) -> str:
        """Return speed and time left, as far as known."""
        if self._first_s is None:
            return "engine starting"
        seconds = time.monotonic() - self._first_s
        if seconds < ENOUGH_FOR_A_RATE_S or not self.n_new:
            return "first answers"
        n_left = self.total.total() - self.done.total()
        left = f", {clock(n_left / self.n_new * seconds)} left" if n_left else ""
        return f"{self.n_tokens / seconds:,.0f} tokens/s{left}"


class Lines:
    """Plain lines, one every ten seconds: for logs, CI and pipes."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._stream = stream or sys.stderr
        self._tally = Tally()
        self._said_s = 0.0

    def start(self, requests: Sequence[Request], done: Iterable[str]) -> None:
        """Say how much there is to do."""
        self._tally.start(requests, done)
        self._line()

    def finished(self, keys: Iterable[str], completions: Sequence[Completion]) -> None:
        """Say how far it is, now and then."""
        self._tally.finished(keys, completions)
        if time.monotonic() - self._said_s >= LINE_EVERY_S:
            self._line()

    def note(self, text: str) -> None:
        """Say one thing."""
        print(f"peval: {text}", file=self._stream, flush=True)

    def close(self) -> None:
        """Say the last count."""
        if self._tally.total:
            self._line()

    def _line(self) -> None:
        self._said_s = time.monotonic()
        done, total = self._tally.done.total(), self._tally.total.total()
        speed = f", {self._tally.rates()}" if done < total else ""
        self.note(f"{done:,} of {total:,} requests answered{speed}")


class Screen:
    """A live table of adapters x tasks on a terminal; it stays as the last state when closed."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._tally = Tally()
        self._console = Console(stderr=True)
        self._live: Live = Live(
            console=self._console, refresh_per_second=4, get_renderable=self._draw
        )
        self._open = False

    def start(self, requests: Sequence[Request], done: Iterable[str]) -> None:
        """Open the display."""
        self._tally.start(requests, done)
        self._live.start()
        self._open = True

    def finished(self, keys: Iterable[str], completions: Sequence[Completion]) -> None:
        """Count; the display redraws itself."""
        self._tally.finished(keys, completions)

    def note(self, text: str) -> None:
        """Say one thing above the table."""
        self._console.print(f"peval: {text}", highlight=False, markup=False)

    def close(self) -> None:
        """Leave the last state on the screen."""
        if self._open:
            self._live.stop()
            self._open = False

    def _draw(self) -> Group:
        from rich.console import Group
        from rich.table import Table

        tally = self._tally
        tasks = list(dict.fromkeys(task for _, task in tally.total))
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("adapter")
        for task in tasks:
            table.add_column(task, justify="right")
        for adapter in dict.fromkeys(adapter for adapter, _ in tally.total):
            cells = [_cell(tally, (adapter, task)) for task in tasks]
            table.add_row(adapter, *cells)
        done, total = tally.done.total(), tally.total.total()
        return Group(table, f"[dim]{done:,} of {total:,} answered, {tally.rates()}[/dim]")


def for_stream(stream: IO[str]) -> Progress:
    """Return the display that fits a stream."""
    return Screen() if stream.isatty() else Lines(stream)


def clock(seconds: float) -> str:
    """Return a duration as a person says it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _cell(tally: Tally, cell: tuple[str, str]) -> str:
    done, total = tally.done[cell], tally.total[cell]
    if done == total:
        return f"[green]{total}[/green]"
    return f"{done}/{total}" if done else f"[dim]0/{total}[/dim]"
