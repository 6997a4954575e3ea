"""Sweeps of a known truth: settings, pivots, curves, choices, duplicates."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from made_runs import made_run
from scipy import stats as scipy_stats

import peval
from peval.errors import UsageError
from peval.results import Results, load_results
from peval.sweeps import Rule, read_rule, sweep

N = 100
SCHEMA = json.loads((Path(peval.__file__).parent / "results.schema.json").read_text())

LAST = Rule()

Facts = dict[str, dict[str, Any]]


def share(n_right: int) -> list[float]:
    return [1.0] * n_right + [0.0] * (N - n_right)


def made(tmp_path: Path, facts: Facts, n_right: dict[str, int], base: int = 40) -> Results:
    scores: dict[str | None, list[float]] = {None: share(base)}
    scores |= {name: share(n) for name, n in n_right.items()}
    results = load_results(made_run(tmp_path / "run", {"t": scores, "u": scores}) / "results.json")
    adapters = tuple(a | {"facts": facts[a["name"]]} for a in results.adapters)
    return dataclasses.replace(results, adapters=adapters)


def swept(results: Results, rule: Rule = LAST, **said: str | None) -> dict[str, Any]:
    outputs: dict[str | None, str | None] = {a["name"]: a["name"] for a in results.adapters}
    found = sweep(results, outputs | {None: "base"} | said, rule)
    whole = dataclasses.replace(results, sweep=found).to_dict()["sweep"]
    plain = json.loads(json.dumps(whole))
    jsonschema.validate(plain, SCHEMA["properties"]["sweep"])
    return dict(plain)


@pytest.fixture
def grid(tmp_path: Path) -> Results:
    """Ranks 4 and 16, two learning rates, three seeds: rank 16 is better by 20 points."""
    facts, n_right = {}, {}
    for rank in (4, 16):
        for rate in (1e-4, 1e-3):
            for seed in range(3):
                name = f"r{rank}-{rate:g}-{seed}"
                facts[name] = {"method": "LoRA", "rank": rank, "learning_rate": rate, "seed": seed,
                               "bytes": 1000 * rank + seed}  # fmt: skip
                n_right[name] = 50 + 20 * (rank == 16) + 2 * seed
    return made(tmp_path, facts, n_right)


def test_settings_over_seeds(grid: Results) -> None:
    found = swept(grid)
    assert (found["n_adapters"], found["n_effective"], found["duplicates"]) == (12, 12, [])
    assert [s["facts"] for s in found["settings"]] == [
        {"learning_rate": rate, "rank": rank} for rate in (1e-4, 1e-3) for rank in (4, 16)
    ]
    first = found["settings"][0]
    assert first["seeds"] == [0, 1, 2]
    assert first["speaks_of"] == "method"
    score = first["scores"][0]
    x = np.array([0.50, 0.52, 0.54])
    low, high = scipy_stats.t.interval(0.95, 2, loc=x.mean(), scale=scipy_stats.sem(x))
    for key, value in {"mean": x.mean(), "sd": x.std(ddof=1), "low": low, "high": high,
                       "lowest": 0.5, "highest": 0.54}.items():  # fmt: skip
        assert score[key] == pytest.approx(value), key
    assert score["n_diverged"] is None  # nothing to tell it by


def test_size_against_learning_rate(grid: Results) -> None:
    pivot = swept(grid)["pivots"][0]
    assert (pivot["row"], pivot["column"]) == ("rank", "learning_rate")
    assert (pivot["row_values"], pivot["column_values"]) == ([4, 16], [1e-4, 1e-3])
    assert np.allclose(pivot["means"], [[0.52, 0.52], [0.72, 0.72]])
    assert pivot["n_adapters"] == [[3, 3], [3, 3]]


def test_facts_that_follow_from_another_make_no_table(tmp_path: Path) -> None:
    rates = (1e-4, 1e-3)
    facts: Facts = {
        f"{rank}-{rate}": {"rank": rank, "alpha": 2 * rank, "learning_rate": rate, "seed": 0}
        for rank in (4, 8) for rate in rates
    }  # fmt: skip
    pivot = swept(made(tmp_path / "both", facts, dict.fromkeys(facts, 50)))["pivots"][0]
    assert (pivot["row"], pivot["column"]) == ("rank", "learning_rate")
    alone = {name: fact for name, fact in facts.items() if fact["learning_rate"] == rates[0]}
    assert swept(made(tmp_path / "alone", alone, dict.fromkeys(alone, 50)))["pivots"] == []


def test_the_order_of_adapters_changes_nothing(grid: Results) -> None:
    adapters, estimates = list(grid.adapters), list(grid.estimates)
    random.Random(0).shuffle(adapters)
    random.Random(1).shuffle(estimates)
    mixed = dataclasses.replace(grid, adapters=tuple(adapters), estimates=tuple(estimates))
    assert swept(mixed) == swept(grid)


def test_seeds_that_score_alike_have_no_interval(tmp_path: Path) -> None:
    facts = {f"s{seed}": {"rank": 8, "seed": seed} for seed in range(3)}
    found = swept(made(tmp_path, facts, dict.fromkeys(facts, 60)))
    (setting,) = found["settings"]
    spread = setting["scores"][0]
    assert (spread["sd"], spread["low"], spread["high"]) == (0.0, None, None)


def test_two_seeds_speak_of_adapters_and_have_no_interval(tmp_path: Path) -> None:
    facts: Facts = {f"{r}-{s}": {"rank": r, "seed": s} for r in (4, 8) for s in (0, 1)}
    found = swept(made(tmp_path, facts, dict(zip(facts, (50, 60, 70, 70), strict=True))))
    for setting in found["settings"]:
        assert setting["speaks_of"] == "adapter"
        assert setting["scores"][0]["low"] is None
    assert found["settings"][0]["scores"][0]["sd"] == pytest.approx(0.1 / 2**0.5)
    assert found["pivots"] == []  # one fact was varied


def test_without_a_known_seed_every_adapter_stands_alone(tmp_path: Path) -> None:
    found = swept(made(tmp_path, {"a": {"rank": 4}, "b": {"rank": 4}}, {"a": 50, "b": 60}))
    assert [(s["adapters"], s["seeds"], s["speaks_of"]) for s in found["settings"]] == [
        (["a"], [], "adapter"), (["b"], [], "adapter"),
    ]  # fmt: skip


def test_copies_count_once_by_weights_and_by_answers(grid: Results) -> None:
    names = [f"r4-0.0001-{seed}" for seed in range(3)]
    found = swept(grid, **{names[1]: "same", names[2]: "same"})
    assert found["duplicates"] == [{"adapters": names[1:], "alike_in": "answers"}]
    assert (found["n_adapters"], found["n_effective"]) == (12, 11)
    assert found["settings"][0]["seeds"] == [0, 1]
    assert found["settings"][0]["speaks_of"] == "adapter"
    adapters = tuple(a | {"sha256": "f" * 64} if a["name"] in names else a for a in grid.adapters)
    found = swept(dataclasses.replace(grid, adapters=adapters))
    assert found["duplicates"] == [{"adapters": names, "alike_in": "weights"}]
    assert found["n_effective"] == 10


def test_what_is_incomplete_is_no_copy_and_what_says_the_same_as_the_base_is_named(
    grid: Results,
) -> None:
    names = [f"r4-0.0001-{seed}" for seed in range(3)]
    found = swept(grid, **{names[0]: None, names[1]: None, names[2]: "base"})
    assert found["duplicates"] == []
    assert found["same_as_base"] == [names[2]]


@pytest.fixture
def series(tmp_path: Path) -> Results:
    """Three trainings of four checkpoints; the fast ones peak before their end."""
    facts: Facts = {}
    n_right = {}
    for run, rate, seed, scores in (
        ("slow", 1e-5, 0, (41, 42, 43, 44)),
        ("fast-0", 1e-3, 0, (50, 70, 60, 55)),
        ("fast-1", 1e-3, 1, (50, 60, 72, 57)),
    ):
        for steps, score in zip((5, 10, 20, 100), scores, strict=True):
            name = f"{run}/checkpoint-{steps}"
            facts[name] = {"learning_rate": rate, "seed": seed, "steps": steps, "epochs": steps / 9,
                           "series": run}  # fmt: skip
            n_right[name] = score
    return made(tmp_path, facts, n_right)


def test_curves_over_checkpoints_by_steps_not_by_name(series: Results) -> None:
    curve = next(c for c in swept(series)["curves"] if c["series"] == "fast-0")
    assert [p["steps"] for p in curve["points"]] == [5, 10, 20, 100]
    assert np.allclose([p["value"] for p in curve["points"]], [0.5, 0.7, 0.6, 0.55])
    assert all(p["low"] < p["value"] < p["high"] for p in curve["points"])


def test_the_last_checkpoint_or_the_best_on_a_stated_split(series: Results) -> None:
    found = swept(series)
    assert found["selection"]["rule"] == "last"
    assert found["selection"]["split"] is None
    assert {c["steps"] for c in found["selection"]["choices"]} == {100}
    slow, fast = found["settings"]
    assert (slow["facts"], fast["facts"]) == ({"learning_rate": 1e-5}, {"learning_rate": 1e-3})
    assert fast["seeds"] == [0, 1]
    assert fast["scores"][0]["mean"] == pytest.approx(0.56)
    best = swept(series, read_rule("best:u", ["t", "u"]))
    assert best["selection"]["split"] == "u"  # whose scores are those of the best of four
    assert {c["series"]: c["steps"] for c in best["selection"]["choices"]} == {
        "fast-0": 10, "fast-1": 20, "slow": 100,
    }  # fmt: skip
    assert {c["n_candidates"] for c in best["selection"]["choices"]} == {4}
    assert best["settings"][1]["scores"][0]["mean"] == pytest.approx(0.71)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("first", "expected last, or best:TASK"),
        ("best", "expected last, or best:TASK"),
        ("best:", "expected last, or best:TASK"),
        ("best:v", "no such task here; there are t, u"),
    ],
)
def test_a_rule_that_cannot_be_read(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=f"--select {text}: {message}"):
        read_rule(text, ["t", "u"])


def test_seeds_that_learned_nothing_are_counted(tmp_path: Path) -> None:
    facts: Facts = {f"s{seed}": {"seed": seed, "rank": 4} for seed in range(4)}
    results = made(tmp_path, facts, {"s0": 60, "s1": 58, "s2": 30, "s3": 2})
    floor = dataclasses.replace(
        results.estimate("t", "rougeL"), adapter="copy-input", value=0.3, low=0.2, high=0.4
    )
    found = swept(dataclasses.replace(results, baselines=(floor,)))
    (setting,) = found["settings"]
    on_t, on_u = setting["scores"]
    assert (on_t["n_diverged"], on_t["share_diverged"]) == (2, 0.5)
    assert on_t["highest"] - on_t["lowest"] == pytest.approx(0.58)
    assert on_u["n_diverged"] is None


def test_one_adapter_is_no_sweep(tmp_path: Path) -> None:
    assert swept(made(tmp_path, {"a": {"rank": 4}}, {"a": 50})) == {}
