"""Twelve adapters of a known truth on recorded answers of vLLM: the results say the truth."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy_sweep import NAMES, NOOPS, SEEDS, general, replay

import peval
from peval.results import Results


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sweep") / "run"
    replay(out)
    return out


@pytest.fixture(scope="module")
def results(run: Path) -> Results:
    return peval.load(run)


def test_trained_generalists_are_better_and_the_narrow_one_is_worse(results: Results) -> None:
    for rank in (16, 4):
        for seed in SEEDS:
            found = results.comparison("superni", "rougeL", general(rank, seed))
            assert found.low is not None
            assert found.p_adjusted is not None
            assert found.low > 0.05
            assert found.p_adjusted < 0.05
    for seed in SEEDS:  # what is left of them at rank 2 cannot be told from nothing
        left = results.comparison("superni", "rougeL", general(2, seed))
        assert (left.p_adjusted or 0) > 0.05
    narrow = results.comparison("superni", "rougeL", "narrow")
    assert narrow.high is not None
    assert narrow.high < 0
    assert narrow.retention == "lost"


def test_no_copy_of_noop_is_called_different(results: Results) -> None:
    for name in NOOPS:
        for c in results.comparisons:
            if c.adapter == name:
                assert (c.delta, c.low, c.high) == (0, 0, 0)
                assert c.p_value in (None, 1)
                assert c.retention in (None, "kept")
    assert results.sweep["same_as_base"] == sorted(NOOPS)


def test_copies_count_once_and_settings_are_ranks(results: Results) -> None:
    sweep = results.sweep
    assert len(NAMES) == 12
    assert sweep["duplicates"] == [{"adapters": sorted(NOOPS), "alike_in": "answers"}]
    assert (sweep["n_adapters"], sweep["n_effective"]) == (12, 11)
    general_ones = [s for s in sweep["settings"] if s["facts"]["n_tasks"] == 11]
    by_rank = {s["facts"]["rank"]: s["scores"][0] for s in general_ones}
    assert sorted(by_rank) == [2, 4, 16]
    assert all(s["seeds"] == [0, 1, 2] for s in general_ones)
    # Three trained seeds speak of the way of training, one of its adapter alone.
    spoken = {s["adapters"][0]: s["speaks_of"] for s in sweep["settings"]}
    assert spoken == {general(rank, 0): "method" for rank in by_rank} | {
        "noop": "adapter", "narrow": "adapter",
    }  # fmt: skip
    assert by_rank[2]["high"] < by_rank[4]["low"]
    assert by_rank[2]["high"] < by_rank[16]["low"]


def test_one_permutation_of_all_against_the_base_says_the_same(run: Path) -> None:
    found = peval.compare(run, adjust="max-t")
    heads = {c.adapter: c for c in found.comparisons if c.family == "primary"}
    for seed in SEEDS:
        assert (heads[general(16, seed)].p_adjusted or 1) < 0.05
    for name in NOOPS:
        assert heads[name].p_adjusted == 1


def test_the_report_names_the_truth(run: Path) -> None:
    text = (run / "report.md").read_text()
    opening = text[: text.index("\n## ")]
    best, others, worse, *_ = [line for line in opening.splitlines() if line[:2] == "- "]
    assert "**is better than the base**" in best
    assert "and 2 more adapters are better too" in others
    assert general(2, 0) not in best + others
    assert "`narrow` is **worse than the base**" in worse
    for name in ("noop", "noop-s1"):
        assert f"**No effect.** `{name}`: the update it holds is exactly zero." in opening
