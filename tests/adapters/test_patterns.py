from __future__ import annotations

import re

import pytest
from cpu_time import at_most

from peval.adapters.patterns import matches, why_unsafe

# The kind of pattern that trainers for vision-language models write.
GENERATED = (
    r"(?:.*?(?:language|text).*?(?:self_attn|attention|attn|mlp|feed_forward|ffn|dense).*?"
    r"(?:k_proj|v_proj|q_proj|o_proj|gate_proj|up_proj|down_proj).*?)|"
    r"(?:\bmodel\.layers\.[\d]{1,}\.(?:self_attn|attention|attn|mlp|feed_forward|ffn|dense)\."
    r"(?:(?:k_proj|v_proj|q_proj|o_proj|gate_proj|up_proj|down_proj)))"
)
SAFE = [
    "q_proj", "model.layers.0.self_attn.q_proj", r".*\.q_proj", r"layers\.\d+\.mlp\..*",
    r"^model\.layers\.[0-3]\..*_proj", r".*(q_proj|v_proj)$", "all-linear", GENERATED,
]  # fmt: skip
UNSAFE = {
    "(a+)+$": "group", "(a|a)*b": "group", "(a|aa)+": "group", "(.*)*": "group",
    "(?:a?){30}": "group", ".*.*.*.*.*.*x": "repetitions", "a?a?a?a?a?a?aaaaaa": "repetitions",
    "(?=a)b": "look-around", r"(a)\1": "look-around", "(?i)a": "look-around",
    "(a|b)(a|b)" * 8: "alternatives", "(": "not a regular expression",
    "[a": "not a regular expression", "*a": "not a regular expression", "a" * 3000 + "$": "longer",
}  # fmt: skip


@pytest.mark.parametrize("pattern", SAFE)
def test_patterns_of_real_adapters_are_let_through(pattern: str) -> None:
    assert why_unsafe(pattern, max_repeats=5, max_branches=10_000) is None


@pytest.mark.parametrize("pattern", UNSAFE)
def test_slow_or_invalid_patterns_are_refused(pattern: str) -> None:
    with at_most(1.0):
        assert UNSAFE[pattern] in (why_unsafe(pattern, max_repeats=5, max_branches=10_000) or "")


@pytest.mark.parametrize("pattern", ["q_proj", "layers.1.q_proj", r".*\.\d+\.q_proj", "^q_proj"])
@pytest.mark.parametrize(
    "module", ["q_proj", "xq_proj", "model.layers.1.q_proj", "model.layers.11.q_proj"]
)
def test_matches_like_peft(pattern: str, module: str) -> None:
    expected = re.match(rf"(.*\.)?({pattern})$", module) is not None
    assert matches(pattern, module) is expected
