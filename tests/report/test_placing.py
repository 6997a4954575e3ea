"""Names beside points: none on another, none on a point, the most wanted first."""

from __future__ import annotations

import itertools
import random

from peval.report.charts import Scatter, Spot
from peval.report.draw_plane import _by_interest
from peval.report.placing import LINE_PT, POINT_PT, SIDES, placed

ROOM = (50.0, 600.0)


def test_a_lone_name_stands_to_the_right_and_at_the_edge_to_the_left() -> None:
    assert placed([(300, 100)], [60], ROOM) == [SIDES[0]]
    assert placed([(590, 100)], [60], ROOM) == [SIDES[1]]


def test_in_a_crowd_no_name_meets_a_name_or_a_point() -> None:
    rng = random.Random(0)
    points = [(rng.uniform(60, 500), rng.uniform(30, 250)) for _ in range(40)]
    widths = [rng.uniform(40, 110) for _ in points]
    places = placed(points, widths, ROOM)
    boxes = []
    for (x, y), width, place in zip(points, widths, places, strict=True):
        if place is None:
            continue
        at = x + place.dx
        left = {"left": at, "center": at - width / 2, "right": at - width}[place.align]
        middle = y + place.dy
        boxes.append((left, left + width, middle - LINE_PT / 2, middle + LINE_PT / 2))
        assert ROOM[0] < left < left + width < ROOM[1]
    assert 10 < len(boxes) < 40
    half = POINT_PT / 2
    spots = [(x - half, x + half, y - half, y + half) for x, y in points]
    pairs = [*itertools.combinations(boxes, 2), *itertools.product(boxes, spots)]
    assert not any(
        a[0] < b[1] and b[0] < a[1] and a[2] < b[3] and b[2] < a[3] for a, b in pairs
    )  # fmt: skip


def test_the_first_in_order_chooses_first_and_who_finds_no_room_stays_unnamed() -> None:
    assert placed([(300, 100), (300, 100)], [60, 60], ROOM) == [SIDES[0], SIDES[1]]
    crowd = [(300.0, 100.0), (400.0, 100.0), (220.0, 100.0), (300.0, 111.0), (300.0, 89.0)]
    assert placed(crowd, [80, 60, 60, 60, 60], ROOM)[0] == SIDES[0]
    assert placed(crowd, [110, 60, 60, 60, 60], ROOM)[0] is None


def test_names_go_first_to_what_no_other_beats_then_to_what_is_marked() -> None:
    marked = Spot("lost", 0, 0, mark="▼")
    spots = (Spot("none", 1, 1), marked, Spot("gain", 1.5, 5), Spot("x", 3, 2))
    right = _by_interest(Scatter("skill", "y", spots))
    left = _by_interest(Scatter("memorized", "y", spots, best_is_left=True))
    assert [s.label for s in right] == ["gain", "x", "lost", "none"]
    assert [s.label for s in left] == ["lost", "gain", "none", "x"]
