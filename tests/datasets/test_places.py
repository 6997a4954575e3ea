"""Where a benchmark's files are."""

import pytest

from peval.datasets import places
from peval.errors import DataError


def test_the_benchmarks_own_folder_wins_over_the_folder_given(tmp_path):
    assert places.folder(tmp_path, "mmlu", "files") == tmp_path
    (tmp_path / "mmlu").mkdir()
    assert places.folder(tmp_path, "mmlu", "files") == tmp_path / "mmlu"


def test_the_environment_serves_where_nothing_is_given(tmp_path, monkeypatch):
    monkeypatch.setenv("PEVAL_DATA", str(tmp_path))
    assert places.folder(None, "gsm8k", "test.jsonl") == tmp_path


def test_no_folder_says_what_to_get(tmp_path, monkeypatch):
    monkeypatch.delenv("PEVAL_DATA", raising=False)
    with pytest.raises(DataError, match=r"^gsm8k data is needed: set --data-dir .* test\.jsonl$"):
        places.folder(None, "gsm8k", "test.jsonl")
    with pytest.raises(DataError, match=r"missing: not a folder; .* with test\.jsonl$"):
        places.folder(tmp_path / "missing", "gsm8k", "test.jsonl")


def test_a_file_may_be_gzipped(tmp_path):
    with pytest.raises(DataError, match=r"a\.json: no such file; .* with such files$"):
        places.require(tmp_path / "a.json", "such files")
    (tmp_path / "a.json.gz").touch()
    assert places.require(tmp_path / "a.json", "x").name == "a.json.gz"
    (tmp_path / "a.json").touch()
    assert places.require(tmp_path / "a.json", "x").name == "a.json"
