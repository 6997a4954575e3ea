"""The tests' side of a program: proxies whose every use is a question over the channel."""

from __future__ import annotations

import builtins
import os
from collections import deque
from typing import Any

from .channel import Channel, ClosedError
from .codec import MalformedError, ValueLimitError, decode, encode

# Never StopIteration: it would end a test's loop as if all were well.
RAISABLE: dict[str, type[BaseException]] = {
    name: kind
    for name, kind in vars(builtins).items()
    if isinstance(kind, type)
    and issubclass(kind, BaseException)
    and not issubclass(kind, (StopIteration, StopAsyncIteration, BaseExceptionGroup))
}

NONCE_BYTES = 8


class Gone(BaseException):
    """The program can no longer be asked, and why; no test can swallow this."""

    def __init__(self, reason: str, detail: str = ""):
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


class UnsupportedError(Exception):
    """A test does what cannot be done from another process; no fault of the program."""


class FromProgram:
    """Marks an exception that the program raised, and how it called it."""

    def __init__(self, own_name: str, text: str):
        self.told = (own_name, text)
        self.args = (text,)

    def __str__(self) -> str:
        return self.told[1]


def _exception(kind: str, own_name: str, text: str) -> BaseException:
    base = RAISABLE.get(kind, Exception)
    error: BaseException = type(base.__name__, (FromProgram, base), {})(own_name, text)
    return error


