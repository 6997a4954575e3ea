"""The Tulu tasks from files of the hub's schema, and what is said where the hub is out of reach."""

import csv
import dataclasses
import json

import pytest

from peval import datasets
from peval.catalog import load_task
from peval.datasets import hub_rows
from peval.errors import DataError
from peval.hub import http_errors

SUBJECTS = ("anatomy", "virology")


@pytest.fixture(autouse=True)
def offline(tmp_path_factory, monkeypatch):
    """Keep the hub away and what is read in a cache of this test."""
    library = pytest.importorskip("datasets")
    monkeypatch.setattr(library.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(library.config, "HF_HUB_OFFLINE", True)


def write(path, rows):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def mmlu_rows(n):
    return [
        {"question": f"{subject} {i}?", "subject": subject, "choices": ["a", "b", "c", "None"],
         "answer": i % 4}
        for i in range(n)
        for subject in SUBJECTS
    ]  # fmt: skip


def samples(name, place):
    found = datasets.read(load_task(name), place)
    # The task's own order may follow the subjects; what is asked has to be the same.
    return {one.id: dataclasses.replace(one) for one in found.samples}


def test_mmlu_of_both_forms_is_asked_alike(tmp_path):
    for split, n in (("test", 3), ("dev", 5)):
        write(tmp_path / "hub" / "mmlu" / "all" / f"{split}-00000-of-00001.parquet", mmlu_rows(n))
        for subject in SUBJECTS:
            file = tmp_path / "csv" / "mmlu" / split / f"{subject}_{split}.csv"
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("w", newline="") as out:
                for row in mmlu_rows(n):
                    if row["subject"] == subject:
                        cells = [row["question"], *row["choices"], "ABCD"[row["answer"]]]
                        csv.writer(out).writerow(cells)
    theirs = samples("mmlu-5-shot", tmp_path / "hub")
    assert theirs == samples("mmlu-5-shot", tmp_path / "csv")
    assert len(theirs) == 6
    assert all(
        path.suffix == ".parquet"
        for path in datasets.files_of(load_task("mmlu-5-shot"), tmp_path / "hub")
    )


def test_gsm8k_of_both_forms_is_asked_alike(tmp_path):
    rows = [{"question": f"{i}?", "answer": f"So.\n#### {i},000"} for i in range(1, 4)]
    write(tmp_path / "hub" / "gsm8k" / "main" / "test-00000-of-00001.parquet", rows)
    (tmp_path / "own" / "gsm8k").mkdir(parents=True)
    (tmp_path / "own" / "gsm8k" / "test.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = samples("gsm8k-cot", tmp_path / "hub")
    assert found == samples("gsm8k-cot", tmp_path / "own")
    assert [one.targets for one in found.values()] == [("1000",), ("2000",), ("3000",)]


def test_tydiqa_of_both_forms_is_asked_alike(tmp_path):
    (tmp_path / "own" / "tydiqa_goldp").mkdir(parents=True)
    for split, hub_split in (("dev", "validation"), ("train", "train")):
        rows = [
            {"id": f"korean-{i}-0", "title": "t", "context": f"c {split} {i}", "question": f"q{i}",
             "answers": {"text": [f"a{i}", "b"], "answer_start": [0, 1]}}
            for i in range(3)
        ]  # fmt: skip
        place = tmp_path / "hub" / "tydiqa_goldp" / "secondary_task"
        write(place / f"{hub_split}-00000-of-00001.parquet", rows)
        data = [
            {"context": row["context"], "qas": [
                {"id": row["id"], "question": row["question"],
                 "answers": [{"text": text} for text in row["answers"]["text"]]}]}
            for row in rows
        ]  # fmt: skip
        file = tmp_path / "own" / "tydiqa_goldp" / f"tydiqa-goldp-v1.1-{split}.json"
        file.write_text(json.dumps({"data": [{"paragraphs": data}]}))
    assert samples("tydiqa-goldp", tmp_path / "hub") == samples("tydiqa-goldp", tmp_path / "own")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"subject": "alchemy"}, r"test: row 1: field 'subject' is 'alchemy', none of MMLU"),
        ({"choices": ["a"]}, r"row 1: field 'choices' must be four texts"),
        ({"choices": ["a", "b", " ", "d"]}, r"row 1: field 'choice2' is empty"),
        ({"answer": 7}, r"row 1: field 'answer' is '7'; expected one of 0, 1, 2, 3"),
        ({"question": None}, r"row 1: field 'question' is empty"),
    ],
)
def test_a_row_that_does_not_fit_is_named(tmp_path, change, message):
    rows = mmlu_rows(2)
    rows[1] |= change
    for split in ("test", "dev"):
        write(tmp_path / "all" / f"{split}-0.parquet", rows if split == "test" else mmlu_rows(1))
    with pytest.raises(DataError, match=message):
        datasets.read(load_task("mmlu-0-shot"), tmp_path)


