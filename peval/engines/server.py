"""Any OpenAI-compatible endpoint as an engine of chats; its client is loaded at the first call."""

from __future__ import annotations

import math
import os
import random
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Literal

from peval.engines.budget import Budget, CapReachedError
from peval.errors import JudgeError
from peval.types import Completion, Likelihood, Message, Request

RETRIES = 6
RETRIED = (408, 429)
LONGEST_PAUSE_S = 60.0
LONGEST_RETRY_AFTER_S = 300.0
NEWER_LIMIT = "max_completion_tokens"
"""What reasoning models of OpenAI's want in the place of ``max_tokens``, which others want."""
OVERHEAD_TOKENS = 64
"""What a chat format may add to the bytes of a prompt, which bound its tokens."""


class UnreachableError(JudgeError):
    """The endpoint does not answer; what it said before is kept."""


@dataclass(frozen=True)
class Endpoint:
    """Where to ask and how.

    ``labels`` are the replies whose probabilities are wanted, of the ``top_logprobs`` listed.
    Prices are US dollars per million tokens.
    """

    url: str | None
    model: str
    key_variable: str
    max_tokens: int
    temperature: float
    top_logprobs: int = 0
    labels: tuple[str, ...] = ()
    price_input: float = 0.0
    price_output: float = 0.0
    n_workers: int = 8
    per_minute: float | None = None
    timeout_s: float = 120.0
    pause_s: float = 1.0

    def key(self) -> str:
        """Return the key.

        Raises
        ------
        JudgeError
            If the variable that should hold it is not set.
        """
        if not self.key_variable or self.key_variable == "none":
            return "none"
        key = os.environ.get(self.key_variable, "")
        if not key:
            raise JudgeError(
                f"the judge {self.model} needs a key: set {self.key_variable}, or give "
                "--key-variable none for a server without keys"
            )
        return key

    def most_usd(self, prompt: str) -> float:
        """Return an upper bound of a call's cost: no token is shorter than a byte."""
        n_input = len(prompt.encode()) + OVERHEAD_TOKENS
        return (n_input * self.price_input + self.max_tokens * self.price_output) / 1e6


