"""ROUGE-1 and ROUGE-L F-measures over tokens, bit for bit those of Google's ``rouge-score``.

Both take tokens, so that a text is split once for all metrics and all references. What makes them
quick: a compiled longest common subsequence and a stemmer that remembers each word's stem.

References
----------
.. [1] C.-Y. Lin, "ROUGE: a Package for Automatic Evaluation of Summaries", 2004.
.. [2] https://github.com/google-research/google-research/tree/master/rouge
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any, Protocol

from rapidfuzz.distance import LCSseq

Tokenize = Callable[[str], Sequence[str]]

_WORD = re.compile(r"[a-z0-9]+")
_LONGEST_UNSTEMMED = 3


class SubwordTokenizer(Protocol):
    """What a tokenizer of ``transformers`` can do, as far as it matters here."""

    def tokenize(self, text: str) -> list[str]:
        """Split a text into subword strings."""
        ...


@cache
def _porter() -> Any:
    # Imported on first use: nltk brings numpy, and scipy and pandas where they are installed.
    from nltk.stem.porter import PorterStemmer

    return PorterStemmer()


@lru_cache(maxsize=1 << 17)
def _stem(word: str) -> str:
    if len(word) <= _LONGEST_UNSTEMMED:
        return word
    stem: str = _porter().stem(word)
    return stem


def default_tokenize(text: str) -> list[str]:
    """Split into lower-case ASCII words and numbers, Porter-stemmed if longer than 3 characters.

    Letters outside a-z separate words, as in the original ROUGE.

    >>> default_tokenize("The café's 12 Windows")
    ['the', 'caf', 's', '12', 'window']
    """
    return [_stem(word) for word in _WORD.findall(text.lower())]


def subword_tokenize(tokenizer: SubwordTokenizer) -> Tokenize:
    """Make a tokenization for any language from a byte-level BPE tokenizer such as GPT-2's.

    The leading space marks ("Ġ") go, so that a word at the start of a text equals itself elsewhere.
    """

    def tokenize(text: str) -> list[str]:
        return [token.lstrip("Ġ") for token in tokenizer.tokenize(text)]

    return tokenize


def rouge_l(prediction: Sequence[str], target: Sequence[str]) -> float:
    """Return the F-measure of the longest common subsequence of two token sequences."""
    # Tokens are compared by their 64-bit hash: exact but for a collision in 2**64.
    return _f_measure(LCSseq.similarity(prediction, target), len(prediction), len(target))


def rouge_1(prediction: Sequence[str], target: Sequence[str]) -> float:
    """Return the F-measure of the tokens that two sequences share, repeats counted."""
    n_shared = (Counter(prediction) & Counter(target)).total()
    return _f_measure(n_shared, len(prediction), len(target))


def _f_measure(n_shared: int, n_prediction: int, n_target: int) -> float:
    if not n_shared:
        return 0.0
    precision = n_shared / n_prediction
    recall = n_shared / n_target
    # Any other order of these operations differs from rouge-score in the last bit.
    return 2 * precision * recall / (precision + recall)
