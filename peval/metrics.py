"""How metrics are read: most are shares in [0, 1] and better when higher; these are not."""

from __future__ import annotations

_LOWER_IS_BETTER = {
    "perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte", "ter", "nll",
}  # fmt: skip
_OF_MEMORY = {
    "extracted", "lcs", "edit", "drawn", "auroc", "exposure", "exposure_extrapolated",
}  # fmt: skip
_DEFECTS = {"loops", "refusals", "truncated"}
_LENGTHS = {"tokens", "characters"}
_NEUTRAL = _LENGTHS | {"distinct-1", "distinct-2"}
_GAPS = ("_gap", "_gap_unseen")
_OTHER_SCALE = _LOWER_IS_BETTER | _LENGTHS | {
    "bleu", "chrf", "chrf++", "nll_gap", "nll_gap_unseen", "exposure", "exposure_extrapolated",
    "rating",
}  # fmt: skip


def is_share(metric: str) -> bool:
    """Tell whether a metric is a share, which reports write in percent."""
    return _name(metric) not in _OTHER_SCALE


def higher_is_better(metric: str) -> bool:
    """Tell whether more of a metric is better; more memory of training data is not."""
    name = _name(metric)
    return name not in _LOWER_IS_BETTER | _OF_MEMORY | _DEFECTS and not name.endswith(_GAPS)


def is_neutral(metric: str) -> bool:
    """Tell whether more of a metric is neither better nor worse, as of an answer's length."""
    return _name(metric) in _NEUTRAL


def describes(metric: str) -> bool:
    """Tell whether a metric says what an open answer is like, and not whether it is good."""
    return _name(metric) in _DEFECTS | _NEUTRAL


def _name(metric: str) -> str:
    """Return a metric's name without what follows it: a filter, an attack, a prefix's length."""
    return metric.partition(",")[0].partition("@")[0]
