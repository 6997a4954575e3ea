from pathlib import Path

import pandas
import pytest
from pyarrow import parquet

from peval.errors import RunError
from peval.parquet import ROWS_PER_GROUP, AnswersFile
from peval.types import Answered, Asked, Completion, Drawn, Likelihood, Posed, Sample, Score

# Two samples share a prompt, hence a key and a completion, but not their targets.
KEY, OTHER = "a" * 64, "b" * 64
SAMPLES = [Sample(i, "ask 一", (i, ""), "c", "k") for i in ("one", "two", "three")]
Rows = list[tuple[Asked, Score | None]]
Completions = dict[str, Completion]
FIRST = (Posed(KEY, "one", False),)


def rows() -> Rows:
    return [
        (FIRST, Score(KEY, {"b": 0.25})),
        ((Posed(KEY, "two", False),), Score(KEY, {"b": 1.0, "a": 0.5})),
        ((Posed(OTHER, "three", True),), Score(OTHER, {}, "failed", why="x")),
    ]


def write(path: Path, rows: Rows, completions: Completions) -> None:
    with AnswersFile(path) as file:
        if rows:
            file.begin("t", SAMPLES)
            add(file, None, rows, completions)


def add(file: AnswersFile, system: str | None, rows: Rows, completions: Completions) -> None:
    asked = [one for one, _ in rows]
    samples = [next(s for s in SAMPLES if s.id == posed.sample_id) for (posed,) in asked]
    said = [(completions.get(posed.key),) for (posed,) in asked]
    file.add(system, Answered(samples, asked, said), [score for _, score in rows])


COMPLETIONS = {
    KEY: Completion(KEY, "ünïcode", (5, 6), "stop"),
    OTHER: Completion(OTHER, "", (), "error", "engine stopped: 理由"),
}


def test_one_row_per_request(tmp_path: Path) -> None:
    path = tmp_path / "completions.parquet"
    path.write_text("an older file")
    write(path, rows(), COMPLETIONS)
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
    write(path, [(FIRST, None)], {})
    (row,) = parquet.read_table(path).to_pylist()
    assert row["text"] is None
    assert row["n_tokens"] is None


def test_every_draw_is_a_row(tmp_path: Path) -> None:
    path = tmp_path / "completions.parquet"
    drawn = Completion(KEY, "a", (5, 6), "stop", more=(Drawn("b", (5,), "length"),))
    row = (FIRST, Score(KEY, {"pass@1": 0.5}))
    write(path, [row], {KEY: drawn})
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
    row = (FIRST, Score(KEY, {"perplexity": [-1.5, 4.0]}))
    write(path, [row], {KEY: scored})
    (found,) = parquet.read_table(path).to_pylist()
    assert found["logprobs"] == [-1.5, -3.0]
    assert found["perplexity"] == "[-1.5, 4.0]"


def test_no_rows_make_an_empty_table(tmp_path: Path) -> None:
    path = tmp_path / "completions.parquet"
    write(path, [], {})
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
        write(path, rows(), COMPLETIONS)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["completions.parquet"]


def test_systems_follow_one_another_and_metrics_that_one_task_lacks_are_null(
    tmp_path: Path,
) -> None:
    path = tmp_path / "completions.parquet"
    with AnswersFile(path) as file:
        file.begin("t", SAMPLES)
        add(file, None, rows()[:1], COMPLETIONS)  # some samples, then the others
        add(file, None, rows()[1:], COMPLETIONS)
        add(file, "ad", rows(), COMPLETIONS)
        file.begin("u", SAMPLES[:1])
        add(file, None, [(FIRST, Score(KEY, {"b": [1.0, 2.0]}))], COMPLETIONS)
    frame = pandas.read_parquet(path)
    assert frame["sample_id"].tolist() == ["one", "two", "three"] * 2 + ["one"]
    assert frame["adapter"].fillna("base").tolist() == ["base"] * 3 + ["ad"] * 3 + ["base"]
    assert frame["task"].tolist() == ["t"] * 6 + ["u"]
    # One task's parts make the column text for all.
    assert frame["b"].fillna("").tolist() == ["0.25", "1", "", "0.25", "1", "", "[1.0, 2.0]"]
    assert frame["a"].tolist()[1] == 0.5
    assert frame["a"].isna().tolist()[-1]


def test_groups_of_rows_are_whole_whatever_systems_have(tmp_path: Path) -> None:
    path = tmp_path / "completions.parquet"
    n = ROWS_PER_GROUP * 2 // 3
    samples = [Sample(str(i), "", ("t",), "c") for i in range(n)]
    with AnswersFile(path) as file:
        file.begin("t", samples)
        for name in (None, "one", "two", "three"):
            asked = [(Posed(f"{name}{i}", str(i), False),) for i in range(n)]
            file.add(name, Answered(samples, asked, [(None,)] * n), [None] * n)
    with parquet.ParquetFile(path) as found:
        sizes = [found.metadata.row_group(i).num_rows for i in range(found.num_row_groups)]
        assert sizes == [ROWS_PER_GROUP, ROWS_PER_GROUP, 4 * n - 2 * ROWS_PER_GROUP]
        keys = found.read()["key"].to_pylist()
    assert keys == [f"{name}{i}" for name in (None, "one", "two", "three") for i in range(n)]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "completions.parquet"
    path.write_text("old")
    with pytest.raises(KeyError), AnswersFile(path) as file:
        file.begin("t", SAMPLES)
        add(file, None, rows(), COMPLETIONS)
        raise KeyError
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["completions.parquet"]
