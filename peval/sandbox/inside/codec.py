"""Plain Python values as JSON: the only thing that crosses from a program to its tests.

A decoded value has exactly a built-in type, so comparing it runs no code of the program. There
is no pickle. Subclasses collapse to their base, whatever they claim to hold (a namedtuple arrives
as a tuple); an object of any other type arrives as a reference, which equals nothing.
"""

from __future__ import annotations

import datetime
import json
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

MAX_BYTES = 16 * 2**20
MAX_NODES = 4_000_000
MAX_DEPTH = 400
PLAIN_INT_BITS = 4096
# As escapes, two halves of a character would arrive as one whole character.
WRITER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)

ATOMS = frozenset({type(None), bool, float, str})
TYPES: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        bool, bytes, complex, dict, float, frozenset, int, list, object, set, str, tuple, type(None)
    )
}  # fmt: skip
# Asked without running any code of a type's own.
NAMES = {id(kind): name for name, kind in TYPES.items()}

Ref = Callable[[Any], int]
Deref = Callable[[int], Any]


class ValueLimitError(Exception):
    """A value is too large or too deep to cross."""


class MalformedError(Exception):
    """A message is not what the codec writes."""


def _no_ref(value: Any) -> int:
    raise MalformedError(f"a value of type {type(value).__name__} cannot cross")


def encode(value: Any, ref: Ref = _no_ref) -> Any:
    """Return `value` as what `json` can write; `ref` numbers the objects that stay behind."""
    try:
        return _Encoder(ref).encode(value, 0)
    except RecursionError:
        raise ValueLimitError("the value is nested too deep") from None


class _Encoder:
    def __init__(self, ref: Ref):
        self.ref = ref
        self.nodes = 0

    def encode(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if kind in ATOMS:
            self._count(1, depth)
            return value
        if kind is int:
            self._count(1, depth)
            return _encode_int(value)
        if kind is list:
            return self._items(value, depth)
        return self._tagged(value, kind, depth)

    def _tagged(self, value: Any, kind: type, depth: int) -> Any:
        # By its type: what `isinstance` asks, `__class__`, is the program's to answer.
        if issubclass(kind, list):
            return self._items(list(list.__iter__(value)), depth)
        for base, name in CONTAINERS:
            if issubclass(kind, base):
                return {"t": name, "v": self._items(list(base.__iter__(value)), depth)}
        if issubclass(kind, dict):
            return self._dict(value, depth)
        self._count(1, depth)
        for base, write in COLLAPSING:
            if issubclass(kind, base):
                return write(value)
        tag = TAG_OF.get(kind)
        if tag is not None:
            return {"t": tag, "v": WRITERS[tag](value)}
        if id(value) in NAMES:
            return {"t": "type", "v": NAMES[id(value)]}
        return {"t": "ref", "v": self.ref(value)}

    def _dict(self, value: dict[Any, Any], depth: int) -> Any:
        items: list[Any] = list(dict.items(value))
        tag = DICTS.get(type(value), "dict")
        if type(value) is defaultdict and value.default_factory in FACTORIES:
            tag = "defaultdict"
            items.insert(0, value.default_factory)
        return {"t": tag, "v": self._items(items, depth)}

    def _items(self, items: list[Any], depth: int) -> list[Any]:
        self._count(len(items) + 1, depth)
        if set(map(type, items)) <= ATOMS:
            return list(items)
        return [self.encode(item, depth + 1) for item in items]

    def _count(self, nodes: int, depth: int) -> None:
        self.nodes += nodes
        if self.nodes > MAX_NODES or depth > MAX_DEPTH:
            raise ValueLimitError("the value has too many parts or is nested too deep")


def _encode_int(value: int) -> Any:
    # Decimal digits of a long int take quadratic time and are capped by the interpreter.
    if value.bit_length() <= PLAIN_INT_BITS:
        return value
    return {"t": "int", "v": f"{value:x}"}


CONTAINERS: tuple[tuple[Any, str], ...] = (
    (tuple, "tuple"),
    (set, "set"),
    (frozenset, "frozenset"),
    (deque, "deque"),
)
# Their equality or what they do on a missing key is not a dict's.
DICTS: dict[type, str] = {Counter: "Counter", OrderedDict: "OrderedDict"}
FACTORIES = (None, *TYPES.values())
COLLAPSING: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (bool, bool),
    (int, lambda value: _encode_int(int.__index__(value))),
    (float, float.__float__),
    (str, lambda value: str.__str__(value)),
    (bytes, lambda value: {"t": "bytes", "v": bytes.hex(value)}),
    (bytearray, lambda value: {"t": "bytearray", "v": bytearray.hex(value)}),
)
WRITERS: dict[str, Callable[[Any], Any]] = {
    "complex": lambda value: [value.real, value.imag],
    "range": lambda value: [_encode_int(part) for part in (value.start, value.stop, value.step)],
    "Decimal": str,
    "Fraction": lambda value: [_encode_int(value.numerator), _encode_int(value.denominator)],
    "datetime": lambda value: value.isoformat(),
    "date": lambda value: value.isoformat(),
    "time": lambda value: value.isoformat(),
    "timedelta": lambda value: [value.days, value.seconds, value.microseconds],
    "ellipsis": lambda value: None,
}
TAG_OF: dict[type, str] = {
    complex: "complex",
    range: "range",
    Decimal: "Decimal",
    Fraction: "Fraction",
    datetime.datetime: "datetime",
    datetime.date: "date",
    datetime.time: "time",
    datetime.timedelta: "timedelta",
    type(...): "ellipsis",
}


