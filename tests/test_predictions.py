"""Predictions from elsewhere, through the command line."""

import csv
import gzip
import json
import os
import re
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import peval
from peval.cli import main
from peval.datasets import bbh, gsm8k
from peval.errors import DataError, TaskError, UsageError
from peval.prediction_files import read_predictions

ROWS = [{"id": name, "input": f"{name}?", "output": name.upper()} for name in "abc"]


def write(path, *records):
    lines = [one if isinstance(one, str) else json.dumps(one) for one in records]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def task(tmp_path):
    return str(write(tmp_path / "own.jsonl", *ROWS))


def score(tmp_path, task, *records, **options):
    path = write(tmp_path / "said.jsonl", *records)
    return peval.score_predictions([path], task, out=tmp_path / "run", **options)


def test_what_is_missing_is_never_averaged_and_what_is_unknown_is_told(tmp_path, task, capsys):
    found = score(tmp_path, task, {"id": "x", "prediction": "9"}, {"id": "b", "prediction": "B"},
                  {"id": "a", "prediction": "so 1", "model": "theirs"}, "")  # fmt: skip
    (estimate,) = [e for e in found.estimates if e.metric == "exact_match"]
    assert (estimate.adapter, estimate.value, estimate.n_items, estimate.n_missing) == (
        "said", 0.5, 2, 1,
    )  # fmt: skip
    assert not found.complete
    report = (tmp_path / "run" / "report.md").read_text()
    assert report.startswith("# Predictions for own\n\n> **Partial.** 1 of 3 items have no pred")
    assert "items that the task does not ask were left out: `said` 1." in report
    command = ["rescore", "--predictions", str(tmp_path / "said.jsonl"), "--task", task]
    assert main([*command, "--out", str(tmp_path / "run")]) == 3
    printed = capsys.readouterr().out
    assert "PARTIAL: 1 of 3 items have no prediction" in printed
    assert f"\nreport: {tmp_path / 'run' / 'report.md'}\n" in printed
    assert "NOTE  left out: predictions for items that the task does not ask: said 1" in printed
    assert main(["rescore", str(tmp_path / "run")]) == 3
    assert capsys.readouterr().out == printed
    assert main(["rescore", str(tmp_path / "run"), "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["estimates"] == found.to_dict()["estimates"]


def test_several_files_are_compared(tmp_path, task):
    for name, answers in (("one", "ABC"), ("two", "xBC")):
        said = [{"id": r["id"], "prediction": a} for r, a in zip(ROWS, answers, strict=True)]
        write(tmp_path / f"{name}.jsonl", *said)
    files = [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    found = peval.score_predictions(files, task, out=tmp_path / "run")
    assert found.complete
    assert [found.estimate("own", "exact_match", n).value for n in ("one", "two")] == [1.0, 2 / 3]
    (comparison,) = [
        c
        for c in peval.compare(tmp_path / "run", against="one").comparisons
        if c.metric == "exact_match" and c.group is None
    ]
    assert (comparison.adapter, comparison.delta) == ("two", pytest.approx(-1 / 3))


def test_choices_are_named(tmp_path):
    task = write(tmp_path / "own.jsonl", {"id": "q", "input": "?", "choices": [" A", " B"],
                                          "output": " B"})  # fmt: skip
    found = score(tmp_path, str(task), {"id": "q", "prediction": "B"})
    assert found.estimate("own", "accuracy", "said").value == 1.0


def test_human_evals_words_are_understood_and_files_may_be_gzipped(tmp_path):
    path = tmp_path / "said.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"task_id": "HumanEval/0", "completion": "return"}\n' * 2))
    assert read_predictions(path, several=True) == {"HumanEval/0": ("return", "return")}
    with pytest.raises(DataError, match="'HumanEval/0' stands in an earlier line too"):
        read_predictions(path)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"id": "b"}, "field 'prediction' must be text"),
        ({"id": "b", "prediction": None}, "field 'prediction' must be text"),
        ({"id": "b", "completion": 2}, "field 'completion' must be text"),
        ({"task_id": ["b"], "completion": "2"}, "field 'task_id' must be text or a whole number"),
        ({"prediction": "2"}, "field 'id' must be text or a whole number"),
        ({"id": True, "prediction": "2"}, "field 'id' must be text or a whole number"),
        ({"id": "a", "prediction": "2"}, "the id 'a' stands in an earlier line too"),
        (["b", "2"], "must be a JSON object with 'id' and 'prediction'"),
        ("{", "malformed JSON"),
        ({"id": "b", "prediction": "\ud800"}, "holds half a character"),
    ],
)
def test_a_line_that_does_not_fit_is_named(tmp_path, task, record, message):
    with pytest.raises(DataError, match=r"said\.jsonl:2: " + message):
        score(tmp_path, task, {"id": "a", "prediction": "1"}, record)


