"""How metrics are read: most are shares in [0, 1] and better when higher; these are not."""

from __future__ import annotations

_LOWER_IS_BETTER = {
    "perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte", "ter", "nll",
}  # fmt: skip
_OF_MEMORY = {
    "extracted", "lcs", "edit", "drawn", "auroc", "exposure", "exposure_extrapolated",
}  # fmt: skip
_GAPS = ("_gap", "_gap_unseen")
_OTHER_SCALE = _LOWER_IS_BETTER | {
    "bleu", "chrf", "chrf++", "nll_gap", "nll_gap_unseen", "exposure", "exposure_extrapolated",
}  # fmt: skip


def is_share(metric: str) -> bool:
    """Tell whether a metric is a share, which reports write in percent."""
    return _name(metric) not in _OTHER_SCALE


def higher_is_better(metric: str) -> bool:
    """Tell whether more of a metric is better; more memory of training data is not."""
    name = _name(metric)
    return name not in _LOWER_IS_BETTER | _OF_MEMORY and not name.endswith(_GAPS)


def _name(metric: str) -> str:
    """Return a metric's name without what follows it: a filter, an attack, a prefix's length."""
    return metric.partition(",")[0].partition("@")[0]
