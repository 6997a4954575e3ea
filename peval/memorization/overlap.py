"""What training data and evaluation sets have in common: n-grams of words, and whole records.

A text is its words in lower case, without signs. Sharing any 13 words in a row is GPT-3's measure
of contamination (arXiv 2005.14165, appendix C), which lm-evaluation-harness uses too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import combinations
from typing import Any

from peval.types import Sample

N_WORDS = 13
_WORD = re.compile(r"\w+")

Record = dict[str, Any]


def overlaps(texts: Iterable[str], tasks: Mapping[str, Sequence[Sample]]) -> Record:
    """Return which samples overlap with the training texts, and which tasks with one another.

    Parameters
    ----------
    texts
        The training records' words.
    tasks
        The evaluation sets by name.

    Returns
    -------
    dict
        ``tasks``: by name, the ids of samples that are ``equal`` to a training record and those
        that share 13 words in a row (``ngram``), with the number of samples. ``between``: pairs of
        tasks that have samples in common, with how many, and whether one holds the other.
    """
    words = {name: {s.id: _words(_text(s)) for s in samples} for name, samples in tasks.items()}
    grams = {
        gram: None for by_id in words.values() for text in by_id.values() for gram in _grams(text)
    }
    seen_texts: set[bytes] = set()
    seen_grams: set[bytes] = set()
    for text in texts:
        mine = _words(text)
        seen_texts.add(_hash(mine))
        seen_grams.update(gram for gram in _grams(mine) if gram in grams)
    found = {}
    for name, by_id in words.items():
        equal = [i for i, text in by_id.items() if _hash(text) in seen_texts]
        shared = [i for i, text in by_id.items() if not seen_grams.isdisjoint(_grams(text))]
        found[name] = {"equal": equal, "ngram": shared, "n_samples": len(by_id)}
    return {"n_words": N_WORDS, "tasks": found, "between": list(_between(words))}


def overlapping(record: Mapping[str, Any], task: str) -> set[str]:
    """Return the ids of a task's samples that overlap with the training data in either way."""
    found = record["tasks"].get(task, {"equal": [], "ngram": []})
    return {*found["equal"], *found["ngram"]}


def _between(words: Mapping[str, Mapping[str, list[str]]]) -> Iterator[Record]:
    """Yield the pairs of tasks that have equal samples."""
    hashes = {name: {_hash(text) for text in by_id.values()} for name, by_id in words.items()}
    for one, other in combinations(hashes, 2):
        common = hashes[one] & hashes[other]
        if not common:
            continue
        pair = sorted((one, other), key=lambda name: len(hashes[name]))
        yield {
            "tasks": pair,
            "n_common": len(common),
            "is_contained": len(common) == len(hashes[pair[0]]),
        }


def _text(sample: Sample) -> str:
    """Return a sample as a training record would hold it."""
    shown = " ".join(query.text for query in sample.queries)
    return " ".join([sample.input or shown, *sample.targets[:1]])


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _grams(words: Sequence[str]) -> Iterator[bytes]:
    return (_hash(words[i : i + N_WORDS]) for i in range(len(words) - N_WORDS + 1))


def _hash(words: Sequence[str]) -> bytes:
    return blake2b(" ".join(words).encode(), digest_size=8).digest()
