"""A user's own JSON lines."""

import dataclasses
import gzip
import json

import pytest

from peval import datasets
from peval.errors import DataError, TaskError
from peval.types import Decoding, Profile, Task

PROFILE = Profile("plain", "plain", 0, None, None, Decoding(16))


def task(path, split="all", limit=None):
    profile = dataclasses.replace(PROFILE, instances_per_task=limit)
    return Task("mine", 1, "", "jsonl", split, profile, ("exact_match",), source=str(path))


def write(path, *rows):
    text = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)
    raw = text.encode()
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


def test_least_row(tmp_path):
    path = write(tmp_path / "a.jsonl", "", {"input": " q ", "output": ""}, "  ", "")
    found = datasets.read(task(path), None)
    (sample,) = found.samples
    assert (sample.id, sample.input, sample.targets) == ("2", " q ", ("",))
    assert (sample.cluster, sample.category, sample.instruction) == ("mine", "", None)
    assert found.files == datasets.files_of(task(path), None) == (path,)


def test_full_rows(tmp_path):
    row = {"id": 7, "input": "q", "targets": ["a", "b"], "task": "t", "category": "c"}
    other = {"id": "x", "input": "q", "targets": "a", "category": None}
    one, two = datasets.read(task(write(tmp_path / "a.jsonl.gz", row, other)), None).samples
    assert (one.id, one.targets, one.cluster, one.category) == ("7", ("a", "b"), "t", "c")
    assert (two.id, two.targets, two.cluster, two.category) == ("x", ("a",), "mine", "")


def test_splits(tmp_path):
    rows = [{"input": str(i), "output": "a"} for i in range(4)]
    rows[0]["split"], rows[1]["split"] = "test", "train"
    path = write(tmp_path / "a.jsonl", *rows)
    kept = {s: [x.input for x in datasets.read(task(path, s), None).samples] for s in ("", "test")}
    assert kept == {"": ["0", "1", "2", "3"], "test": ["0", "2", "3"]}
    only = write(tmp_path / "b.jsonl", rows[1])
    with pytest.raises(DataError, match="no lines of the split 'test'"):
        datasets.read(task(only, "test"), None)


def test_limit_counts_per_cluster(tmp_path):
    rows = [{"input": str(i), "output": "a", "task": "ab"[i % 2]} for i in range(6)]
    found = datasets.read(task(write(tmp_path / "a.jsonl", *rows), limit=2), None)
    assert [s.input for s in found.samples] == ["0", "1", "2", "3"]


GOOD = {"input": "q", "output": "a", "id": "1"}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"input": "q", ', "malformed JSON"),
        ("[1]", "must be a JSON object"),
        ({"output": "a"}, "key 'input' .* is missing"),
        ({"input": 3, "output": "a"}, "'input' must be text"),
        ({"input": "q"}, "needs either 'output' or 'targets'"),
        ({"input": "q", "output": "a", "targets": "a"}, "needs either"),
        ({"input": "q", "output": ["a"]}, "'output' must be text"),
        ({"input": "q", "targets": []}, "'targets' must be text or a list of texts"),
        ({"input": "q", "targets": ["a", 1]}, "'targets' must be"),
        ({"input": "q", "output": "a", "category": 1}, "'category' must be text"),
        ({"input": "q", "output": "a", "id": True}, "'id' must be text or a whole number"),
        (GOOD, "the id '1' already stands in line 1"),
    ],
)
def test_malformed_lines_are_named_by_number(tmp_path, row, message):
    path = write(tmp_path / "a.jsonl", GOOD, "", row)
    with pytest.raises(DataError, match=rf"a\.jsonl:3: .*{message}") as error:
        datasets.read(task(path), None)
    assert "\n" not in str(error.value)


def test_not_utf8(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(json.dumps(GOOD).encode() + b'\n{"input": "\xe9", "output": "a"}\n')
    with pytest.raises(DataError, match=r"a\.jsonl:2: not UTF-8"):
        datasets.read(task(path), None)


def test_byte_order_mark_and_windows_line_ends(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"input": "q", "output": "a"}\r\n\r\n')
    assert datasets.read(task(path), None).samples[0].input == "q"


def test_empty_missing_and_unnamed(tmp_path):
    with pytest.raises(DataError, match=r"a\.jsonl: no lines"):
        datasets.read(task(write(tmp_path / "a.jsonl")), None)
    with pytest.raises(DataError, match=r"b\.jsonl: cannot be read \(No such file"):
        datasets.read(task(tmp_path / "b.jsonl"), None)
    with pytest.raises(TaskError, match="needs 'source'"):
        datasets.read(dataclasses.replace(task("x"), source=None), None)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"input": "q", "choices": ["a"], "output": "a"}, "two or more different texts"),
        ({"input": "q", "choices": ["a", "a"], "output": "a"}, "two or more different texts"),
        ({"input": "q", "choices": ["a", ""], "output": "a"}, "not empty"),
        ({"input": "q", "choices": ["a", "b"], "output": "c"}, "'c' is not among the 'choices'"),
        ({"input": "q", "output": "c"}, "in every line or in none"),
    ],
)
def test_choices_that_make_no_sense_are_refused(tmp_path, row, why):
    good = {"input": "q", "choices": ["a", "b"], "output": "a"}
    with pytest.raises(DataError, match=why):
        datasets.read(task(write(tmp_path / "f.jsonl", good, row)), None)
