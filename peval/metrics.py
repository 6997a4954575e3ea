"""How metrics are read: most are shares in [0, 1] and better when higher; these are not."""

from __future__ import annotations

_LOWER_IS_BETTER = {"perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte", "ter"}
_OTHER_SCALE = _LOWER_IS_BETTER | {"bleu", "chrf", "chrf++"}


def is_share(metric: str) -> bool:
    """Tell whether a metric is a share, which reports write in percent."""
    return _name(metric) not in _OTHER_SCALE


def higher_is_better(metric: str) -> bool:
    """Tell whether more of a metric is better."""
    return _name(metric) not in _LOWER_IS_BETTER


def _name(metric: str) -> str:
    """Return a metric's name without lm-evaluation-harness's filter."""
    return metric.partition(",")[0]