def test_a_file_that_belongs_elsewhere_is_refused(tmp_path, task):
    with pytest.raises(DataError, match=r"no id is known \(here 'test-0'; .* such as 'a'\)"):
        score(tmp_path, task, {"id": "test-0", "prediction": "1"})
    with pytest.raises(DataError, match="no lines; expected objects with 'id' and 'prediction'"):
        read_predictions(write(tmp_path / "empty.jsonl", ""))
    with pytest.raises(DataError, match="cannot be read"):
        read_predictions(tmp_path / "absent.jsonl")


def test_what_cannot_be_meant_is_refused_in_one_line(tmp_path, task, capsys):
    said = str(write(tmp_path / "said.jsonl", {"id": "a", "prediction": "1"}))
    for words, why in (
        ([], "give a run, or --predictions FILE with --task NAME"),
        (["run", "--predictions", said], "give a run, or --predictions FILE with --task NAME"),
        (["--predictions", said], "--predictions needs --task"),
        (["--predictions", said, "--task", "tulu"], "--task tulu stands for"),
        (["--predictions", said, "--task", "gsm8k-cott"], "did you mean gsm8k-cot"),
        (["--predictions", said, "--task", task, "--rule", "bbh"], "extracts no answers"),
        (["--predictions", said, "--task", "bbh-cot", "--rule", "x"], "no rule 'x'; known: tulu"),
        (["--predictions", said, said, "--task", task], "two files would both be called"),
        (["--predictions", "absent.jsonl", "--task", task], "absent.jsonl: cannot be read (No"),
        (["--predictions", str(tmp_path), "--task", task], "cannot be read (Is a directory)"),
        (["--predictions", said, "--task", task, "--limit", "0"], "--limit 0: give 1 or more"),
    ):
        assert main(["rescore", *words]) == 2
        line = capsys.readouterr().err
        assert why in line
        assert line.count("\n") == 1
    with pytest.raises(UsageError, match="give a file of predictions"):
        peval.score_predictions([], task)
    with pytest.raises(UsageError, match=r"score_predictions has no option 'limt'; .* limit\?"):
        peval.score_predictions([said], task, limt=1)


def test_likelihoods_cannot_be_predicted(tmp_path, shared_data):
    from peval.catalog import load_task
    from peval.predictions import _check_scores_texts
    from peval.types import Query, Sample

    one = Sample("s", "", ("x",), "c", queries=(Query("a", (" x", " y")),))
    with pytest.raises(TaskError, match="lm-eval is scored by likelihoods"):
        _check_scores_texts(load_task("lm-eval"), [one])


GSM8K_RIGHT = {  # published number of right answers out of 1,319
    "6b_finetuning": 286,
    "6b_verification": 515,
    "175b_finetuning": 458,
    "175b_verification": 742,
}


