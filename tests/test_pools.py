"""Scores of groups of tasks."""

from __future__ import annotations

import numpy as np
import pytest

from peval.answers import Answers
from peval.pools import _scores


@pytest.mark.parametrize("values", [[-1.5, -0.2], [0.2, 1.5]])
def test_what_is_no_share_has_no_mean_of_shares(values: list[float]) -> None:
    system = Answers({"perplexity": np.array(values)}, ("a", "b"))
    assert _scores(([], {None: system}), "perplexity", None) is None
    shares = Answers({"acc": np.array([0.0, np.nan, 1.0])}, ("a", None, "b"))
    assert _scores(([], {None: shares}), "acc", None) is not None
