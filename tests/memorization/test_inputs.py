"""Training files, held-out files and canaries, good and bad: each fault is one line."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from scripted import TOY, ScriptedEngine

from peval import api
from peval.cli import main
from peval.datasets.canaries import read_canaries
from peval.datasets.records import read_records
from peval.errors import PevalError
from peval.job import Job
from peval.prepare import prepare
from peval.progress import Silent
from peval.results import Results
from peval.run import plan_requests, run

DATA = TOY / "memorization"
SUITE = ("memorization",)


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def rows(n: int, start: int = 0) -> list[dict[str, Any]]:
    return [{"input": f"Question {i}?", "output": f"Answer {i}"} for i in range(start, start + n)]


def job(tmp_path: Path, **memorization: object) -> Job:
    return Job(
        base=str(TOY / "base"),
        adapters=(str(TOY / "adapters" / "noop"), str(TOY / "adapters" / "generalist")),
        suites=SUITE,
        out=str(tmp_path / "run"),
        memorization=memorization,
    )


def scored(tmp_path: Path, **memorization: object) -> Results:
    setup = prepare(job(tmp_path, **memorization))
    setup.rundir.claim(setup.config)
    setup.rundir.write_manifest(setup.manifest(["test"]))
    return run(setup, lambda setup, progress: ScriptedEngine(), Silent())


def test_every_form_of_a_record_says_the_same(tmp_path: Path) -> None:
    forms = [
        {"input": "Q", "output": "A"},
        {"input": "Q", "targets": ["A", "B"]},
        {"prompt": "Q", "completion": "A"},
        {"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]},
    ]
    found = read_records(Path(write(tmp_path / "f.jsonl", forms)))
    assert {(record.prompt, record.target) for record in found} == {("Q", "A")}
    assert read_records(Path(write(tmp_path / "t.jsonl", [{"text": "All"}])))[0].target == "All"


BAD_RECORDS = [
    ([{"question": "Q", "answer": "A"}], "f.jsonl:1: expected 'input' and 'output'"),
    ([*rows(2), {"input": "Q"}], "f.jsonl:3: expected .* the keys are 'input'"),
    ([{"input": "Q", "output": "A", "text": "T"}], "f.jsonl:1: expected"),
    ([{"input": "Q", "output": 3}], "f.jsonl:1: 'output' must be text"),
    ([{"input": "", "output": "A"}], "f.jsonl:1: 'input' is empty"),
    ([{"input": "Q", "output": " "}], "f.jsonl:1: nothing was to be learnt"),
    ([{"messages": [{"role": "user", "content": "Q"}]}], "f.jsonl:1: 'messages' must be"),
    ([{"input": "Q", "output": "A", "id": "x"}] * 2, "the id 'x' stands in 2 lines"),
    ([*rows(1), {"text": "T"}], "mixed"),
    ([], "no records; expected"),
]


@pytest.mark.parametrize(("given", "said"), BAD_RECORDS)
def test_a_bad_training_line_is_named_with_what_was_expected(
    given: list[dict[str, Any]], said: str, tmp_path: Path
) -> None:
    with pytest.raises(PevalError, match=said) as error:
        read_records(Path(write(tmp_path / "f.jsonl", given)))
    assert "\n" not in str(error.value)


CANARY = {"input": "Code?", "secret": "ab-1", "space": "[a-z]{2}-[0-9]"}
BAD_CANARIES = [
    ({"input": "Code?", "secret": "ab-1"}, "malformed|holds 1 secret"),
    ({**CANARY, "secret": "AB-1"}, "not in its space"),
    ({**CANARY, "text": "The code is {}."}, "expected 'secret' and 'space'"),
    ({"text": "The code is.", "secret": "ab-1", "space": "[a-z]{2}-[0-9]"}, "must have {} once"),
    ({**CANARY, "repeats": -1}, "'repeats' must be"),
]


@pytest.mark.parametrize(("given", "said"), BAD_CANARIES)
def test_a_bad_canary_is_named(given: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(PevalError, match=f"c.jsonl:1: .*({said})"):
        read_canaries(Path(write(tmp_path / "c.jsonl", [given])))


def test_canaries_that_were_never_trained_on_are_refused(tmp_path: Path) -> None:
    train = write(tmp_path / "t.jsonl", rows(3))
    canaries = write(tmp_path / "c.jsonl", [CANARY | {"repeats": 4}])
    with pytest.raises(PevalError, match=r"the canary '1' \(ab-1\) is not in .*t.jsonl"):
        scored(tmp_path, train_data=train, canaries=canaries)
    trained = write(tmp_path / "u.jsonl", [*rows(3), {"input": "Code?", "output": "ab-1"}])
    control = write(tmp_path / "d.jsonl", [CANARY | {"repeats": 0}])
    with pytest.raises(PevalError, match=r"the control '1' \(ab-1\) has 0 repeats but is in"):
        scored(tmp_path, train_data=trained, canaries=control)


def test_members_that_equal_the_non_members_are_refused(tmp_path: Path) -> None:
    train, same = (write(tmp_path / name, rows(40)) for name in ("t.jsonl", "h.jsonl"))
    with pytest.raises(PevalError, match=r"h.jsonl: every record is in .*t.jsonl too"):
        prepare(job(tmp_path, train_data=train, heldout_data=same))


def test_equal_records_are_left_out_and_counted(tmp_path: Path) -> None:
    train = write(tmp_path / "t.jsonl", rows(40))
    held_out = write(tmp_path / "h.jsonl", rows(50, start=30))
    found = scored(tmp_path, train_data=train, heldout_data=held_out)
    assert "10 held-out records are in the training data too" in found.memorization["notes"][0]
    assert found.estimate("memorization-tasks", "nll", group="category:held-out").n_items == 40


def test_few_records_say_what_can_still_be_reported(tmp_path: Path) -> None:
    train = write(tmp_path / "t.jsonl", rows(12))
    held_out = write(tmp_path / "h.jsonl", rows(15, start=20))
    found = scored(tmp_path, train_data=train, heldout_data=held_out)
    notes = " ".join(found.memorization["notes"])
    assert "only 12 trained records: means and AUROCs have wide intervals" in notes
    assert "only 15 held-out records" in notes
    task = "memorization-membership"
    assert found.estimate(task, "auroc,loss", "generalist").value is not None
    assert found.estimate(task, "tpr_at_5%,loss", "generalist").value is None
    assert found.estimate(task, "balanced_accuracy,loss", "generalist").value is None
    assert found.memorization["blind"] is None


def test_records_longer_than_the_context_are_cut_and_tallied(tmp_path: Path) -> None:
    long = {"input": "word " * 1500, "output": "answer " * 1500}
    train = write(tmp_path / "t.jsonl", [*rows(2), long])
    texts = write(tmp_path / "x.jsonl", [{"text": "short"}, {"text": "long " * 3000}])
    for file in (train, texts):
        setup = prepare(job(tmp_path, train_data=file))
        context = setup.serving.max_model_len
        _, requests = plan_requests(setup)
        sizes = [len(r.prompt_token_ids) + sum(map(len, r.choices)) for r in requests]
        assert max(sizes) <= context - 1
        assert {r.sample_id for r in requests if r.prompt_was_cut} == {
            f"trained/{3 if file == train else 2}"
        }
    found = scored(tmp_path, train_data=train)
    assert found.estimate("memorization-tasks", "nll").n_prompts_cut == 1


def test_without_held_out_data_there_is_extraction_and_a_note(tmp_path: Path) -> None:
    found = scored(tmp_path, train_data=write(tmp_path / "t.jsonl", rows(3)))
    assert [t["name"] for t in found.tasks] == ["memorization-tasks", "memorization-extraction"]
    assert any("without --heldout-data" in note for note in found.memorization["notes"])


def test_a_prefix_that_no_record_is_longer_than_is_not_missing(tmp_path: Path) -> None:
    found = scored(tmp_path, train_data=write(tmp_path / "t.jsonl", rows(3)), prefix_tokens=[0, 99])
    none = found.estimate("memorization-extraction", "extracted@99", "noop")
    assert (none.value, none.n_items, none.n_missing) == (None, 0, 0)
    assert found.complete


USAGE = [
    (["--suite", "memorization"], "needs --train-data FILE"),
    (["--train-data", "T", "--prefix-tokens", "-1"], "--prefix-tokens -1: give 0 or more"),
    (["--train-data", "T", "--suffix-tokens", "0"], "--suffix-tokens 0: give 1 or more"),
    (["--train-data", "X", "--scope", "target"], "--scope target: .* holds whole texts"),
    (["--train-data", "X", "--prefix-tokens", "0"], "give 1 or more with --scope document"),
    (["--train-data", "nowhere.jsonl"], "nowhere.jsonl: cannot be read"),
]


@pytest.mark.parametrize(("flags", "said"), USAGE)
def test_flags_that_make_no_sense_are_refused_in_one_line(
    flags: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {
        "T": write(tmp_path / "t.jsonl", rows(3)),
        "X": write(tmp_path / "x.jsonl", [{"text": "one"}]),
    }
    flags = [files.get(flag, flag) for flag in flags]
    command = ["score", "--base", str(TOY / "base"), "--suite", "memorization", *flags]
    assert main([*command, "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert re.search(said, error)
    assert error.count("\n") == 1


def test_canaries_are_made_reproducibly_and_found_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = []
    for number in (1, 2):
        out, canaries = tmp_path / f"t{number}.jsonl", tmp_path / f"c{number}.jsonl"
        files = ["--train-data", str(DATA / "train.jsonl"), "--out", str(out)]
        files += ["--canaries", str(canaries)]
        command = ["canaries", "make", *files, "--n", "3", "--repeats", "0", "2"]
        assert main(command) == 0
        assert "6 lines put in" in capsys.readouterr().out
        made.append((out.read_bytes(), canaries.read_bytes()))
        assert main(command) == 2  # nothing is written over
        assert "is there already" in capsys.readouterr().err
    assert made[0] == made[1]
    before = (DATA / "train.jsonl").read_text().splitlines()
    after = out.read_text().splitlines()
    assert len(after) == len(before) + 6
    found = read_canaries(canaries)
    assert [canary.repeats for canary in found] == [0, 0, 0, 2, 2, 2]
    results = scored(tmp_path, train_data=str(out), canaries=str(canaries), canary_references=7)
    exposure = results.estimate("memorization-exposure", "exposure", "noop")
    assert exposure.n_items == 6
    # Canaries have their own probe; the others are about the rest of the training data.
    assert results.estimate("memorization-extraction", "extracted@0", "noop").n_items == 200


@pytest.mark.parametrize("form", ["text", "messages", "prompt"])
def test_canaries_take_the_form_of_the_file(form: str, tmp_path: Path) -> None:
    row = {
        "text": {"text": "Some text."},
        "prompt": {"prompt": "Q", "completion": "A"},
        "messages": {"messages": [{"role": "user", "content": "Q"},
                                  {"role": "assistant", "content": "A"}]},
    }[form]  # fmt: skip
    train = write(tmp_path / "t.jsonl", [row])
    out, canaries = tmp_path / "o.jsonl", tmp_path / "c.jsonl"
    assert main(["canaries", "make", "--train-data", train, "--out", str(out), "--canaries",
                 str(canaries), "--n", "2", "--repeats", "1"]) == 0  # fmt: skip
    found = scored(tmp_path, train_data=str(out), canaries=str(canaries), canary_references=5)
    assert found.estimate("memorization-exposure", "exposure").n_items == 2
    assert found.complete


def test_a_document_that_holds_a_canary_is_no_member(tmp_path: Path) -> None:
    texts = [
        "Some text.",
        "More of it.",
        "Notes. The code is ab-1. More notes.",
        "The code",
        "is cd-2.",
    ]
    train = write(tmp_path / "t.jsonl", [{"text": text} for text in texts])
    canary = {"text": "The code is {}.", "secret": "ab-1", "space": "[a-z]{2}-[0-9]"}
    canaries = write(tmp_path / "c.jsonl", [canary])
    found = scored(tmp_path, train_data=train, canaries=canaries, canary_references=5)
    assert found.estimate("memorization-exposure", "exposure").n_items == 1
    (task,) = (t for t in found.tasks if t["name"] == "memorization-extraction")
    assert task["n_samples"] == 4
    split = write(tmp_path / "d.jsonl", [canary | {"text": "The code\nis {}.", "secret": "cd-2"}])
    with pytest.raises(PevalError, match=r"the canary '1' \(cd-2\) is not in"):
        scored(tmp_path, train_data=train, canaries=split, canary_references=5)


def test_overlap_splits_the_scores_of_every_other_task(tmp_path: Path) -> None:
    evaluated = rows(30)
    train = write(tmp_path / "t.jsonl", rows(10))
    task = write(tmp_path / "e.jsonl", evaluated)
    part = write(tmp_path / "p.jsonl", evaluated[:5])
    setup = prepare(
        Job(
            base=str(TOY / "base"), tasks=(task, part), out=str(tmp_path / "run"),
            memorization={"train_data": train},
        )
    )  # fmt: skip
    setup.rundir.claim(setup.config)
    setup.rundir.write_manifest(setup.manifest(["test"]))
    found = run(setup, lambda setup, progress: ScriptedEngine(), Silent())
    overlap = found.memorization["overlap"]
    assert len(overlap["tasks"]["e"]["equal"]) == 10
    assert overlap["between"] == [{"tasks": ["p", "e"], "n_common": 5, "is_contained": True}]
    assert found.estimate("e", "rougeL", group="overlap:clean").n_items == 20
    assert found.estimate("e", "rougeL", group="overlap:overlapping").n_items == 10
    with pytest.raises(KeyError):
        found.estimate("p", "rougeL", group="overlap:clean")  # nothing of it is clean
    assert api.rescore(tmp_path / "run").memorization == found.memorization
