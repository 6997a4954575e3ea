"""MBPP+ inputs as Python values: its JSON cannot say tuple, set or complex.

Which problem needs what is EvalPlus's list (evalplus 0.3.1, ``evalplus/data/mbpp.py``); a test
holds the restored inputs of the whole set against what evalplus restores.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Arguments = list[Any]


def _tuples(items: Any) -> list[Any]:
    return [tuple(item) for item in items]


def _deep(value: Any) -> Any:
    return tuple(_deep(item) for item in value) if isinstance(value, list) else value


def _set_or_dict(item: Any) -> Any:
    return set(item) if isinstance(item, list) and item else {}


def _first_tuple(arguments: Arguments) -> Arguments:
    return [tuple(arguments[0]), *arguments[1:]]


def _each_list_of_tuples(arguments: Arguments) -> Arguments:
    return [_tuples(argument) for argument in arguments]


def _mixed_tuple(arguments: Arguments) -> Arguments:
    return [tuple(tuple(x) if isinstance(x, list) else x for x in arguments[0])]


def _tuple_values(arguments: Arguments) -> Arguments:
    return [{key: tuple(value) for key, value in arguments[0].items()}, *arguments[1:]]


_SHAPES: tuple[tuple[str, Callable[[Arguments], Arguments]], ...] = (
    (
        "2 116 132 143 222 261 273 394 399 421 424 429 470 560 579 596 616 630 726 740 744 809",
        _tuples,
    ),
    ("63 64 70 94 120 237 272 299 400 409 417 438 473 614 780", _each_list_of_tuples),
    ("75 413 444 753", lambda arguments: [_tuples(arguments[0]), arguments[1]]),
    ("106 750", lambda arguments: [arguments[0], tuple(arguments[1])]),
    ("115", lambda arguments: [[_set_or_dict(item) for item in arguments[0]]]),
    ("124", lambda arguments: [float(arguments[0]), complex(arguments[1])]),
    ("250 307 405 446 617 720 763 808", _first_tuple),
    ("252", lambda arguments: [complex(arguments[0])]),
    ("259 401 445", lambda arguments: [tuple(_tuples(argument)) for argument in arguments]),
    ("278", _mixed_tuple),
    ("580 615 791", lambda arguments: [_deep(argument) for argument in arguments]),
    ("722", _tuple_values),
)
_SHAPE_OF = {int(number): shape for numbers, shape in _SHAPES for number in numbers.split()}


def restored(task_id: str, rows: list[Arguments]) -> list[Arguments]:
    """Return the argument lists of problem ``Mbpp/<number>`` with their types restored."""
    shape = _SHAPE_OF.get(int(task_id.rpartition("/")[2]))
    return [shape(arguments) for arguments in rows] if shape else rows
