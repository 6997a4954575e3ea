"""What goes into a store comes out again, and a file that is no store is refused in one line."""

import hashlib
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from peval import sqlite_file as sqlite_module
from peval import store as store_module
from peval.errors import RunError
from peval.sqlite_file import journal_mode
from peval.store import Store
from peval.types import (
    Completion,
    Decoding,
    Drawn,
    Example,
    Instruction,
    Likelihood,
    Message,
    Moments,
    Query,
    Request,
    Sample,
    Score,
)

INSTRUCTION = Instruction("Überschrift finden\n第二", (Example("ein", ""), Example("", "zwei")))
GREEDY = Decoding(max_tokens=128)
PLAIN = Query("U", (" a", " b"), shots=("x",), passages=("p",))
TURNS = (Message("system", "S"), Message("user", "U"))
ASKED = Query("now", role="user", turns=TURNS, cue="A:", plain=PLAIN, decoding=GREEDY)
SAMPLES = {
    "zeta": [
        Sample("b", "naïve \x00 🙂", ("一", ""), "cluster-1", "category", INSTRUCTION),
        Sample("a", "", (), "cluster-2", "", replace(INSTRUCTION), (" one", " two")),
    ],
    "alpha": [Sample("b", "plain", ("x",), "cluster-1", queries=(ASKED,))],
}
WARM = Decoding(64, temperature=0.7, stop=("\n\n", "Ω"), seed=3)


def key_of(name: object) -> str:
    return hashlib.sha256(repr(name).encode()).hexdigest()


REQUESTS = [
    Request(key_of(1), "zeta", "b", None, (1, 2, 3), GREEDY),
    Request(key_of(2), "zeta", "b", "", (1, 2, 3), WARM, prompt_was_cut=True),
    Request(key_of(3), "zeta", "a", "ädapter", (), GREEDY),
    Request(key_of(3), "alpha", "b", "ädapter", (), GREEDY),
    Request(key_of(4), "alpha", "b", None, (1, 2), Decoding(0), choices=((3,), (4, 5))),
    Request(key_of(4), "alpha", "b", None, (1, 2), Decoding(0), choices=((3,), (4, 5)), part=1),
    Request(key_of(5), "alpha", "b", "", (1,), Decoding(0), choices=((3,),), with_moments=True),
]


def success(key: str, text: str = "answer") -> Completion:
    return Completion(key, text, (5, 6), "stop")


def failure(key: str) -> Completion:
    return Completion(key, "", (), "error", "engine stopped: 理由")


def count(path: Path, table: str) -> int:
    with closing(sqlite3.connect(path)) as db:
        return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.sqlite"


# The plan


def test_plan_roundtrip_keeps_content_and_order(path: Path) -> None:
    with Store(path) as store:
        store.put_plan(SAMPLES, REQUESTS)
    with Store(path) as store:
        found = store.samples()
        assert store.requests() == REQUESTS
    assert list(found) == ["zeta", "alpha"]
    assert {task: list(many.values()) for task, many in found.items()} == SAMPLES
    assert list(found["zeta"]) == ["b", "a"]


def test_equal_instructions_and_prompts_are_stored_once(path: Path) -> None:
    with Store(path) as store:
        store.put_plan(SAMPLES, REQUESTS)
        found = store.samples()["zeta"]
        prompts = [request.prompt_token_ids for request in store.requests()]
    assert found["a"].instruction is found["b"].instruction
    assert prompts[0] is prompts[1]
    # 1 instruction, 4 prompts, 3 decodings, 2 sets of choices
    assert count(path, "shared") == 10


def test_put_plan_is_idempotent_and_can_grow(path: Path) -> None:
    more = Request(key_of(9), "zeta", "a", "second", (7,), GREEDY)
    with Store(path) as store:
        store.put_plan(SAMPLES, REQUESTS)
        store.put_plan(SAMPLES, REQUESTS)
        assert store.requests() == REQUESTS
        store.put_plan(SAMPLES, [*REQUESTS, more])
        assert store.requests() == [*REQUESTS, more]
    assert (count(path, "samples"), count(path, "requests")) == (3, 8)


