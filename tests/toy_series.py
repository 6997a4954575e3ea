"""The checkpoints of one training of the toy base, and what vLLM answered for them.

`python tests/toy_series.py record RUN` asks vLLM and records the answers anew;
`python tests/toy_series.py replay RUN` makes the run of what is recorded. The checkpoints are those
of `tests/toy/train_series.py`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from scripted import TOY
from toy_sweep import record, replay_recorded

RECORDED = TOY / "series.jsonl.gz"
STEPS = (80, 160, 240, 320, 400)


def options(out: Path) -> dict[str, Any]:
    """Return the arguments of `peval.score` for the series."""
    return {
        "adapters": [str(TOY / "series")],
        "base": os.path.relpath(TOY / "base"), "suite": ["superni", "superni-in-task"],
        "data_dir": str(TOY / "data"), "limit": 12, "dtype": "float32",
        "select": "best:superni-in-task", "out": str(out), "proof": "off",
    }  # fmt: skip


def replay(out: Path) -> None:
    """Make the run of the recorded answers."""
    replay_recorded(RECORDED, options(out))


if __name__ == "__main__":
    out = Path(sys.argv[2])
    replay(out) if sys.argv[1] == "replay" else record(RECORDED, options(out))
