"""Exports, read back by those that they are for."""

from __future__ import annotations

import json
import math
import os
import shutil
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas
import pytest
import yaml
from huggingface_hub import ModelCard
from made_runs import made_run
from scripted import ROOT, TOY, ScriptedEngine

import peval
import peval.results
from peval import execute
from peval.cli import main
from peval.errors import AdapterError, UsageError
from peval.exports import export
from peval.exports.card import card


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of the toy's tasks; the engine is scripted."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(execute, "open_engine", lambda setup, progress: ScriptedEngine())
    peval.score(
        adapters=[str(TOY / "adapters" / name) for name in ("generalist", "noop")],
        suite="superni", data_dir=str(TOY / "data"), limit=3, out=str(tmp_path / "run"),
    )  # fmt: skip
    return tmp_path / "run"


def test_lm_evals_own_tools_read_the_layout(run: Path, tmp_path: Path) -> None:
    utils = pytest.importorskip("lm_eval.utils", reason="lm-eval is not installed")
    out = tmp_path / "out"
    files = [str(path) for path in export(run, "lm-eval", out)]
    places = sorted(path.name for path in out.iterdir())
    assert places == ["base", "base__generalist", "base__noop"]
    (mine,) = [f for f in utils.get_results_filenames(files) if "__generalist/" in f]
    (logged,) = [f for f in utils.get_sample_results_filenames(files) if "__generalist/" in f]
    assert utils.get_file_task_name(Path(logged).name) == "superni"
    assert utils.get_file_datetime(Path(logged).name) == utils.get_file_datetime(
        Path(mine).name.removesuffix(".json")
    )
    summary = json.loads(Path(mine).read_text())
    table = utils.make_table(summary)
    results = peval.load(run)
    estimate = results.estimate("superni", "rougeL", "generalist")
    assert estimate.value is not None
    assert f"{estimate.value:.4f}" in table
    rows = [json.loads(line) for line in Path(logged).read_text().splitlines()]
    assert len(rows) == estimate.n_items
    assert math.isclose(sum(row["rougeL"] for row in rows) / len(rows), estimate.value)
    frame = pandas.read_parquet(run / "completions.parquet")
    theirs = frame[frame.adapter == "generalist"]
    assert [row["resps"][0][0] for row in rows] == theirs.text.tolist()


def test_every_eval_ever_has_what_its_schema_asks_for(run: Path, tmp_path: Path) -> None:
    import jsonschema

    place = os.environ.get("EVERY_EVAL_EVER_SCHEMA")
    if place is None:
        pytest.skip("set EVERY_EVAL_EVER_SCHEMA to eval.schema.json of evaleval/every_eval_ever")
    schema = json.loads(Path(place).read_text())
    files = export(run, "every-eval-ever", tmp_path / "out")
    assert len(files) == 3
    for file in files:
        record = json.loads(file.read_text())
        jsonschema.validate(record, schema)
        broken = {k: v for k, v in record.items() if k != "eval_library"}
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, schema)
    mine = next(json.loads(f.read_text()) for f in files if f.stem.endswith("__generalist"))
    value = peval.load(run).estimate("superni", "rougeL", "generalist").value
    scores = {
        r["score_details"]["details"]["metric"]: r["score_details"]["score"]
        for r in mine["evaluation_results"]
    }
    assert scores["rougeL"] == value


def test_inspects_own_reader_opens_the_logs(run: Path, tmp_path: Path) -> None:
    log = pytest.importorskip("inspect_ai.log", reason="inspect-ai is not installed")
    files = export(run, "inspect", tmp_path / "out")
    assert [f.name for f in files] == [
        "superni__base.eval", "superni__base__generalist.eval", "superni__base__noop.eval",
    ]  # fmt: skip
    found = log.read_eval_log(files[1])
    estimate = peval.load(run).estimate("superni", "rougeL", "generalist")
    assert (found.status, found.eval.metadata["adapter"]) == ("success", "generalist")
    (score,) = [s for s in found.results.scores if s.name == "rougeL"]
    values = {name: metric.value for name, metric in score.metrics.items()}
    assert values == {"mean": estimate.value, "low_95": estimate.low, "high_95": estimate.high}
    frame = pandas.read_parquet(run / "completions.parquet")
    theirs = frame[frame.adapter == "generalist"].sort_values("sample_id")
    samples = sorted(found.samples, key=lambda sample: sample.id)
    assert [s.output.completion for s in samples] == theirs.text.tolist()
    assert [s.scores["rougeL"].value for s in samples] == theirs.rougeL.tolist()
    assert log.read_eval_log_sample(files[1], samples[0].id, 1).target == list(
        theirs.targets.iloc[0]
    )


def test_the_hubs_parser_reads_eval_results(run: Path, tmp_path: Path) -> None:
    from huggingface_hub import parse_eval_result_entries

    named = {"superni": "allenai/natural-instructions:test"}
    files = export(run, "eval-results", tmp_path / "out", named)
    assert [str(f.relative_to(tmp_path / "out")) for f in files] == [
        f"{name}/.eval_results/superni.yaml" for name in ("base", "base__generalist", "base__noop")
    ]
    (entry,) = parse_eval_result_entries(yaml.safe_load(files[1].read_text()))
    estimate = peval.load(run).estimate("superni", "rougeL", "generalist")
    assert estimate.value is not None
    assert entry.value == pytest.approx(100 * estimate.value, abs=1e-4)
    assert f"{entry.dataset_id}:{entry.task_id}" == named["superni"]
    assert estimate.signature in (entry.notes or "")
    for wrong, why in (
        ({}, "give --benchmark TASK="),
        ({"mmlu": "cais/mmlu:all"}, r"tasks of this run, superni \(mmlu\)"),
        ({"superni": "mmlu"}, "expected TASK=OWNER/NAME:TASK_ID"),
    ):
        with pytest.raises(UsageError, match=why):
            export(run, "eval-results", tmp_path / "wrong", wrong)


