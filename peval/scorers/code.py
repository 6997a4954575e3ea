"""The program in a model's text: a completion of the prompt, or code among prose.

`completed` is Codex's protocol: prompt and text as they are. `found` is for everything else: code
in fences or without, prose around it, several blocks, a repeated signature, an end cut off.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from peval.scorers.fences import before_fence, blocks, plain, starts
from peval.scorers.needed import (
    imported_by,
    made_by,
    statements,
    used_by,
    without_demonstrations,
)
from peval.scorers.parsing import syntax_error, tree_of

SCORER_VERSION = "3"
"""Part of every program score's key: raise it with any change that could alter what is run."""

_FUTURE = re.compile(r"^from __future__ import .*\n?", re.MULTILINE)
_DEFINITION = re.compile(r"^(?:async )?def \w+\s*\(", re.MULTILINE)


@dataclass(frozen=True)
class _Chunk:
    """Lines that parse; ``is_cut`` where the last of their statements goes on and does not."""

    code: str
    is_cut: bool

    @cached_property
    def body(self) -> list[ast.stmt]:
        return tree_of(self.code).body

    @cached_property
    def gives(self) -> set[str]:
        return made_by(self.body) | imported_by(self.body)

    @cached_property
    def lacks(self) -> set[str]:
        return used_by(self.body) - self.gives


def completed(text: str, prompt: str) -> str:
    """Return the prompt with its completion, nothing taken out."""
    return prompt + text


def found(text: str, prompt: str, entry_point: str) -> str | None:
    r"""Return the program that a text holds, or None where it holds no code.

    Parameters
    ----------
    text
        An answer: the prompt's continuation, or a whole reply.
    prompt
        Code that the answer may continue; empty where the prompt was none.
    entry_point
        The function that was asked for.

    Examples
    --------
    >>> print(found("Sure!\n```python\ndef f(x):\n    return x\n```\nHope so.", "", "f"))
    def f(x):
        return x
    """
    text = plain(text)
    if body := _continuation(before_fence(text), prompt):
        return without_demonstrations(prompt + body, entry_point)
    raw = blocks(text)
    chunks = [chunk for block in raw for chunk in _chunks(block)]
    ranks = [_rank(chunk, entry_point) for chunk in chunks]
    if best := max(ranks, default=0):
        last = len(ranks) - 1 - ranks[::-1].index(best)
        program = _joined(prompt, _helpers(chunks[last], chunks), chunks[last].code)
        return without_demonstrations(program, entry_point)
    if body := _body_among(raw, prompt):
        return prompt + body
    named = [chunk.code for chunk in chunks if _has_definition(chunk)]
    # What was meant as a function and does not parse is a program with an error in its syntax.
    broken = [code for block in raw if _DEFINITION.search(code := "\n".join(block))]
    return next(reversed(named or broken), None)


def _continuation(text: str, prompt: str) -> str:
    """Return the part of a text that continues an open function, as far as it parses."""
    first = next((line for line in text.split("\n") if line.strip()), "")
    if not prompt.strip() or not first[:1].isspace():
        return ""
    lines = text.split("\n")
    body = "\n".join(lines[: _n_parsing(lines, prompt)])
    return "" if _is_only_words(body) else f"{body}\n"


def _is_only_words(body: str) -> bool:
    return all(not line.strip() or line.strip().startswith("#") for line in body.split("\n"))


def _body_among(raw: Sequence[Sequence[str]], prompt: str) -> str:
    """Return the first block that is the body of the prompt's function, however it is indented."""
    for block in raw:
        text = "\n".join(block)
        forms = [text]
        if syntax_error(text) is not None:  # as where it returns; else it is no function's body
            forms += [f"    {text.strip()}", textwrap.indent(text.strip(), "    ")]
        if body := max((_continuation(form, prompt) for form in forms), key=len):
            return body
    return ""


def _chunks(block: Sequence[str]) -> Iterator[_Chunk]:
    """Yield what parses of a block: the whole, or what comes before and after an error."""
    at = 0
    while at < len(block):
        n_lines = _n_parsing(block[at:], "")
        rest = next((line for line in block[at + n_lines :] if line.strip()), "")
        if code := "\n".join(block[at : at + n_lines]).strip("\n"):
            yield _Chunk(code, is_cut=rest[:1].isspace())
        at = starts(block, at + max(n_lines, 1))


def _n_parsing(lines: Sequence[str], before: str) -> int:
    """Return how many of the first lines parse after a beginning; 0 if none."""
    n_lines = len(lines)
    while n_lines:
        error = syntax_error(before + "\n".join(lines[:n_lines]))
        if error is None:
            return n_lines
        # What comes before the error may still lack its end, so that only fewer lines can do.
        at = (error.lineno or 1) - before.count("\n")
        n_lines = min(n_lines - 1, max(at, 0))
    return 0


def _rank(chunk: _Chunk, entry_point: str) -> int:
    """Return how well a chunk gives the function: 0 not at all, 4 whole."""
    if entry_point not in made_by(chunk.body):
        return int(entry_point in imported_by(chunk.body))
    if all(_is_stub(node) for node in statements(chunk.body) if _is_named(node, entry_point)):
        return 2
    return 3 if chunk.is_cut and _is_named(chunk.body[-1], entry_point) else 4


def _is_named(node: ast.stmt, name: str) -> bool:
    return name in made_by([node])


def _is_stub(node: ast.stmt) -> bool:
    """Tell whether a function only says what it would do."""
    if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return False
    return all(
        isinstance(one, (ast.Pass, ast.Raise))
        or (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))
        for one in node.body
    )


def _has_definition(chunk: _Chunk) -> bool:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return any(isinstance(node, kinds) for node in chunk.body)


def _helpers(chunk: _Chunk, chunks: Sequence[_Chunk]) -> list[str]:
    """Return the other chunks that give what a chunk, or one of these, uses and lacks."""
    left = [one for one in chunks if one != chunk]
    new = [chunk]
    while new:
        lacking = {"*"}.union(*(one.lacks for one in new))
        new = [one for one in left if one.gives & lacking]
        left = [one for one in left if not one.gives & lacking]
    return [one.code for one in chunks if one not in (chunk, *left)]


def _joined(prompt: str, helpers: Sequence[str], code: str) -> str:
    """Put code behind the prompt, whose imports and helpers it may use."""
    if syntax_error(prompt) is not None:
        prompt = f"{prompt}    pass\n"
    before = [prompt.rstrip()] if prompt.strip() and syntax_error(prompt) is None else []
    whole = "\n\n".join([*before, *helpers, code])
    return "".join(_FUTURE.findall(whole)) + _FUTURE.sub("", whole)
