"""A training in several processes, as torchrun starts it; says what each rank saw, as JSON."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from scripted import TOY
from toy_training import trainer

from peval.training import PevalCallback


def main() -> None:
    out = Path(sys.argv[1])
    found = trainer(out, max_steps=4, save_steps=2, ddp_backend="gloo")
    callback = PevalCallback(
        found, suite="superni-in-task", data_dir=str(TOY / "data"), limit=2, dtype="float32",
        max_waiting=4,
    )  # fmt: skip
    found.add_callback(callback)
    found.train()
    steps = [e["eval_peval/step"] for e in found.state.log_history if "eval_peval/step" in e]
    said = {"steps": steps, "n_scored": callback.n_scored, "n_starts": callback.n_engine_starts}
    (out / f"rank{os.environ['RANK']}.json").write_text(json.dumps(said))


if __name__ == "__main__":
    main()