class ServerEngine:
    """Asks an endpoint, several calls at once; answers come as they finish.

    Retries on 408, 429, 5xx and on lost connections, six times at most, after what Retry-After
    says or a random pause that grows. Every other status is that call's failure, or, where it
    concerns all calls (401, 403, 404), the end.
    """

    def __init__(
        self, endpoint: Endpoint, turns: Mapping[str, tuple[Message, ...]], budget: Budget
    ) -> None:
        self._endpoint = endpoint
        self._turns = turns
        self._budget = budget
        self._key = endpoint.key()
        self._client: Any = None
        self._gate = threading.Lock()
        self._next_s = 0.0
        self._stop = threading.Event()
        self._limit = "max_tokens"

    def launch(self) -> None:
        """Load the client."""
        if self._client is None:
            try:
                import openai
            except ModuleNotFoundError:
                raise JudgeError(
                    'judges behind an endpoint need the openai client: pip install "peval[judge]"'
                ) from None
            self._client = openai.OpenAI(
                base_url=self._endpoint.url, api_key=self._key, max_retries=0,
                timeout=self._endpoint.timeout_s,
            )  # fmt: skip

    def complete(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """Yield one completion per distinct key; what is paid for is yielded before any error.

        Raises
        ------
        UnreachableError, CapReachedError, JudgeError
            When asking on makes no sense.
        """
        self.launch()
        waiting = deque(dict.fromkeys(request.key for request in requests))
        stopped: JudgeError | None = None
        with ThreadPoolExecutor(self._endpoint.n_workers) as pool:
            flying: set[Future[Completion]] = set()
            try:
                while True:
                    if stopped is None:
                        stopped = self._launch_calls(pool, waiting, flying)
                    if not flying:
                        break
                    landed, flying = wait(flying, return_when=FIRST_COMPLETED)
                    for one in landed:
                        try:
                            yield one.result()
                        except JudgeError as error:
                            stopped = stopped if isinstance(stopped, UnreachableError) else error
                            self._stop.set()
            finally:
                self._stop.set()
        if stopped is not None:
            raise stopped

    def _launch_calls(
        self, pool: ThreadPoolExecutor, waiting: deque[str], flying: set[Future[Completion]]
    ) -> JudgeError | None:
        """Start calls while there are workers and money; return why none can ever follow.

        What calls in flight have set aside may come back: only with none there is the cap reached.
        """
        while waiting and len(flying) < self._endpoint.n_workers:
            try:
                self._budget.reserve(waiting[0], self._endpoint.most_usd(self._words(waiting[0])))
            except CapReachedError as cap:
                return None if flying else cap
            flying.add(pool.submit(self._ask, waiting.popleft()))
        return None

    def close(self) -> None:
        """Close the connections."""
        self._stop.set()
        if self._client is not None:
            self._client.close()
            self._client = None

    def _words(self, key: str) -> str:
        return "\n".join(turn.content for turn in self._turns[key])

    def _ask(self, key: str) -> Completion:
        import openai

        cost, why = 0.0, ""
        try:
            for attempt in range(RETRIES + 1):
                if self._stop.is_set() and attempt:
                    break
                self._take_turn()
                limit = self._limit
                try:
                    said = self._client.chat.completions.create(**self._call(key, limit))
                    cost = self._cost(key, said)
                    return self._completion(key, said)
                except openai.APIStatusError as error:
                    status = error.status_code
                    if status in (401, 403, 404):
                        raise self._fatal(status) from None
                    why = f"HTTP {status}: {self._clean(error)}"
                    if status == 400 and limit != NEWER_LIMIT and NEWER_LIMIT in str(error):
                        self._limit = NEWER_LIMIT  # from now on, for all calls
                        continue
                    if status not in RETRIED and status < 500:
                        return Completion(key, "", (), "error", f"call failed: {why}")
                    self._pause(attempt, error.response.headers.get("retry-after"))
                except openai.APIConnectionError as error:
                    why = self._clean(error)
                    # A call that timed out may have been answered, and billed.
                    if isinstance(error, openai.APITimeoutError):
                        most = self._endpoint.most_usd(self._words(key))
                        cost += most
                        self._budget.reserve(key, most)
                    self._pause(attempt, None)
                except (
                    openai.OpenAIError,
                    ValueError,
                    TypeError,
                    AttributeError,
                    LookupError,
                ) as error:
                    cost = self._endpoint.most_usd(self._words(key))
                    why = f"malformed response ({self._clean(error)})"
                    return Completion(key, "", (), "error", f"call failed: {why}")
            url = self._endpoint.url or "the endpoint"
            what = f"the judge at {url} does not answer: {why or 'stopped'}"
            raise UnreachableError(f"{what}; the same command goes on")
        finally:
            self._budget.settle(key, cost)

    def _call(self, key: str, limit: str) -> dict[str, Any]:
        where = self._endpoint
        call: dict[str, Any] = {
            "model": where.model,
            "messages": list(map(asdict, self._turns[key])),
            limit: where.max_tokens,
            "temperature": where.temperature,
        }
        if where.top_logprobs:
            call |= {"logprobs": True, "top_logprobs": where.top_logprobs}
        return call

    def _completion(self, key: str, said: Any) -> Completion:
        """Return what was said; a refusal is none, however it is worded."""
        choice = said.choices[0]
        text = choice.message.content or ""
        if choice.finish_reason == "content_filter" or getattr(choice.message, "refusal", None):
            return Completion(key, "", (), "error", "refused: the judge refused to answer")
        end: Literal["stop", "length"] = "length" if choice.finish_reason == "length" else "stop"
        return Completion(key, text, (), end, likelihoods=self._likelihoods(choice))

    def _likelihoods(self, choice: Any) -> tuple[Likelihood, ...]:
        """Return the labels' probabilities at the first token, where they were asked for."""
        listed = choice.logprobs and choice.logprobs.content
        if not self._endpoint.top_logprobs or not listed:
            return ()
        found = {one.token: float(one.logprob) for one in listed[0].top_logprobs}
        best = max(found, key=lambda token: found[token], default=None)
        return tuple(
            Likelihood((found.get(label, -math.inf),), label == best)
            for label in self._endpoint.labels
        )

    def _cost(self, key: str, said: Any) -> float:
        usage = getattr(said, "usage", None)
        if usage is None:
            return self._endpoint.most_usd(self._words(key))
        where = self._endpoint
        tokens = (
            usage.prompt_tokens * where.price_input,
            usage.completion_tokens * where.price_output,
        )
        return float(sum(tokens) / 1e6)

    def _fatal(self, status: int) -> JudgeError:
        where = self._endpoint
        if status == 404:
            return JudgeError(f"the judge's endpoint knows no model {where.model!r} (HTTP 404)")
        return JudgeError(
            f"the judge's endpoint refuses the key in {where.key_variable} (HTTP {status})"
        )

    def _clean(self, error: Exception) -> str:
        # The client's own words for a lost connection hide the cause.
        told = error.__cause__ if str(error) == "Connection error." and error.__cause__ else error
        text = " ".join(str(told).split())[:160].rstrip(".")
        return text.replace(self._key, "[key]") if self._key != "none" else text

    def _take_turn(self) -> None:
        """Wait until the rate limit allows one more call."""
        if self._endpoint.per_minute is None:
            return
        with self._gate:
            now = time.monotonic()
            at = max(now, self._next_s)
            self._next_s = at + 60 / self._endpoint.per_minute
        self._stop.wait(at - now)

    def _pause(self, attempt: int, retry_after: str | None) -> None:
        if attempt >= RETRIES:
            return
        longest = min(LONGEST_PAUSE_S, self._endpoint.pause_s * 2**attempt)
        told = min(_seconds(retry_after or "", time.time()), LONGEST_RETRY_AFTER_S)
        self._stop.wait(max(random.uniform(0, longest), told))


def _seconds(retry_after: str, now_s: float) -> float:
    """Return how long a Retry-After header asks to wait: its seconds, or the time to its date.

    >>> _seconds("2.5", 0), _seconds("Thu, 01 Jan 1970 00:01:30 GMT", 60.0), _seconds("soon", 0)
    (2.5, 30.0, 0.0)
    """
    try:
        told = float(retry_after)
    except ValueError:
        try:
            told = parsedate_to_datetime(retry_after).timestamp() - now_s
        except (ValueError, OverflowError):
            return 0.0
    return told if told > 0 else 0.0  # a time that is past, or no number
