"""Tulu's evaluations as samples and prompts: the texts of `tulu_prompts`, whatever the route."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from tulu_oracles import fitting_mmlu_prompt
from voices import PLAIN, TOKENIZER, TULU, chat, plain

from peval import datasets
from peval.catalog import load_task
from peval.datasets import bbh, gsm8k, mmlu, tydiqa
from peval.datasets import tulu as tulu_reader
from peval.datasets.tulu_prompts import (
    CHOICES,
    bbh_prompt,
    gsm8k_prompt,
)
from peval.errors import TaskError
from peval.prompts import token_ids
from peval.queries import encode_queries
from peval.types import Task

PROFILES = ("tulu1", "tulu1-plain", "tulu2", "tulu2-plain")


def text_ids(text: str) -> list[int]:
    return token_ids(TOKENIZER, [text])[0]


def bare_ids(text: str) -> list[int]:
    return token_ids(TOKENIZER, [text], add_special_tokens=False)[0]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Write small files in the layouts of the three benchmarks."""
    for split, n_rows in (("test", 3), ("dev", 5)):
        rows = [
            f'"What is {i}{i}?",one,two,{"long " * 40 * i}three,four,{"ABCD"[i % 4]}'
            for i in range(n_rows)
        ]
        for subject in ("anatomy", "virology"):
            file = tmp_path / "mmlu" / split / f"{subject}_{split}.csv"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("\n".join(rows))
    (tmp_path / "gsm8k").mkdir()
    lines = [
        {"question": f"What is {i} and {i}?", "answer": f"So.\n#### {2 * i}"} for i in range(4)
    ]
    (tmp_path / "gsm8k" / "test.jsonl").write_text("\n".join(map(json.dumps, lines)))
    for name in ("bbh", "cot-prompts"):
        (tmp_path / "bbh" / name).mkdir(parents=True)
    examples = [{"input": f"Is {i} odd?", "target": "Yes" if i % 2 else "No"} for i in range(4)]
    (tmp_path / "bbh" / "bbh" / "odd.json").write_text(json.dumps({"examples": examples}))
    shots = "\n\n".join(f"Q: Is {i} odd?\nA: Look. So the answer is No." for i in (2, 4, 6))
    text = f"canary\n-----\nSay whether.\n\n{shots}"
    (tmp_path / "bbh" / "cot-prompts" / "odd.txt").write_text(text)
    return tmp_path


def encoded(task: Task, place: Path) -> list[tuple[list[int], tuple[tuple[int, ...], ...]]]:
    voice = TULU if task.profile.chat else PLAIN
    prompts = encode_queries(datasets.read(task, place).samples, voice, 4000)
    return [(list(p.token_ids), p.choices) for (p,) in prompts]


@pytest.mark.parametrize("profile", PROFILES)
def test_generated_answers_are_asked_in_the_published_words(place: Path, profile: str) -> None:
    form = chat if "plain" not in profile else plain
    for name in ("cot", "direct"):
        task = load_task(f"gsm8k-{name}-full", profile)
        texts = [form(gsm8k_prompt(p, name == "cot")) for p in gsm8k.read(place / "gsm8k")]
        assert [ids for ids, _ in encoded(task, place)] == list(map(text_ids, texts))
        task = load_task(f"bbh-{name}-full", profile)
        (one,) = bbh.read(place / "bbh").values()
        texts = [form(bbh_prompt(one, p, name == "cot")) for p in one.problems]
        assert [ids for ids, _ in encoded(task, place)] == list(map(text_ids, texts))


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("longest", [2048, 400, 300])
def test_mmlu_leaves_out_the_shots_that_do_not_fit(
    place: Path, profile: str, longest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tulu_reader, "MMLU_MAX_PROMPT_TOKENS", longest)
    form = chat if "plain" not in profile else plain
    task = load_task("mmlu-5-shot", profile)
    found, expected, n_shots = encoded(task, place), [], []
    dev = mmlu.read(place / "mmlu", "dev")
    for subject, questions in mmlu.read(place / "mmlu", "test").items():
        for question in questions:
            prompt, n = fitting_mmlu_prompt(
                question, dev[subject], lambda prompt: len(bare_ids(form(prompt))), longest
            )
            expected.append(text_ids(form(prompt)))
            n_shots.append(n)
    assert [ids for ids, _ in found] == expected
    assert max(n_shots) == 5 if longest == 2048 else max(n_shots) < 5
    labels, which = (CHOICES["tulu1"], 0) if "tulu1" in profile else (CHOICES["tulu2"], -1)
    assert {choices for _, choices in found} == {tuple((bare_ids(one)[which],) for one in labels)}


