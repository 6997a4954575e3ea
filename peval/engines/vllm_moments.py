"""Moments of log-probabilities from vLLM, computed in the worker that holds the logits.

vLLM can return the likeliest tokens beside each prompt token, but no statistics. So a request for
moments asks for two such tokens, and in the worker the places of their log-probabilities are
given to mean and standard deviation: two numbers per position travel, whatever the vocabulary.
Nothing else here asks for two. The log-probabilities of one step's prompt tokens exist in the
worker anyhow, a step at a time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from peval.engines.moments import moments

N_COLUMNS = 2
EXTENSION = "peval.engines.vllm_moments.MomentsExtension"
INSTALL = "install_moments"


class MomentsExtension:
    """Becomes a base class of vLLM's worker, which calls it by `INSTALL`."""

    model_runner: Any

    def install_moments(self) -> None:
        """Let this worker's prompt log-probabilities carry moments, in either model runner."""
        sampler = self.model_runner.sampler
        if hasattr(sampler, "gather_logprobs"):
            sampler.gather_logprobs = with_moments(sampler.gather_logprobs)
        second = sys.modules.get("vllm.v1.worker.gpu.sample.prompt_logprob")
        if second is not None:  # the second model runner, which does not gather from rows
            second.compute_topk_scores = with_moments_of_logits(  # type: ignore[attr-defined]
                second.compute_topk_scores
            )


def with_moments(gather: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``Sampler.gather_logprobs`` with moments in its second and third column."""

    def gather_with_moments(logprobs: Any, num_logprobs: int, token_ids: Any) -> Any:
        found = gather(logprobs, num_logprobs, token_ids)
        if num_logprobs == N_COLUMNS:
            found.logprobs[:, 1:] = moments(logprobs)
        return found

    return gather_with_moments


def with_moments_of_logits(score: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``compute_topk_scores`` with moments in its second and third column."""

    def score_with_moments(logits: Any, num_logprobs: int, *args: Any, **options: Any) -> Any:
        found = score(logits, num_logprobs, *args, **options)
        if num_logprobs == N_COLUMNS:
            for start in range(0, len(logits), 64):
                rows = logits[start : start + 64].float().log_softmax(-1)
                found.logprobs[start : start + 64, 1:] = moments(rows)
        return found

    return score_with_moments
