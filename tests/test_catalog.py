from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from peval import catalog
from peval.errors import TaskError
from peval.shipped import shipped


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(shipped("tasks"), tmp_path / "tasks"))


def test_everything_that_ships_is_well_formed() -> None:
    for name in catalog.task_names():
        task = catalog.load_task(name)
        headline = {"superni": "rougeL", "jsonl": "rougeL", "lm-eval": "acc", "mmlu": "accuracy"}
        headline["code"] = "pass@10" if name == "humaneval-t0.8" else "pass@1"
        headline["tydiqa"], headline["nlu"] = "f1", "accuracy"
        headline["prompts"] = "prompt_strict" if name == "ifeval" else "loops"
        if task.reader != "memorization":  # whose metrics follow from what it is given
            assert task.metrics[0] == headline.get(task.reader, "exact_match")
    for tasks in catalog.suites().values():
        assert all(name in catalog.task_names() for name in tasks)


def test_profiles_pin_what_the_papers_did() -> None:
    study, tk = catalog.profiles()["peit-2024"], catalog.profiles()["tk-instruct"]
    assert (study.n_positive_examples, tk.n_positive_examples) == (0, 2)
    for profile in (study, tk):
        assert (profile.max_source_tokens, profile.decoding.max_tokens) == (1024, 128)
        assert (profile.decoding.temperature, profile.instances_per_task) == (0, 100)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("superni.yaml", "reader:", "raeder:", r"superni.yaml: unknown key 'raeder'; did you mean"),
        ("superni.yaml", "version: 1", "version: one", "version cannot be 'one'"),
        ("superni.yaml", "reader: superni", "reader: web", "reader cannot be 'web'"),
        ("superni.yaml", "name: superni", "name: other", "but the file says 'superni'"),
        ("superni.yaml", "split: test\n", "", "split is missing"),
        ("superni.yaml", "profile: peit-2024", "profile: peit", "no profile named 'peit'.*peit-"),
        ("superni.yaml", "metrics: [", "metrics: [1, ", "expected a list of strings"),
        ("superni.yaml", "name: superni", "name: [", "not readable as YAML"),
        ("profiles.yaml", "n_positive_examples: 2", "n_positive: 2", "tk-instruct: unknown key"),
        ("profiles.yaml", "prompt: plain", "prompt: fancy", "plain: prompt cannot be 'fancy'"),
        ("profiles.yaml", "max_tokens: 128", "max_token: 128", "decoding: unknown key"),
        ("profiles.yaml", "temperature: 0}", "temperature: 4}", "temperature 4: give 0 to 2"),
        ("profiles.yaml", "temperature: 0}", "temperature: 1, top_p: 0}", "top_p 0: give more"),
        ("profiles.yaml", "temperature: 0}", "temperature: 1, n: 0}", "n 0: give 1 or more"),
        ("profiles.yaml", "temperature: 0}", "temperature: 1, top_k: -1}", "top_k -1: give 0"),
        (
            "profiles.yaml",
            "temperature: 0}",
            "temperature: 0, n: 2}",
            "n, top_p and top_k need a temp",
        ),
    ],
)
def test_malformed_files_are_one_line_errors(
    folder: Path, file: str, old: str, new: str, message: str
) -> None:
    path = folder / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(TaskError, match=message) as raised:
        catalog.load_task("superni", folder=folder)
    assert "\n" not in str(raised.value)


def test_unknown_names_come_with_the_nearest() -> None:
    with pytest.raises(TaskError, match=r"no suite named 'superny'.*superni"):
        catalog.select(["superny"], [], None)
    with pytest.raises(TaskError, match=r"no task named 'superni-trian'.*superni-train"):
        catalog.select([], ["superni-trian"], None)
    with pytest.raises(TaskError, match="no profile named 'tk'"):
        catalog.select(["superni"], [], "tk")


def test_selection_keeps_order_and_tells_tasks_from_clusters() -> None:
    found = catalog.select(["superni-all"], ["mine.jsonl", "task1195_*"], "tk-instruct")
    names = [task.name for task in found.tasks]
    assert names == ["superni", "superni-in-task", "superni-train", "mine"]
    assert found.clusters == ("task1195_*",)
    assert {task.profile.name for task in found.tasks} == {"tk-instruct"}


def test_two_files_of_one_name_stay_apart() -> None:
    found = catalog.select([], ["a/dev.jsonl", "b/dev.jsonl"], None)
    assert [task.name for task in found.tasks] == ["dev", "b/dev"]
    assert [task.source for task in found.tasks] == ["a/dev.jsonl", "b/dev.jsonl"]
