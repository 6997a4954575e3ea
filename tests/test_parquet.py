from pathlib import Path

import pandas
import pytest
from pyarrow import parquet

from peval.errors import RunError
from peval.parquet import Row, write_parquet
from peval.types import Completion, Decoding, Drawn, Likelihood, Request, Sample, Score

# Two samples share a prompt, hence a key and a completion, but not their targets.
KEY, OTHER = "a" * 64, "b" * 64
SAMPLES = {"t": {i: Sample(i, "ask 一", (i, ""), "c", "k") for i in ("one", "two", "three")}}
HOW = Decoding(max_tokens=4)


def rows() -> list[Row]:
    return [
        (Request(KEY, "t", "one", None, (1,), HOW), Score(KEY, {"b": 0.25})),
        (Request(KEY, "t", "two", None, (1,), HOW), Score(KEY, {"b": 1.0, "a": 0.5})),
        (Request(OTHER, "t", "three", "ad", (2,), HOW, True), Score(OTHER, {}, "failed", why="x")),
    ]


COMPLETIONS = {
    KEY: Completion(KEY, "ünïcode", (5, 6), "stop"),
    OTHER: Completion(OTHER, "", (), "error", "engine stopped: 理由"),
}


def test_one_row_per_request(tmp_path: Path) -> None:
    path = tmp_path / "completions.parquet"
    path.write_text("an older file")
    write_parquet(path, rows(), SAMPLES, COMPLETIONS)
    frame = pandas.read_parquet(path)
    assert ",".join(frame.columns) == (
        "task,sample_id,adapter,key,category,cluster,input,targets,text,finish_reason,n_tokens,"
        "error,prompt_was_cut,part,draw,status,chosen,outcome,program,logprobs,a,b"
    )
    assert frame["sample_id"].tolist() == ["one", "two", "three"]
    assert frame["b"].tolist()[:2] == [0.25, 1.0]
    assert frame["b"].isna().tolist() == [False, False, True]
    assert frame["text"].tolist()[:2] == ["ünïcode", "ünïcode"]
    assert list(frame["targets"][1]) == ["two", ""]
    assert frame["error"].tolist()[2] == "engine stopped: 理由"
    assert frame["prompt_was_cut"].tolist() == [False, False, True]
    assert [file.name for file in tmp_path.iterdir()] == ["completions.parquet"]


def test_a_request_without_completion_has_nulls(tmp_path: Path) -> None:
    path = tmp_path / "completions.parquet"
    write_parquet(path, [(rows()[0][0], None)], SAMPLES, {})
    (row,) = parquet.read_table(path).to_pylist()
    assert row["text"] is None
    assert row["n_tokens"] is None


def test_every_draw_is_a_row(tmp_path: Path) -> None:
    path = tmp_path / "completions.parquet"
    drawn = Completion(KEY, "a", (5, 6), "stop", more=(Drawn("b", (5,), "length"),))
    row = (rows()[0][0], Score(KEY, {"pass@1": 0.5}))
    write_parquet(path, [row], SAMPLES, {KEY: drawn})
    found = parquet.read_table(path).to_pylist()
    columns = ("draw", "text", "n_tokens", "finish_reason", "pass@1")
    assert [tuple(one[c] for c in columns) for one in found] == [
        (0, "a", 2, "stop", 0.5),
        (1, "b", 1, "length", 0.5),
    ]


def test_compound_values_are_json_and_choices_have_their_sums(tmp_path: Path) -> None:
    path = tmp_path / "completions.parquet"
    likelihoods = (Likelihood((-1.0, -0.5), True), Likelihood((-3.0,), False))
    scored = Completion(KEY, "", (), "stop", likelihoods=likelihoods)
    row = (rows()[0][0], Score(KEY, {"perplexity": [-1.5, 4.0]}))
    write_parquet(path, [row], SAMPLES, {KEY: scored})
    (found,) = parquet.read_table(path).to_pylist()
    assert found["logprobs"] == [-1.5, -3.0]
    assert found["perplexity"] == "[-1.5, 4.0]"


def test_no_rows_make_an_empty_table(tmp_path: Path) -> None:
    path = tmp_path / "completions.parquet"
    write_parquet(path, [], {}, {})
    assert parquet.read_table(path).num_rows == 0


def test_what_cannot_be_written_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "completions.parquet"
    path.write_text("old")

    def full(part: Path, final: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(RunError, match=r"completions\.parquet: .*No space.*goes on"):
        write_parquet(path, rows(), SAMPLES, COMPLETIONS)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["completions.parquet"]