def test_other_columns_are_refused(tmp_path):
    write(tmp_path / "main" / "test-0.parquet", [{"question": "q", "solution": "#### 1"}])
    with pytest.raises(DataError, match=r"test: no column 'answer'; .* in openai/gsm8k"):
        datasets.read(load_task("gsm8k-cot"), tmp_path)


@pytest.mark.parametrize("reader", sorted(hub_rows.SOURCES))
def test_without_data_and_hub_one_line_says_what_to_get(reader, monkeypatch):
    monkeypatch.delenv("PEVAL_DATA", raising=False)
    name = {"mmlu": "mmlu-0-shot", "gsm8k": "gsm8k-cot", "tydiqa": "tydiqa-goldp"}[reader]
    source = hub_rows.SOURCES[reader]
    with pytest.raises(DataError) as error:
        datasets.read(load_task(name), None)
    said = str(error.value)
    assert said.startswith(f"{reader} data is needed, and neither --data-dir nor PEVAL_DATA is set")
    assert f"{source.repository} at {source.revision[:8]}: the Hub cannot be reached and" in said
    assert said.endswith("and set --data-dir to their folder")
    assert "\n" not in said


def test_a_pinned_copy_of_the_hub_is_read(tmp_path, monkeypatch):
    """What `--data-dir` is left out for: the hub's files at the pinned commit, and no others."""
    import huggingface_hub

    rows = [{"question": "1?", "answer": "#### 1"}]
    write(tmp_path / "main" / "test-00000-of-00001.parquet", rows)
    asked = {}

    def snapshot(repository, **options):
        asked.update(options, repository=repository)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    monkeypatch.setattr("peval.hub._answers", lambda *where: True)
    monkeypatch.delenv("PEVAL_DATA", raising=False)
    assert [s.id for s in datasets.read(load_task("gsm8k-cot"), None).samples] == ["test-0"]
    assert asked["repository"] == "openai/gsm8k"
    assert asked["repo_type"] == "dataset"
    assert asked["revision"] == "e53f048856ff4f594e959d75785d2c2d37b678ee"
    assert not asked["local_files_only"]
    assert asked["allow_patterns"] == ["main/test-*.parquet"]


def test_an_unreachable_hub_is_asked_once_for_a_pinned_commit(monkeypatch):
    """huggingface_hub would go on asking for half a minute."""
    import huggingface_hub

    asked = []

    def unreachable(*where, **options):
        asked.append(options["revision"])
        raise http_errors().ConnectError("no route")

    monkeypatch.setattr(huggingface_hub.HfApi, "repo_info", unreachable)
    monkeypatch.delenv("PEVAL_DATA", raising=False)
    with pytest.raises(DataError, match="the Hub cannot be reached"):
        datasets.read(load_task("gsm8k-cot"), None)
    assert asked == ["e53f048856ff4f594e959d75785d2c2d37b678ee"]


def test_bbh_has_no_demonstrations_on_the_hub(monkeypatch):
    monkeypatch.delenv("PEVAL_DATA", raising=False)
    with pytest.raises(DataError, match=r"bbh data is needed: set --data-dir .*BIG-Bench-Hard at"):
        datasets.read(load_task("bbh-cot"), None)
