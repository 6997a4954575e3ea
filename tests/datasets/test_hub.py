"""The hub's flattened form of Super-NaturalInstructions."""

import json
import sys
from pathlib import Path

import pytest

from peval import datasets
from peval.errors import DataError, TaskError
from peval.types import Decoding, Profile, Task

HUB = Path("hub:somebody/natural-instructions")


@pytest.fixture(autouse=True)
def offline(tmp_path_factory, monkeypatch):
    """Keep the hub away and what is read in a cache of this test."""
    library = pytest.importorskip("datasets")
    monkeypatch.setattr(library.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(library.config, "HF_HUB_OFFLINE", True)


def task(split="test", limit=100, n_examples=0):
    profile = Profile("p", "tk-instruct", n_examples, 1024, limit, Decoding(128))
    return Task("superni", 1, "", "superni", split, profile, ("rouge_l",))


def row(name, number, target="a", **changes):
    return {
        "task_name": name,
        "id": f"{name}-{number}",
        "definition": f"Do {name}.",
        "inputs": f"question {number}",
        "targets": target,
    } | changes


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")


ROWS = [row("t2", 0, "a"), row("t1", 0, "x"), row("t2", 0, "b"), row("t2", 0, "a"), row("t2", 1)]


@pytest.mark.parametrize(
    "name", ["test-0.parquet", "data/test-0.parquet", "test/t.jsonl", "a.jsonl"]
)
def test_rows_of_one_id_are_one_sample(tmp_path, name):
    write(tmp_path / name, ROWS)
    write(tmp_path / f"train-0{Path(name).suffix}", [row("t9", 0)])
    found = datasets.read(task(), tmp_path)
    assert [s.id for s in found.samples] == ["t2-0", "t2-1", "t1-0"]
    first = found.samples[0]
    assert (first.input, first.targets, first.cluster) == ("question 0", ("a", "b"), "t2")
    assert (first.category, first.instruction.examples) == ("", ())
    assert first.instruction.definition == "Do t2."
    assert found.files == datasets.files_of(task(), tmp_path) == (tmp_path / name,)


def test_limit_and_seeded_split(tmp_path):
    rows = [row("t1", number, target) for number in range(230) for target in ("a", "b")]
    write(tmp_path / "rows.jsonl", rows)
    assert [s.id for s in datasets.read(task(limit=2), tmp_path).samples] == ["t1-0", "t1-1"]
    in_task = datasets.read(task("in-task"), tmp_path).samples
    assert [s.id for s in in_task[:2]] == ["t1-174", "t1-4"]
    assert {s.targets for s in in_task} == {("a", "b")}
    assert len(datasets.read(task(limit=None), tmp_path).samples) == 230


def test_clusters(tmp_path):
    write(tmp_path / "test.jsonl", ROWS)
    assert {s.cluster for s in datasets.read(task(), tmp_path, ["t1"]).samples} == {"t1"}
    with pytest.raises(TaskError, match="did you mean t1"):
        datasets.read(task(), tmp_path, ["t11"])


def test_ids_of_different_inputs_become_distinct(tmp_path):
    write(tmp_path / "test.jsonl", [row("t1", 0), row("t1", 0, inputs="another question")])
    assert [s.id for s in datasets.read(task(), tmp_path).samples] == ["t1-0", "t1-1"]


def test_profile_with_examples_is_refused(tmp_path):
    write(tmp_path / "test.jsonl", ROWS)
    with pytest.raises(DataError, match=r"no positive examples.*needs 2.*--data-dir"):
        datasets.read(task(n_examples=2), tmp_path)
    with pytest.raises(DataError, match="no positive examples"):
        datasets.read(task(n_examples=2), HUB)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"task_name": "t", "inputs": "q"}], "the column 'id' is missing"),
        ([row("t", 0, 5)], "the column 'targets' is int64"),
        ([row("t", 0), row("t", 1, None)], "the column 'targets' has rows without a value"),
    ],
)
def test_other_schemas(tmp_path, rows, message):
    write(tmp_path / "test.jsonl", rows)
    with pytest.raises(DataError, match=f"{message}.*task_name, id, definition.*--data-dir"):
        datasets.read(task(), tmp_path)


def test_malformed_file(tmp_path):
    (tmp_path / "test.parquet").write_bytes(b"PAR1 nonsense")
    with pytest.raises(DataError, match=r"cannot be loaded.*--data-dir") as error:
        datasets.read(task(), tmp_path)
    assert "\n" not in str(error.value)


def test_hub_out_of_reach():
    with pytest.raises(DataError, match=r"hub:somebody.*cannot be loaded.*--data-dir") as error:
        datasets.read(task(), HUB)
    assert "\n" not in str(error.value)


def test_hub_through_the_library(tmp_path, monkeypatch):
    import datasets as library

    asked = []

    def load(name, **options):
        asked.append((name, options))
        return library.Dataset.from_list(ROWS)

    monkeypatch.setattr(library, "load_dataset", load)
    assert len(datasets.read(task(), HUB).samples) == 3
    assert len(datasets.read(task("train"), HUB).samples) == 3
    name = "somebody/natural-instructions"
    assert asked == [(name, {"split": "test"}), (name, {"split": "train"})]


def test_library_not_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match="pip install datasets"):
        datasets.read(task(), HUB)


def test_task_files_win(tmp_path):
    write(tmp_path / "predictions.jsonl", [{"anything": 1}])
    task_file = {
        "Definition": "d",
        "Categories": "c",
        "Positive Examples": [],
        "Instances": [{"id": "1", "input": "q", "output": "a"}],
    }
    (tmp_path / "task1_a.json").write_text(json.dumps(task_file))
    assert [s.id for s in datasets.read(task(), tmp_path).samples] == ["1"]
