"""Methods whose update is exactly a low-rank product, written again as a plain LoRA."""

from __future__ import annotations

from peval.adapters.config import Config
from peval.adapters.preflight import Entries


def rewritten_rank(config: Config, entries: Entries) -> int | None:
    """Return the largest rank that the adapter has as a LoRA, None if it is none exactly."""
    return None
