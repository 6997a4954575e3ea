"""EvalPlus's comparison of a program's outputs with a reference's, input by input.

The rules are those of evalplus 0.3.1 (``evalplus/eval/__init__.py`` and ``_special_oracle.py``),
with two differences: special oracles see the inputs as they were before the program's call, and
nested sequences must have the same lengths where numpy would broadcast.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

RELATIVE_TOLERANCE = 1e-7
FLOAT_TOLERANCE = 1e-6

Inputs = list[Any]

AS_SETS = frozenset(
    """
    similar_elements find_char_long common_in_nested_lists extract_singly larg_nnum
    intersection_array find_dissimilar Diff
    """.split()  # noqa: SIM905
)
NOT_NONE = frozenset({"check_str", "text_match_three", "text_starta_endb"})


def is_close(got: Any, wanted: Any, tolerance: float) -> bool:
    """Compare numbers, or equally long sequences of them, as ``numpy.allclose`` does."""
    if isinstance(wanted, (list, tuple)) or isinstance(got, (list, tuple)):
        if not isinstance(got, (list, tuple)) or not isinstance(wanted, (list, tuple)):
            return False
        same_length = len(got) == len(wanted)
        return same_length and all(map(lambda a, b: is_close(a, b, tolerance), got, wanted))
    if not isinstance(got, (int, float, complex)) or not isinstance(wanted, (int, float, complex)):
        return False
    if got == wanted:
        return True
    try:
        return abs(got - wanted) <= tolerance + RELATIVE_TOLERANCE * abs(wanted) < math.inf
    except OverflowError:
        return False


def is_floats(value: Any) -> bool:
    """Say whether a value is a float or a non-empty sequence of floats."""
    if isinstance(value, (list, tuple)):
        return bool(value) and all(isinstance(item, float) for item in value)
    return isinstance(value, float)


class Comparison:
    """One problem's rules. The tolerance of floats stays on after the first float, as upstream."""

    def __init__(self, oracle: str, tolerance: float):
        self.oracle = oracle
        self.tolerance = tolerance

    def accepts(self, inputs: Inputs, got: Any, wanted: Any) -> bool:
        """Say whether an output is right."""
        if self.oracle == "humaneval:find_zero":
            return abs(_polynomial(inputs[0], got)) <= self.tolerance
        exact = self._is_exact(inputs, got, wanted)
        if self.tolerance == 0 and is_floats(wanted):
            self.tolerance = FLOAT_TOLERANCE
        if exact or self.tolerance == 0:
            return exact
        return type(got) is type(wanted) and is_close(got, wanted, self.tolerance)

    def _is_exact(self, inputs: Inputs, got: Any, wanted: Any) -> bool:
        suite, _, name = self.oracle.partition(":")
        if suite == "mbpp" and name in AS_SETS:
            return set(got) == set(wanted)
        if suite == "mbpp" and name in NOT_NONE:
            return bool(wanted == (got if isinstance(got, bool) else got is not None))
        if got == wanted:
            return True
        special = SPECIAL.get(self.oracle)
        return special is not None and special(inputs, got, self.tolerance)


def _polynomial(coefficients: list[float], x: float) -> float:
    return sum(c * math.pow(x, power) for power, c in enumerate(coefficients))


def _surface_area(inputs: Inputs, got: Any, tolerance: float) -> bool:
    """Take the height as the distance from the base to the apex, not as the slant."""
    edge, height = inputs
    slant = math.sqrt((edge / 2) ** 2 + height**2)
    return bool(abs(got - round(edge**2 + 4 * (edge * slant) / 2)) <= tolerance)


def _digit_distance(inputs: Inputs, got: Any, tolerance: float) -> bool:
    """Align the numbers' digits on the right, padded with zeros."""
    first, second = (str(number) for number in inputs)
    width = max(len(first), len(second))
    pairs = zip(first.zfill(width), second.zfill(width), strict=True)
    return bool(got == sum(abs(int(a) - int(b)) for a, b in pairs))


SPECIAL: dict[str, Callable[[Inputs, Any, float], bool]] = {
    "mbpp:are_equivalent": lambda inputs, got, tolerance: True,
    "mbpp:sum_div": lambda inputs, got, tolerance: bool(got == 0),
    "mbpp:surface_Area": _surface_area,
    "mbpp:digit_distance_nums": _digit_distance,
}
