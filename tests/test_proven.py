"""What is proven of adapters before their answers count, around engines that say what they like."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from scripted import ROOT, TOY, ScriptedEngine

import peval
from peval import execute
from peval.errors import EngineError
from peval.prepare import Setup
from peval.progress import Progress
from peval.proven import proven
from peval.report.terminal import summary
from peval.results import Results
from peval.types import Completion, Engine, Likelihood, Request

SCHEMA = json.loads((ROOT / "peval" / "results.schema.json").read_text())
ADAPTERS = ("generalist", "noop")


class Model(ScriptedEngine):
    """Answers as scripted; each system's log-probabilities lie ``shift`` below the base's."""

    def __init__(self, shift: dict[str, float]) -> None:
        super().__init__()
        self.shift = {"generalist": 0.5} | shift

    def likelihoods(self, request: Request) -> tuple[Likelihood, ...]:
        if request.task != "proof":
            return super().likelihoods(request)
        value = -2.0 - self.shift.get(request.adapter or "", 0.0)
        return tuple(Likelihood((value,) * len(choice), False) for choice in request.choices)


@dataclass
class Bench:
    """A run's arguments; what its engine and its reference say; how often the latter was opened."""

    options: dict[str, Any]
    engine: dict[str, float] = field(default_factory=dict)
    reference: dict[str, float] | EngineError = field(default_factory=dict)
    rounding: float = 0.0
    opened: list[Model] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def score(self, **more: Any) -> Results:
        return peval.score(**self.options | more)

    def open(self, setup: Setup, progress: Progress) -> Engine:
        engine = Model(self.engine)
        self.opened.append(engine)
        return proven(engine, setup, progress, lambda spec: Reference(self))


