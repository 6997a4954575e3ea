"""Python's own parser, asked in silence."""

from __future__ import annotations

import ast
import warnings


def tree_of(code: str) -> ast.Module:
    """Parse code without a word on its escape sequences."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(code)


def syntax_error(code: str) -> SyntaxError | None:
    """Return what keeps code from being compiled; None if nothing does."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(code, "<answer>", "exec", dont_inherit=True)
    except SyntaxError as error:
        return error
    except (ValueError, RecursionError, MemoryError):
        return SyntaxError("not code")
    return None