class Peer:
    """Asks a program and decodes what it answers."""

    def __init__(self, channel: Channel):
        self.channel = channel
        self.gone: Gone | None = None
        self.n_calls = 0
        self.used_objects = False
        self._remotes: dict[int, Remote] = {}
        self._random = b""

    def ask(self, operation: str, **fields: Any) -> Any:
        """Return the answer to one request, or raise what the program raised."""
        return _unless_raised(self._answer(operation, fields))

    def _answer(self, operation: str, fields: dict[str, Any]) -> dict[str, Any]:
        if self.gone:
            raise self.gone
        try:
            answer = self._exchange(operation, fields)
        except ClosedError:
            raise self._end("closed") from None
        except MalformedError as error:
            raise self._end("protocol", str(error)) from None
        if "limit" in answer:
            raise self._end("value_limit", answer["limit"][:500])
        return answer

    def _exchange(self, operation: str, fields: dict[str, Any]) -> dict[str, Any]:
        # Nobody can answer before the question: its number cannot be guessed.
        nonce = self._nonce()
        try:
            self.channel.send({"n": nonce, "op": operation, **fields})
        except ValueLimitError as error:
            raise self._end("value_limit", str(error)) from None
        answer = self.channel.receive()
        if type(answer) is not dict or answer.pop("n", None) != nonce:
            raise MalformedError("an answer to another question")
        if answer.keys() not in ANSWERS:
            raise MalformedError("an answer of unknown form")
        raised, limit = answer.get("raised", ["", "", ""]), answer.get("limit", "")
        if type(raised) is not list or [type(part) for part in (*raised, limit)] != [str] * 4:
            raise MalformedError("a malformed error")
        return answer

    def _nonce(self) -> str:
        if not self._random:
            self._random = os.urandom(NONCE_BYTES * 64)
        nonce, self._random = self._random[:NONCE_BYTES], self._random[NONCE_BYTES:]
        return nonce.hex()

    def _end(self, reason: str, detail: str = "") -> Gone:
        self.gone = Gone(reason, detail)
        return self.gone

    def missing(self, name: str) -> Gone:
        """Return why to stop when the program lacks what it was asked to define."""
        return self._end("missing", f"no function {name}")

    def value(self, data: Any) -> Any:
        """Return a decoded value; anything malformed ends the program."""
        try:
            return decode(data, self._remote)
        except MalformedError as error:
            raise self._end("protocol", str(error)) from None

    def _remote(self, number: int) -> Remote:
        """Return the program's object with a number: the same each time, as tests may use `is`."""
        if number in self._remotes:
            self.used_objects = True
        return self._remotes.setdefault(number, Remote(self, number))

    def load(self, code: str, name: str) -> Any:
        """Have the program run its code; return its global `name`, or None."""
        return self.value(self.ask("load", code=code, name=name)["value"])

    def find(self, name: str) -> Any:
        """Return the program's global `name`, or None."""
        return self.value(self.ask("find", name=name)["value"])

    def call(self, function: Remote, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        """Call the program's function; changes to its arguments are made in ours too."""
        self.n_calls += 1
        sent = self.data(list(arguments))
        named = {name: self.data(value) for name, value in keywords.items()}
        answer = self._answer("call", {"of": number_of(function), "args": sent, "kw": named})
        if "after" in answer:
            self._update((*arguments, *keywords.values()), self.value(answer["after"]))
        return self.value(_unless_raised(answer)["value"])

    def data(self, value: Any) -> Any:
        """Return a value for the program; its own objects go back as references."""
        try:
            return encode(value, self._number)
        except ValueLimitError as error:
            raise self._end("value_limit", str(error)) from None

    def _number(self, value: Any) -> int:
        if type(value) is not Remote:
            raise UnsupportedError(f"the test passes a {type(value).__name__}")
        self.used_objects = True
        return number_of(value)

    def _update(self, arguments: tuple[Any, ...], after: Any) -> None:
        if type(after) is not list or len(after) != len(arguments):
            raise self._end("protocol", "a wrong number of arguments")
        for old, new in zip(arguments, after, strict=True):
            if type(old) is type(new):
                _assign(old, new)


ANSWERS = (
    {"value"}, {"value", "after"}, {"value", "more"}, {"raised"}, {"raised", "after"}, {"limit"},
)  # fmt: skip


def _unless_raised(answer: dict[str, Any]) -> dict[str, Any]:
    if "raised" in answer:
        raise _exception(*answer["raised"])
    return answer


def _assign(old: Any, new: Any) -> None:
    if isinstance(old, (list, bytearray)):
        old[:] = new
    elif isinstance(old, (dict, set, deque)):
        old.clear()
        old.extend(new) if isinstance(old, deque) else old.update(new)


class Remote:
    """An object of the program. It equals nothing but itself, whatever the program says."""

    __slots__ = ("_number", "_peer")

    def __init__(self, peer: Peer, number: int):
        object.__setattr__(self, "_peer", peer)
        object.__setattr__(self, "_number", number)

    def __repr__(self) -> str:
        # No address: verdicts are the same in every process.
        return "<an object of the program>"

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Call the program's function."""
        return peer_of(self).call(self, arguments, keywords)

    def __getattr__(self, name: str) -> Any:
        peer = peer_of(self)
        peer.used_objects = True
        return peer.value(peer.ask("get", of=number_of(self), name=name)["value"])

    def __setattr__(self, name: str, value: Any) -> None:
        peer = peer_of(self)
        peer.used_objects = True
        peer.ask("set", of=number_of(self), name=name, value=peer.data(value))

    def __iter__(self) -> Any:
        peer = peer_of(self)
        peer.used_objects = True
        return peer.value(peer.ask("iter", of=number_of(self))["value"])

    def __next__(self) -> Any:
        peer = peer_of(self)
        answer = peer.ask("next", of=number_of(self))
        if answer.get("more") is not True:
            raise StopIteration
        return peer.value(answer["value"])

    def __bool__(self) -> bool:
        """Ask: an object that the program made may be empty, or call itself false."""
        peer = peer_of(self)
        peer.used_objects = True
        return peer.ask("truth", of=number_of(self))["value"] is True


def peer_of(remote: Remote) -> Peer:
    """Return whom to ask about an object; not a method, as names are the program's."""
    peer: Peer = object.__getattribute__(remote, "_peer")
    return peer


def number_of(remote: Remote) -> int:
    """Return an object's number."""
    number: int = object.__getattribute__(remote, "_number")
    return number
