from __future__ import annotations

import datetime
import json
import math
import random
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction
from typing import Any

import pytest

from peval.sandbox.inside.codec import (
    MalformedError,
    ValueLimitError,
    decode,
    dumps,
    encode,
    loads,
)

VALUES = [
    None, True, 0, -1, 2**63, -(2**4095), 10**5000, 0.1, -0.0, math.inf, "", "é\ud800\0", b"\xff",
    bytearray(b"x"), (), (1,), [1, [2.5, None]], {1: "a", (2, 3): [4]}, set(), {1, "a"},
    frozenset({(1, 2)}), 1 + 2j, range(1, 10, 3), deque([1, 2]), Decimal("1.10"), Fraction(1, 3),
    datetime.date(2020, 1, 2), datetime.datetime(2020, 1, 2, 3, 4, 5, 6), datetime.time(1, 2),
    datetime.timedelta(days=-1, microseconds=7), ..., int, type(None), [[]] * 3, {"t": 1, "v": 2},
    "\ud83d\ude00", "\U0001f600", Counter(a=1, b=0), OrderedDict([(2, 1), (1, 2)]),
    defaultdict(list, a=[1]), defaultdict(None, {1: {}}),
]  # fmt: skip


def crossed(value: Any) -> Any:
    return decode(loads(dumps(encode(value))))


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_arrives_as_it_was(value: Any) -> None:
    arrived = crossed(value)
    assert arrived == value
    assert type(arrived) is type(value)
    if type(value) is float:
        assert math.copysign(1, arrived) == math.copysign(1, value)


def test_subclasses_collapse_to_what_they_are_made_of() -> None:
    class Evil(int):
        def __eq__(self, other: object) -> bool:
            return True

        def __index__(self) -> int:
            return 42

        def __format__(self, spec: str) -> str:
            return "42"

        __hash__ = int.__hash__

    class Shown(list):
        def __iter__(self) -> Any:
            return iter([1, 2])

    Point = namedtuple("Point", "x y")
    color = IntEnum("color", "RED")
    for value, plain in [
        (Evil(7), 7),
        (Point(1, 2), (1, 2)),
        (Shown([9]), [9]),
        (type("T", (tuple,), {"__iter__": Shown.__iter__})([9]), (9,)),
        (type("D", (OrderedDict,), {"items": Shown.__iter__})(a=1), {"a": 1}),
        (defaultdict(lambda: 3, a=1), {"a": 1}),
        (color["RED"], 1),
    ]:
        arrived = crossed(value)
        assert type(arrived) is type(plain)
        assert arrived == plain


def test_nan_arrives_as_nan() -> None:
    assert math.isnan(crossed(math.nan))


def test_other_objects_become_references() -> None:
    liar = type("Liar", (), {"__class__": int})()
    for other in (object(), liar):
        assert encode([other], lambda value: 5) == [{"t": "ref", "v": 5}]
    assert decode({"t": "ref", "v": 5}, lambda number: f"object {number}") == "object 5"
    with pytest.raises(MalformedError):
        encode(object())


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def test_values_have_limits() -> None:
    assert crossed(nested(100)) == nested(100)
    for value in (nested(500), [0] * 5_000_000):
        with pytest.raises(ValueLimitError):
            encode(value)
    with pytest.raises(ValueLimitError):
        dumps("x" * 2**25)


@pytest.mark.parametrize(
    "data",
    [
        {}, {"t": "tuple"}, {"t": "tuple", "v": 1}, {"t": "tuple", "v": [], "x": 1},
        {"t": ["tuple"], "v": []}, {"t": "pickle", "v": ""}, {"t": "int", "v": 1},
        {"t": "int", "v": "xyz"}, {"t": "set", "v": [[1]]}, {"t": "dict", "v": [[1, 2]]},
        {"t": "dict", "v": [{"t": "tuple", "v": [[], 1]}]}, {"t": "ref", "v": "1"},
        {"t": "ref", "v": True}, {"t": "ref", "v": 1}, {"t": "type", "v": "eval"},
        {"t": "complex", "v": [1, 2]}, {"t": "complex", "v": [1.0]}, {"t": "range", "v": [1, 2, 0]},
        {"t": "Decimal", "v": "x"}, {"t": "Fraction", "v": [1, 0]}, {"t": "date", "v": "x"},
        {"t": "timedelta", "v": [10**12, 0, 0]}, {"t": "bytes", "v": "0"}, nested(500),
        {"t": "defaultdict", "v": [3]}, {"t": "defaultdict", "v": []},
    ],
    ids=lambda data: json.dumps(data)[:40],
)  # fmt: skip
def test_what_the_codec_does_not_write_is_refused(data: Any) -> None:
    with pytest.raises(MalformedError):
        decode(data)


@pytest.mark.parametrize("text", [b"", b"{", b"nul", b"\xff", b"[" * 100_000, b"1" * 5000])
def test_what_is_not_json_is_refused(text: bytes) -> None:
    with pytest.raises(MalformedError):
        loads(text)


def test_mutated_messages_are_refused_or_plain() -> None:
    rng = random.Random(1)
    texts = [dumps(encode(value)) for value in VALUES]
    refused = 0
    for _ in range(20_000):
        text = bytearray(rng.choice(texts)[:400])
        for _ in range(rng.randint(1, 4)):
            text[rng.randrange(len(text))] = rng.choice(b'[]{}",:0123456789abtvx-.')
        try:
            decode(loads(bytes(text)))
        except MalformedError:
            refused += 1
    assert 5_000 < refused < 20_000
