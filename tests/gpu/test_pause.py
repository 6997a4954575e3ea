"""A training on CUDA that pauses at each save: an engine comes to the device, scores and goes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from scripted import ROOT, TOY

from peval.training import PevalCallback

sys.path.insert(0, str(ROOT / "tests" / "gpu"))
sys.path.insert(0, str(ROOT / "tests" / "training"))
from on_cuda import needs_cuda
from toy_training import Slow, n_descendants, trainer

METRIC = "eval_peval/superni-in-task/rougeL"
STARTED_BYTES = 1 << 30  # more than a training of the toy takes, less than any engine


def pauses(folder: Path, device: str, **options: Any) -> None:
    """Train four steps with two saves on a device, and check what the pauses left there.

    Nothing here but the memory that is free needs CUDA: ``device="cpu"`` runs it without.
    """
    found = trainer(folder, max_steps=4, save_steps=2, use_cpu=device == "cpu")
    callback = PevalCallback(
        found, suite="superni-in-task", when="pause", data_dir=str(TOY / "data"), limit=4, **options
    )
    free_bytes: list[int] = []
    n_processes: list[int] = []

    def look() -> None:
        n_processes.append(n_descendants(callback.scorer_pid) if callback.scorer_pid else 0)
        free_bytes.append(torch.cuda.mem_get_info()[0] if device == "cuda" else 0)

    found.add_callback(callback)
    found.add_callback(Slow(lambda: 0.0, dict.fromkeys((1, 3, 4), look)))
    found.train()
    assert {p.device.type for p in found.model.parameters()} == {device}
    entries = [entry for entry in found.state.log_history if METRIC in entry]
    assert [(e["step"], e["eval_peval/step"]) for e in entries] == [(2, 2), (4, 4)]
    assert (callback.n_engine_starts, callback.n_scored, callback.n_skipped) == (2, 2, 0)
    assert n_processes == [0, 0, 0]  # no engine while training goes on
    before, *after = free_bytes
    assert all(before - left < STARTED_BYTES for left in after)  # it took its memory with it
    manifests = [json.loads(path.read_text()) for path in
                 sorted((folder / "peval").glob("*-checkpoint-*/manifest.json"))]  # fmt: skip
    assert all(one["serving"]["engine"].startswith("vllm-") for one in manifests)
    first, second = (one["sittings"][0]["n_answered"] for one in manifests)
    assert first == 2 * second  # the base is asked once


@needs_cuda
@pytest.mark.filterwarnings("ignore")
def test_an_engine_comes_to_the_device_and_goes_in_pauses(tmp_path: Path) -> None:
    # The trainer's weights and optimizer stay where they are: the engine gets a share beside them.
    pauses(tmp_path, "cuda", engine_options={"gpu_memory_utilization": 0.3})
