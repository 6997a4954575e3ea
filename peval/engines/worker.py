"""The worker process: loads one engine and answers requests until its parent lets go of it.

`SupervisedEngine` runs ``main`` in a fresh interpreter with three inherited file descriptors as
arguments: requests to read, events to write, and the guard's pipe.
"""

from __future__ import annotations

import math
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterable
from dataclasses import replace
from itertools import chain
from typing import BinaryIO, Protocol

from peval.engines.scratch import Scratch, fork_cleaner, new_scratch
from peval.engines.wire import (
    NO_NUMBERS,
    Message,
    completion_message,
    decode,
    encode,
    failed,
    read_adapters,
    read_request,
    read_spec,
)
from peval.errors import EngineError
from peval.types import Adapter, Completion, EngineSpec, Request

_TICK_S = 1.0
_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


class Backend(Protocol):
    """What a worker loads.

    ``ready`` describes it (engine, version, device, dtype, max_model_len), says in ``window`` how
    many requests keep it busy, and in ``refused`` which adapters it could not load, and why.
    """

    ready: Message

    def submit(self, request: Request) -> None:
        """Take one valid request."""
        ...

    def has_work(self) -> bool:
        """Whether a submitted request is unanswered."""
        ...

    def step(self) -> list[Completion]:
        """Work for a moment; return what finished."""
        ...

    def adopt(self, adapters: tuple[Adapter, ...]) -> None:
        """Serve these adapters from now on; ``ready`` says which are refused."""
        ...

    def close(self) -> None:
        """Free the device."""
        ...


class Events:
    """The worker's line to its parent."""

    def __init__(self, pipe: BinaryIO) -> None:
        self._pipe = pipe
        self._sent_at = time.monotonic()

    def send(self, messages: Iterable[Message]) -> None:
        """Send messages at once."""
        self._pipe.write(b"".join(map(encode, messages)))
        self._pipe.flush()
        self._sent_at = time.monotonic()

    def tick(self) -> None:
        """Tell the parent that work goes on, about once a second however often called."""
        if time.monotonic() - self._sent_at >= _TICK_S:
            self.send([{"event": "tick"}])


def main() -> None:
    """Serve the parent, then leave at once: an engine's threads can hold up a normal exit."""
    status = 1
    try:
        _main()
        status = 0
    except BaseException:
        traceback.print_exc()  # the parent reads it in the log
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _main() -> None:
    requests_fd, events_fd, guard_fd = map(int, sys.argv[1:4])
    scratch = new_scratch()
    alarm = fork_cleaner(scratch, (requests_fd, events_fd, guard_fd))
    fork_guard(guard_fd, (requests_fd, events_fd))
    os.close(alarm)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _keep_to_itself(requests_fd, events_fd)
    os.environ.update(_OFFLINE)
    # On a shared machine, threads that spin while they wait cost most of the speed.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    inbox = _read_in_background(os.fdopen(requests_fd, "rb"))
    events = Events(os.fdopen(events_fd, "wb"))
    first = inbox.get()
    if first is not None:
        _run(read_spec(first), scratch, inbox, events)


def fork_guard(guard_fd: int, other_fds: Iterable[int]) -> None:
    """Fork a small process that kills this process group when the parent process is gone.

    Only the parent holds the other end of ``guard_fd``, so its end of file means that the parent
    has died, whatever it died of.
    """
    if os.fork():
        os.close(guard_fd)
        return
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for fd in {0, 1, 2, *other_fds}:
        os.close(fd)
    os.read(guard_fd, 1)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _keep_to_itself(*fds: int) -> None:
    """Keep the pipes out of child processes, or the parent would not see this one's end."""
    left = list(fds)
    for fd in fds:
        os.set_inheritable(fd, False)

    def close_all() -> None:
        while left:  # emptied, or a child's own forks would close whatever has these numbers then
            os.close(left.pop())

    os.register_at_fork(after_in_child=close_all)


def _read_in_background(pipe: BinaryIO) -> queue.SimpleQueue[Message | None]:
    """Return a queue of the parent's messages; None is its end."""
    inbox: queue.SimpleQueue[Message | None] = queue.SimpleQueue()

    def read() -> None:
        for line in pipe:
            inbox.put(decode(line))
        inbox.put(None)

    threading.Thread(target=read, daemon=True).start()
    return inbox