@pytest.mark.parametrize(
    ("samples", "requests", "where"),
    [
        ({"zeta": [replace(SAMPLES["zeta"][0], targets=("other",))]}, [], "samples"),
        ({"zeta": [replace(SAMPLES["zeta"][0], instruction=None)]}, [], "samples"),
        ({}, [replace(REQUESTS[0], key=key_of("other"))], "requests"),
        ({}, [replace(REQUESTS[2], key=key_of("other"))], "requests"),
    ],
)
def test_another_plan_is_refused_and_leaves_nothing(
    path: Path, samples: dict[str, list[Sample]], requests: list[Request], where: str
) -> None:
    with Store(path) as store:
        store.put_plan(SAMPLES, REQUESTS)
        with pytest.raises(RunError, match=f"'zeta'.*{where}; name a new run directory"):
            store.put_plan(samples, requests)
        assert store.requests() == REQUESTS
        assert store.samples()["zeta"]["b"] == SAMPLES["zeta"][0]


# Completions


def test_a_key_is_returned_only_by_the_call_that_committed_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "COMMIT_EVERY_S", 1e9)
    keys = [key_of(i) for i in range(300)]
    with Store(path) as store:
        returned = [store.add(success(key)) for key in keys]
        assert [len(some) for some in returned if some] == [256]
        assert returned[255] == keys[:256]
        assert store.n_acknowledged == count(path, "completions") == 256
        assert store.done(keys) == set(keys[:256])
        assert store.flush() == keys[256:]
        assert store.flush() == []
    assert count(path, "completions") == 300


