"""The process that runs a program: it answers calls with values and knows no tests."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from .channel import Channel, ClosedError
from .codec import ValueLimitError, decode, dumps, encode

MAX_TEXT = 500
MAX_REQUEST = 2**30
MODULE = "solution"
DEEP = 4 * 1000


class _Objects:
    """The program's objects that tests refer to, by number."""

    def __init__(self) -> None:
        self.held: list[Any] = []
        self.numbers: dict[int, int] = {}

    def number(self, value: Any) -> int:
        if id(value) not in self.numbers:
            self.numbers[id(value)] = len(self.held)
            self.held.append(value)
        return self.numbers[id(value)]

    def get(self, number: int) -> Any:
        return self.held[number]


def serve(channel: Channel) -> None:
    """Load the program that arrives, then answer requests until the channel closes."""
    module = ModuleType(MODULE)
    sys.modules[MODULE] = module
    objects = _Objects()
    while True:
        try:
            request = channel.receive(MAX_REQUEST)
        except ClosedError:
            return
        channel.send_bytes(_answer(request, module, objects))


def _answer(request: Any, module: ModuleType, objects: _Objects) -> bytes:
    nonce = request["n"]
    try:
        body = OPERATIONS[request["op"]](request, module, objects)
        return dumps({"n": nonce, **body})
    except ValueLimitError as error:
        return dumps({"n": nonce, "limit": str(error)[:MAX_TEXT]})
    except BaseException as error:
        return dumps({"n": nonce, "raised": _described(error)})


def _described(error: BaseException) -> list[str]:
    """Return the built-in type that the error is of, its own type's name and its text."""
    known = next((t for t in type(error).__mro__ if t.__module__ == "builtins"), Exception)
    try:
        text = str(error)[:MAX_TEXT]
    except BaseException:
        text = ""
    return [known.__name__, str(type(error).__name__)[:MAX_TEXT], text]


def _load(request: Any, module: ModuleType, objects: _Objects) -> dict[str, Any]:
    code = compile(request["code"], f"<{MODULE}>", "exec", dont_inherit=True)
    exec(code, module.__dict__)
    return _find(request, module, objects)


def _find(request: Any, module: ModuleType, objects: _Objects) -> dict[str, Any]:
    found = module.__dict__.get(request["name"])
    if isinstance(found, type):
        # Even a built-in type is what the program calls by this name: it runs here.
        return {"value": {"t": "ref", "v": objects.number(found)}}
    return _encoded(found, objects)


def _call(request: Any, module: ModuleType, objects: _Objects) -> dict[str, Any]:
    positional, named = request["args"], request["kw"]
    values: list[Any] = _deep(decode, [*positional, *named.values()], objects.get)
    arguments, rest = values[: len(positional)], values[len(positional) :]
    try:
        value = objects.get(request["of"])(*arguments, **dict(zip(named, rest, strict=True)))
        answer = _encoded(value, objects)
    except ValueLimitError:
        raise
    except BaseException as error:
        answer = {"raised": _described(error)}
    return {**answer, **_changed([*positional, *named.values()], values, objects)}


def _changed(before: list[Any], values: list[Any], objects: _Objects) -> dict[str, Any]:
    """Return the arguments again if the call changed any of them in place."""
    if not any(isinstance(argument, (list, dict)) for argument in before):
        return {}
    after = _encoded(values, objects)["value"]
    return {} if json.dumps(after) == json.dumps(before) else {"after": after}


def _get(request: Any, module: ModuleType, objects: _Objects) -> dict[str, Any]:
    return _encoded(getattr(objects.get(request["of"]), request["name"]), objects)


def _set(request: Any, module: ModuleType, objects: _Objects) -> dict[str, Any]:
    value = _deep(decode, request["value"], objects.get)
    setattr(objects.get(request["of"]), request["name"], value)
    return {"value": None}


def _iter(request: Any, module: ModuleType, objects: _Objects) -> dict[str, Any]:
    return {"value": {"t": "ref", "v": objects.number(iter(objects.get(request["of"])))}}


def _next(request: Any, module: ModuleType, objects: _Objects) -> dict[str, Any]:
    for value in objects.get(request["of"]):
        return {**_encoded(value, objects), "more": True}
    return {"value": None, "more": False}


def _truth(request: Any, module: ModuleType, objects: _Objects) -> dict[str, Any]:
    return {"value": bool(objects.get(request["of"]))}


def _encoded(value: Any, objects: _Objects) -> dict[str, Any]:
    return {"value": _deep(encode, value, objects.number)}


def _deep(translate: Callable[[Any, Any], Any], value: Any, reference: Any) -> Any:
    """Encode or decode a value that may be as deep as any that crosses."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, DEEP))
    try:
        return translate(value, reference)
    finally:
        sys.setrecursionlimit(limit)


OPERATIONS: dict[str, Callable[[Any, ModuleType, _Objects], dict[str, Any]]] = {
    "load": _load,
    "find": _find,
    "call": _call,
    "get": _get,
    "set": _set,
    "iter": _iter,
    "next": _next,
    "truth": _truth,
}
