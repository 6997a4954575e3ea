"""Score a base model and its adapters, and say which differences are real."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from peval.version import __version__

if TYPE_CHECKING:
    from peval.api import compare as compare
    from peval.api import gate as gate
    from peval.api import judge as judge
    from peval.api import load as load
    from peval.api import score as score
    from peval.api import score_predictions as score_predictions
    from peval.live import Scorer as Scorer
    from peval.results import Results as Results

__all__ = [
    "Results",
    "Scorer",
    "__version__",
    "compare",
    "gate",
    "judge",
    "load",
    "score",
    "score_predictions",
]


def __getattr__(name: str) -> Any:
    # Lazy, so that `import peval` and `peval --help` cost nothing.
    if name in ("compare", "gate", "judge", "load", "score", "score_predictions"):
        from peval import api

        return getattr(api, name)
    if name == "Results":
        from peval.results import Results

        return Results
    if name == "Scorer":
        from peval.live import Scorer

        return Scorer
    raise AttributeError(f"module 'peval' has no attribute {name!r}")