def test_a_slow_stream_is_committed_row_by_row(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [100.0]
    monkeypatch.setattr(store_module.time, "monotonic", lambda: now_s[0])
    with Store(path) as store:
        assert store.add(success(key_of(1))) == []
        now_s[0] += 1.0
        assert store.add(success(key_of(2))) == [key_of(1), key_of(2)]
        now_s[0] += 0.9
        assert store.add(success(key_of(3))) == []
        now_s[0] += 1.1
        assert store.add(success(key_of(4))) == [key_of(3), key_of(4)]


def test_leaving_the_block_commits_even_after_an_exception(path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Store(path) as store:
        store.add(success(key_of(1)))
        raise KeyboardInterrupt
    with Store(path) as store:
        assert store.done([key_of(1)]) == {key_of(1)}
    assert [file.name for file in path.parent.iterdir()] == ["store.sqlite"]
    store.close()


def test_the_first_success_stays(path: Path) -> None:
    with Store(path) as store:
        for text in ("first", "second"):
            store.add(success(key_of(1), text))
            assert store.flush() == [key_of(1)]
        assert store.completions([key_of(1)]) == {key_of(1): success(key_of(1), "first")}


def test_a_failure_is_kept_but_never_done_and_goes_when_it_succeeds(path: Path) -> None:
    first, second = key_of(1), key_of(2)
    with Store(path) as store:
        store.add(replace(failure(first), error="earlier"))
        store.flush()
        store.add(failure(first))
        store.add(failure(second))
        assert store.flush() == [first, second]
        assert store.done([first, second]) == set()
        assert store.completions([first, second]) == {k: failure(k) for k in (first, second)}
        store.add(success(first))
        store.flush()
        assert store.done([first, second]) == {first}
        assert store.completions([first, second]) == {
            first: success(first),
            second: failure(second),
        }
    assert count(path, "failures") == 1


@pytest.mark.parametrize("order", [(success, failure), (failure, success)])
def test_a_success_wins_within_one_commit(path: Path, order: tuple[object, ...]) -> None:
    with Store(path) as store:
        for make in order:
            store.add(make(key_of(1)))
        store.flush()
        assert store.completions([key_of(1)]) == {key_of(1): success(key_of(1))}


@pytest.mark.parametrize("scan_above", [0, 10_000])
def test_done_finds_the_same_by_scan_and_by_look_up(
    path: Path, scan_above: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "SCAN_ABOVE_KEYS", scan_above)
    keys = [key_of(i) for i in range(1200)]
    with Store(path) as store:
        for key in keys[::2]:
            store.add(success(key))
        store.flush()
        assert store.done(iter(keys[:1100])) == set(keys[:1100:2])
        assert store.done([]) == set()


def test_two_stores_on_one_file_see_each_other(path: Path) -> None:
    with Store(path) as one, Store(path) as two:
        one.add(success(key_of(1), "one"))
        one.flush()
        two.add(success(key_of(1), "two"))
        two.add(success(key_of(2), "two"))
        two.flush()
        assert one.done([key_of(1), key_of(2)]) == {key_of(1), key_of(2)}
        assert two.completions([key_of(1)])[key_of(1)].text == "one"


TEXT = st.text(max_size=30) | st.text(st.characters(), max_size=5)  # with lone surrogates, too
TOKENS = st.lists(st.integers(0, 2**31), max_size=8).map(tuple)
KEYS = st.binary(min_size=32, max_size=32).map(bytes.hex)
COMPLETIONS = st.builds(
    Completion, KEYS, TEXT, TOKENS, st.sampled_from(["stop", "length", "error"]), st.none() | TEXT
)
SCORES = st.builds(
    Score,
    KEYS,
    st.dictionaries(TEXT, st.floats(allow_nan=False), max_size=3),
    st.sampled_from(["ok", "unparsed", "failed"]),
    st.none() | TEXT,
    st.none() | TEXT,
)


@settings(max_examples=20, suppress_health_check=list(HealthCheck))
@given(
    st.lists(COMPLETIONS, unique_by=lambda completion: completion.key, max_size=5),
    st.dictionaries(KEYS, st.lists(SCORES, min_size=1, max_size=3), max_size=5),
)
def test_completions_and_scores_roundtrip(
    tmp_path_factory: pytest.TempPathFactory,
    completions: list[Completion],
    scores: dict[str, list[Score]],
) -> None:
    path = tmp_path_factory.mktemp("store") / "store.sqlite"
    with Store(path) as store:
        for completion in completions:
            store.add(completion)
        store.add_scores(scores.items())
    with Store(path) as store:
        wanted = {completion.key: completion for completion in completions}
        assert store.completions(wanted) == wanted
        assert store.scores(scores) == scores
        assert store.done(wanted) == {c.key for c in completions if c.finish_reason != "error"}


NAMES = st.text(max_size=8)
INSTRUCTIONS = st.builds(
    Instruction, TEXT, st.lists(st.builds(Example, TEXT, TEXT), max_size=2).map(tuple)
)
MANY_SAMPLES = st.lists(
    st.builds(
        Sample,
        NAMES,
        TEXT,
        st.lists(TEXT, max_size=3).map(tuple),
        TEXT,
        TEXT,
        st.none() | INSTRUCTIONS,
    ),
    unique_by=lambda sample: sample.id,
    min_size=1,
    max_size=4,
)
DECODINGS = st.builds(
    Decoding,
    st.integers(1, 9),
    st.floats(0, 2),
    st.lists(TEXT, max_size=2).map(tuple),
    st.integers(0, 2**63),
)
MANY_REQUESTS = st.lists(
    st.builds(Request, KEYS, NAMES, NAMES, st.none() | NAMES, TOKENS, DECODINGS, st.booleans()),
    unique_by=lambda request: (request.task, request.sample_id, request.adapter),
    max_size=5,
)


@settings(max_examples=20, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(NAMES, MANY_SAMPLES, max_size=3), MANY_REQUESTS)
def test_plans_roundtrip(
    tmp_path_factory: pytest.TempPathFactory,
    samples: dict[str, list[Sample]],
    requests: list[Request],
) -> None:
    with Store(tmp_path_factory.mktemp("store") / "store.sqlite") as store:
        store.put_plan(samples, requests)
        found = store.samples()
        assert {task: list(many.values()) for task, many in found.items()} == samples
        assert store.requests() == requests


# Reuse and scores


def test_reuse_copies_successes_with_these_keys_once(tmp_path: Path) -> None:
    old, new = tmp_path / "old.sqlite", tmp_path / "new.sqlite"
    keys = [key_of(i) for i in range(700)]
    with Store(old) as store:
        for key in keys:
            store.add(success(key, "old"))
        store.add(failure(key_of("failed")))
    before = old.read_bytes()
    with Store(new) as store:
        store.add(success(keys[0], "new"))
        store.add(failure(keys[1]))
        store.flush()
        assert store.reuse(old, [*keys[:600], key_of("failed"), key_of("absent")]) == 599
        assert store.reuse(old, keys[:600]) == 0
        found = store.completions([*keys, key_of("failed")])
    assert len(found) == 600
    assert (found[keys[0]].text, found[keys[1]].text) == ("new", "old")
    assert old.read_bytes() == before
    assert count(new, "failures") == 0


def test_reuse_reads_a_store_that_is_being_written(tmp_path: Path) -> None:
    with Store(tmp_path / "old.sqlite") as old, Store(tmp_path / "new.sqlite") as new:
        old.add(success(key_of(1)))
        old.flush()
        assert new.reuse(tmp_path / "old.sqlite", [key_of(1)]) == 1


def test_reuse_of_nothing_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "empty.sqlite").touch()
    with Store(tmp_path / "new.sqlite") as store:
        for name in ("absent.sqlite", "empty.sqlite"):
            with pytest.raises(RunError, match=name):
                store.reuse(tmp_path / name, [key_of(1)])
    assert not (tmp_path / "absent.sqlite").exists()


def test_a_later_score_replaces_an_earlier_and_completions_stay(path: Path) -> None:
    failed = Score(key_of(1), {}, "failed", why="no answer yet")
    good = Score(key_of(1), {"rouge_l": 0.1 + 0.2, "exact_match": 1.0}, extracted="")
    with Store(path) as store:
        store.add_scores([(key_of("s"), [failed])])
        store.add_scores((key_of(name), [good, failed]) for name in ["s", *range(600)])
        assert store.scores([key_of("s"), key_of("absent")]) == {key_of("s"): [good, failed]}
    assert (count(path, "scores"), count(path, "completions")) == (601, 0)


# Files that are no store, and file systems


def sqlite_file(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute(statement)


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda path: path.write_bytes(b"\x00garbage" * 500), "not a store"),
        (lambda path: path.write_text("{}"), "not a store"),
        (lambda path: path.mkdir(), "cannot be opened"),
        (lambda path: sqlite_file(path, "PRAGMA user_version = 1"), "version 1, .* reads 2"),
        (lambda path: sqlite_file(path, "CREATE TABLE theirs (x)"), "version 0, .* reads 2"),
    ],
)
def test_a_file_that_is_no_store_is_refused_unchanged(path: Path, make: object, what: str) -> None:
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(RunError, match=what) as refusal:
        Store(path)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert before is None or path.read_bytes() == before


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"absent/store\.sqlite: it cannot be opened"):
        Store(tmp_path / "absent" / "store.sqlite")


