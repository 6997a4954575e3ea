"""Sets of open prompts: the published files, and small ones of their form."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from peval import datasets
from peval.catalog import load_task, suites
from peval.errors import DataError


@pytest.mark.parametrize(
    ("name", "n", "n_turns", "n_references"),
    [("mt-bench", 80, 2, 30), ("vicuna", 80, 1, 10), ("self-instruct", 252, 1, 252),
     ("tulu-human-eval", 332, 1, 0), ("ifeval", 541, 1, 0)],
)  # fmt: skip
def test_published_files(shared_data, name, n, n_turns, n_references):
    found = datasets.read(load_task(name), shared_data)
    assert len(found.samples) == n
    assert not found.notes
    assert {1 + len(s.follow_ups) for s in found.samples} == {n_turns}
    assert sum(bool(s.targets) for s in found.samples) == n_references
    assert found.files == datasets.files_of(load_task(name), shared_data)


def test_mt_bench_has_a_temperature_by_category(shared_data):
    task = load_task("mt-bench")
    samples = datasets.read(task, shared_data).samples
    found = {s.category: s.queries[0].decoding.temperature for s in samples}
    assert found == {"writing": 0.7, "roleplay": 0.7, "extraction": 0, "math": 0, "coding": 0,
                     "reasoning": 0, "stem": 0.1, "humanities": 0.1}  # fmt: skip
    assert {s.queries[0].decoding.max_tokens for s in samples} == {1024}
    with_references = Counter(s.category for s in samples if s.problem)
    assert with_references == {"math": 10, "reasoning": 10, "coding": 10}
    (second,) = (json.loads(s.problem)["references"][1] for s in samples if s.id == "101")
    assert "last person" in second
    greedy = datasets.read(load_task("mt-bench", "alpaca-eval"), shared_data).samples
    assert not any(s.queries for s in greedy)


def test_ifeval_has_834_instructions(shared_data):
    samples = datasets.read(load_task("ifeval"), shared_data).samples
    assert sum(len(json.loads(s.problem)["instructions"]) for s in samples) == 834


def alpaca(folder: Path, *rows: object) -> Path:
    place = folder / "alpaca_eval"
    place.mkdir(exist_ok=True)
    raw = json.dumps(rows).encode()
    (place / "alpaca_eval.json.gz").write_bytes(gzip.compress(raw))
    return folder


ROW = {"instruction": "Why?", "output": "So.", "generator": "text_davinci_003", "dataset": "koala"}


def test_alpaca_eval(tmp_path):
    folder = alpaca(tmp_path, ROW, ROW | {"instruction": "How?"})
    found = datasets.read(load_task("alpaca-eval"), folder)
    one, two = found.samples
    assert (one.input, one.targets, one.category) == ("Why?", ("So.",), "koala")
    assert one.id != two.id
    assert found.notes == ("alpaca-eval: 2 of the 805 published prompts",)


def test_what_is_wrong_with_a_file_is_said_with_its_place(tmp_path):
    task = load_task("alpaca-eval")
    for row, why in (
        ({"output": "So."}, "record 1: no field 'instruction'"),
        (ROW | {"instruction": "  "}, "record 1: not a prompt of this set"),
        ("text", "record 1: not a prompt of this set"),
    ):
        with pytest.raises(DataError, match=why):
            datasets.read(task, alpaca(tmp_path, ROW, row))


def test_where_data_is_missing_it_says_what_to_get(tmp_path):
    with pytest.raises(DataError, match=r"alpaca_eval at 2edc6fad: .*set --data-dir"):
        datasets.read(load_task("alpaca-eval"), None)
    with pytest.raises(DataError, match=r"question.jsonl: no such file; .*lm-sys/FastChat"):
        datasets.read(load_task("mt-bench"), tmp_path)


def test_the_suite_has_them_all():
    assert set(suites()["open-instruction"]) == {
        "alpaca-eval", "mt-bench", "vicuna", "self-instruct", "tulu-human-eval",
    }  # fmt: skip
