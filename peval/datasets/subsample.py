"""Seeded subsamples, and a fingerprint that says whether two machines evaluate the same items."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

Record = TypeVar("Record")


def choose(records: Sequence[Record], n: int | None, source: random.Random) -> list[Record]:
    """Return ``n`` records as ``source`` draws them; all, untouched, where there are no more.

    As in allenai/open-instruct (``eval/*/run_eval.py``), which draws nothing when everything is
    kept: one source may serve several lists in turn, so the order of the calls matters.
    """
    if n is None or len(records) <= n:
        return list(records)
    return source.sample(list(records), n)


def fingerprint(records: Iterable[Any]) -> str:
    """Return the SHA-256 of frozen records, in their order, all fields included.

    It goes into a signature: equal fingerprints mean the same items, however they were stored.
    """
    digest = hashlib.sha256()
    for record in records:
        line = json.dumps(asdict(record), ensure_ascii=False, sort_keys=True)
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()