def expected_scalars(run: Path) -> dict[str, float]:
    results = peval.load(run)
    value = results.estimate("superni", "rougeL", "generalist").value
    delta = results.comparison("superni", "rougeL", "generalist").delta
    assert value is not None
    assert delta is not None
    return {"peval/superni/rougeL": value, "peval/superni/rougeL-delta": delta}


def test_tensorboards_own_reader_finds_the_scalars(run: Path, tmp_path: Path) -> None:
    reader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="tensorboard is not installed",
    )
    for _ in range(2):  # a second time replaces the first
        files = export(run, "tensorboard", tmp_path / "out")
        assert len(files) == 3
    found = reader.EventAccumulator(str(tmp_path / "out" / "base__generalist")).Reload()
    for tag, value in expected_scalars(run).items():
        (event,) = found.Scalars(tag)
        assert event.value == pytest.approx(value, rel=1e-6)


def leveldb_records(data: bytes) -> Iterator[bytes]:
    """Read a log as LevelDB describes it: blocks of 32 KiB, records in whole or in parts.

    wandb 0.31 has no reader of its own in Python; its messages are read by its own classes.
    """
    at, parts = 7, b""  # after wandb's mark and version
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""


@pytest.mark.filterwarnings("ignore")
def test_offline_runs_of_wandb_hold_the_scalars(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed")
    from wandb.proto.wandb_internal_pb2 import Record

    files = export(run, "wandb", tmp_path / "out")
    assert len(files) == 3
    held: dict[str, float] = {}
    for data in leveldb_records(files[1].read_bytes()):
        record = Record()
        record.ParseFromString(data)
        for item in record.history.item:
            held["/".join(item.nested_key) or item.key] = json.loads(item.value_json)
    assert held.items() >= expected_scalars(run).items()


@pytest.mark.filterwarnings("ignore")
def test_mlflows_own_client_finds_the_run(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow.store.db", reason="mlflow is not installed")
    from mlflow.tracking import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (store,) = export(run, "mlflow", tmp_path / "out")
    client = MlflowClient(tracking_uri=f"sqlite:///{store}")
    experiment = client.get_experiment_by_name("peval")
    runs = {r.info.run_name: r.data for r in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"base", "base__generalist", "base__noop"}
    assert runs["base__generalist"].metrics.items() >= expected_scalars(run).items()
    assert runs["base__generalist"].params["adapter"] == "generalist"


def test_a_format_whose_package_is_missing_is_one_line(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package, form in (("inspect_ai", "inspect"), ("tensorboard", "tensorboard"),
                          ("wandb", "wandb"), ("mlflow", "mlflow")):  # fmt: skip
        for name in [package, *(m for m in sys.modules if m.startswith(f"{package}."))]:
            monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(UsageError, match=rf"--format {form} needs the package {package}"):
            export(run, form, tmp_path / "out")


def test_a_card_is_read_by_the_hubs_library(run: Path, tmp_path: Path) -> None:
    adapter = shutil.copytree(TOY / "adapters" / "generalist", tmp_path / "generalist")
    readme = adapter / "README.md"
    readme.write_text("---\nlicense: mit\nbase_model: toy\n---\n\n# Mine\n\nBy hand.\n")
    assert card(adapter, run) == readme
    once = readme.read_text()
    assert card(adapter, run) == readme
    assert readme.read_text() == once
    found = ModelCard.load(readme)
    assert found.data.license == "mit"
    assert "By hand." in found.text
    assert found.text.count("## Evaluation") == 1
    values = {(r.dataset_type, r.metric_type): r.metric_value for r in found.data.eval_results}
    estimate = peval.load(run).estimate("superni", "rougeL", "generalist")
    assert values["superni", "rougeL"] == estimate.value


def test_a_card_without_a_readme_is_begun(run: Path, tmp_path: Path) -> None:
    adapter = shutil.copytree(TOY / "adapters" / "noop", tmp_path / "noop")
    (adapter / "README.md").unlink(missing_ok=True)
    card(adapter, run)
    assert ModelCard.load(adapter / "README.md").data.model_name == "noop"


def test_what_cannot_be_exported_is_one_line(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError, match="no such format; known: lm-eval, inspect, every"):
        export(run, "xml")
    with pytest.raises(AdapterError, match="no such folder"):
        card(tmp_path / "nobody", run)
    stranger = shutil.copytree(TOY / "adapters" / "narrow", tmp_path / "narrow")
    with pytest.raises(UsageError, match="no adapter 'narrow' there; there are generalist, noop"):
        card(stranger, run)
    generalist = shutil.copytree(TOY / "adapters" / "generalist", tmp_path / "generalist")
    (generalist / "README.md").write_text("---\n: [\n---\n")
    with pytest.raises(AdapterError, match="cannot be read as a model card"):
        card(generalist, run)
    assert main(["export", str(tmp_path), "--format", "lm-eval"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_results_in_a_notebook(tmp_path: Path) -> None:
    results = peval.load(made_run(tmp_path / "run", {"t<": {None: [0.5, 1.0], "a": [1.0, 1.0]}}))
    frame = results.to_pandas()
    assert len(frame) == len(results.estimates)
    mine = frame[(frame.adapter == "a") & (frame.metric == "rougeL") & frame.group.isna()]
    assert mine.value.tolist() == [1.0]
    assert len(results.to_pandas("comparisons")) == len(results.comparisons)
    html = results._repr_html_()
    assert "<td>t&lt;</td>" in html
    assert "<td>1.000</td>" in html
