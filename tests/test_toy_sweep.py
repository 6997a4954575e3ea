"""Twelve adapters of a known truth on recorded answers of vLLM: the results say the truth."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy_sweep import NAMES, NOOPS, cut, make, options, recorded

import peval
from peval import api
from peval.engines import ReplayEngine
from peval.results import Results
from peval.rundir import RunDir


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep")
    make(folder)
    serving, completions = recorded()
    replayed = RunDir(folder / "recorded")
    replayed.path.mkdir()
    replayed.write_manifest({"serving": serving, "adapters": []})
    patch = pytest.MonkeyPatch()
    with patch.context() as p:
        p.setattr(api, "open_engine", lambda setup, progress: ReplayEngine(completions))
        how = options(folder, folder / "run") | {"engine": "replay", "replay": str(replayed.path)}
        peval.score(**how)
    return folder / "run"


@pytest.fixture(scope="module")
def results(run: Path) -> Results:
    return peval.load(run)


def test_generalists_of_full_rank_are_better_and_the_narrow_one_is_worse(results: Results) -> None:
    for seed in (0, 1):
        found = results.comparison("superni", "rougeL", cut(seed, 16))
        assert found.low is not None
        assert found.p_adjusted is not None
        assert found.low > 0.05
        assert found.p_adjusted < 0.05
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
    assert sweep["duplicates"] == [{"adapters": sorted(NOOPS), "alike_in": "answers"}]
    assert (sweep["n_adapters"], sweep["n_effective"]) == (len(NAMES), len(NAMES) - 2)
    by_rank = {s["facts"]["rank"]: s for s in sweep["settings"] if s["facts"]["n_tasks"] == 11}
    assert set(by_rank) == {16, 8, 4, 2}
    assert all(s["seeds"] == [0, 1] for s in by_rank.values())
    assert {s["speaks_of"] for s in sweep["settings"]} == {"adapter"}  # two seeds at most
    means = {rank: s["scores"][0]["mean"] for rank, s in by_rank.items()}
    assert max(means, key=means.__getitem__) == 16


def test_one_permutation_of_all_against_the_base_says_the_same(run: Path) -> None:
    found = peval.compare(run, adjust="max-t")
    heads = {c.adapter: c for c in found.comparisons if c.family == "primary"}
    for seed in (0, 1):
        assert (heads[cut(seed, 16)].p_adjusted or 1) < 0.05
    for name in NOOPS:
        assert heads[name].p_adjusted == 1


def test_the_report_names_the_truth(run: Path) -> None:
    text = (run / "report.md").read_text()
    opening = text[: text.index("\n## ")]
    assert cut(0, 16) in opening or cut(1, 16) in opening
    assert "noop" in opening
