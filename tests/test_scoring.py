"""Scores are computed once and stored; what is missing or failed is never a score."""

import dataclasses
import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import zstandard
from made_runs import task

from peval.scoring import key_ends, score_key, score_system
from peval.store import Store
from peval.types import Answered, Completion, Posed, Sample, Score

TASK = task("capitals")
SAMPLES = [Sample(str(i), f"ask {i}", ("Paris",), "c") for i in range(3)]
ASKED = [(Posed(hashlib.sha256(s.id.encode()).hexdigest(), s.id, False),) for s in SAMPLES]
ENDS = key_ends(TASK, SAMPLES)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with Store(path) as store:
        yield store


def said(*texts: str | None) -> list[tuple[Completion | None]]:
    """Return answers; None is still to come, and an empty one failed."""
    keys = [asked[0].key for asked in ASKED]
    return [
        (None if text is None else answer(key, text),)
        for key, text in zip(keys, texts, strict=True)
    ]


def answer(key: str, text: str) -> Completion:
    fault = None if text else "engine_fault: made"
    return Completion(key, text, (1,), "stop" if text else "error", fault)


def scored(store: Store, *texts: str | None) -> list[Score | None]:
    return score_system(store, TASK, Answered(SAMPLES, ASKED, said(*texts)), ENDS)


def test_what_is_missing_or_failed_has_no_values_until_it_is_there(store: Store) -> None:
    first, failed, missing = scored(store, "Paris", "", None)
    assert first == Score(ASKED[0][0].key, {"rougeL": 1.0, "exact_match": 1.0})
    assert failed == Score(ASKED[1][0].key, {}, "failed", why="engine_fault: made")
    assert missing is None
    again = scored(store, "Paris", "Rome", "Paris")
    assert [one and one.values["exact_match"] for one in again] == [1.0, 0.0, 1.0]


def test_scores_are_stored_together_and_read_again(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = scored(store, "Paris", "Rome", "Oslo")
    monkeypatch.setattr("peval.scoring._values", lambda *_: pytest.fail("scored again"))
    assert scored(store, "Paris", "Rome", "Oslo") == found
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT count(*) FROM scores").fetchone() == (1,)


def test_a_changed_target_is_scored_anew(store: Store) -> None:
    scored(store, "Paris", "Rome", "Oslo")
    other = [dataclasses.replace(sample, targets=("Rome",)) for sample in SAMPLES]
    answered = Answered(other, ASKED, said("Paris", "Rome", "Oslo"))
    found = score_system(store, TASK, answered, key_ends(TASK, other))
    assert [one and one.values["exact_match"] for one in found] == [0.0, 1.0, 0.0]


def test_scores_of_single_samples_are_where_they_always_were(store: Store, path: Path) -> None:
    """Programs that an earlier peval judged do not run again."""
    old = Score(ASKED[0][0].key, {"pass@1": 0.5})
    text = f'[["{old.key}"], {ENDS[0]}'
    assert json.loads(text)[0] == [old.key]
    key = score_key([(ASKED[0], ENDS[0])])
    assert key == hashlib.sha256(text.encode()).hexdigest()
    fields = {"key": old.key, "values": old.values, "status": "ok", "extracted": None}
    body = zstandard.compress(json.dumps(fields).encode())
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO scores VALUES (?, ?)", (bytes.fromhex(key), body))
    assert store.scores([key]) == {key: [old]}
