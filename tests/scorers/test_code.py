"""The program in an answer, in all the shapes in which models give it."""

from __future__ import annotations

import pytest

from peval.scorers.code import completed, found

PROMPT = 'import math\n\ndef helper(x):\n    return x + 1\n\ndef f(x):\n    """Add two."""\n'
WHOLE = "def f(x):\n    return x + 2"
FENCED = f"```python\n{WHOLE}\n```"


def run(code: str | None) -> object:
    """Load a program and return f(1)."""
    assert code is not None
    names: dict[str, object] = {}
    exec(code, names)  # this file's own code
    return names["f"](1)  # type: ignore[operator]


@pytest.mark.parametrize(
    "text",
    [
        "    return x + 2\n",
        "    y = x\n    return y + 2\n\nThis adds two.",
        "    return x + 2\n```\nAs asked.",
        "    return helper(x) + 1\n",
        "\n    return x + 2\n\nDone\n",
        WHOLE,
        f"{WHOLE}\n\nThis works, as 1 + 2 = 3.",
        f"Sure! Here it is:\n\n{WHOLE}\n\nEnjoy",
        FENCED,
        f"Here you are:\n\n{FENCED}\n\nIt adds two to `x`.",
        FENCED.replace("python", ""),
        FENCED.replace("```", "~~~"),
        FENCED.replace("```python", "```Python3"),
        f"```python\n{PROMPT}    return x + 2\n```",
        # several blocks: the example of use comes second, the better version last
        f"{FENCED}\n\nUse it:\n\n```python\nprint(f(1))\nassert f(1) == 99\n```",
        f"First try:\n\n```python\ndef f(x):\n    return x\n```\n\nBetter:\n\n{FENCED}",
        "```python\ndef two():\n    return 2\n```\nand\n"
        "```python\ndef f(x):\n    return x + two()\n```",
        f"```bash\npip install x\n```\n{FENCED}\n```output\n3\n```",
        # demonstrations within the block
        f"```python\n{WHOLE}\n\nassert f(1) == 99\nprint(f(input()))\n```",
        f'```python\n{WHOLE}\n\nif __name__ == "__main__":\n    raise SystemExit(1)\n```',
        # a block that only holds the body
        "The body is:\n```python\n    return x + 2\n```",
        "The body is:\n```\nreturn x + 2\n```",
        # a fence that the prompt opened
        f"{WHOLE}\n```\n\nThis function adds two.",
        f"import os\n\n{WHOLE}\n```\n```text\n3\n```",
        # truncated in a later function, and unclosed
        f"```python\n{WHOLE}\n\ndef other(x):\n    return [x, (",
        f'```python\n{WHOLE}\n\ndef other(x):\n    """Never ends',
        "1. Write it:\n\n   ```python\n   def f(x):\n       return x + 2\n   ```\n",
        f"class A:\n    def f(self): pass\n\n{WHOLE}",
        WHOLE.replace("def", "async def").replace("f(x)", "g(x)") + f"\n\n{WHOLE}",
        WHOLE.replace("\n", "\r\n"),
    ],
)
def test_the_program_is_found(text: str) -> None:
    assert run(found(text, PROMPT, "f")) == 3


@pytest.mark.parametrize("text", ["", "  \n", "I cannot help with that.", "x + 2", "# only this\n"])
def test_an_answer_without_code_has_no_program(text: str) -> None:
    assert found(text, PROMPT, "f") is None
    assert found(text, "", "f") is None


def test_a_function_of_another_name_is_a_program_that_lacks_the_right_one() -> None:
    code = found("```python\ndef fib(x):\n    return x + 2\n```", PROMPT, "f")
    assert code is not None
    assert "def fib" in code
    assert "def f(" not in code


def test_code_cut_off_in_its_first_statement_is_a_program_with_an_error() -> None:
    text = "def f(x):\n    return [x, ("
    assert found(f"```python\n{text}", PROMPT, "f") == text
    assert found(f"I would write def f(x): {text[-3:]}", PROMPT, "f") is None


@pytest.mark.parametrize("name", ["f", "tri"])
def test_names_that_begin_other_names_are_told_apart(name: str) -> None:
    longer = "factorial" if name == "f" else "triangle"
    blocks = [f"```python\ndef {n}(x):\n    return '{n}'\n```" for n in (name, longer)]
    code = found("\n\n".join(blocks), "", name)
    assert code is not None
    assert f"return '{name}'" in code


def test_a_docstring_is_no_function_to_go_on_with() -> None:
    prompt = '"""\nAdd two.\nassert f(1) == 3\n"""\n'
    assert run(found(f"{WHOLE}\n", prompt, "f")) == 3
    assert found("    x + 2", prompt, "f") is None


def test_codex_takes_the_text_as_it_is() -> None:
    assert completed("    return x\nGarbage (", PROMPT) == f"{PROMPT}    return x\nGarbage ("


def test_hostile_texts_do_not_stall_or_raise() -> None:
    for text in (
        "(" * 20_000,
        "```\n" * 2000,
        "def f(x):\n" + " " * 4 + "(" * 500,
        "\x00def f(): 1",
    ):
        found(text, PROMPT, "f")
