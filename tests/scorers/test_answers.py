"""Chat answers as models write them: the program that a person would take out of each."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pytest

from peval.scorers.code import found

HUMANEVAL = '''from typing import List


def helper(x: int) -> int:
    """Add one."""
    return x + 1


def f(x: int) -> int:
    """Add two to x.

    >>> f(1)
    3
    """
'''
PROMPTS = {
    "HumanEval": HUMANEVAL,
    "MBPP": '"""\nWrite a function to add two.\nassert f(1) == 3\n"""\n',
}
WHOLE = "def f(x):\n    return x + 2"
FENCED = f"```python\n{WHOLE}\n```"


def answers() -> list[Any]:
    """The answers in the file: a name, what prompts they are for (else any), what comes of f(1)."""
    text = Path(__file__).with_name("answers.txt").read_text(encoding="utf-8")
    parts = re.split(r"^===== (.+?)(?: \((\w+)\))? -> (\w+)\n", text, flags=re.MULTILINE)[1:]
    cases = zip(parts[::4], parts[1::4], parts[2::4], parts[3::4], strict=True)
    return [
        pytest.param(prompt, answer.replace("@PROMPT@", HUMANEVAL), want, id=f"{name}, {prompt}")
        for name, only, want, answer in cases
        for prompt in PROMPTS
        if only in (None, prompt)
    ]


def outcome(code: str | None) -> str:
    """f(1) of a program that nobody answers and nobody runs as a script, or what came of it."""
    if code is None:
        return "none"
    names: dict[str, Any] = {"__name__": "solution", "input": None}
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(code, "solution", "exec"), names)  # this folder's own code
    except SyntaxError:
        return "syntax"
    return str(names["f"](1)) if "f" in names else "missing"


@pytest.mark.parametrize(("prompt", "answer", "want"), answers())
def test_what_a_person_would_take_is_taken(prompt: str, answer: str, want: str) -> None:
    assert outcome(found(answer, PROMPTS[prompt], "f")) == want


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize(
    "answer",
    [
        FENCED.replace("\n", "\r\n"),
        FENCED.replace("\n", "\r"),
        f"Here:\r\n\r\n{WHOLE}\r\n\r\nThat's all.\r\n",
        f"\ufeff{FENCED}",
        f"\u200b{FENCED}",
        # Python ends no line at these; a form feed is white space
        "```python\ndef f(x):\n    s = 'a\x85b\x0cc'\n    return x + len(s) - 3\n```",
        "```python\nprint('a\u2028b')\ns = 'a\u2028b'\n\ndef f(x):\n    return x + len(s) - 1\n```",
    ],
)
def test_odd_characters_between_lines_are_no_matter(prompt: str, answer: str) -> None:
    assert outcome(found(answer, PROMPTS[prompt], "f")) == "3"