def test_gsm8k_published_flags_are_all_reproduced(shared_data, tmp_path, capsys):
    """4 models x 1,319 flags from their own words, by `peval rescore`."""
    packed = (shared_data / "gsm8k" / "example_model_solutions.jsonl.gz").read_bytes()
    rows = [json.loads(line) for line in gzip.decompress(packed).splitlines()]
    problems = gsm8k.read(shared_data / "gsm8k")
    files = [
        str(write(tmp_path / f"{model}.jsonl", *(
            {"id": problem.id, "prediction": row[model]["solution"]}
            for problem, row in zip(problems, rows, strict=True)
        )))
        for model in GSM8K_RIGHT
    ]  # fmt: skip
    what = ["--predictions", *files, "--task", "gsm8k-cot-full", "--rule", "gsm8k"]
    where = ["--data-dir", str(shared_data), "--out", str(tmp_path / "run")]
    assert main(["rescore", *what, *where, "--json"]) == 0
    found = {
        (e["adapter"], e["group"]): e["value"]
        for e in json.loads(capsys.readouterr().out)["estimates"]
    }
    answers = pq.read_table(tmp_path / "run" / "completions.parquet").to_pylist()
    flags = {(row["adapter"], row["sample_id"]): row["exact_match"] for row in answers}
    assert len(flags) == 4 * 1319
    for model, n_right in GSM8K_RIGHT.items():
        assert found[model, None] == pytest.approx(n_right / 1319, abs=1e-12)
        for problem, row in zip(problems, rows, strict=True):
            assert flags[model, problem.id] == row[model]["is_correct"]


def test_bbh_published_accuracies_are_reproduced(shared_data, tmp_path, capsys):
    """27 accuracies of code-davinci-002 from its own words, by `peval rescore`."""
    folder = shared_data / "bbh" / "model_outputs" / "code-davinci-002-cot"
    rows, published = [], {}
    for name, one in bbh.read(shared_data / "bbh").items():
        outputs = json.loads(gzip.decompress((folder / f"{name}.json.gz").read_bytes()))["outputs"]
        rows += [
            {"id": problem.id, "prediction": output["prediction"]}
            for problem, output in zip(one.problems, outputs, strict=True)
        ]
        published[name] = json.loads((folder / f"{name}_eval_metrics.jsonl").read_text())
    said = str(write(tmp_path / "code-davinci-002.jsonl", *rows))
    what = ["--predictions", said, "--task", "bbh-cot-full", "--rule", "bbh"]
    where = ["--data-dir", str(shared_data), "--out", str(tmp_path / "run")]
    assert main(["rescore", *what, *where, "--json"]) == 0
    found = {e["group"]: e["value"] for e in json.loads(capsys.readouterr().out)["estimates"]}
    assert len(published) == 27
    for name, metrics in published.items():
        assert 100 * found[f"task:{name}"] == pytest.approx(metrics["accuracy"], abs=1e-9)


HANS = {
    "bert_preds": {
        "lexical_overlap": (0.9464, 0.1640),
        "subsequence": (0.9932, 0.0386),
        "constituent": (0.9844, 0.1612),
    }
}


def test_hans_published_accuracies_are_reproduced(shared_data, tmp_path, capsys):
    """The authors' own file: comma-separated, with more than two labels named."""
    said = shared_data / "hans" / "bert_preds.txt"
    run = tmp_path / "run"
    flags = ["--task", "hans", "--data-dir", str(shared_data), "--out", str(run)]
    assert main(["rescore", "--predictions", str(said), *flags]) == 0
    found = peval.load(run)
    for heuristic, (entailed, not_entailed) in HANS["bert_preds"].items():
        for label, expected in (("entailment", entailed), ("non-entailment", not_entailed)):
            group = f"category:{heuristic}, {label}"
            estimate = found.estimate("hans", "accuracy", "bert_preds.txt", group)
            assert (round(estimate.value, 4), estimate.n_items) == (expected, 5000)
    majority = found.estimate("hans", "accuracy", "majority-target")
    assert majority.value == 0.5
    capsys.readouterr()


