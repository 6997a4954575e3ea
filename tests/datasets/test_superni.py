"""Super-NaturalInstructions task files."""

import gzip
import json
import os
from collections import Counter
from pathlib import Path

import pytest

from peval import datasets
from peval.errors import DataError, TaskError
from peval.types import Decoding, Example, Profile, Task

PROFILE = Profile("tk-instruct", "tk-instruct", 0, 1024, 100, Decoding(128))
SHARED = Path(os.environ.get("PEVAL_DATA") or Path(__file__).parents[2] / "../shared/data")
REAL = SHARED / "super_natural_instructions"
needs_real_data = pytest.mark.skipif(
    not REAL.is_dir(), reason="no Super-NaturalInstructions data in PEVAL_DATA or ../shared/data"
)


def task(split="test"):
    return Task("superni", 1, "", "superni", split, PROFILE, ("rouge_l",))


def record(n_instances=3, **changes):
    instances = [
        {"id": f"id-{i}", "input": f"question {i}", "output": [f"answer {i}", "other"]}
        for i in range(n_instances)
    ]
    return {
        "Definition": ["Answer the question."],
        "Categories": ["Question Answering", "Second"],
        "Positive Examples": [{"input": "in", "output": "out", "explanation": "so"}],
        "Instances": instances,
    } | changes


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = json.dumps(content).encode()
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)


def checkout(root, tests=("task001_a", "task002_b"), trains=("task003_c",)):
    for name in (*tests, *trains):
        changes = {
            "Instances": [
                {"id": f"{name}-{i}", "input": f"{i}", "output": ["x"]} for i in range(230)
            ]
        }
        write(root / "tasks" / f"{name}.json", record(**changes))
    lists = root / "splits" / "default"
    lists.mkdir(parents=True)
    (lists / "test_tasks.txt").write_text("\n".join([*tests, "task009_lost", ""]))
    (lists / "train_tasks.txt").write_text("\n".join(trains))


def test_checkout_follows_the_split_lists(tmp_path):
    checkout(tmp_path)
    found = datasets.read(task(), tmp_path)
    assert Counter(s.cluster for s in found.samples) == {"task001_a": 100, "task002_b": 100}
    assert found.absent == ("task009_lost",)
    assert found.files == datasets.files_of(task(), tmp_path)
    assert [path.name for path in found.files] == ["task001_a.json", "task002_b.json"]
    in_task = datasets.read(task("in-task"), tmp_path)
    assert [s.id for s in in_task.samples[:2]] == ["task003_c-174", "task003_c-4"]
    assert len(in_task.samples) == 100


def test_sample_has_what_the_file_says(tmp_path):
    write(tmp_path / "task001_a.json", record())
    first, second, _ = datasets.read(task(), tmp_path).samples
    assert (first.id, first.input, first.targets) == ("id-0", "question 0", ("answer 0", "other"))
    assert (first.cluster, first.category) == ("task001_a", "Question Answering")
    assert first.instruction.definition == "Answer the question."
    assert first.instruction.examples == (Example("in", "out"),)
    assert second.instruction is first.instruction


def test_both_spellings_give_the_same(tmp_path):
    write(tmp_path / "lists" / "task001_a.json", record(1))
    instances = [{"id": "id-0", "input": "question 0", "output": "answer 0"}]
    plain = record(Definition="Answer the question.", Categories="Question Answering")
    write(tmp_path / "texts" / "task001_a.json.gz", plain | {"Instances": instances})
    (one,) = datasets.read(task(), tmp_path / "lists").samples
    (other,) = datasets.read(task(), tmp_path / "texts").samples
    assert one.instruction == other.instruction
    assert one.category == other.category
    assert other.targets == ("answer 0",)


def test_folder_per_split(tmp_path):
    write(tmp_path / "test_tasks" / "task001_a.json", record())
    write(tmp_path / "train_tasks" / "task002_b.json.gz", record(150))
    (tmp_path / "notes.json").write_text("not a task")
    assert {s.cluster for s in datasets.read(task(), tmp_path).samples} == {"task001_a"}
    assert len(datasets.read(task("train"), tmp_path).samples) == 100
    assert len(datasets.read(task("in-task"), tmp_path).samples) == 50


def test_a_task_without_held_out_instances_is_absent(tmp_path):
    write(tmp_path / "task001_a.json", record(90))
    write(tmp_path / "task002_b.json", record(110))
    assert datasets.read(task("in-task"), tmp_path).absent == ("task001_a",)
    with pytest.raises(DataError, match=r"none of the 1 tasks.*'in-task' \(task001_a.*--data-dir"):
        datasets.read(task("in-task"), tmp_path, ["task001_a"])


def test_ids_repeated_or_absent_become_distinct_whatever_the_split(tmp_path):
    instances = [{"id": i, "input": "q", "output": "a"} for i in ("x", "x", None)]
    instances.append({"input": "q", "output": "a"})
    write(tmp_path / "task001_a.json", record(Instances=instances))
    write(tmp_path / "task002_b.json", record(Instances=instances[:1]))
    ids = [s.id for s in datasets.read(task(), tmp_path).samples]
    assert ids == ["x", "task001_a-1", "task001_a-2", "task001_a-3", "task002_b-x"]


def test_the_older_name_of_a_task_is_reported_as_the_newer(tmp_path):
    write(tmp_path / "task121_atomic_question_rewriting.json", record())
    (cluster,) = {s.cluster for s in datasets.read(task(), tmp_path).samples}
    assert cluster == "task121_zest_question_rewriting"


