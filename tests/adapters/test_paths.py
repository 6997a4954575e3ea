from __future__ import annotations

from pathlib import Path

import pytest

from peval.adapters import expand, names
from peval.errors import AdapterError


def make(root: Path, *folders: str) -> None:
    for folder in folders:
        (root / folder).mkdir(parents=True)
        (root / folder / "adapter_config.json").write_text("{}")


def found(root: Path, *patterns: str) -> list[str]:
    return [str(p.relative_to(root)) for p in expand([str(root / p) for p in patterns])]


def test_a_parent_gives_its_checkpoints_in_numeric_order(tmp_path: Path) -> None:
    make(tmp_path, "run/checkpoint-1000", "run/checkpoint-50", "run/checkpoint-200")
    (tmp_path / "run" / "logs").mkdir()
    expected = [f"run/checkpoint-{n}" for n in (50, 200, 1000)]
    assert found(tmp_path, "run") == expected
    assert found(tmp_path, "run/checkpoint-*") == expected
    assert found(tmp_path, "run/*") == expected
    assert found(tmp_path, "") == expected


def test_an_adapter_hides_its_own_checkpoints(tmp_path: Path) -> None:
    make(tmp_path, "run", "run/checkpoint-1")
    assert found(tmp_path, "run") == ["run"]
    assert found(tmp_path, "run/checkpoint-1", "run") == ["run/checkpoint-1", "run"]


def test_named_adapters_lie_in_subfolders(tmp_path: Path) -> None:
    make(tmp_path, "checkpoint-5/first", "checkpoint-5/second", "checkpoint-5/.cache/x")
    assert found(tmp_path, "checkpoint-5") == ["checkpoint-5/first", "checkpoint-5/second"]


def test_order_is_kept_and_duplicates_go(tmp_path: Path) -> None:
    make(tmp_path, "b", "a")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert found(tmp_path, "b", "*", "link", "a/../b") == ["b", "a"]


def test_a_name_with_glob_characters_is_a_path_first(tmp_path: Path) -> None:
    make(tmp_path, "lr[1e-4]", "lr1")
    assert found(tmp_path, "lr[1e-4]") == ["lr[1e-4]"]


@pytest.mark.parametrize(
    ("pattern", "says"),
    [("none", "no such path"), ("none*", "0 paths"), ("empty", "no adapter_config.json in it"),
     ("file", "this is a file"), ("emp*", "1 paths")],
)  # fmt: skip
def test_nothing_found_says_what_was_looked_for(tmp_path: Path, pattern: str, says: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(AdapterError, match=says) as caught:
        found(tmp_path, pattern)
    assert pattern in str(caught.value)


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["/x/one", "/y/two"], ["one", "two"]),
        (["/x/one", "/y/one", "/y/two"], ["x/one", "y/one", "two"]),
        (["/run/checkpoint-5"], ["run/checkpoint-5"]),
        (["/a/r/checkpoint-5", "/b/r/checkpoint-5"], ["a/r/checkpoint-5", "b/r/checkpoint-5"]),
        (["/c/models--org--name/snapshots/abc"], ["name"]),
        (["/c/models--o--n/snapshots/abc", "/c/models--p--n/snapshots/abc"], ["o/n", "p/n"]),
        (["/one", "/x/one"], ["one", "x/one"]),
        ([], []),
    ],
)
def test_names_are_short_and_unique(paths: list[str], expected: list[str]) -> None:
    assert names([Path(p) for p in paths]) == expected


def test_the_same_path_twice_has_no_unique_name() -> None:
    with pytest.raises(AdapterError, match="given twice"):
        names([Path("/x/one"), Path("/x/one")])


def test_a_whole_model_is_a_finetune_where_it_is_meant(tmp_path: Path) -> None:
    for name in ("runs/one/checkpoint-9", "runs/one/checkpoint-10", "runs/base", "runs/tuned"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.json").write_text("{}")
    found = [str(p.relative_to(tmp_path)) for p in expand([str(tmp_path / "runs")])]
    assert found == ["runs/one/checkpoint-9", "runs/one/checkpoint-10"]
    assert expand([str(tmp_path / "runs" / "tuned")]) == [tmp_path / "runs" / "tuned"]
    assert len(expand([str(tmp_path / "runs" / "*e*")])) == 4