def test_a_damaged_store_is_named(path: Path) -> None:
    with Store(path) as store:
        for i in range(2000):
            store.add(success(key_of(i), str(i) * 50))
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 8192))
    with pytest.raises(RunError, match="damaged"), Store(path) as store:
        store.completions(key_of(i) for i in range(2000))


MOUNTS = """\
/dev/sda / ext4 rw 0 0
server:/home /home nfs4 rw 0 0
tmpfs /home/me/fast tmpfs rw 0 0
me@host: /mnt/two\\040words fuse.sshfs rw 0 0
scratch /scratch lustre rw 0 0
/dev/sdb /scratch ext4 rw 0 0
"""


@pytest.mark.parametrize(
    ("place", "mounts", "mode"),
    [
        ("/var/run/store.sqlite", MOUNTS, "WAL"),
        ("/home/you/store.sqlite", MOUNTS, "DELETE"),
        ("/home/me/fast/store.sqlite", MOUNTS, "WAL"),
        ("/home/me/faster/store.sqlite", MOUNTS, "DELETE"),
        ("/mnt/two words/store.sqlite", MOUNTS, "DELETE"),
        ("/scratch/store.sqlite", MOUNTS, "WAL"),  # the later mount hides the earlier
        ("/home/you/store.sqlite", "", "WAL"),
    ],
)
def test_journal_mode_follows_the_file_system(place: str, mounts: str, mode: str) -> None:
    assert journal_mode(Path(place), mounts) == mode


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_both_journal_modes_store_and_sync(
    path: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_module, "journal_mode", lambda path, mounts: mode)
    with Store(path) as one, Store(path) as two:
        assert one._db.execute("PRAGMA journal_mode").fetchone() == (mode.lower(),)
        assert one._db.execute("PRAGMA synchronous").fetchone() == (2,)
        for i, store in enumerate([one, two] * 50):
            store.add(success(key_of(i)))
            store.flush()
        assert len(one.done(key_of(i) for i in range(100))) == 100