def test_clusters_filter_names_and_absence(tmp_path):
    checkout(tmp_path)
    found = datasets.read(task(), tmp_path, ["task001_*", "task009_lost"])
    assert {s.cluster for s in found.samples} == {"task001_a"}
    assert found.absent == ("task009_lost",)
    assert [path.stem for path in found.files] == ["task001_a"]
    with pytest.raises(TaskError, match=r"'task001_x'.*did you mean task001_a"):
        datasets.read(task(), tmp_path, ["task001_x"])


def test_environment_names_the_folder_or_its_parent(tmp_path, monkeypatch):
    write(tmp_path / "super_natural_instructions" / "test_tasks" / "task001_a.json", record())
    for place in (tmp_path, tmp_path / "super_natural_instructions"):
        monkeypatch.setenv("PEVAL_DATA", str(place))
        assert len(datasets.read(task(), None).samples) == 3
    monkeypatch.delenv("PEVAL_DATA")
    with pytest.raises(DataError, match=r"--data-dir.*tasks/\*\.json.*hub:OWNER/NAME"):
        datasets.read(task(), None)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"Definition": []}, "'Definition' must be text or a list of texts"),
        ({"Definition": 3}, "'Definition' must be text or a list of texts"),
        ({"Categories": [1]}, "'Categories' must be"),
        ({"Instances": []}, "'Instances' is empty"),
        ({"Instances": {"0": 1}}, "'Instances' must be a list of JSON objects"),
        ({"Instances": [{"id": "a", "output": "x"}]}, r"key 'Instances\[0\]\.input' is missing"),
        ({"Instances": [{"input": "a", "output": []}]}, r"'Instances\[0\]\.output' must be"),
        ({"Instances": [{"input": 7, "output": "x"}]}, r"'Instances\[0\]\.input' must be text"),
        ({"Positive Examples": [{"input": "a"}]}, r"'Positive Examples\[0\]\.output' is missing"),
    ],
)
def test_malformed_task_files(tmp_path, broken, message):
    write(tmp_path / "task001_a.json", record(**broken))
    with pytest.raises(DataError, match=rf"task001_a\.json: .*{message}.*--data-dir") as error:
        datasets.read(task(), tmp_path)
    assert "\n" not in str(error.value)


def test_a_missing_key_is_named(tmp_path):
    write(tmp_path / "task001_a.json", {k: v for k, v in record().items() if k != "Categories"})
    with pytest.raises(DataError, match="key 'Categories' is missing"):
        datasets.read(task(), tmp_path)


@pytest.mark.parametrize(
    ("name", "raw", "message"),
    [
        ("task001_a.json", b'{"Definition": ', r"malformed JSON \(.*line 1 column"),
        ("task001_a.json", b"[1, 2]", "holds no JSON object"),
        ("task001_a.json", b'{"Definition": "\xff"}', "not UTF-8"),
        ("task001_a.json.gz", b"not gzip", "cannot be read"),
        ("task001_a.json.gz", gzip.compress(b"{}" * 99, mtime=0)[:20], "cannot be read"),
    ],
)
def test_files_that_are_no_json(tmp_path, name, raw, message):
    (tmp_path / name).write_bytes(raw)
    with pytest.raises(DataError, match=message) as error:
        datasets.read(task(), tmp_path)
    assert "\n" not in str(error.value)


def test_nothing_there(tmp_path):
    with pytest.raises(DataError, match=r"no task files for the split 'test'.*--data-dir"):
        datasets.read(task(), tmp_path)
    with pytest.raises(DataError, match=r"not a folder.*--data-dir"):
        datasets.read(task(), tmp_path / "nowhere")


@needs_real_data
def test_real_test_tasks():
    found = datasets.read(task(), REAL)
    assert len(found.files) == 11
    assert set(Counter(s.cluster for s in found.samples).values()) == {100}
    assert len(found.absent) == 119 - 11
    assert len({s.id for s in found.samples}) == 1100
    stored = json.loads(found.files[0].read_text(encoding="utf-8"))["Instances"]
    first = [s for s in found.samples if s.cluster == found.files[0].stem]
    assert [s.id for s in first] == [one["id"] for one in stored[:100]]
    assert [list(s.targets) for s in first] == [one["output"] for one in stored[:100]]


@needs_real_data
def test_real_training_tasks():
    train, in_task = datasets.read(task("train"), REAL), datasets.read(task("in-task"), REAL)
    assert len(train.files) == len(in_task.files) == 43
    assert len(train.absent) == len(in_task.absent) == 757 - 43
    assert len(train.samples) == 4300
    # Two tasks have fewer than 200 instances (116 and 118), so 16 and 18 remain.
    assert len(in_task.samples) == 41 * 100 + 16 + 18
    assert not {s.id for s in train.samples} & {s.id for s in in_task.samples}


def test_xlingual_tasks_come_from_their_own_list(tmp_path):
    checkout(tmp_path)
    with pytest.raises(DataError, match=r"no splits/xlingual/test_tasks\.txt"):
        datasets.read(task("xlingual-test"), tmp_path)
    lists = tmp_path / "splits" / "xlingual"
    lists.mkdir()
    (lists / "test_tasks.txt").write_text("task002_b\n")
    found = datasets.read(task("xlingual-test"), tmp_path)
    assert {sample.cluster for sample in found.samples} == {"task002_b"}
    assert len(found.samples) == 100
