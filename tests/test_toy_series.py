"""A real training's checkpoints on recorded answers of vLLM: its learning curves."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy_series import STEPS, replay

import peval
from peval.results import Results


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("series") / "run"
    replay(out)
    return out


@pytest.fixture(scope="module")
def results(run: Path) -> Results:
    return peval.load(run)


def test_the_trainers_checkpoints_are_one_series_in_the_order_of_steps(results: Results) -> None:
    facts = [adapter["facts"] for adapter in results.adapters]
    assert [fact["steps"] for fact in facts] == list(STEPS)
    assert {fact["series"] for fact in facts} == {"series"}
    curves = {curve["task"]: curve["points"] for curve in results.sweep["curves"]}
    assert list(curves) == ["superni", "superni-in-task"]
    for task, points in curves.items():
        assert [point["steps"] for point in points] == list(STEPS)
        for point in points:
            estimate = results.estimate(task, "rougeL", point["adapter"])
            assert (point["value"], point["low"], point["high"]) == (
                estimate.value, estimate.low, estimate.high,
            )  # fmt: skip


def test_trained_tasks_go_on_rising_while_held_out_ones_do_not(results: Results) -> None:
    first, last = (f"series/checkpoint-{n}" for n in (STEPS[0], STEPS[-1]))
    value = {
        (task, name): results.estimate(task, "rougeL", name).value or 0.0
        for task in ("superni", "superni-in-task")
        for name in (None, first, last)
    }
    assert value["superni", None] + 0.1 < value["superni", first]
    assert value["superni-in-task", first] + 0.02 < value["superni-in-task", last]
    assert value["superni", last] < value["superni", first]


def test_the_best_on_a_stated_split_stands_for_the_series_and_is_said_to_be(
    results: Results, run: Path
) -> None:
    selection = results.sweep["selection"]
    (choice,) = selection["choices"]
    scores = {p["adapter"]: p["value"] for c in results.sweep["curves"]
              if c["task"] == selection["split"] for p in c["points"]}  # fmt: skip
    assert selection["split"] == "superni-in-task"
    assert scores[choice["adapter"]] == max(scores.values())
    text = (run / "report.md").read_text()
    assert "best on `superni-in-task` stands for it" in text
    assert "**too high for it**" in text
    assert "figures/steps-superni-light.svg" in text
