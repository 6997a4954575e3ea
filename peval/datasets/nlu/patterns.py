"""How sentences become prompts, character by character.

As arXiv 2305.16938 asks a language model for one of its own words (github.com/uds-lsv/llmft at
3acc389): finetuned models with ``scripts/pattern_verbalizer_ft``, others by demonstrations with
``scripts/in_context`` and ``eval.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_YES_NO = (" Yes", " No")
_NO_YES = (" No", " Yes")


@dataclass(frozen=True)
class Pattern:
    """One way of asking.

    ``text`` takes ``{t1}`` and ``{t2}``. ``verbalizers`` stand for the task's labels in their
    order, the space before them included. ``prefix`` stands between text and label in a
    demonstration; the question itself ends, as in ``eval.py``, with a space and the stripped
    prefix. ``separator`` ends a demonstration; without one there are none.
    """

    text: str
    verbalizers: tuple[str, ...]
    prefix: str = ""
    separator: str = ""

    def question(self, texts: Sequence[str]) -> str:
        """Return what is asked."""
        asked = self._filled(texts)
        return f"{asked} {self.prefix.strip()}" if self.prefix else asked

    def demonstration(self, texts: Sequence[str], label: int) -> str:
        """Return an answered example."""
        word = self.verbalizers[label].removeprefix(" ")
        return f"{self._filled(texts)}{self.prefix}{word}{self.separator}"

    def _filled(self, texts: Sequence[str]) -> str:
        return self.text.format(**dict(zip(("t1", "t2"), texts, strict=False)))


def pattern_of(profile: str, data_set: str) -> Pattern | None:
    """Return a profile's pattern for a data set; None where the study has none."""
    family = _FAMILIES.get(data_set, data_set)
    return _PATTERNS[profile].get(family)


def for_head(profile: str, texts: Sequence[str]) -> tuple[str, str | None]:
    """Return what a classification head is asked: a text, and its second half where bare.

    As arXiv 2405.13181 asks (github.com/iamvarada/llm_finetuning, notebooks vanilla_* and pbft_*).
    """
    first, *rest = texts
    if profile == "head":
        return first, rest[0] if rest else None
    if rest:
        return f"{first} Question: {rest[0]} Yes or No?", None
    return f"Yes or No?{first}", None


_FAMILIES = {
    "mnli-mismatched": "mnli", "hans": "mnli", "rte": "mnli", "cola-ood": "cola", "paws-qqp": "qqp",
}  # fmt: skip
_LINES = "\n\n"
_GPT_3 = " answer: "
_SAME = "Question 1: {t1}\nQuestion 2: {t2}\nQuestion: Do both questions ask the same thing?"

_PATTERNS: Mapping[str, Mapping[str, Pattern]] = {
    "verbalizers": {
        "mnli": Pattern("{t1} {t2} ?", _YES_NO),
        "qqp": Pattern("{t1} {t2} ?", _NO_YES),
        "cola": Pattern("{t1} ?", _NO_YES),
    },
    "minimal": {
        "mnli": Pattern("{t1} {t2} ?", _YES_NO, " ", _LINES),
        "qqp": Pattern("{t1} {t2} ?", _NO_YES, " ", _LINES),
        "cola": Pattern("{t1} ?", _NO_YES, " ", " "),
    },
    "gpt-3": {
        "mnli": Pattern("{t1} question: {t2} Yes or No?", _YES_NO, _GPT_3, _LINES),
        "cola": Pattern("grammatical: {t1} Yes or No?", _NO_YES, _GPT_3, _LINES),
    },
    "eval-harness": {
        "mnli": Pattern(
            "{t1} \nQuestion: {t2} True or False?", (" True", " False"), "\nAnswer: ", _LINES
        ),
        "qqp": Pattern(_SAME, _NO_YES, " Answer: ", _LINES),
    },
}