class Reference(Model):
    """Says everything twice: rounded, which moves it by ``bench.rounding``, and exactly."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        super().__init__({} if isinstance(bench.reference, EngineError) else bench.reference)

    def likelihoods(self, request: Request) -> tuple[Likelihood, ...]:
        (exact,) = super().likelihoods(request)
        rounded = tuple(value - self.bench.rounding for value in exact.logprobs)
        return Likelihood(rounded, False), exact

    def complete(self, requests: Iterable[Request]) -> Iterator[Completion]:
        if isinstance(self.bench.reference, EngineError):
            raise self.bench.reference
        for completion in super().complete(requests):
            self.bench.asked.append(completion.key)
            yield completion


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = Bench(
        {
            "base": str(TOY / "base"),
            "adapters": [str(TOY / "adapters" / name) for name in ADAPTERS],
            "suite": "superni",
            "data_dir": str(TOY / "data"),
            "limit": 1,
            "out": str(tmp_path / "run"),
            "engine": "vllm",
            "dtype": "float32",
        }
    )
    monkeypatch.setattr(execute, "open_engine", made.open)
    monkeypatch.setattr("peval.engines.choose_kind", lambda requested: "vllm")
    monkeypatch.setattr("peval.engines.fingerprint", lambda kind: f"{kind}-0+cpu")
    return made


def test_proofs_stand_in_results_report_and_terminal(bench: Bench) -> None:
    results = bench.score()
    assert results.complete
    jsonschema.validate(json.loads(json.dumps(results.to_dict())), SCHEMA)
    found = {one["adapter"]: one for one in results.proofs}
    assert set(found) == {None, "generalist", "noop"}
    assert found["generalist"]["base_nat"] == pytest.approx(0.5)
    assert found["generalist"]["mean_nat"] == 0
    assert found["generalist"]["has_effect"] is found["generalist"]["agrees"] is True
    assert found["noop"]["has_effect"] is False
    assert found["noop"]["n_greedy_equal"] == found["noop"]["n_greedy"] > 0
    report = (Path(bench.options["out"]) / "report.md").read_text()
    assert "**No effect.** `noop`" in report
    assert report.index("No effect") < report.index("## ")
    assert "Were the adapters applied" in report
    assert "NO EFFECT  noop: " in summary(results)


def test_no_proof_request_is_a_row_of_the_run(bench: Bench) -> None:
    results = bench.score()
    scored = [r for r in bench.opened[0].asked if r.task != "proof"]
    assert len(scored) == results.run["n_requests"]
    first = {r.adapter: r.task for r in reversed(bench.opened[0].asked)}
    assert first == {None: "proof", "generalist": "proof", "noop": "proof"}


@pytest.mark.parametrize("shift", [0.1, float("nan")])
def test_an_adapter_applied_otherwise_than_in_peft_stops_the_run(
    bench: Bench, shift: float
) -> None:
    bench.engine = {"generalist": shift}
    with pytest.raises(EngineError) as caught:
        bench.score()
    said = str(caught.value)
    assert "\n" not in said
    assert said.startswith("adapter generalist: ")
    assert "--route generalist=hf" in said
    with pytest.raises(EngineError):
        bench.score()
    assert bench.score(proof="warn").complete
    report = (Path(bench.options["out"]) / "report.md").read_text()
    assert "**Not as trained.** `generalist`" in report


@pytest.mark.parametrize(("distance", "agrees"), [(0.29, True), (0.33, False)])
def test_rounding_in_transformers_sets_what_is_allowed(
    bench: Bench, distance: float, agrees: bool
) -> None:
    bench.rounding, bench.engine = 0.2, {"generalist": 0.5 + distance}
    results = bench.score(dtype="bfloat16", proof="warn")
    found = {one["adapter"]: one for one in results.proofs}["generalist"]
    assert found["allowed_nat"] == pytest.approx(1.5 * 0.2 + 0.01)
    assert found["mean_nat"] == pytest.approx(distance)
    assert found["rounding_nat"] == pytest.approx(0.2)
    assert found["agrees"] is agrees


def test_what_rounding_makes_of_nothing_is_no_effect(bench: Bench) -> None:
    """Merged weights are rounded: the engine differs from its base, the adapter does not."""
    bench.rounding, bench.engine = 0.05, {"noop": 0.04}
    results = bench.score(dtype="bfloat16")
    found = {one["adapter"]: one for one in results.proofs}["noop"]
    assert found["has_effect"] is False
    assert found["base_nat"] == pytest.approx(0.04)


def test_an_effect_that_rounding_could_hide_is_told(bench: Bench) -> None:
    bench.rounding = 0.4
    bench.score(dtype="bfloat16")
    report = (Path(bench.options["out"]) / "report.md").read_text()
    (row,) = [line for line in report.splitlines() if line.startswith("| `generalist` | 0.5 ")]
    assert "no more than rounding could hide" in row


def test_no_answer_of_an_unproven_adapter_is_stored(bench: Bench) -> None:
    bench.engine = {"generalist": 0.1}
    with pytest.raises(EngineError):
        bench.score()
    again = Model({})
    bench.open = lambda setup, progress: again  # type: ignore[method-assign]
    execute.open_engine = bench.open
    bench.score(proof="off")
    n = sum(r.adapter == "generalist" for r in again.asked)
    assert n == sum(r.adapter == "noop" for r in again.asked) > 0


def test_what_was_proven_on_this_machine_is_not_proven_again(bench: Bench, tmp_path: Path) -> None:
    bench.score()
    n = len(bench.asked)
    assert n
    results = bench.score(out=str(tmp_path / "again"))
    assert len(bench.asked) == n
    assert {one["adapter"]: one["is_cached"] for one in results.proofs} == {
        "generalist": True, "noop": True,
    }  # fmt: skip
    assert not any(r.task == "proof" for r in bench.opened[1].asked)
    bench.score(out=str(tmp_path / "other"), dtype="bfloat16")
    assert len(bench.asked) == 2 * n


def test_a_reference_that_cannot_be_had_is_told(bench: Bench) -> None:
    bench.reference = EngineError("hf engine did not start: out of memory")
    results = bench.score()
    assert results.complete
    assert all("out of memory" in one["why_none"] for one in results.proofs)
    assert {one["adapter"]: one["has_effect"] for one in results.proofs} == {
        "generalist": True, "noop": False,
    }  # fmt: skip


def test_a_base_too_large_for_the_cpu_is_told(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("peval.proven.ON_CPU_BYTES", 1)
    assert "too large" in bench.score().proofs[0]["why_none"]
    assert not bench.asked


def test_off_asks_nothing(bench: Bench) -> None:
    results = bench.score(proof="off")
    assert results.proofs == ()
    assert not any(r.task == "proof" for r in bench.opened[0].asked)
    assert "NO EFFECT  noop: the update it holds is exactly zero" in summary(results)


def test_a_run_of_another_kind_is_a_usage_error(bench: Bench) -> None:
    with pytest.raises(peval.errors.UsageError, match="--proof maybe"):
        bench.score(proof="maybe")
