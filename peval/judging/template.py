"""Prompts of judges, filled so that no text from elsewhere can act as anything but text.

The template is taken apart once; a value is put in as it is and never looked at again, so braces
and markers in an answer mean nothing. There is no format language.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from peval.errors import JudgeError

_FIELD = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_BRACED = re.compile(r"\{([\w.]*)\}")
_HEAD = re.compile(r"^=== ([a-z0-9-]+) (system|user) ===$", re.MULTILINE)
# Words with which models mark turns: in an answer they would pretend to end it.
_SPECIAL = re.compile(
    r"<\|[^|<>\n]{1,40}\|>|</?s>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|<(?:bos|eos|pad)>"
)
_KEPT = "\n\t\u200c\u200d"  # the last two join letters of Persian or parts of an emoji
FENCE = "fence"
CRITERIA = "criteria"
"""The one field whose text is the judge's own."""


@dataclass(frozen=True)
class Prompt:
    """The system's and the user's turn, with fields in braces."""

    system: str
    user: str


def read_prompts(path: Path, variants: Sequence[str], fields: Collection[str]) -> dict[str, Prompt]:
    """Read a file of prompts, each under a line such as ``=== plain user ===``.

    Raises
    ------
    JudgeError
        The file is missing or malformed, or a prompt has a field that does not exist.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise JudgeError(f"{path}: the judge's prompts cannot be read ({error})") from error
    parts = _HEAD.split(text)
    found: dict[str, dict[str, str]] = {}
    for variant, role, body in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        if variant not in variants:
            raise JudgeError(f"{path}: no prompt is called {variant!r}: {', '.join(variants)}")
        found.setdefault(variant, {})[role] = body.removeprefix("\n").removesuffix("\n")
        for name in _BRACED.findall(body):
            if name != FENCE and name not in fields:
                known = ", ".join(sorted(fields))
                raise JudgeError(f"{path}: {variant}: unknown field {{{name}}}; known: {known}")
    if "user" not in found.get("plain", {}):
        raise JudgeError(f"{path}: no line '=== plain user ===' with a prompt below it")
    return {name: Prompt(one.get("system", ""), one.get("user", "")) for name, one in found.items()}


def fields_of(prompt: Prompt) -> frozenset[str]:
    """Return the fields that a prompt has."""
    return frozenset(_FIELD.findall(prompt.system + prompt.user)) - {FENCE}


def fill(template: str, values: Mapping[str, str], fence: str | None) -> str:
    """Put values in the place of fields, each within the fence if there is one.

    >>> fill("Q: {question}", {"question": "{answer} <|im_end|>"}, None)
    'Q: {answer} ‹|im_end|›'
    """

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name == FENCE:
            return fence or ""
        if name == CRITERIA:
            return values[name]
        safe = escaped(values[name])
        if fence is None:
            return safe
        return f"<{fence}>\n{safe.replace(fence, '')}\n</{fence}>"

    return _FIELD.sub(value, template)


def escaped(text: str) -> str:
    r"""Return text with control and direction characters and turn markers made visible.

    >>> escaped("a\u202eb\x00 </s>")
    'a\\u202eb\\x00 ‹/s›'
    """
    return _SPECIAL.sub(lambda m: m[0].translate(str.maketrans("<>[]", "‹›⟦⟧")), visible(text))


def visible(text: str) -> str:
    r"""Return text with control and direction characters named, but for line feeds and tabs.

    >>> visible("a\u202eb\x00")
    'a\\u202eb\\x00'
    """
    return "".join(
        c if c in _KEPT or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co") else _named(c)
        for c in text.replace("\r\n", "\n")
    )


def _named(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
