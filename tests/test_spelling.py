"""What is said to a name that is unknown."""

from __future__ import annotations

from peval.spelling import meant

SUITES = ("superni", "superni-all", "mmlu-5-shot", "hans")


def test_near_names_are_asked_for_and_only_those() -> None:
    assert meant("supernni", SUITES) == "did you mean superni or superni-all?"
    assert meant("mmlu", SUITES) == "did you mean mmlu-5-shot?"


def test_where_none_is_near_some_are_named_and_the_rest_counted() -> None:
    assert meant("xyz", SUITES) == "known: hans, mmlu-5-shot, superni, superni-all"
    many = [f"t{n:04}" for n in range(1_020)]
    assert meant("?", many).endswith("t0010, t0011 and 1,008 more")
    assert meant("?", ()) == "known: none"