def _run(
    spec: EngineSpec, scratch: Scratch, inbox: queue.SimpleQueue[Message | None], events: Events
) -> None:
    try:
        backend = _load(spec, scratch, events)
    except EngineError as error:
        events.send([{"event": "fatal", "why": str(error)}])
        return
    events.send([{"event": "ready", **backend.ready}])
    serve(spec, backend, inbox, events)
    backend.close()


def _load(spec: EngineSpec, scratch: Scratch, events: Events) -> Backend:
    has_heads = any(adapter.labels for adapter in spec.adapters)
    if spec.kind == "vllm" and has_heads:
        from peval.engines.vllm_heads import VllmHeadBackend

        return VllmHeadBackend(spec, scratch, events.tick)
    if spec.kind == "vllm":
        from peval.engines.vllm_backend import VllmBackend

        return VllmBackend(spec, scratch, events.tick)
    if spec.kind == "reference" and has_heads:
        from peval.engines.hf_heads import HeadReference

        return HeadReference(spec, events.tick)
    if spec.kind == "reference":
        from peval.engines.hf_reference import ReferenceBackend

        return ReferenceBackend(spec, events.tick)
    if has_heads:
        from peval.engines.hf_heads import HeadBackend

        return HeadBackend(spec, events.tick)
    from peval.engines.hf_backend import HfBackend

    return HfBackend(spec, events.tick)


def serve(
    spec: EngineSpec, backend: Backend, inbox: queue.SimpleQueue[Message | None], events: Events
) -> None:
    """Answer requests until the parent closes its end."""
    while True:
        arrivals = _arrivals(inbox, wait=not backend.has_work())
        if None in arrivals:
            return
        done = []
        for message in filter(None, arrivals):
            if "adapters" in message:
                spec = replace(spec, adapters=read_adapters(message))
                backend.adopt(spec.adapters)
                continue
            request = read_request(message)
            why = refusal(spec, backend.ready, request)
            if why is None:
                backend.submit(request)
            else:
                done.append(failed(request, why))
        if backend.has_work():
            done += backend.step()
        if done:
            events.send(completion_message(with_numbers(one)) for one in done)
        else:
            events.tick()


def with_numbers(completion: Completion) -> Completion:
    """Return a completion, failed if any of its likelihoods is no number."""
    if any(math.isnan(value) for one in completion.likelihoods for value in one.logprobs):
        return Completion(completion.key, "", (), "error", NO_NUMBERS)
    return completion


def _arrivals(inbox: queue.SimpleQueue[Message | None], wait: bool) -> list[Message | None]:
    arrivals = [inbox.get()] if wait else []
    while not inbox.empty():
        arrivals.append(inbox.get())
    return arrivals


def refusal(spec: EngineSpec, ready: Message, request: Request) -> str | None:
    """Say why a request must not reach the engine, which could die of it."""
    ids = request.prompt_token_ids
    answer = max(map(len, request.choices), default=request.decoding.max_tokens)
    answer = 0 if request.of_head else answer
    n_tokens = len(ids) + answer
    if not ids:
        return "the prompt is empty"
    if not 0 <= request.decoding.temperature <= 2:
        return f"temperature {request.decoding.temperature:g} is outside 0 to 2"
    if not all(map(len, request.choices)):
        return "a choice is empty"
    adapter = next((a for a in spec.adapters if a.name == request.adapter), None)
    n_words = (adapter and adapter.vocabulary_size) or spec.base.vocabulary_size
    if not all(0 <= i < n_words for i in chain(ids, *request.choices)):
        return f"a token id is outside the vocabulary of {n_words}"
    if n_tokens > int(ready["max_model_len"]):
        return (
            f"the prompt's {len(ids)} tokens and an answer of {answer} "
            f"exceed max_model_len {ready['max_model_len']}"
        )
    n_virtual = adapter.n_virtual_tokens if adapter else 0
    if n_virtual and n_tokens + n_virtual > spec.base.context_tokens:
        return (
            f"{n_virtual} trained vectors, the prompt's {len(ids)} tokens and an answer of "
            f"{answer} exceed the context of {spec.base.context_tokens}"
        )
    if request.adapter is not None and request.adapter in ready["refused"]:
        return f"adapter refused by the engine: {ready['refused'][request.adapter]}"
    if request.adapter not in (None, *(adapter.name for adapter in spec.adapters)):
        return f"adapter {request.adapter} is not loaded"
    return None
