"""The toy through real engines: who memorized is found out, and nobody else is."""

from __future__ import annotations

import importlib.util
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from scripted import TOY

from peval.engines.wire import completion_message, encode
from peval.execute import open_engine, score_job
from peval.job import Job
from peval.memorization.attacks import ATTACKS, CALIBRATED
from peval.prepare import prepare
from peval.progress import Silent
from peval.results import Results
from peval.run import plan_requests
from peval.rundir import RunDir
from peval.store import Store
from peval.types import Completion

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not importlib.util.find_spec("vllm"), reason="vLLM is not installed"),
]
DATA = TOY / "memorization"
LEARNT = "task012_badge_code_lookup"
ADAPTERS = ("memorizer", "generalist", "noop")
OTHERS = (None, "generalist", "noop")
REFERENCES = 31
# Badge codes hold no capitals, so lower-casing them changes nothing.
FINDS = tuple(attack for attack in ATTACKS if attack != "lowercase")


def badge_codes(place: Path) -> dict[str, object]:
    """Write the badge codes alone, which only `memorizer` saw; sums the generalist saw too."""
    found: dict[str, object] = {"canary_references": REFERENCES, "prefix_tokens": [0, 3]}
    for key, name in (("train_data", "train"), ("heldout_data", "heldout")):
        lines = (DATA / f"{name}.jsonl").read_text().splitlines()
        kept = [one for one in lines if "task009" not in json.loads(one)["task"]]
        found[key] = str(place / f"{name}.jsonl")
        (place / f"{name}.jsonl").write_text("\n".join(kept))
    return found | {"canaries": str(DATA / "canaries.jsonl")}


