"""Likelihoods of given continuations from vLLM.

Choices of one token each are read off the distribution after the prompt, all in one request. A
longer choice is put behind the prompt and its prompt log-probabilities are read; vLLM computes
these for what its prefix cache does not hold, so choices share the work on their prompt.

Prompt log-probabilities know no LoRA on the output layer. Where an adapter has one, a choice is
read token by token, each off the distribution after what comes before it, as a label is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from peval.engines.vllm_moments import N_COLUMNS
from peval.errors import EngineError
from peval.types import Completion, Likelihood, Moments, Request

Ids = tuple[int, ...]
Ask = Callable[[str, tuple[int, ...], Any, str | None], None]
_MAX_LABELS = 128


class LikelihoodRequests:
    """Splits requests for likelihoods into vLLM's requests and puts the answers together.

    Parameters
    ----------
    ask
        Hands vLLM a request: its id, prompt token ids, sampling parameters, adapter.
    install_moments
        Prepares vLLM's worker for moments; called before the first request for them.
    by_token
        Whether to read choices token by token, as an adapter of the output layer needs it.
    """

    def __init__(
        self, ask: Ask, install_moments: Callable[[], None], by_token: bool = False
    ) -> None:
        self._ask = ask
        self._install_moments = install_moments
        self._has_moments = False
        self._by_token = by_token
        self._open: dict[str, tuple[Request, int]] = {}
        self._found: dict[str, dict[int, Likelihood]] = {}
        self._steps: dict[str, Steps] = {}
        self._step_of: dict[str, tuple[str, Ids]] = {}

    def __len__(self) -> int:
        return len(self._found) + len(self._steps)

    def submit(self, request: Request) -> None:
        """Take a request with choices.

        Raises
        ------
        EngineError
            Moments are asked for, which cannot be had token by token.
        """
        if self._by_token and any(len(choice) > 1 for choice in request.choices):
            self._ask_steps(request)
            return
        self._found[request.key] = {}
        if request.with_moments and not self._has_moments:
            self._install_moments()
            self._has_moments = True
        if not request.with_moments and all(len(choice) == 1 for choice in request.choices):
            for start in range(0, len(request.choices), _MAX_LABELS):
                self._ask_labels(request, start)
        else:
            for number in range(len(request.choices)):
                self._ask_continuation(request, number, may_share=True)

    def take(self, output: Any) -> Completion | None:
        """Take an answer of vLLM's; return the request's completion once it is whole.

        Raises
        ------
        RuntimeError
            The answer belongs to another prompt.
        """
        if output.request_id in self._step_of:
            return self._take_step(output)
        request, number = self._open.pop(output.request_id)
        asked = _tokens(request, number) if output.prompt_logprobs else request.prompt_token_ids
        if tuple(output.prompt_token_ids) != asked:
            raise RuntimeError("engine poisoned: it answered another prompt than it was asked")
        found = self._found[request.key]
        if not output.prompt_logprobs:
            found.update(_labels(request, number, output.outputs[0]))
        elif (output.num_cached_tokens or 0) < len(request.prompt_token_ids):
            found[number] = _continuation(request, number, output.prompt_logprobs)
        else:  # the cache held a part of the choice, whose log-probabilities are then unknown
            self._ask_continuation(request, number, may_share=False)
        if len(found) < len(request.choices):
            return None
        del self._found[request.key]
        likelihoods = tuple(found[number] for number in range(len(request.choices)))
        return Completion(request.key, "", (), "stop", likelihoods=likelihoods)

    def _ask_steps(self, request: Request) -> None:
        if request.with_moments:
            raise EngineError(
                "an adapter changes the output layer (lm_head): vLLM gives no statistics of "
                "log-probabilities then; use --engine hf"
            )
        steps = Steps(request)
        self._steps[request.key] = steps
        for number, (before, labels) in enumerate(steps.wanted.items()):
            name = f"{request.key}/step{number}"
            self._step_of[name] = (request.key, before)
            self._ask(name, before, _of_labels(labels), request.adapter)

    def _take_step(self, output: Any) -> Completion | None:
        key, before = self._step_of.pop(output.request_id)
        if tuple(output.prompt_token_ids) != before:
            raise RuntimeError("engine poisoned: it answered another prompt than it was asked")
        steps = self._steps[key]
        steps.found[before] = output.outputs[0]
        if len(steps.found) < len(steps.wanted):
            return None
        return self._steps.pop(key).completion()

    def _ask_labels(self, request: Request, start: int) -> None:
        labels = {choice[0] for choice in request.choices[start : start + _MAX_LABELS]}
        self._send(request, start, request.prompt_token_ids, _of_labels(labels))

    def _ask_continuation(self, request: Request, number: int, *, may_share: bool) -> None:
        from vllm import SamplingParams

        sampling = SamplingParams(
            temperature=0.0,
            max_tokens=1,
            detokenize=False,
            prompt_logprobs=N_COLUMNS if request.with_moments else 0,
            flat_logprobs=True,  # the cached positions come back too, as rows without meaning
            skip_reading_prefix_cache=not may_share,
        )
        self._send(request, number, _tokens(request, number), sampling)

    def _send(self, request: Request, number: int, ids: tuple[int, ...], sampling: Any) -> None:
        name = f"{request.key}/{number}"
        self._open[name] = (request, number)
        self._ask(name, ids, sampling, request.adapter)


class Steps:
    """The distributions that a request's choices are read off, each after the tokens before.

    ``wanted`` maps those tokens to the ones whose log-probabilities are needed there.
    """

    def __init__(self, request: Request) -> None:
        self.request = request
        self.wanted: dict[Ids, set[int]] = {}
        self.found: dict[Ids, Any] = {}
        for choice in request.choices:
            for before, token in self._walk(choice):
                self.wanted.setdefault(before, set()).add(token)

    def completion(self) -> Completion:
        """Return the answer, once everything is found."""
        likelihoods = tuple(map(self._likelihood, self.request.choices))
        return Completion(self.request.key, "", (), "stop", likelihoods=likelihoods)

    def _likelihood(self, choice: Ids) -> Likelihood:
        steps = [(self.found[before], token) for before, token in self._walk(choice)]
        return Likelihood(
            tuple(float(answer.logprobs[0][token].logprob) for answer, token in steps),
            all(answer.token_ids[0] == token for answer, token in steps),
        )

    def _walk(self, choice: Ids) -> Iterator[tuple[Ids, int]]:
        """Yield each token of a choice after all that comes before it."""
        for place, token in enumerate(choice):
            yield self.request.prompt_token_ids + choice[:place], token


def _of_labels(labels: set[int]) -> Any:
    """Return how to ask for the log-probabilities of some next tokens."""
    from vllm import SamplingParams

    return SamplingParams(
        temperature=0.0, max_tokens=1, detokenize=False, logprob_token_ids=sorted(labels)
    )


def _tokens(request: Request, number: int) -> tuple[int, ...]:
    return request.prompt_token_ids + request.choices[number]


def _labels(request: Request, start: int, answer: Any) -> dict[int, Likelihood]:
    """Return the likelihoods of one-token choices from the distribution of an answer's token."""
    (logprobs,) = answer.logprobs
    choices = request.choices[start : start + _MAX_LABELS]
    return {
        number: Likelihood((float(logprobs[token].logprob),), token == answer.token_ids[0])
        for number, (token,) in enumerate(choices, start)
    }


def _continuation(request: Request, number: int, rows: Any) -> Likelihood:
    """Return a choice's likelihood from its prompt log-probabilities, which end with it.

    At each position stands the prompt's own token first, then the moments.
    """
    choice = request.choices[number]
    places = rows.start_indices[-len(choice) :]
    if tuple(rows.token_ids[place] for place in places) != choice:
        raise RuntimeError("engine poisoned: it scored other tokens than it was asked")
    columns = [
        tuple(float(rows.logprobs[place + column]) for place in places)
        for column in range(1 + N_COLUMNS if request.with_moments else 1)
    ]
    return Likelihood(
        columns[0],
        all(rows.ranks[place] == 1 for place in places),
        Moments(*columns[1:]) if request.with_moments else None,
    )
