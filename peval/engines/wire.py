"""What the parent and an engine's worker say to each other: one JSON object per line.

Parent to worker: the spec, then requests, and between streams of these the ``adapters`` that take
the place of the spec's. Worker to parent: ``ready``, ``tick``, ``done``, ``fatal``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from peval.types import (
    Adapter,
    Base,
    Completion,
    Decoding,
    Drawn,
    EngineSpec,
    LoraRoom,
    Request,
)

Message = dict[str, Any]
NO_NUMBERS = "the model's log-probabilities are no numbers"


def encode(message: Mapping[str, object]) -> bytes:
    """Return a message as one line."""
    return json.dumps(message, default=str, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> Message:
    """Return the message of one line."""
    message: Message = json.loads(line)
    return message


def spec_message(spec: EngineSpec) -> Message:
    """Return a spec as the first message of a worker's life."""
    return asdict(spec)


def read_spec(message: Message) -> EngineSpec:
    """Return the spec of a worker's first message."""
    base = Base(**{**message["base"], "path": Path(message["base"]["path"])})
    room = message["room"]
    if room is not None:
        room = LoraRoom(**{**room, "target_modules": tuple(room["target_modules"])})
    adapters = read_adapters(message)
    return EngineSpec(**{**message, "base": base, "adapters": adapters, "room": room})


def adapters_message(adapters: Sequence[Adapter]) -> Message:
    """Return the message that gives a live worker other adapters."""
    return {"adapters": [asdict(adapter) for adapter in adapters]}


def read_adapters(message: Message) -> tuple[Adapter, ...]:
    """Return the adapters that a message holds."""
    return tuple(
        Adapter(
            **{
                **a,
                "path": Path(a["path"]),
                "target_modules": tuple(a["target_modules"]),
                "labels": tuple(a["labels"]),
            }
        )
        for a in message["adapters"]
    )


def request_message(request: Request) -> Message:
    """Return what a worker needs of a request; its key comes back with the completion."""
    return {
        "key": request.key,
        "task": request.task,
        "sample_id": request.sample_id,
        "adapter": request.adapter,
        "prompt_token_ids": request.prompt_token_ids,
        "decoding": asdict(request.decoding),
        "choices": request.choices,
        "with_moments": request.with_moments,
        "of_head": request.of_head,
    }


def read_request(message: Message) -> Request:
    """Return the request of a message."""
    decoding = Decoding(**{**message["decoding"], "stop": tuple(message["decoding"]["stop"])})
    ids = tuple(message["prompt_token_ids"])
    choices = tuple(map(tuple, message["choices"]))
    return Request(**{**message, "prompt_token_ids": ids, "decoding": decoding, "choices": choices})


def completion_message(completion: Completion) -> Message:
    """Return a completion as a ``done`` message."""
    return {"event": "done", **asdict(completion)}


def read_completion(message: Message) -> Completion:
    """Return the completion of a ``done`` message."""
    return msgspec.convert(message, Completion)


def failed(request: Request, why: str) -> Completion:
    """Return the completion of a request that no engine could answer."""
    return Completion(request.key, "", (), "error", why)


def joined(key: str, drawn: Sequence[Drawn]) -> Completion:
    """Return the completion of a request from all that was drawn for it."""
    first, *more = drawn
    return Completion(key, first.text, first.token_ids, first.finish_reason, more=tuple(more))
