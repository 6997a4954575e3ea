"""A sweep whose truth is known, read from facts."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_runs import made_run

from peval.report.charts import Lines, Strip
from peval.report.document import Figure, Fold, Paragraph, Table, plain
from peval.report.sweeps import sections
from peval.report.view import View
from peval.results import Results, load_results
from peval.sweeps import Rule, sweep

N = 100
LAST = Rule()


def share(n_right: int) -> list[float]:
    return [1.0] * n_right + [0.0] * (N - n_right)


def view(
    tmp_path: Path, facts: dict[str, dict[str, Any]], n_right: dict[str, int], rule: Rule = LAST
) -> View:
    scores: dict[str | None, list[float]] = {None: share(40)}
    for name, n in n_right.items():
        scores[name] = share(n)
    return with_facts(made_run(tmp_path / "run", {"t": scores}), facts, rule)


def with_facts(run: Path, facts: dict[str, dict[str, Any]], rule: Rule = LAST) -> View:
    results = load_results(run / "results.json")
    adapters = tuple(a | {"facts": facts[a["name"]]} for a in results.adapters)
    return swept(dataclasses.replace(results, adapters=adapters), rule)


def swept(results: Results, rule: Rule = LAST) -> View:
    return View(dataclasses.replace(results, sweep=sweep(results, {}, rule)))


@pytest.fixture
def twelve(tmp_path: Path) -> View:
    """Twelve adapters: ranks 4 and 16, two learning rates, three seeds; rank 16 is better by 20."""
    facts, n_right = {}, {}
    for rank in (4, 16):
        for rate in (1e-4, 1e-3):
            for seed in range(3):
                name = f"r{rank}-{rate:g}-{seed}"
                facts[name] = {"rank": rank, "learning_rate": rate, "seed": seed, "bytes": rank}
                n_right[name] = 50 + 20 * (rank == 16) + seed
    return view(tmp_path, facts, n_right)


def test_score_against_rank_by_learning_rate_and_the_spread_of_seeds(twelve: View) -> None:
    (section,) = sections(twelve)
    ranks, seeds = (part.chart for part in section.parts if isinstance(part, Figure))
    assert isinstance(ranks, Lines)
    assert isinstance(seeds, Strip)
    assert ranks.log_x
    assert ranks.level == pytest.approx(40)
    assert [line.label for line in ranks.lines] == ["lr 0.0001", "lr 0.001"]
    assert ranks.lines[0].xs == (4, 4, 4, 16, 16, 16)
    assert np.allclose(ranks.lines[0].ys, (50, 51, 52, 70, 71, 72))
    assert [line.label for line in seeds.lines] == [
        "rank 4, lr 0.0001", "rank 16, lr 0.0001", "rank 4, lr 0.001", "rank 16, lr 0.001",
    ]  # fmt: skip
    pivot, table = (part for part in section.parts if isinstance(part, Table))
    assert [[cell.plain for cell in row] for row in pivot.rows] == [
        ["4", "51", "51"], ["16", "71", "71"],
    ]  # fmt: skip
    first = dict(zip((plain(c.title) for c in table.columns), table.rows[0], strict=True))
    assert first["rank"].plain == "4"
    assert first["lr"].plain == "0.0001"
    assert first["adapters"].values == (3,)
    assert first["t, %"].plain == "51.0\xa0(50.0\xa0to\xa052.0)"
    assert "fewer than 3 seeds" not in text(twelve)


def text(view: View) -> str:
    (section,) = sections(view)
    return " ".join(plain(part.text) for part in section.parts if isinstance(part, Paragraph))


def test_fewer_than_three_seeds_are_about_the_adapter_and_copies_count_once(twelve: View) -> None:
    adapters = list(twelve.results.adapters)
    adapters[1] = adapters[1] | {"sha256": adapters[0]["sha256"]}
    copied = swept(dataclasses.replace(twelve.results, adapters=tuple(adapters)))
    assert "1 of 4 settings have fewer than 3 seeds" in text(copied)
    assert "Of 12 adapters there are 11 different ones; copies count once" in text(copied)
    assert "in weights" in text(copied)
    (section,) = sections(copied)
    _, table = (part for part in section.parts if isinstance(part, Table))
    assert sorted(row[-2].values[0] for row in table.rows) == [2, 3, 3, 3]


@pytest.mark.parametrize(
    ("rule", "words"),
    [(LAST, "the last stands for it"), (Rule("best", "t"), "the best on t stands for it: its sc")],
)
def test_a_series_of_checkpoints_is_a_curve_and_one_of_them_stands_for_it(
    tmp_path: Path, rule: Rule, words: str
) -> None:
    facts = {
        f"{run}/checkpoint-{steps}": {"learning_rate": rate, "steps": steps, "series": run}
        for run, rate in (("slow", 1e-5), ("fast", 1e-3))
        for steps in (10, 20, 30)
    }
    n_right = {name: 40 + int(f["steps"]) * (f["series"] == "fast") for name, f in facts.items()}
    (section,) = sections(view(tmp_path, facts, n_right, rule))
    (figure,) = (part for part in section.parts if isinstance(part, Figure))
    assert isinstance(figure.chart, Lines)
    said = " ".join(plain(part.text) for part in section.parts if isinstance(part, Paragraph))
    assert words in said
    fast = next(line for line in figure.chart.lines if "fast" in line.label)
    assert fast.xs == (10, 20, 30)
    assert np.allclose(fast.ys, (50, 60, 70))
    *_, table = (part for part in section.parts if isinstance(part, Table))
    assert sorted(row[-1].plain for row in table.rows) == ["40", "70"]


def test_ranks_alone_make_no_sweep(tmp_path: Path) -> None:
    facts = {f"a{rank}": {"rank": rank} for rank in (1, 2, 4)}
    assert not list(sections(view(tmp_path, facts, dict.fromkeys(facts, 50))))


def test_every_task_but_the_first_is_folded(tmp_path: Path) -> None:
    facts = {f"a{seed}": {"seed": seed, "rank": 4 + (seed > 2)} for seed in range(6)}
    scores: dict[str | None, list[float]] = {None: share(1)} | {a: share(9) for a in facts}
    run = made_run(tmp_path / "run", {"t": scores, "u": scores})
    (section,) = sections(with_facts(run, facts))
    (fold,) = (part for part in section.parts if isinstance(part, Fold))
    assert [f.name for f in fold.parts if isinstance(f, Figure)] == ["ranks-u", "seeds-u"]


def test_a_line_over_ranks_joins_what_is_otherwise_alike(tmp_path: Path) -> None:
    facts: dict[str, dict[str, Any]] = {
        f"{rank}-{seed}": {"rank": rank, "alpha": 2 * rank, "n_tasks": 11, "seed": seed}
        for rank in (4, 16) for seed in (0, 1, 2)
    }  # fmt: skip
    facts["narrow"] = {"rank": 8, "alpha": 16, "n_tasks": 2, "seed": 0}
    facts["none"] = {"rank": 8, "alpha": 16, "n_tasks": 0, "seed": 0}
    found = view(tmp_path, facts, dict.fromkeys(facts, 50) | {"narrow": 5})
    (section,) = sections(found)
    ranks = next(part.chart for part in section.parts if isinstance(part, Figure))
    assert isinstance(ranks, Lines)
    assert {line.label: line.xs for line in ranks.lines} == {
        "n tasks 11": (4, 4, 4, 16, 16, 16), "n tasks 2": (8,), "n tasks 0": (8,),
    }  # fmt: skip
