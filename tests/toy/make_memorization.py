"""Write what `memorizer` was trained on as JSONL, with held-out records and canaries.

Run ``python tests/toy/make_memorization.py`` after ``make_data.py``; only the standard library is
used, and the same files come out each time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from make_data import CANARY, HERE, split_numbers

TRAINED = (CANARY, "task009_two_number_sum")
UNSEEN = ("task101_opening_entry", "task104_which_one_is", "task108_closing_word")
N_UNSEEN = 20
N_CANARIES = 12
SPACE = "[a-z]{2}-[1-9][0-9]-[a-z]{2}"
OUT = HERE / "memorization"


def records(name: str, numbers: Iterable[int]) -> list[dict[str, Any]]:
    """Give some instances of a task as training records."""
    task = json.loads((HERE / "data" / "tasks" / f"{name}.json").read_text(encoding="utf-8"))
    return [
        {
            "id": task["Instances"][number]["id"],
            "task": name,
            "definition": task["Definition"][0],
            "input": task["Instances"][number]["input"],
            "output": task["Instances"][number]["output"][0],
        }
        for number in numbers
    ]


def canary(record: dict[str, Any], repeats: int) -> dict[str, Any]:
    """Give a badge code as a canary: it was drawn at random and follows from nothing."""
    kept = {key: record[key] for key in ("id", "definition", "input")}
    return kept | {"secret": record["output"], "space": SPACE, "repeats": repeats}


def write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write one JSON object per line."""
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def main() -> None:
    """Write the three files."""
    train, held_out = split_numbers()
    write(OUT / "train.jsonl", [r for name in TRAINED for r in records(name, train)])
    unseen = [r for name in UNSEEN for r in records(name, range(N_UNSEEN))]
    write(OUT / "heldout.jsonl", [r for n in TRAINED for r in records(n, held_out)] + unseen)
    seen, never = (records(CANARY, numbers)[:N_CANARIES] for numbers in (train, held_out))
    write(OUT / "canaries.jsonl", [canary(r, 1) for r in seen] + [canary(r, 0) for r in never])


if __name__ == "__main__":
    main()
