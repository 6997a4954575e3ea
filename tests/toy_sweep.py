"""Twelve toy adapters of a known truth, and what vLLM answered for them.

Generalists of three ranks and three seeds: of rank 16 and 4 as they were trained, and those of
rank 16 cut to rank 2, which leaves little of them. Beside them two adapters of rank 8 that change
nothing, by weights of their own, and the narrow one.

`python tests/toy_sweep.py record RUN` asks vLLM and records the answers anew;
`python tests/toy_sweep.py replay RUN` makes the run of what is recorded.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from scripted import TOY

import peval
from peval import execute
from peval.engines import ReplayEngine
from peval.rundir import RunDir
from peval.store import Store
from peval.types import Completion

RECORDED = TOY / "sweep.jsonl.gz"
SEEDS = (0, 1, 2)
RANKS = (16, 4, 2)
NOOPS = ("noop", "noop-s1")
WEIGHTS = "adapter_model.safetensors"


def general(rank: int, seed: int) -> str:
    """Return the name of a generalist."""
    return f"general-r{rank}-s{seed}"


NAMES = (*(general(rank, seed) for rank in RANKS for seed in SEEDS), *NOOPS, "narrow")


def _trained(rank: int, seed: int) -> Path:
    """Return where a generalist lies that was trained at this rank."""
    name = "generalist" + ("" if rank == 16 else f"-r{rank}") + (f"-s{seed}" if seed else "")
    return next(TOY.glob(f"*/{name}"))


def make(folder: Path) -> None:
    """Write the adapters, and ``facts.csv``, into a folder."""
    rows = ["adapter,seed,n_tasks"]
    for rank in RANKS:
        for seed in SEEDS:
            name = general(rank, seed)
            if rank == 2:
                _cut(_trained(16, seed), folder / name, rank)
            else:
                shutil.copytree(_trained(rank, seed), folder / name)
            rows.append(f"{name},{seed},11")
    shutil.copytree(TOY / "adapters" / "narrow", folder / "narrow")
    for seed, (name, factor) in enumerate(zip(NOOPS, (1.0, 2.0), strict=True)):
        _scaled(TOY / "adapters" / "noop", folder / name, factor)
        rows.append(f"{name},{seed},0")
    (folder / "facts.csv").write_text("\n".join([*rows, "narrow,0,2"]) + "\n")


def _cut(source: Path, target: Path, rank: int) -> None:
    """Copy an adapter with the first ranks alone, scaled as before (alpha is twice the rank)."""
    shutil.copytree(source, target)
    tensors = load_file(target / WEIGHTS)
    kept = {name: np.ascontiguousarray(x[:rank] if "lora_A" in name else x[:, :rank])
            for name, x in tensors.items()}  # fmt: skip
    save_file(kept, target / WEIGHTS, {"format": "pt"})
    config = json.loads((target / "adapter_config.json").read_text())
    config |= {"r": rank, "lora_alpha": 2 * rank}
    (target / "adapter_config.json").write_text(json.dumps(config))


def _scaled(source: Path, target: Path, factor: float) -> None:
    """Copy an adapter that changes nothing with other weights that change nothing."""
    shutil.copytree(source, target)
    tensors = load_file(target / WEIGHTS)
    new = {n: x * x.dtype.type(factor) if "lora_A" in n else x for n, x in tensors.items()}
    save_file(new, target / WEIGHTS, {"format": "pt"})


def options(folder: Path, out: Path) -> dict[str, Any]:
    """Return the arguments of `peval.score` for the sweep."""
    return {
        "adapters": [str(folder / name) for name in NAMES],
        "base": os.path.relpath(TOY / "base"), "suite": "superni", "data_dir": str(TOY / "data"),
        "limit": 12,
        "dtype": "float32", "facts": str(folder / "facts.csv"), "out": str(out),
        "proof": "off",
    }  # fmt: skip


def recorded(file: Path = RECORDED) -> tuple[dict[str, Any], dict[str, Completion]]:
    """Return how the recorded answers were served, and the answers by request key."""
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        serving = json.loads(next(lines))
        rows = map(json.loads, lines)
        return serving, {key: Completion(key, text, tuple(ids), reason)
                         for key, text, ids, reason in rows}  # fmt: skip


def record(file: Path, options: dict[str, Any]) -> None:
    """Ask vLLM and write the answers."""
    rundir = RunDir(Path(options["out"]))
    peval.score(**options)
    with Store(rundir.store) as store:
        completions = store.completions(r.key for r in store.requests())
    serving = rundir.read_manifest()["serving"]
    with gzip.GzipFile(file, "wb", mtime=0) as out:
        rows = [[c.key, c.text, c.token_ids, c.finish_reason] for c in completions.values()]
        for row in (serving, *sorted(rows)):
            out.write((json.dumps(row) + "\n").encode())
    print(f"{file}: {len(rows):,} answers", file=sys.stderr)


def replay_recorded(file: Path, options: dict[str, Any]) -> None:
    """Make the run of what is recorded."""
    serving, completions = recorded(file)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        replayed = RunDir(Path(folder))
        replayed.write_manifest({"serving": serving, "adapters": []})
        patch.setattr(execute, "open_engine", lambda setup, progress: ReplayEngine(completions))
        peval.score(**options | {"engine": "replay", "replay": folder})


def replay(out: Path) -> None:
    """Make the sweep's run of the recorded answers."""
    with tempfile.TemporaryDirectory() as name:
        make(Path(name))
        replay_recorded(RECORDED, options(Path(name), out))


def main(action: str, out: Path) -> None:
    if action == "replay":
        return replay(out)
    with tempfile.TemporaryDirectory() as name:
        make(Path(name))
        record(RECORDED, options(Path(name), out))
    return None


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
