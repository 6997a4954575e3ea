"""Mean and standard deviation of log-probabilities over the vocabulary, on the engine's device."""

from __future__ import annotations

from typing import Any

_MAX_ELEMENTS = 1 << 23
_LOWEST = -1e4  # stands in for minus infinity, which a probability of 0 must not multiply


def moments(logprobs: Any) -> Any:
    """Return the moments of each row's distribution, a few rows at a time.

    Parameters
    ----------
    logprobs
        A tensor of log-probabilities over the whole vocabulary, shape (n_positions, n_tokens).

    Returns
    -------
    Tensor
        Shape (n_positions, 2): expectation and standard deviation of the log-probability of a
        token drawn from the row's own distribution (arXiv 2404.02936, equation 3).
    """
    import torch

    n_rows = max(1, _MAX_ELEMENTS // logprobs.shape[-1])
    return torch.cat([_moments(rows) for rows in logprobs.split(n_rows)])


def _moments(logprobs: Any) -> Any:
    import torch

    rows = logprobs.float().clamp_min(_LOWEST)
    chances = rows.exp()
    means = (chances * rows).sum(-1)
    variances = (chances * (rows - means[:, None]) ** 2).sum(-1)
    return torch.stack([means, variances.sqrt()], dim=-1)
