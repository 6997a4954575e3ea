"""Where names stand beside their points: on no other name and on no other point, or nowhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

LINE_PT, POINT_PT, GAP_PT = 11.0, 9.0, 8.0


@dataclass(frozen=True)
class Box:
    """A rectangle by its centre, all in points."""

    x: float
    y: float
    width: float
    height: float

    def meets(self, other: Box) -> bool:
        """Tell whether two rectangles share any room."""
        return (
            abs(self.x - other.x) < (self.width + other.width) / 2
            and abs(self.y - other.y) < (self.height + other.height) / 2
        )


@dataclass(frozen=True)
class Place:
    """Where a name is written, from its point on, in points."""

    dx: float
    dy: float
    align: Literal["left", "center", "right"]


SIDES = (
    Place(GAP_PT, 0.0, "left"), Place(-GAP_PT, 0.0, "right"),
    Place(0.0, LINE_PT, "center"), Place(0.0, -LINE_PT, "center"),
)  # fmt: skip


def placed(
    points: Sequence[tuple[float, float]], widths: Sequence[float], room: tuple[float, float]
) -> list[Place | None]:
    """Return a place for each name, those first in order choosing first; None where none is free.

    Parameters
    ----------
    points
        Where the points are.
    widths
        How wide their names are.
    room
        Where names may begin and end.
    """
    taken = [Box(x, y, POINT_PT, POINT_PT) for x, y in points]
    found: list[Place | None] = []
    for at, ((x, y), width) in enumerate(zip(points, widths, strict=True)):
        own = taken[at]
        for side in SIDES:
            box = _box(x, y, width, side)
            inside = room[0] < box.x - width / 2 and box.x + width / 2 < room[1]
            if inside and not any(box.meets(other) for other in taken if other is not own):
                taken.append(box)
                found.append(side)
                break
        else:
            found.append(None)
    return found


def _box(x: float, y: float, width: float, side: Place) -> Box:
    across = {"left": width / 2, "center": 0.0, "right": -width / 2}[side.align]
    return Box(x + side.dx + across, y + side.dy, width, LINE_PT)