def _no_deref(number: int) -> Any:
    raise MalformedError("a reference where none can be")


def decode(data: Any, deref: Deref = _no_deref) -> Any:
    """Return the value that `encode` wrote.

    Raises
    ------
    MalformedError
        `data` is anything that `encode` does not write.
    """
    try:
        return _decode(data, deref, 0)
    except MalformedError:
        raise
    except (TypeError, ValueError, ArithmeticError, RecursionError) as error:
        raise MalformedError(f"{type(error).__name__}: {error}"[:200]) from None


def _decode(data: Any, deref: Deref, depth: int) -> Any:
    kind = type(data)
    if kind in ATOMS or kind is int:
        return data
    if depth > MAX_DEPTH:
        raise MalformedError("nested too deep")
    if kind is list:
        return _items(data, deref, depth)
    if kind is not dict or data.keys() != {"t", "v"} or type(data["t"]) is not str:
        raise MalformedError("an untagged object")
    tag, body = data["t"], data["v"]
    if tag in FROM_LIST:
        return FROM_LIST[tag](_items(_typed(body, list), deref, depth))
    if tag == "ref":
        return deref(_typed(body, int))
    if tag not in READERS:
        raise MalformedError("an unknown tag")
    return READERS[tag](body)


def _items(data: list[Any], deref: Deref, depth: int) -> list[Any]:
    return [_decode(item, deref, depth + 1) for item in data]


def _typed(body: Any, kind: type) -> Any:
    if type(body) is not kind:
        raise MalformedError(f"not a {kind.__name__}")
    return body


def _read_str(make: Callable[[str], Any]) -> Callable[[Any], Any]:
    return lambda body: make(_typed(body, str))


def _read_numbers(make: Callable[..., Any], kinds: tuple[type, ...]) -> Callable[[Any], Any]:
    def read(body: Any) -> Any:
        parts = [_decode(part, _no_deref, 0) for part in _typed(body, list)]
        if len(parts) != len(kinds):
            raise MalformedError("a wrong number of parts")
        return make(*(_typed(part, kind) for part, kind in zip(parts, kinds, strict=True)))

    return read


FROM_LIST: dict[str, Callable[[list[Any]], Any]] = {
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "deque": deque,
    "dict": lambda pairs: dict(map(_pair, pairs)),
    "Counter": lambda pairs: Counter(dict(map(_pair, pairs))),
    "OrderedDict": lambda pairs: OrderedDict(map(_pair, pairs)),
    "defaultdict": lambda parts: _defaultdict(parts),
}
READERS: dict[str, Callable[[Any], Any]] = {
    "int": _read_str(lambda digits: int(digits, 16)),
    "bytes": _read_str(bytes.fromhex),
    "bytearray": _read_str(bytearray.fromhex),
    "complex": _read_numbers(complex, (float, float)),
    "range": _read_numbers(range, (int, int, int)),
    "Decimal": _read_str(Decimal),
    "Fraction": _read_numbers(Fraction, (int, int)),
    "datetime": _read_str(datetime.datetime.fromisoformat),
    "date": _read_str(datetime.date.fromisoformat),
    "time": _read_str(datetime.time.fromisoformat),
    "timedelta": _read_numbers(datetime.timedelta, (int, int, int)),
    "ellipsis": lambda body: ...,
    "type": _read_str(lambda name: _known_type(name)),
}


def _pair(pair: Any) -> tuple[Any, Any]:
    if type(pair) is not tuple or len(pair) != 2:
        raise MalformedError("not a pair")
    return pair


def _defaultdict(parts: list[Any]) -> defaultdict[Any, Any]:
    if not parts or parts[0] not in FACTORIES:
        raise MalformedError("an unknown factory")
    return defaultdict(parts[0], map(_pair, parts[1:]))


def _known_type(name: str) -> type:
    if name not in TYPES:
        raise MalformedError("an unknown type")
    return TYPES[name]


def dumps(data: Any) -> bytes:
    """Return `data` as JSON text of at most `MAX_BYTES`."""
    text = WRITER.encode(data).encode("utf-8", "surrogatepass")
    if len(text) > MAX_BYTES:
        raise ValueLimitError(f"the value takes {len(text)} bytes, more than {MAX_BYTES}")
    return text


def loads(text: bytes) -> Any:
    """Return what `dumps` wrote; anything else is malformed."""
    try:
        return json.loads(text.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"{type(error).__name__}: {error}"[:200]) from None
