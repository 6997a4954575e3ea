"""The program in a model's text: a completion of the prompt, or code among prose.

`completed` is Codex's protocol: prompt and text as they are. `found` is for everything else: code
in fences or without, prose around it, several blocks, a repeated signature, an end cut off.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator, Sequence

SCORER_VERSION = "1"
"""Part of every program score's key: raise it with any change that could alter what is run."""

_FENCE = re.compile(r"[ \t]*(```+|~~~+)[ \t]*([\w+#.-]*)[^\n`]*")
_CODE_STARTS = re.compile(r"(?:async )?def |class |import |from \S+ import|@\w")
_OTHER_LANGUAGES = frozenset(
    {"bash", "sh", "shell", "console", "text", "txt", "output", "json", "c", "cpp", "java"}
)


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
    if (body := _continuation(text, prompt)) is not None:
        return _without_demonstrations(prompt + body)
    blocks = list(_blocks(text))
    parsed = [code for block in blocks if (code := _parsing(block)) is not None]
    for code in reversed(parsed):
        if _defines(code, entry_point):
            return _joined(prompt, _helpers(code, parsed), code)
    for block in blocks:
        if (body := _continuation(f"    {block.strip()}", prompt)) is not None:
            return prompt + body
        if (body := _continuation(block, prompt)) is not None:
            return prompt + body
    return next((code for code in reversed(parsed) if _has_code(code)), None)


def _continuation(text: str, prompt: str) -> str | None:
    """Return the part of a text that continues an open function, as far as it parses."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    if not prompt.strip() or not first[:1].isspace():
        return None
    lines = _before_fence(text).splitlines(keepends=True)
    n_lines = _n_parsing(lines, prompt)
    body = "".join(lines[:n_lines])
    return body if body.strip() and not _is_only_words(body) else None


def _is_only_words(body: str) -> bool:
    return all(not line.strip() or line.strip().startswith("#") for line in body.splitlines())


def _before_fence(text: str) -> str:
    lines = text.splitlines(keepends=True)
    end = next((i for i, line in enumerate(lines) if _FENCE.fullmatch(line.rstrip("\n"))), None)
    return "".join(lines[:end])


def _blocks(text: str) -> Iterator[str]:
    """Yield a text's code: fenced blocks, and what stands outside where it looks like code.

    A text whose first fence closes began inside one. An unclosed block ends with the text.
    """
    inside: list[str] = []
    outside: list[str] = []
    fence = language = ""
    for line in text.splitlines():
        mark = _FENCE.fullmatch(line)
        if mark and not fence and not mark[2] and _looks_like_code(outside):
            yield _dedented(_from_code(outside))  # the text began in a block, which ends here
            outside = []
            continue
        if mark and not fence:
            fence, language, inside = mark[1][:3], mark[2].lower(), []
        elif mark and mark[1].startswith(fence) and not mark[2]:
            if language not in _OTHER_LANGUAGES:
                yield _dedented(inside)
            fence = ""
        elif fence:
            inside.append(line)
        else:
            outside.append(line)
    if fence and language not in _OTHER_LANGUAGES:
        yield _dedented(inside)
    if _looks_like_code(outside):
        yield _dedented(_from_code(outside))


def _looks_like_code(lines: Sequence[str]) -> bool:
    return any(_CODE_STARTS.match(line.lstrip()) for line in lines)


def _from_code(lines: Sequence[str]) -> list[str]:
    start = next(i for i, line in enumerate(lines) if _CODE_STARTS.match(line.lstrip()))
    return list(lines[start:])


def _dedented(lines: Sequence[str]) -> str:
    """Return lines without the indentation of the first: lists indent their blocks."""
    first = next((line for line in lines if line.strip()), "")
    margin = first[: len(first) - len(first.lstrip())]
    if margin and _CODE_STARTS.match(first.lstrip()):
        lines = [line.removeprefix(margin) for line in lines]
    return "\n".join(lines) + "\n"


def _parsing(code: str) -> str | None:
    """Return code up to where it parses, without demonstrations; None where nothing does."""
    lines = code.splitlines(keepends=True)
    n_lines = _n_parsing(lines, "")
    kept = "".join(lines[:n_lines]).rstrip()
    return _without_demonstrations(kept) if kept else None


def _n_parsing(lines: Sequence[str], before: str) -> int:
    """Return how many of the first lines parse after a beginning; 0 if none."""
    n_lines = len(lines)
    while n_lines:
        error = _syntax_error(before + "".join(lines[:n_lines]))
        if error is None:
            return n_lines
        # What comes before the error may still lack its end, so that only fewer lines can do.
        at = (error.lineno or 1) - before.count("\n")
        n_lines = min(n_lines - 1, max(at, 0))
    return 0


def _syntax_error(code: str) -> SyntaxError | None:
    try:
        _tree(code)
    except SyntaxError as error:
        return error
    except (ValueError, RecursionError, MemoryError):
        return SyntaxError("not code")
    return None


def _tree(code: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(code)


def _defines(code: str, name: str) -> bool:
    return name in _defined(code)


def _defined(code: str) -> set[str]:
    names: set[str] = set()
    for node in _tree(code).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {(one.asname or one.name).partition(".")[0] for one in node.names}
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names


def _has_code(code: str) -> bool:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return any(isinstance(node, kinds) for node in _tree(code).body)


def _helpers(code: str, parsed: Sequence[str]) -> list[str]:
    """Return the other blocks that define what a block uses and lacks."""
    tree = _tree(code)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} - _defined(code)
    return [other for other in parsed if other != code and used & _defined(other)]


def _joined(prompt: str, helpers: Sequence[str], code: str) -> str:
    """Put code behind the prompt, whose imports and helpers it may use."""
    if _syntax_error(prompt) is not None:
        prompt = f"{prompt}    pass\n"
    before = [prompt.rstrip()] if prompt.strip() and _syntax_error(prompt) is None else []
    return "\n\n".join([*before, *helpers, code])


def _without_demonstrations(code: str) -> str:
    """Leave out what is no part of a program: prints, assertions, a main block, words."""
    lines = code.splitlines()
    dropped: set[int] = set()
    for node in _tree(code).body:
        if _demonstrates(node):
            dropped.update(range(node.lineno - 1, node.end_lineno or node.lineno))
    return "\n".join(line for i, line in enumerate(lines) if i not in dropped).rstrip()


def _demonstrates(node: ast.stmt) -> bool:
    if isinstance(node, ast.Assert):
        return True
    if isinstance(node, ast.If):
        return "__name__" in {n.id for n in ast.walk(node.test) if isinstance(n, ast.Name)}
    value = node.value if isinstance(node, ast.Expr) else None
    is_print = isinstance(value, ast.Call) and getattr(value.func, "id", "") == "print"
    return is_print or isinstance(value, ast.Name)  # a word of prose, such as "Done"
