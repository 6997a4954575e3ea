"""IFEval by lm-eval's checkers: GPT-4's published answers, and no chance in it."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

import peval
from peval.scorers import ifeval
from peval.types import Sample

pytest.importorskip("langdetect", reason="IFEval's checkers are not installed: peval[ifeval]")

PUBLISHED = {"prompt_strict": 0.7689, "instruction_strict": 0.8357, "prompt_loose": 0.7930,
             "instruction_loose": 0.8537}  # fmt: skip


def sample(kinds, kwargs, prompt="Write."):
    problem = json.dumps({"instructions": kinds, "kwargs": kwargs})
    return Sample("1", prompt, (), "1", problem=problem)


def test_the_types_are_lm_evals():
    ifeval.checkers()
    from lm_eval.tasks.ifeval import instructions_registry

    assert set(ifeval.TYPES) == set(instructions_registry.INSTRUCTION_DICT)


def test_strict_and_loose():
    asked = sample(["punctuation:no_comma", "startend:quotation"], [{}, {}])
    found = ifeval.score_ifeval('Sure, here it is:\n"Nothing but this"', asked)
    assert (found["prompt_strict"], found["instruction_strict"]) == (0.0, [0, 0])
    assert (found["prompt_loose"], found["instruction_loose"]) == (1.0, [1, 1])
    assert found["loose@punctuation:no_comma"] == [1]
    assert found["strict@keywords:existence"] is None


def test_a_sign_in_place_of_a_letter_is_drawn_alike_each_time():
    kwargs = {"let_relation": "at least", "letter": "#", "let_frequency": 2}
    asked = sample(["keywords:letter_frequency"], [kwargs])
    random.seed(7)
    before = random.getstate()
    found = {ifeval.score_ifeval("abcdefghijklm" * 2, asked)["prompt_strict"] for _ in range(9)}
    assert len(found) == 1
    assert random.getstate() == before


def test_gpt_4s_published_answers(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "ifeval"
    answers = folder / "input_response_data_gpt4_20231107_145030.jsonl"
    prompts = map(json.loads, (folder / "input_data.jsonl").read_text().splitlines())
    said = map(json.loads, answers.read_text().splitlines())
    rows = [
        {"id": p["key"], "prediction": a["response"]} for p, a in zip(prompts, said, strict=True)
    ]
    path = tmp_path / "gpt-4.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = peval.score_predictions([path], "ifeval", data_dir=shared_data, out=tmp_path / "run")
    for metric, published in PUBLISHED.items():
        e = found.estimate("ifeval", metric, "gpt-4")
        n = 541 if metric.startswith("prompt") else 834
        assert round(e.value * n) == pytest.approx(published * n, abs=1.05), metric
        assert 0 <= e.low < e.value < e.high <= 1
        assert (e.n_items, e.n_clusters) == (541, 541)
    for e in found.estimates:
        if e.metric in ifeval.BY_TYPE:
            assert 0 <= e.low <= e.value <= e.high <= 1
            assert e.low < e.high
    by_type = {m: found.estimate("ifeval", m, "gpt-4") for m in ifeval.BY_TYPE}
    assert sum(e.n_items for m, e in by_type.items() if m.startswith("strict@")) > 800
    assert by_type["strict@punctuation:no_comma"].n_items == 66
    report = (tmp_path / "run" / "report.md").read_text()
    assert "## Instructions followed" in report
    assert "| punctuation:no_comma (66) |" in report
    assert "<summary>strict@" not in report


BY_CHANCE = {1122, 1129}  # they ask for "#" and "!", where the checker draws a letter


def test_two_prompts_whose_letter_is_drawn_are_all_that_differs_from_the_published(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def counts(keys: set[int]) -> tuple[int, ...]:
        found = [ifeval.score_ifeval(said[key], asked[key]) for key in keys]
        return tuple(sum(np.sum(one[level]) for one in found) for level in ifeval.LEVELS)

    folder = shared_data / "ifeval"
    rows = list(map(json.loads, (folder / "input_data.jsonl").read_text().splitlines()))
    answers = folder / "input_response_data_gpt4_20231107_145030.jsonl"
    texts = [json.loads(line)["response"] for line in answers.read_text().splitlines()]
    said = {row["key"]: text for row, text in zip(rows, texts, strict=True)}
    asked = {
        row["key"]: sample(row["instruction_id_list"], row["kwargs"], row["prompt"]) for row in rows
    }
    others = counts({*asked} - BY_CHANCE)
    drawn = set()
    for seed in range(60):
        monkeypatch.setattr(ifeval, "SEED", seed)
        drawn.add(counts(BY_CHANCE))
    published = (416, 697, 429, 712)
    assert tuple(np.subtract(published, others)) in drawn
    assert len(drawn) == 9
