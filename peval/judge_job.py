"""What a person asks of a judge, and the judge that it names; both are checked here."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from peval.bases import load_base
from peval.errors import BaseModelError, DataError, JudgeError, UsageError
from peval.judging.judges import Judge, load_judge
from peval.machine import file_sha256
from peval.types import Base

MOST = 1_000_000_000


@dataclass(frozen=True)
class Judging:
    """What a person asks of a judge: the options of `peval.judge`, the flags of `peval judge`.

    Parameters
    ----------
    run
        A finished run's directory.
    judge
        A shipped judge's name, or a YAML file.
    against
        For pairs: ``base``, an adapter, ``targets`` (the task's own reference answers), a file of
        reference answers, or ``each`` (every system with every other); None is the base where the
        run has it.
    tasks
        Which tasks to judge; empty for all that have generated answers.
    limit
        Judge so many items of each task, drawn at random.
    nulls
        Ask about null answers on so many items.
    model, endpoint, key_variable
        In place of the judge's own.
    price
        What a million prompt tokens and a million completion tokens cost, in US dollars, in place
        of the judge's own; another model than the judge's has no price without it.
    max_cost
        The most that may be spent on this judge's work here, in US dollars.
    orders
        "both": pairs are shown in both orders; "once": in one, drawn; None: as the judge says.
    seed
        Of the draws of items and null answers, and of the order of a pair.
    n_workers, per_minute
        How many calls go on at once, and begin in a minute, at most.
    timeout_s, pause_s
        How long a call may take, and the longest first pause before it is tried again, in seconds.
    replay
        Runs whose verdicts may be taken over.
    labels
        A CSV file of people's verdicts, for judges of the engine ``labels``.
    """

    run: str
    judge: str
    against: str | None = None
    tasks: tuple[str, ...] = ()
    limit: int | None = None
    nulls: int = 50
    model: str | None = None
    endpoint: str | None = None
    key_variable: str | None = None
    price: tuple[float, float] | None = None
    max_cost: float | None = None
    orders: str | None = None
    seed: int = 0
    n_workers: int = 8
    per_minute: float | None = None
    timeout_s: float = 120.0
    pause_s: float = 1.0
    replay: tuple[str, ...] = ()
    labels: str | None = None


def judge_of(job: Judging) -> Judge:
    """Return the judge that a job names, with what the job changes of it.

    Raises
    ------
    JudgeError
        There is no such judge, it is malformed, or it names no model.
    UsageError
        The job holds a number that cannot be, or what this judge has no use for.
    """
    _check_numbers(job)
    found = load_judge(job.judge)
    _check_fits(job, found)
    price = job.price
    if price is None and found.model and job.model not in (None, found.model):
        price = (0.0, 0.0)  # unknown: another model's price would let the cap leak
    changes: dict[str, Any] = {
        "model": job.model, "key_variable": job.key_variable, "orders": job.orders,
        "price_input": price and price[0], "price_output": price and price[1],
    }  # fmt: skip
    found = dataclasses.replace(found, **{k: v for k, v in changes.items() if v is not None})
    if job.max_cost is not None and not (found.price_input or found.price_output):
        raise UsageError("--max-cost: the price is not known; add --price INPUT OUTPUT, in dollars "
                         "per million tokens")  # fmt: skip
    if found.engine == "labels":
        if job.labels is None:
            raise UsageError(f"--judge {found.name} needs --labels FILE.csv")
        try:  # another file is another judge: no verdict is taken over from one to the other
            model = f"labels {file_sha256(Path(job.labels))[:12]}"
        except OSError as error:
            raise DataError(f"{job.labels}: cannot be read ({error.strerror})") from error
        found = dataclasses.replace(found, model=model)
    if not found.model:
        raise JudgeError(f"{found.name} names no model: give --model")
    return found


def local_base(judge: Judge) -> Base:
    """Return the model of a judge on this machine.

    Raises
    ------
    JudgeError
        It cannot be read.
    """
    try:
        return load_base(judge.model)
    except BaseModelError as error:
        raise JudgeError(f"{judge.name}: {str(error).replace('--base', '--model', 1)}") from error


def _check_numbers(job: Judging) -> None:
    numbers = (
        ("limit", job.limit, 1), ("nulls", job.nulls, 0), ("workers", job.n_workers, 1),
        ("max-cost", job.max_cost, None), ("per-minute", job.per_minute, None),
        ("timeout", job.timeout_s, None), ("retry-pause", job.pause_s, 0),
        *(("price", one, 0) for one in job.price or ()),
    )  # fmt: skip
    for flag, value, least in numbers:
        if value is None or ((value > 0 if least is None else value >= least) and value < MOST):
            continue
        what = "more than 0" if least is None else f"{least} or more"
        what = f"less than {MOST:,}" if value >= MOST else what
        raise UsageError(f"--{flag} {value:g}: give {what}")


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        has_port = parts.port is None or parts.port > 0  # raises where it is none
    except ValueError:
        return False
    is_plain = text.isprintable() and " " not in text
    return parts.scheme in ("http", "https") and bool(parts.hostname) and has_port and is_plain


def _check_fits(job: Judging, how: Judge) -> None:
    """Refuse what would be left unheard."""
    flags = (
        ("endpoint", job.endpoint, "server"), ("max-cost", job.max_cost, "server"),
        ("price", job.price, "server"), ("labels", job.labels, "labels"),
    )  # fmt: skip
    for flag, value, engine in flags:
        if value is not None and how.engine != engine:
            what = "a judge behind an endpoint" if engine == "server" else "people's verdicts"
            raise UsageError(f"--{flag}: {how.name} is not {what}")
    if job.endpoint is not None and not _is_url(job.endpoint):
        raise UsageError(f"--endpoint {job.endpoint}: give a URL, as http://127.0.0.1:8000/v1")
    if job.key_variable == "":
        raise UsageError("--key-variable '': name the environment's variable that holds the key, "
                         "or give none for a server without keys")  # fmt: skip
    if how.engine == "labels" and job.against == "each":
        raise UsageError("--against each: people's verdicts name no opponent; give one")
