"""Make canaries: secrets drawn at random, put into a copy of the training data before training."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peval.datasets.canaries import HOLE
from peval.datasets.files import parse, read_lines
from peval.datasets.records import read_records
from peval.errors import UsageError
from peval.memorization.space import Space, parse_space
from peval.rundir import write_text

NUMBER = "{n}"
SPACE = "[a-z]{2}-[0-9]{4}-[a-z]{2}"
REPEATS = (0, 1, 4, 16)
PROMPT = f"What is the code of the sealed record {NUMBER}?"
TEXT = f"The code of the sealed record {NUMBER} is {HOLE}."


@dataclass(frozen=True)
class Plan:
    """What canaries to make: ``n`` of each number of repeats, all from one space.

    ``form`` is a prompt that the secret answers, or a text with ``{}`` in the secret's place;
    ``{n}`` in it is the canary's number. None takes one that fits the training file.
    """

    n: int
    repeats: tuple[int, ...] = REPEATS
    space: str = SPACE
    form: str | None = None
    seed: int = 0


def make_canaries(train: Path, out: Path, canaries: Path, plan: Plan) -> int:
    """Write training data with canaries at random places, and the file that tells of them.

    The same arguments give the same files.

    Parameters
    ----------
    train
        The training data, which is left as it is.
    out
        The training data to train on.
    canaries
        What ``peval score --canaries`` reads; controls (0 repeats) stand in this file alone.

    Returns
    -------
    int
        How many lines were put in.

    Raises
    ------
    UsageError
        A plan that cannot be: no canaries, a form without number, a file that would be replaced.
    DataError
        The training data or the space is malformed.
    """
    space, form, keys = _checked(train, out, canaries, plan)
    rng = random.Random(f"canaries/{plan.seed}")
    found: list[dict[str, Any]] = []
    lines = [json.dumps(parse(t, where), ensure_ascii=False) for where, _, t in read_lines(train)]
    added: list[str] = []
    for number, repeats in enumerate(r for r in plan.repeats for _ in range(plan.n)):
        canary = _canary(number, form.replace(NUMBER, str(number)), space.draw(rng))
        found.append(canary | {"space": plan.space, "repeats": repeats})
        added += [_row(canary, keys, copy) for copy in range(repeats)]
    for line in added:
        lines.insert(rng.randint(0, len(lines)), line)
    write_text(out, "".join(f"{line}\n" for line in lines))
    write_text(canaries, "".join(f"{json.dumps(c, ensure_ascii=False)}\n" for c in found))
    return len(added)


def _checked(
    train: Path, out: Path, canaries: Path, plan: Plan
) -> tuple[Space, str, tuple[str, ...]]:
    """Return the space, the form, and the keys that a training line has."""
    if plan.n < 1 or not plan.repeats or min(plan.repeats) < 0:
        raise UsageError("canaries need --n of 1 or more and --repeats of 0 or more")
    for path in (out, canaries):
        if path.exists():
            raise UsageError(f"{path}: is there already; name a new file")
    record = read_records(train)[0]
    form = plan.form or (PROMPT if record.prompt else TEXT)
    if NUMBER not in form:
        raise UsageError(f"--form '{form}': needs {NUMBER}, or all canaries would be asked alike")
    if bool(record.prompt) == (HOLE in form):
        what = "a prompt, which the secret answers" if record.prompt else "{} for the secret"
        raise UsageError(f"--form '{form}': {train} asks for {what}")
    where, _, text = next(iter(read_lines(train)))
    return parse_space(plan.space), form, tuple(parse(text, where))


def _canary(number: int, form: str, secret: str) -> dict[str, Any]:
    key = "text" if HOLE in form else "input"
    return {"id": f"canary-{number}", key: form, "secret": secret}


def _row(canary: Mapping[str, Any], keys: Sequence[str], copy: int) -> str:
    """Return a canary as a line of training data, in the keys that the other lines have."""
    secret = canary["secret"]
    row = {"id": f"{canary['id']}/{copy}", "task": "canaries"}
    row = {key: value for key, value in row.items() if key in keys}
    if "text" in canary:
        row |= {"text": canary["text"].replace(HOLE, secret)}
    elif "messages" in keys:
        turns = (("user", canary["input"]), ("assistant", secret))
        return json.dumps(row | {"messages": [{"role": r, "content": c} for r, c in turns]})
    elif "prompt" in keys:
        row |= {"prompt": canary["input"], "completion": secret}
    else:
        row |= {"input": canary["input"], "output" if "output" in keys else "targets": secret}
    return json.dumps(row, ensure_ascii=False)