def test_published_answers_are_known_by_their_prompts(shared_data: Path, tmp_path: Path) -> None:
    """Self-Instruct's files name no ids; GPT-3 untuned is known not to come to an end."""
    folder = shared_data / "self_instruct_human_eval" / "predictions"
    paths = [folder / "davinci_predictions.jsonl.gz", folder / "text-davinci-003_predictions.jsonl"]
    found = peval.score_predictions(
        paths, "self-instruct", data_dir=shared_data, out=tmp_path / "run"
    )
    untuned, tuned = (
        found.estimate("self-instruct", "loops", name)
        for name in ("davinci_predictions", "text-davinci-003_predictions")
    )
    assert (untuned.n_items, tuned.n_items, untuned.n_missing) == (252, 252, 0)
    assert untuned.low > 0.8
    assert tuned.high < 0.03
    with pytest.raises(KeyError):  # nobody says what ended these texts
        found.estimate("self-instruct", "truncated", "davinci_predictions")


def test_alpaca_evals_list_of_outputs(tmp_path: Path) -> None:
    path = tmp_path / "asks.jsonl"
    path.write_text('{"id": "a", "input": "Say  hello."}\n{"id": "b", "input": "Go away."}\n')
    said = tmp_path / "model_outputs.json"
    rows = [{"instruction": "Say hello.", "output": "Hello.", "generator": "x"},
            {"instruction": "Who?", "output": "Me.", "generator": "x"}]  # fmt: skip
    said.write_text(json.dumps(rows))
    found = peval.score_predictions([said], str(path), out=tmp_path / "run")
    one = found.estimate("asks", "characters", "model_outputs")
    assert (one.value, one.n_items, one.n_missing) == (6.0, 1, 1)
    assert found.run["left_out"] == {"model_outputs": 1}
    said.write_text('{"instruction": "Say hello."}')
    with pytest.raises(DataError, match="must be a JSON list of objects"):
        peval.score_predictions([said], str(path), out=tmp_path / "other")


def test_fastchats_answers_in_two_turns(shared_data: Path, tmp_path: Path) -> None:
    """GPT-4's published answers to 30 of MT-Bench's questions, as FastChat's files hold them."""
    path = shared_data / "mt_bench" / "reference_answer" / "gpt-4.jsonl"
    results = peval.score_predictions(
        [path], "mt-bench", data_dir=shared_data, out=tmp_path / "run"
    )
    found = results.estimate("mt-bench", "characters", "gpt-4")
    assert (found.n_items, found.n_missing) == (30, 50)
    rows = list(map(json.loads, path.read_text().splitlines()))
    lengths = [sum(map(len, row["choices"][0]["turns"])) / 2 for row in rows]
    assert found.value == pytest.approx(sum(lengths) / 30)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"outputs": ["Red."]}, "'a' of asks has 2 turns, and here 1 answers; list the answer to"),
        ({"output": "Red."}, "'a' of asks has 2 turns, and here 1 answers"),
        ({"outputs": ["Red.", 2]}, "said.jsonl:1: field 'outputs' must be a list of texts, one"),
        ({"choices": []}, "said.jsonl:1: field 'choices' must hold one conversation"),
        ({"choices": [{"turns": "Red."}]}, "said.jsonl:1: field 'turns' must be a list of texts"),
        ({"choices": [{"turns": ["a", "b"]}] * 2}, "field 'choices' must hold one conversation"),
    ],
)
def test_a_conversation_that_does_not_fit_is_named(tmp_path, record, message):
    asks = write(tmp_path / "asks.jsonl", {"id": "a", "turns": ["Name one.", "Why?"]})
    with pytest.raises(DataError, match=re.escape(message)):
        score(tmp_path, str(asks), {"id": "a", **record})


@pytest.mark.skipif(os.environ.get("PEVAL_SLOW") != "1", reason="slow: set PEVAL_SLOW=1")
def test_hans_all_published_predictions_are_counted_alike(shared_data, tmp_path, capsys):
    """Four models' files, one of them not in the order of ids, against a count by hand."""
    files = sorted((shared_data / "hans").glob("*preds*.txt"))
    key = gzip.decompress((shared_data / "hans" / "derived_gold_key.csv.gz").read_bytes()).decode()
    gold = {row["pairID"]: row for row in csv.DictReader(key.splitlines())}
    flags = ["--task", "hans", "--data-dir", str(shared_data), "--out", str(tmp_path / "run")]
    assert main(["rescore", "--predictions", *map(str, files), *flags]) == 0
    found = peval.load(tmp_path / "run")
    assert len(found.adapters) == len(files) == 4
    for file in files:
        counts = Counter()
        for row in csv.DictReader(file.read_text().splitlines()):
            mine = gold[row["pairID"]]
            is_right = (row["gold_label"] == "entailment") == (mine["gold_label"] == "entailment")
            counts[f"category:{mine['heuristic']}, {mine['gold_label']}"] += is_right
        assert len(counts) == 6
        for group, n_right in counts.items():
            value = found.estimate("hans", "accuracy", file.name, group).value
            assert value == pytest.approx(n_right / 5000, abs=1e-12)
    capsys.readouterr()