def test_the_answer_is_among_the_choices(place: Path) -> None:
    samples = datasets.read(load_task("mmlu-0-shot"), place).samples
    assert all(set(sample.targets) < set(sample.choices) for sample in samples)
    assert {sample.category for sample in samples} == {"other (business, health, misc.)"}


def test_another_profile_is_refused(place: Path) -> None:
    with pytest.raises(TaskError, match="asked by a profile of Tulu's"):
        datasets.read(load_task("gsm8k-cot", "plain"), place)


def test_a_limit_takes_the_first_of_each_cluster(place: Path) -> None:
    task = load_task("mmlu-0-shot")
    profile = dataclasses.replace(task.profile, instances_per_task=2)
    samples = datasets.read(dataclasses.replace(task, profile=profile), place).samples
    assert [sample.id for sample in samples] == [
        f"{subject}/test/{i}" for subject in ("anatomy", "virology") for i in range(2)
    ]
    assert {path.name for path in datasets.files_of(task, place)} >= {"anatomy_dev.csv"}


@pytest.mark.parametrize("profile", PROFILES)
def test_tydiqa_is_asked_by_language_with_passages_or_without(tmp_path: Path, profile: str) -> None:
    """From official files to token ids; a language without a demonstration is told as absent."""
    (tmp_path / "tydiqa_goldp").mkdir()
    both = ["english", "korean"]
    for split, languages in (("dev", [*both, "telugu"]), ("train", both)):
        data = [
            {"context": f"{one} {split} passage {i}. " * (400 if i == 1 else 1), "qas": [
                {"id": f"{one}-{i}-0", "question": f"Q{i}?", "answers": [{"text": f"A{i}"}]}]}
            for one in languages
            for i in range(3)
        ]  # fmt: skip
        file = tmp_path / "tydiqa_goldp" / f"tydiqa-goldp-v1.1-{split}.json"
        file.write_text(json.dumps({"data": [{"paragraphs": data}]}))
    for name in ("tydiqa-goldp", "tydiqa-no-context"):
        task = load_task(name, profile)
        found = datasets.read(task, tmp_path)
        assert found.absent == tuple(one for one in tydiqa.LANGUAGES if one not in both)
        assert [(s.id, s.category, s.targets) for s in found.samples] == [
            (f"{one}-{i}-0", one, (f"A{i}",)) for one in both for i in range(3)
        ]
        asked = [ids for ids, _ in encoded(task, tmp_path)]
        texts = [TOKENIZER.decode(ids, skip_special_tokens=False) for ids in asked]
        assert all(("passage" in text) == (name == "tydiqa-goldp") for text in texts)
        assert all(text.count("Q") >= 2 for text in texts)
        long = [ids for ids in asked if len(ids) > 500]
        assert all(len(ids) < 1200 for ids in long)
        assert bool(long) == (name == "tydiqa-goldp")


@pytest.mark.parametrize(
    ("name", "n_samples"),
    [("mmlu-5-shot", 14042), ("gsm8k-cot", 200), ("bbh-cot", 1080), ("tydiqa-goldp", 300)],
)
def test_the_real_files_are_read(name: str, n_samples: int, shared_data: Path) -> None:
    samples = datasets.read(load_task(name), shared_data).samples
    assert len(samples) == n_samples
    assert len({sample.id for sample in samples}) == n_samples
