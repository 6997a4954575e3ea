"""BIG-Bench Hard's reader and the Tulu subset."""

import json

import pytest
from tulu_oracles import fingerprint

from peval.datasets import bbh
from peval.errors import DataError

PROMPT = "canary\n-----\nDo it.\n\nQ: one\nA: So the answer is 1.\n"


def checkout(folder, name="count", examples=({"input": "a", "target": "(A)"},), prompt=PROMPT):
    for part in ("bbh", "cot-prompts"):
        (folder / part).mkdir(exist_ok=True)
    (folder / "bbh" / f"{name}.json").write_text(json.dumps({"examples": list(examples)}))
    (folder / "cot-prompts" / f"{name}.txt").write_bytes(prompt.encode())


def test_a_task_has_its_problems_and_its_prompt_without_the_header(tmp_path):
    checkout(tmp_path, "sort", prompt=PROMPT.replace("\n", "\r\n"))
    checkout(tmp_path)
    tasks = bbh.read(tmp_path)
    assert list(tasks) == ["count", "sort"]
    assert tasks["count"].problems == (bbh.Problem("count-0", "count", "a", "(A)"),)
    assert tasks["sort"].demonstrations == "Do it.\n\nQ: one\nA: So the answer is 1.\n"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"examples": []}, r"count\.json: field 'examples' must be a list that is not empty"),
        ({"examples": [3]}, r"count\.json: example 0: must be a JSON object"),
        (
            {"examples": [{"input": "a", "target": "b"}, {"input": "a", "target": 1}]},
            r"count\.json: example 1: field 'target' must be text",
        ),
        ({"examples": [{"target": "b"}]}, r"count\.json: example 0: field 'input' must be text"),
        ({"prompt": "Do it.\n\nQ: one"}, r"count\.txt: row 2 must be a line of dashes"),
        ({"prompt": ""}, r"count\.txt: row 2 must be a line of dashes"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, changes, message):
    checkout(tmp_path, **changes)
    with pytest.raises(DataError, match=message):
        bbh.read(tmp_path)


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(DataError, match=r"bbh: no \*\.json; .*BIG-Bench-Hard"):
        bbh.read(tmp_path)
    checkout(tmp_path)
    (tmp_path / "cot-prompts" / "count.txt").unlink()
    with pytest.raises(DataError, match=r"count\.txt: no such file; .*BIG-Bench-Hard"):
        bbh.read(tmp_path)


def test_the_tulu_subset_is_pinned(shared_data):
    tasks = bbh.read(shared_data / "bbh")
    assert (len(tasks), sum(len(task.problems) for task in tasks.values())) == (27, 6511)
    subset = bbh.tulu_subset(tasks)
    assert {len(problems) for problems in subset.values()} == {40}
    items = [problem for problems in subset.values() for problem in problems]
    assert fingerprint(items) == (
        "8d6197ce449d059f4d6844b0ca8a0e97d5d8ddaffe72387e3f936cdf157fadfb"
    )
    assert bbh.tulu_subset(dict(reversed(tasks.items()))) == subset