def test_mnli_published_mean_of_100_runs_is_reproduced(shared_data, tmp_path, capsys):
    """The authors tell how many of 100 BERTs were right on each pair: their accuracy, no more."""
    said = shared_data / "mnli" / "mnli_development_set_number_of_correct_responses.txt.gz"
    run = tmp_path / "run"
    flags = ["--task", "mnli-matched", "--data-dir", str(shared_data), "--out", str(run)]
    assert main(["rescore", "--predictions", str(said), *flags]) == 0
    (mean,) = [e for e in peval.load(run).estimates if e.group is None]
    assert (round(100 * mean.value, 5), mean.n_items) == (84.33928, 9815)
    assert mean.low < mean.value < mean.high
    capsys.readouterr()


def test_counts_that_cannot_be_are_refused(tmp_path, shared_data, capsys):
    head = "index\tpremise\thypothesis\tgold_label\tnumber of correct responses (out of 100)"
    said = tmp_path / "counts.txt"
    flags = ["--data-dir", str(shared_data), "--out", str(tmp_path / "run")]
    for n, told in (("101", "'101' right of 100"), ("few", "'few' right of 100")):
        said.write_text(f'{head}\n0\tA "quoted" one\tB\tneutral\t{n}\n')
        assert main(["rescore", "--predictions", str(said), "--task", "mnli-matched", *flags]) == 2
        assert told in capsys.readouterr().err


LOGGED = {"doc_id": 0, "doc": {"sample_id": "a"}, "target": "A", "resps": [["A"]], "filter": "x"}


def test_lm_evals_logs_of_our_own_export_come_back(tmp_path, task):
    twice = {**LOGGED, "filter": "y"}  # it repeats a document for each filter
    found = score(
        tmp_path, task, LOGGED, twice, {**LOGGED, "doc": {"sample_id": "b"}, "target": "B"}
    )
    assert found.estimate("own", "exact_match", "said").value == 0.5


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({**LOGGED, "resps": [["B"]]}, "said.jsonl:2: document a stands in an earlier line with"),
        ({**LOGGED, "resps": "A"}, "said.jsonl:2: field 'resps' must be a list of lists"),
        ({**LOGGED, "doc": {}, "doc_id": None}, "said.jsonl:2: field 'doc_id' must be a whole"),
        ({"id": "b", "prediction": "B"}, "said.jsonl:2: expected 'doc_id' and 'resps'"),
        ({**LOGGED, "doc": {"sample_id": "b"}}, "document b: its target there is 'A', the task's"),
        ({**LOGGED, "doc": {"sample_id": "b"}, "target": "B", "resps": [[["-1", "True"]]]},
         r"document b: its 'resps' \(1\) do not fit"),
        ({**LOGGED, "doc": {"sample_id": "b"}, "target": "B", "resps": [["B"], ["B"]]},
         r"document b: its 'resps' \(2\) do not fit"),
    ],
)  # fmt: skip
def test_a_log_that_does_not_fit_is_one_line(tmp_path, task, record, message):
    with pytest.raises(DataError, match=message):
        score(tmp_path, task, LOGGED, record)


def test_a_name_may_be_given(tmp_path, task):
    path = write(tmp_path / "said.jsonl", {"id": "a", "prediction": "A"})
    found = peval.score_predictions([f"mine={path}"], task, out=tmp_path / "run")
    assert found.estimate("own", "exact_match", "mine").value == 1.0
