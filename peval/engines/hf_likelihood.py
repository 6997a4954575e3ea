"""Likelihoods of given continuations from a transformers model: the check on vLLM's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from peval.engines.moments import moments
from peval.types import Completion, Likelihood, Moments, Request

_BATCH = 16


def likelihoods(model: Any, request: Request, device: str) -> Completion:
    """Return the likelihoods of a request's choices under the model as it is now.

    Log-probabilities and their moments are taken in float32 of the model's logits.
    """
    found: list[Likelihood] = []
    for start in range(0, len(request.choices), _BATCH):
        choices = request.choices[start : start + _BATCH]
        found += _batch(model, request, choices, device)
    return Completion(request.key, "", (), "stop", likelihoods=tuple(found))


def _batch(
    model: Any, request: Request, choices: Sequence[tuple[int, ...]], device: str
) -> list[Likelihood]:
    import torch

    prompt = request.prompt_token_ids
    n_prompt, longest = len(prompt), max(map(len, choices))
    ids = torch.zeros((len(choices), n_prompt + longest), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, choice in enumerate(choices):
        ids[row, : n_prompt + len(choice)] = torch.tensor(prompt + choice)
        mask[row, : n_prompt + len(choice)] = 1
    ids = ids.to(device)
    with torch.inference_mode():
        # The position before each of the choice's tokens predicts it; nothing else is needed.
        logits = model(
            input_ids=ids[:, :-1], attention_mask=mask[:, :-1].to(device), logits_to_keep=longest
        ).logits.float()
    best = logits.argmax(-1)
    targets = ids[:, n_prompt:]
    rows = logits.log_softmax(-1)
    logprobs = rows.gather(-1, targets[..., None])[..., 0]
    is_best = best == targets
    lengths = list(map(len, choices))
    return [
        Likelihood(
            tuple(logprobs[row, :n].tolist()),
            bool(is_best[row, :n].all()),
            _moments(rows[row, :n]) if request.with_moments else None,
        )
        for row, n in enumerate(lengths)
    ]


def _moments(rows: Any) -> Moments:
    means, deviations = moments(rows).T.tolist()
    return Moments(tuple(means), tuple(deviations))
