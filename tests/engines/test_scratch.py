"""Scratch files in memory and on disk are gone however a run ends, kill -9 included."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from scripted import ROOT
from waiting import comes_true

# A worker with everything of its own but the model: what it "loads" lies in scratch.
WORKER = """
import os, sys, time
sys.path.insert(0, {root!r})
from pathlib import Path
from peval.engines import worker

class Backend:
    ready = dict(engine="vllm", version="0", device="cpu", dtype="float32", max_model_len=64,
                 window=4, refused={{}})
    def __init__(self, spec, scratch, tick):
        for n_bytes in (1, 1 << 60):
            (scratch.place(n_bytes) / "merged").mkdir()
            (scratch.place(n_bytes) / "merged" / "model.safetensors").write_bytes(bytes(1 << 20))
        Path({here!r}, "names").write_text("\\n".join(map(str, scratch._places())))
    def submit(self, request): self.busy = True
    def has_work(self): return hasattr(self, "busy")
    def step(self): time.sleep(600)
    def close(self): pass

worker._load = Backend
worker.main()
"""
PARENT = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from peval.engines import SupervisedEngine
from peval.types import Base, Decoding, EngineSpec, Request
here = Path({here!r})
spec = EngineSpec("vllm", Base("b", here, "0", "float32", 64, 1000), (), "float32", 64, 0, {{}})
engine = SupervisedEngine(spec, here / "log", command=(sys.executable, str(here / "worker.py")))
engine.start()
print(engine.worker_pid, flush=True)
try:
    list(engine.complete([Request("a", "t", "a", None, (5,), Decoding(1))]))
finally:
    engine.close()
"""


@pytest.mark.parametrize(
    ("whom", "number"),
    [("parent", signal.SIGKILL), ("parent", signal.SIGINT), ("group", signal.SIGKILL)],
)
def test_nothing_is_left_of_a_run_that_was_killed(
    whom: str, number: signal.Signals, tmp_path: Path
) -> None:
    names = {"root": str(ROOT), "here": str(tmp_path)}
    (tmp_path / "worker.py").write_text(WORKER.format(**names))
    with subprocess.Popen(
        [sys.executable, "-c", PARENT.format(**names)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        group = int(parent.stdout.readline())
        places = [Path(line) for line in (tmp_path / "names").read_text().splitlines()]
        assert all((place / "merged" / "model.safetensors").is_file() for place in places)
        assert {place.parent for place in places} == {Path("/dev/shm"), Path(tempfile.gettempdir())}
        if whom == "parent":
            parent.send_signal(number)
        else:
            os.killpg(group, number)
        assert comes_true(lambda: not any(map(Path.exists, places)))
        parent.kill()
