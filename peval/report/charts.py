"""Figures as data: what is drawn, without how. Numbers are in the units of the axis."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Dot:
    """One point of a forest plot with its interval; ``mark`` is one of ▲ ▼ · = ≈."""

    row: str
    value: float
    low: float
    high: float
    mark: str
    label: str


@dataclass(frozen=True)
class Panel:
    """One task's dots."""

    title: str
    subtitle: str
    dots: tuple[Dot, ...]


@dataclass(frozen=True)
class Forest:
    """Differences with intervals, a row for each adapter and a panel for each task."""

    rows: tuple[str, ...]
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Spot:
    """One labelled point of a scatter plot; bounds are None where there is no interval."""

    label: str
    x: float
    y: float
    x_bounds: tuple[float, float] | None = None
    y_bounds: tuple[float, float] | None = None
    mark: str = "·"


@dataclass(frozen=True)
class Scatter:
    """Points on two axes that both hold 0; ``margin`` is a line on the x axis that may not be
    crossed to the left. The best lie high and to the right, or to the left.
    """

    x_title: str
    y_title: str
    spots: tuple[Spot, ...]
    margin: float | None = None
    best_is_left: bool = False


@dataclass(frozen=True)
class Heat:
    """A value with its mark for each row and column; None where there is none."""

    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]
    marks: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Line:
    """One group of a line plot: the points seen, several at one x where there are seeds.

    ``bounds`` are the points' intervals, one for each, where there are any.
    """

    label: str
    xs: tuple[float, ...]
    ys: tuple[float, ...]
    bounds: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Lines:
    """Lines through the means of the points at each x; ``level`` is the base's."""

    x_title: str
    y_title: str
    lines: tuple[Line, ...]
    level: float | None = None
    log_x: bool = False


@dataclass(frozen=True)
class Strip:
    """The spread over seeds: each group's points beside each other."""

    x_title: str
    lines: tuple[Line, ...]
    level: float | None = None


@dataclass(frozen=True)
class Domains:
    """Scores out of domain (y) against those in domain (x), a group for each setting.

    ``majority`` is what one label always would score in domain and out of domain.
    """

    x_title: str
    y_title: str
    groups: tuple[Line, ...]
    majority: tuple[float, float]


@dataclass(frozen=True)
class Curve:
    """One system's pairs of false and true positive rates, ascending."""

    label: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Roc:
    """ROC curves on logarithmic axes from ``lowest`` on, the least rate that can be seen."""

    x_title: str
    y_title: str
    curves: tuple[Curve, ...]
    lowest: float


Chart = Forest | Scatter | Heat | Lines | Strip | Domains | Roc
