"""The sets that a probe's samples belong to; a sample's id begins with the name of its set."""

from __future__ import annotations

from peval.types import Sample

TRAINED, HELD_OUT, UNSEEN = "trained", "held-out", "unseen"
MEMBER, NON_MEMBER, SHOT = "member", "non-member", "shot"

GAPS = {"_gap": HELD_OUT, "_gap_unseen": UNSEEN}
"""What a metric's name ends in that compares the trained set with another, and with which."""

FEW_RECORDS = 30
"""With fewer records than this, some numbers say nothing and are left out."""

FEW_TASKS = 10
"""With fewer tasks than this, they cannot stand for others: records are the units."""


def set_of(sample: Sample) -> str:
    """Return the set that a sample belongs to."""
    return sample.id.partition("/")[0]