def test_moments_come_back_to_the_last_bit(path: Path) -> None:
    key = key_of("moments")
    moments = Moments((-0.1, -12.345678901234567), (1e-30, 0.7))
    likelihoods = (Likelihood((-0.5, -2.0), False, moments), Likelihood((-1.0,), True))
    found = Completion(key, "", (), "stop", likelihoods=likelihoods)
    with Store(path) as store:
        store.add(found)
    with Store(path) as store:
        assert store.completions([key]) == {key: found}


def test_likelihoods_come_back_to_the_last_bit(path: Path) -> None:
    key = key_of("scored")
    likelihoods = (Likelihood((-0.1, -1e-30, -12.345678901234567), True), Likelihood((), False))
    scored = Completion(key, "", (), "stop", likelihoods=likelihoods)
    with Store(path) as store:
        store.add(scored)
    with Store(path) as store:
        assert store.completions([key]) == {key: scored}


def test_what_json_lacks_comes_back(path: Path) -> None:
    key, score_key = key_of("odd"), key_of("odd score")
    infinite = Likelihood((float("-inf"), -0.5), False)
    odd = Completion(key, "half a pair: \ud83d", (1,), "stop", likelihoods=(infinite,))
    with Store(path) as store:
        store.add(odd)
        store.add(success(key_of("beside it")))
        store.add_scores([(score_key, [Score(key, {"perplexity": [float("inf"), 2]})])])
    with Store(path) as store:
        assert store.completions([key, key_of("beside it")])[key] == odd
        assert store.scores([score_key])[score_key][0].values == {"perplexity": [float("inf"), 2]}


def test_all_that_was_drawn_comes_back(path: Path) -> None:
    more = (Drawn("two", (2, 3), "length"), Drawn("", (), "stop"))
    drawn = Completion(key_of("drawn"), "one", (1,), "stop", more=more)
    how = Decoding(64, temperature=0.8, top_p=0.95, n=3)
    asked = Request(drawn.key, "alpha", "b", None, (1, 2), how)
    with Store(path) as store:
        store.put_plan({}, [asked])
        store.add(drawn)
    with Store(path) as store:
        assert store.completions([drawn.key]) == {drawn.key: drawn}
        assert store.requests() == [asked]
    assert [one.text for one in drawn.drawn] == ["one", "two", ""]
    assert drawn.was_truncated
