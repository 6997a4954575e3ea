"""The blocks of a text that look like code: fenced, or standing in the prose."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence

from peval.scorers.parsing import syntax_error

_FENCE = re.compile(r"[ \t]*(```+|~~~+)[ \t]*([\w+#.-]*)[^\n`]*")
_FENCE_AFTER_WORDS = re.compile(r"^([^\n`#]*[^\s`#])[ \t]*(```+\w*)[ \t]*$", re.MULTILINE)
_TAGS = re.compile(r"<pre\b[^>]*>\s*(?:<code\b[^>]*>)?|(?:</code>)?\s*</pre>", re.IGNORECASE)
_QUOTED_FENCE = re.compile(r"^> ?(?:```|~~~)", re.MULTILINE)
_QUOTED = re.compile(r"^> ?", re.MULTILINE)
_ENTITY = re.compile(r"&(?:lt|gt|amp|quot|#39);")
_COMPARES = re.compile(r" &[lg]t;=? ")  # to Python, " & gt; "
_CODE_STARTS = re.compile(
    r"(?:>>> )?(?:(?:async )?def |class |import |from \S+ import|@\w|\w+(?:: \S+)? = lambda )"
)
_INDENTATION = re.compile(r"^[ \t]+", re.MULTILINE)
_SETS = re.compile(r"\w+(?:: \S+)? = ")
_N_SETS = 50  # enough for any program, and few enough to try each
_OTHER_LANGUAGES = frozenset(
    {"bash", "sh", "shell", "console", "text", "txt", "output", "json", "c", "cpp", "java"}
)


def plain(text: str) -> str:
    """Return a text as lines of spaces and words, code in fences, without reasoning before it."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    # As EvalPlus has it, which replaces every tab: prompts are indented by spaces.
    text = _INDENTATION.sub(lambda found: found[0].replace("\t", "    "), text)
    answer = text.rpartition("</think>")[2]
    answer = _TAGS.sub("\n```\n", answer if answer.strip() else text)
    return _QUOTED.sub("", answer) if _QUOTED_FENCE.search(answer) else answer


def blocks(text: str) -> list[list[str]]:
    """Return the blocks of a plain text as lines, those of the prose first.

    A text whose first fence closes began inside one. An unclosed block ends with the text, and a
    fence within a docstring ends none.
    """
    lines = _FENCE_AFTER_WORDS.sub(r"\1\n\2", text).split("\n")
    fenced: list[list[str]] = []
    outside: list[str] = []
    at = 0
    while at < len(lines):
        mark = _FENCE.fullmatch(lines[at])
        at += 1
        if mark is None:
            outside.append(lines[at - 1])
        elif not mark[2] and looks_like_code(outside):
            fenced.append(_from_code(outside))  # the text began in a block, which ends here
            outside = []
        else:
            end = _end(lines, at, mark[1])
            if mark[2].lower() not in _OTHER_LANGUAGES:
                fenced.append(lines[at:end])
            # A fence with a language begins the next block, though this one was not closed.
            at = end if end < len(lines) and _language(lines[end]) else end + 1
    found = [_from_code(outside), *fenced] if looks_like_code(outside) else fenced
    return [_as_code(block) for block in found]


def before_fence(text: str) -> str:
    """Return what comes before the first fence."""
    lines = text.split("\n")
    end = next((i for i, line in enumerate(lines) if _FENCE.fullmatch(line)), len(lines))
    return "\n".join(lines[:end])


def looks_like_code(lines: Sequence[str]) -> bool:
    """Tell whether some line begins as definitions and imports do."""
    return any(_CODE_STARTS.match(line.lstrip()) for line in lines)


def starts(block: Sequence[str], at: int) -> int:
    """Return the first line from one on that begins code anew; the number of lines if none."""
    rest = range(at, len(block))
    return next((i for i in rest if _CODE_STARTS.match(block[i])), len(block))


def _language(line: str) -> str:
    mark = _FENCE.fullmatch(line)
    return mark[2] if mark else ""


def _end(lines: Sequence[str], start: int, fence: str) -> int:
    """Return the line that ends a block: the first fence that no string of the block holds."""
    ends = list(_fences(lines, start, fence))
    outer = (end for end in ends if not _is_in_string(_as_code(lines[start:end])))
    return next(outer, ends[0] if ends else len(lines))


def _fences(lines: Sequence[str], start: int, fence: str) -> Iterator[int]:
    for i in range(start, len(lines)):
        mark = _FENCE.fullmatch(lines[i])
        if mark and mark[1].startswith(fence):
            yield i


def _is_in_string(lines: Sequence[str]) -> bool:
    error = syntax_error("\n".join(lines))
    return error is not None and "unterminated triple-quoted" in error.msg


def _from_code(lines: Sequence[str]) -> list[str]:
    """Return lines from the first definition, and from the variables that are set before it."""
    start = next(i for i, line in enumerate(lines) if _CODE_STARTS.match(line.lstrip()))
    sets = [i for i in range(start) if _SETS.match(lines[i])][-_N_SETS:]
    whole = (i for i in sets if syntax_error("\n".join(lines[i:start])) is None)
    return list(lines[next(whole, start) :])


def _as_code(lines: Sequence[str]) -> list[str]:
    """Return lines as Python has them: no margin of a list, no prompts of a session, no HTML."""
    first = next((line for line in lines if line.strip()), "")
    margin = first[: len(first) - len(first.lstrip())]
    if margin and _CODE_STARTS.match(first.lstrip()):
        lines = [line.removeprefix(margin) for line in lines]
    if first.lstrip().startswith(">>> "):
        lines = [line[4:] for line in lines if line.startswith((">>> ", "... "))]
    text = "\n".join(lines)
    return (html.unescape(text) if _is_escaped(text) else text).split("\n")


def _is_escaped(text: str) -> bool:
    """Tell whether code was escaped for HTML; code that handles HTML parses as it is."""
    if not _ENTITY.search(text) or "<" in text or ">" in text:
        return False
    return syntax_error(text) is not None or _COMPARES.search(text) is not None
