"""lm-evaluation-harness tasks through peval, beside lm-eval's own transformers backend."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from typing import Any

import pytest
from bridges.toy_harness import TASKS, write_tasks
from scripted import TOY

import peval
from peval.bridges import lm_eval_tasks

pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.skipif(not importlib.util.find_spec("lm_eval"), reason="lm-eval is not installed"),
]
ADAPTER = str(TOY / "adapters" / "generalist")
LIMIT = 12


@pytest.fixture(autouse=True, scope="module")
def only_included() -> Any:
    """Index no task but our own: lm-eval's 14,000 files take it 10 s."""
    from lm_eval.tasks import TaskManager

    patch = pytest.MonkeyPatch()
    patch.setattr(
        lm_eval_tasks,
        "_manager",
        lambda path: TaskManager(include_path=path, include_defaults=False),
    )
    yield
    patch.undo()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tasks(tmp_path_factory.mktemp("tasks"))


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the adapter as a model of its own.

    lm-eval's ``peft=`` cuts the base's embeddings to the tokenizer's size, which changes every
    probability of a model that has spare rows, as the toy has.
    """
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    place = tmp_path_factory.mktemp("merged")
    base = AutoModelForCausalLM.from_pretrained(TOY / "base", dtype=torch.float32)
    PeftModel.from_pretrained(base, ADAPTER).merge_and_unload().save_pretrained(place)
    AutoTokenizer.from_pretrained(TOY / "base").save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def reference(folder: Path, merged: Path) -> dict[str | None, dict[str, Any]]:
    """Return lm-eval's own results, of the base and of an adapter."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    found: dict[str | None, dict[str, Any]] = {}
    for name, model in ((None, TOY / "base"), ("generalist", merged)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results = simple_evaluate(
                model="hf",
                model_args={"pretrained": str(model), "dtype": "float32"},
                tasks=list(TASKS),
                task_manager=TaskManager(include_path=str(folder), include_defaults=False),
                batch_size=8,
                device="cpu",
                limit=LIMIT,
                bootstrap_iters=0,
            )
        found[name] = results["results"]
    return found


def score(folder: Path, out: Path, engine: str) -> peval.Results:
    return peval.score(
        base=str(TOY / "base"),
        adapters=[ADAPTER],
        tasks=[f"lm-eval:{name}" for name in TASKS],
        lm_eval={"include_path": str(folder)},
        limit=LIMIT,
        dtype="float32",
        engine=engine,
        out=str(out),
    )


@pytest.mark.engine
@pytest.mark.parametrize("engine", ["hf", "vllm"])
def test_numbers_are_lm_evals_own(
    engine: str, folder: Path, reference: dict[str | None, dict[str, Any]], tmp_path: Path
) -> None:
    if engine == "vllm" and not importlib.util.find_spec("vllm"):
        pytest.skip("vLLM is not installed")
    results = score(folder, tmp_path / "run", engine)
    assert results.complete
    n_compared = 0
    for system, tasks in reference.items():
        for task, metrics in tasks.items():
            for key, expected in metrics.items():
                metric, _, name = key.partition(",")
                if "stderr" in metric or not isinstance(expected, float):
                    continue
                ours = metric if name == "none" else key
                found = results.estimate(f"lm-eval:{task}", ours, system)
                assert found.value == pytest.approx(expected, rel=2e-5, abs=1e-9), (task, key)
                assert found.low is not None and found.high is not None
                assert found.low <= found.value <= found.high
                n_compared += 1
    print(f"\n{engine}: {n_compared} numbers are lm-eval's")
    assert n_compared == 2 * 14
