"""pass@k without bias (Chen et al. 2021, arXiv 2107.03374)."""

from __future__ import annotations

from math import comb


def pass_at_k(n: int, c: int, k: int) -> float:
    """Return the chance that k of n samples, drawn without replacement, hold one that passed.

    Parameters
    ----------
    n
        Samples of one problem.
    c
        How many of them passed.
    k
        1 <= k <= n.

    Examples
    --------
    >>> pass_at_k(20, 5, 1)
    0.25
    >>> pass_at_k(2, 1, 2)
    1.0
    """
    if not 0 <= c <= n:
        raise ValueError(f"{c} of {n} samples cannot have passed")
    if not 1 <= k <= n:
        raise ValueError(f"pass@{k} needs 1 <= k <= n, and a problem has n = {n} samples")
    # Whole numbers: neither overflow nor rounding before the one division.
    return (comb(n, k) - comb(n - c, k)) / comb(n, k)
