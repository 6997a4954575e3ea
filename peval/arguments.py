"""A parser of arguments whose every complaint is one line: what, where, what to do."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from peval.spelling import meant, near

EXIT_USAGE = 2


class Parser(argparse.ArgumentParser):
    """argparse's parser, without the block of usage before what is wrong."""

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with 2; a line that has no advice yet gets the way to help."""
        advice = "" if message.endswith(("?", ".")) else f"; see `{self.prog} --help`"
        self.exit(EXIT_USAGE, f"{self.prog}: error: {message}{advice}\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            raise argparse.ArgumentError(action, f"no {value!r}: {meant(value, action.choices)}")


class CommandParser(Parser):
    """The parser of one command, which answers itself for what it does not know."""

    def parse_known_args(  # type: ignore[override]  # argparse's own is overloaded
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """Parse, and leave nothing over for the parser of all commands."""
        self._check_flags(args or ())
        found, over = super().parse_known_args(args, namespace)
        if over:
            self.error(f"{over[0]!r} is one argument too many")
        return found, over

    def _check_flags(self, words: Sequence[str]) -> None:
        """Complain of a flag that is none, before one that is missing for this very reason."""
        known = self._option_string_actions
        for word in words:
            flag = word.partition("=")[0]
            if word == "--":
                return
            # As in argparse, what holds a space is a value, and a flag may be cut short.
            is_flag = word.startswith("--") and " " not in word
            if is_flag and not any(one.startswith(flag) for one in known):
                longer = [one for one in near(flag, known) if one.startswith("--")]
                question = f": did you mean {' or '.join(longer)}?" if longer else ""
                self.error(f"no flag {flag!r}{question}")
