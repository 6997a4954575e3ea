"""Likelihoods of given continuations from a transformers model: the check on vLLM's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from peval.engines.hf_models import Applied
from peval.engines.moments import moments
from peval.types import Completion, Likelihood, Moments, Request

_BATCH = 16


def likelihoods(applied: Applied, request: Request, device: str) -> Completion:
    """Return the likelihoods of a request's choices under the model as it is now.

    Log-probabilities and their moments are taken in float32 of the model's logits.
    """
    found: list[Likelihood] = []
    for start in range(0, len(request.choices), _BATCH):
        choices = request.choices[start : start + _BATCH]
        found += _batch(applied, request, choices, device)
    return Completion(request.key, "", (), "stop", likelihoods=tuple(found))


def _batch(
    applied: Applied, request: Request, choices: Sequence[tuple[int, ...]], device: str
) -> list[Likelihood]:
    import torch

    targets = torch.zeros((len(choices), max(map(len, choices))), dtype=torch.long)
    for row, choice in enumerate(choices):
        targets[row, : len(choice)] = torch.tensor(choice)
    targets = targets.to(device)
    encodes = applied.model.config.is_encoder_decoder
    logits_of = _decoder_logits if encodes else _logits
    with torch.inference_mode():
        logits = logits_of(applied, request.prompt_token_ids, targets)
    best = logits.argmax(-1)
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


def _logits(applied: Applied, prompt: tuple[int, ...], targets: Any) -> Any:
    """Return the logits of each target's position: (choices, longest, vocabulary).

    What fills shorter choices up stands at the end, which no position before it sees.
    """
    import torch

    before = torch.tensor([prompt], device=targets.device).expand(len(targets), -1)
    ids = torch.cat([before, targets[:, :-1]], dim=1)
    return applied.model(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        logits_to_keep=targets.shape[1],
        **applied.extra,
    ).logits.float()


def _decoder_logits(applied: Applied, prompt: tuple[int, ...], targets: Any) -> Any:
    """Return the same of an encoder-decoder: the prompt is encoded, the targets are decoded."""
    import torch

    ids = torch.tensor([prompt], device=targets.device).expand(len(targets), -1)
    start = torch.full_like(targets[:, :1], applied.model.config.decoder_start_token_id)
    decoded = torch.cat([start, targets[:, :-1]], dim=1)
    return applied.model(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        decoder_input_ids=decoded,
        **applied.extra,
    ).logits.float()


def _moments(rows: Any) -> Moments:
    means, deviations = moments(rows).T.tolist()
    return Moments(tuple(means), tuple(deviations))