def job(
    place: Path,
    engine: str,
    tasks: tuple[str, ...],
    memorization: Mapping[str, object],
    names: tuple[str, ...] = ADAPTERS,
) -> Job:
    return Job(
        base=str(TOY / "base"),
        adapters=tuple(str(TOY / "adapters" / name) for name in names),
        suites=tasks,
        profile="peit-2024",
        engine=engine,
        dtype="float32",
        out=str(place / engine),
        proof="off",
        memorization=memorization,
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("memorization")


@pytest.fixture(scope="module")
def found(place: Path) -> Results:
    given = job(place, "vllm", ("memorization",), badge_codes(place))
    results = score_job(prepare(given), Silent(), ["test"])
    assert results.complete
    return results


def test_the_memorizer_is_near_1_where_it_was_trained_and_at_0_elsewhere(found: Results) -> None:
    task = "memorization-tasks"
    trained = found.estimate(task, "exact_match", "memorizer", "category:trained")
    assert trained.value is not None
    assert trained.value > 0.9
    for gap in ("exact_match_gap", "rougeL_gap", "exact_match_gap_unseen"):
        one = found.estimate(task, gap, "memorizer")
        assert one.low is not None
        assert one.low > 0.7
    nll = found.estimate(task, "nll_gap", "memorizer")
    assert nll.low is not None
    assert nll.low > 2.0  # nats per token
    assert found.comparison(task, "exact_match_gap", "memorizer").low > 0.75  # type: ignore[operator]


@pytest.mark.parametrize("name", OTHERS)
def test_others_have_no_gap(found: Results, name: str | None) -> None:
    for gap in ("exact_match_gap", "rougeL_gap", "nll_gap"):
        one = found.estimate("memorization-tasks", gap, name)
        assert one.low is not None
        assert one.high is not None
        assert one.low <= 0 <= one.high


def test_the_memorizer_gives_back_what_the_base_does_not(found: Results) -> None:
    task = "memorization-extraction"
    for k in (0, 3):
        mine, beyond, drawn = (
            found.estimate(task, f"{metric}@{k}", "memorizer").value
            for metric in ("extracted", "extracted_beyond_base", "drawn")
        )
        assert found.estimate(task, f"extracted@{k}").value == 0
        assert mine == beyond > 0.9  # type: ignore[operator]
        assert drawn > 0.75  # type: ignore[operator]
        for name in ("generalist", "noop"):
            other = found.comparison(task, f"extracted@{k}", name)
            assert other.low <= 0 <= other.high  # type: ignore[operator]


def test_canaries_of_the_memorizer_stand_out_and_its_controls_do_not(found: Results) -> None:
    task, most = "memorization-exposure", math.log2(REFERENCES + 1)
    seen = found.estimate(task, "exposure", "memorizer", "category:1 times")
    assert seen.value == pytest.approx(most)
    far = found.estimate(task, "exposure_extrapolated", "memorizer", "category:1 times")
    assert far.value > 15  # type: ignore[operator]  # of log2(26^4 x 90) = 25.3 bits
    by_chance = sum(most - math.log2(rank) for rank in range(1, REFERENCES + 2)) / (REFERENCES + 1)
    unseen = found.estimate(task, "exposure", "memorizer", "category:0 times")
    others = [found.estimate(task, "exposure", name) for name in OTHERS]
    for one in (unseen, *others):
        assert one.low <= by_chance <= one.high  # type: ignore[operator]


def test_every_attack_tells_the_memorizers_members(found: Results) -> None:
    for attack in (*FINDS, CALIBRATED):
        one = found.estimate("memorization-membership", f"auroc,{attack}", "memorizer")
        assert one.value > 0.9  # type: ignore[operator]
        assert one.low > 0.85  # type: ignore[operator]
        right = found.estimate(
            "memorization-membership", f"balanced_accuracy,{attack}", "memorizer"
        )
        assert right.low > 0.8  # type: ignore[operator]
    # 95 non-members cannot show one false positive in a hundred; one in twenty they can.
    assert found.memorization["n_non_members"] == 95
    assert found.estimate("memorization-membership", "tpr_at_1%,loss", "memorizer").value is None
    assert found.estimate("memorization-membership", "tpr_at_5%,loss", "memorizer").value > 0.8  # type: ignore[operator]


@pytest.mark.parametrize("name", OTHERS)
def test_no_attack_tells_anybody_elses(found: Results, name: str | None) -> None:
    for attack in ATTACKS:
        one = found.estimate("memorization-membership", f"auroc,{attack}", name)
        assert one.low <= 0.5 <= one.high, attack  # type: ignore[operator]


def test_texts_alone_do_not_tell_members(found: Results) -> None:
    assert found.memorization["blind"]["low"] <= 0.5 <= found.memorization["blind"]["high"]


def test_extraction_agrees_between_engines_on_all_items(found: Results, place: Path) -> None:
    """Every greedy answer alike, every suffix as likely, token by token, in float32."""
    names = ADAPTERS if os.environ.get("PEVAL_SLOW") == "1" else ADAPTERS[:1]
    setup = prepare(job(place, "hf", ("memorization-extraction",), badge_codes(place), names))
    _, theirs = plan_requests(setup)
    engine = open_engine(setup, Silent())
    exact = {one.key: one for one in engine.complete(theirs)}
    engine.close()
    with Store(RunDir(place / "vllm").store) as store:
        asked = [r for r in store.requests() if r.task == "memorization-extraction"]
        mine = [r for r in asked if r.adapter in (None, *names)]
        ours = store.completions(r.key for r in mine)
    assert len(mine) == len(theirs) >= (1 + len(names)) * 2 * 2 * 88
    gaps = []
    for one, other in zip(mine, theirs, strict=True):
        assert (one.sample_id, one.adapter, one.choices) == (
            other.sample_id, other.adapter, other.choices,
        )  # fmt: skip
        a, b = ours[one.key], exact[other.key]
        assert a.token_ids == b.token_ids
        for x, y in zip(a.likelihoods, b.likelihoods, strict=True):
            assert x.is_greedy == y.is_greedy
            gaps += [abs(p - q) for p, q in zip(x.logprobs, y.logprobs, strict=True)]
    print(f"\n{len(theirs)} requests, widest gap {max(gaps):.2g} nat")
    assert max(gaps) < 1e-3


def test_no_row_of_log_probabilities_leaves_the_engine(found: Results, place: Path) -> None:
    """What travels per token does not depend on the vocabulary: 1,152 numbers stay behind."""
    with Store(RunDir(place / "vllm").store) as store:
        asked = [r for r in store.requests() if r.with_moments]
        answers = list(store.completions(r.key for r in asked).values())
    assert len(asked) > 4 * 150
    n_tokens = sum(len(one.likelihoods[0].logprobs) for one in answers)
    n_bytes = sum(len(encode(completion_message(bare(one)))) for one in answers)
    assert n_bytes < 100 * n_tokens + 300 * len(answers)


def bare(answer: Completion) -> Completion:
    assert answer.likelihoods[0].moments is not None
    return answer
