"""YAML that people write by hand: what is wrong with it is one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from peval.decide.rules import read_rules
from peval.errors import JudgeError, UsageError
from peval.judging.judges import load_judge
from peval.strict_yaml import read_yaml

BROKEN = {
    "deep": ("[" * 5000, "nested too deeply"),
    "twice": ("rules:\n- task: t\n  floor: 0.9\n  floor: 0.1\n", "line 4: the key 'floor' twice"),
    "twice_at_the_top": ("a: 1\nb: 2\na: 3\n", "line 3: the key 'a' twice"),
    "no_date": ("a: 2026-99-99\n", "not readable as YAML: month must be in 1..12"),
    "two_documents": ("a: 1\n---\na: 1\n", "not readable as YAML: expected a single document"),
    "a_list_as_a_key": ("? [1]\n: 2\n? [1]\n: 2\n", "not readable as YAML: .* unhashable key"),
    "latin_1": (b"a: \xe9\n", "not readable as YAML: 'utf-8' codec"),
}


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "some.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(("content", "says"), BROKEN.values(), ids=BROKEN)
def test_what_is_wrong_is_one_line(tmp_path: Path, content: str | bytes, says: str) -> None:
    path = written(tmp_path, content)
    for read in (lambda: read_yaml(path, UsageError), lambda: read_rules(path)):
        with pytest.raises(UsageError, match=f"some.yaml: {says}") as caught:
            read()
        assert "\n" not in str(caught.value)
    with pytest.raises(JudgeError, match=f"some.yaml: {says}"):
        load_judge(str(path))


def test_a_folder_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"not readable as YAML: .*directory"):
        read_yaml(tmp_path, UsageError)


def test_anchors_stand_for_what_they_name(tmp_path: Path) -> None:
    path = written(tmp_path, "a: &x {b: 1}\nc: *x\nd: {<<: *x, b: 2}\n")
    assert read_yaml(path, UsageError) == {"a": {"b": 1}, "c": {"b": 1}, "d": {"b": 2}}
    assert read_yaml(written(tmp_path, ""), UsageError) is None
    assert read_yaml(written(tmp_path, b"\xef\xbb\xbfa: 1"), UsageError) == {"a": 1}  # Excel's BOM
