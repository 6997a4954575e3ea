"""Demonstrations for in-context learning, drawn as github.com/uds-lsv/llmft at 3acc389 draws them.

There (``eval_utils.py``): numpy's legacy generator under the context's seed draws as many rows of
each label, without replacement; the rows stand in the training file's order and are then shuffled
as ``datasets.Dataset.shuffle`` does. QQP is first cut to 1,000 rows of each split under seed 123.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from peval.datasets.nlu.rows import Row
from peval.errors import DataError

QQP_ROWS = 1000
QQP_SEED = 123


def draw(rows: Sequence[Row], labels: Sequence[str], n_shots: int, seed: int) -> list[Row]:
    """Return the demonstrations of one context, as many of each label.

    Parameters
    ----------
    rows
        The training split, in stored order.
    labels
        The labels in the order of their numbers.
    n_shots
        How many demonstrations in all, a multiple of the number of labels.

    Raises
    ------
    DataError
        The number cannot be shared out evenly, or a label has too few rows.
    """
    if n_shots % len(labels):
        raise DataError(f"{n_shots} demonstrations cannot be shared by {len(labels)} labels evenly")
    source = np.random.RandomState(seed)
    chosen: set[int] = set()
    for label in labels:
        mine = [place for place, row in enumerate(rows) if row.label == label]
        if len(mine) < n_shots // len(labels):
            raise DataError(f"the training split has {len(mine)} rows of the label {label!r}")
        chosen |= set(source.choice(mine, size=n_shots // len(labels), replace=False).tolist())
    kept = [rows[place] for place in sorted(chosen)]
    return [kept[i] for i in np.random.default_rng(seed).permutation(len(kept))]


def qqp_subset(*splits: Sequence[Row]) -> list[list[Row]]:
    """Return 1,000 rows of each split, drawn in turn from one generator."""
    source = np.random.RandomState(QQP_SEED)
    return [
        [split[i] for i in source.choice(np.arange(len(split)), size=QQP_ROWS, replace=False)]
        if len(split) > QQP_ROWS
        else list(split)
        for split in splits
    ]
