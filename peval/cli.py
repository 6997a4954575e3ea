"""The command line: parse, call the library, print, exit.

Exit codes: 0 done; 1 a bug (with its traceback); 2 something to mend (one line says what); 3 the
run is partial; 130 stopped by Ctrl-C, 143 by a termination signal. `peval gate` has its own: 0
pass, 1 fail, 2 something to mend, 3 undecided.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from peval.commands import COMMANDS, EXIT_ERROR
from peval.errors import PevalError
from peval.flags import parser

EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


class Terminated(KeyboardInterrupt):
    """A termination signal: stop as tidily as after Ctrl-C."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    arguments = parser().parse_args(kebab(sys.argv[1:] if argv is None else argv))
    signal.signal(signal.SIGTERM, _terminate)
    try:
        return COMMANDS[arguments.command](arguments)
    except PevalError as error:
        print(f"peval: {error}", file=sys.stderr)
        return EXIT_ERROR
    except KeyboardInterrupt as stop:
        print("peval: stopped; what was answered is kept, the same command goes on",
              file=sys.stderr)  # fmt: skip
        return EXIT_TERMINATED if isinstance(stop, Terminated) else EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output left; Python would complain about it once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_ERROR


def kebab(argv: Sequence[str]) -> list[str]:
    """Accept lm-eval's underscore spellings: ``--data_dir`` is ``--data-dir``."""
    spelled = []
    for word in argv:
        flag, equals, value = word.partition("=")
        spelled.append(flag.replace("_", "-") + equals + value if flag[:2] == "--" else word)
    return spelled


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated


if __name__ == "__main__":
    sys.exit(main())
