from __future__ import annotations

import pytest
from voices import PLAIN, TOKENIZER

from peval.choices import encode_choices
from peval.errors import DataError
from peval.scorers.choice import likeliest, score_choice
from peval.types import Likelihood, Sample


def sample(text: str, *choices: str, target: str = "") -> Sample:
    return Sample("s", text, (target or choices[0],), "c", choices=choices)


def test_a_choice_is_what_follows_its_input_when_both_are_read_together() -> None:
    one = sample("The sky is ", "blue", " very blue")
    (prompt,) = encode_choices([one], PLAIN, 2048)
    whole = [list(prompt.token_ids + choice) for choice in prompt.choices]
    texts = [TOKENIZER.decode(ids, skip_special_tokens=True).strip() for ids in whole]
    assert [" ".join(text.split()) for text in texts] == ["The sky is blue", "The sky is very blue"]
    assert (
        prompt.token_ids
        == encode_choices([sample("The sky is", "x", "y")], PLAIN, 2048)[0].token_ids
    )
    assert not prompt.was_cut


def test_a_long_input_keeps_its_end() -> None:
    (prompt,) = encode_choices([sample("a b c d " * 50, " x", " y z")], PLAIN, 40)
    assert prompt.was_cut
    assert len(prompt.token_ids) + max(map(len, prompt.choices)) == 39


def test_what_cannot_be_scored_is_named() -> None:
    with pytest.raises(DataError, match="too long for 8 tokens"):
        encode_choices([sample("in", " a long choice of many words " * 4, " y")], PLAIN, 8)


def test_accuracy_and_its_form_per_character() -> None:
    one = sample("q", " a", " longer", target=" longer")
    likelihoods = (Likelihood((-2.0,), False), Likelihood((-2.0, -1.5), False))
    assert score_choice(likelihoods, one, ["accuracy", "accuracy_norm"]) == {
        "accuracy": 0.0,
        "accuracy_norm": 1.0,
    }
    assert likeliest([Likelihood((-1.0,), True)] * 2) == 0
