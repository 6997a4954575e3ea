"""Comparisons across finished runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made_runs import made_run
from pyarrow import parquet

import peval
from peval.cli import main
from peval.corpus import Aggregate
from peval.errors import RunError, UsageError
from peval.families import PRIMARY
from peval.signature import unlike
from peval.stats import difference_interval, holm, paired_test

N = 40
RNG = np.random.default_rng(0)
BASE = RNG.random(N).round(3)
BETTER = np.clip(BASE + 0.2 + RNG.normal(0, 0.05, N), 0, 1).round(3)
ALIKE = np.clip(BASE + RNG.normal(0, 0.1, N), 0, 1).round(3)
ITEMS = [f"t-{i}" for i in range(N)]

Make = Callable[..., str]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def made(name: str, tasks: object = None, **options: object) -> str:
        tasks = tasks or {"t": {None: BASE, "good": BETTER, "same": ALIKE}}
        return str(made_run(tmp_path / name, tasks, **options))  # type: ignore[arg-type]

    return made


def test_one_run_compares_its_adapters_with_the_base(make: Make) -> None:
    run = make("a")
    found = peval.compare(run)
    headline = [c for c in found.comparisons if c.family == PRIMARY]
    assert [(c.adapter, c.against) for c in headline] == [("good", "base"), ("same", "base")]
    good, same = headline
    expected = difference_interval(BETTER - BASE, ITEMS)
    assert (good.delta, good.low, good.high) == pytest.approx(
        (expected.value, expected.low, expected.high)
    )
    p = [paired_test(x - BASE, ITEMS).p_value for x in (BETTER, ALIKE)]
    assert [c.p_value for c in headline] == pytest.approx(p)
    assert [c.p_adjusted for c in headline] == pytest.approx(holm(p).tolist())
    assert 0 < same.mde < 0.2  # type: ignore[operator]
    # The run's own results say the same.
    own = peval.load(run).comparison("t", "rougeL", "good")
    assert (own.delta, own.low, own.p_value) == pytest.approx((good.delta, good.low, good.p_value))


def test_a_run_against_itself_is_exactly_nothing(make: Make) -> None:
    run = make("a")
    for adjust in ("holm", "max-t", "bh"):
        found = peval.compare(run, run, adjust=adjust)
        assert len(found.comparisons) == 6
        for c in found.comparisons:
            assert (c.delta, c.low, c.high, c.p_value, c.p_adjusted) == (0, 0, 0, 1, 1)
            assert c.n_identical == c.n_items == N


def test_several_runs_compare_namesakes_with_the_first(make: Make) -> None:
    one = make("one")
    two = make("two", {"t": {None: BASE, "good": ALIKE}})
    found = peval.compare(one, two)
    pairs = {(c.adapter, c.against) for c in found.comparisons}
    assert pairs == {("two/base", "one/base"), ("two/good", "one/good")}
    swapped = peval.compare(two, one)
    delta = {c.adapter: c.delta for c in found.comparisons if c.family == PRIMARY}
    back = {c.adapter: c.delta for c in swapped.comparisons if c.family == PRIMARY}
    assert delta["two/good"] == pytest.approx(-back["one/good"])


def test_against_names_a_system_or_a_run(make: Make) -> None:
    one, two = make("one"), make("two", {"t": {None: BASE, "late": ALIKE}})

    def pairs(against: str) -> set[tuple[str, str | None]]:
        found = peval.compare(one, two, against=against)
        return {(c.adapter, c.against) for c in found.comparisons}

    # Each run's own base, and the first run's adapter for runs without one of that name.
    assert pairs("base") == {
        ("one/good", "one/base"), ("one/same", "one/base"), ("two/late", "two/base"),
    }  # fmt: skip
    assert ("two/late", "one/good") in pairs("good")
    assert len(pairs("one/good")) == 4
    assert pairs("two") == {("one/base", "two/base")}
    with pytest.raises(UsageError, match=r"--against god: .* did you mean good"):
        pairs("god")


def test_each_with_every_other(make: Make) -> None:
    rng = np.random.default_rng(0)
    scores = {name: rng.random(12).tolist() for name in (None, "b", "a", "c")}
    found = peval.compare(make("run", {"t": scores}), against="each")
    heads = [c for c in found.comparisons if c.family == "primary"]
    assert {(c.adapter, c.against) for c in heads} == {
        ("a", "b"), ("a", "c"), ("b", "c"), ("a", "base"), ("b", "base"), ("c", "base"),
    }  # fmt: skip
    p_values = [c.p_value or 0.0 for c in heads]
    assert [c.p_adjusted for c in heads] == pytest.approx(holm(p_values).tolist())
    mixed = {name: scores[name] for name in ("c", None, "a", "b")}
    other = peval.compare(make("mixed", {"t": mixed}), against="each")
    assert {(c.adapter, c.against): c.p_adjusted for c in other.comparisons} == {
        (c.adapter, c.against): c.p_adjusted for c in found.comparisons
    }


def test_permuting_items_or_runs_changes_nothing(make: Make) -> None:
    order = np.random.default_rng(1).permutation(N)
    ids = [ITEMS[i] for i in order]
    one = make("one")
    shuffled = make("other", {"t": {"same": ALIKE[order], "good": BETTER[order],
                                    None: BASE[order]}}, ids=ids)  # fmt: skip
    for adjust in ("holm", "max-t"):
        here, there = (
            {(c.adapter, c.metric): c for c in peval.compare(run, adjust=adjust).comparisons}
            for run in (one, shuffled)
        )
        assert here.keys() == there.keys()
        for key, c in here.items():
            other = there[key]
            assert (c.delta, c.low, c.high, c.p_value, c.p_adjusted) == pytest.approx(
                (other.delta, other.low, other.high, other.p_value, other.p_adjusted)
            )


def test_max_t_adjusts_all_at_once(make: Make) -> None:
    copies = {f"copy{i}": ALIKE for i in range(6)}
    run = make("a", {"t": {None: BASE, **copies, "good": BETTER}})
    by_holm = peval.compare(run).comparisons
    by_max_t = peval.compare(run, adjust="max-t").comparisons
    plain = paired_test(ALIKE - BASE, ITEMS).p_value
    for c, d in zip(by_holm, by_max_t, strict=True):
        if c.family == PRIMARY and c.adapter != "good":
            assert c.p_adjusted == pytest.approx(min(1, 6 * plain))
            assert d.p_adjusted == pytest.approx(plain, abs=0.02)


def test_unlike_signatures_are_refused_by_field(make: Make) -> None:
    one, two = make("one"), make("two", dtype="bfloat16")
    message = r"dtype is bfloat16 and float32; --ignore dtype"
    with pytest.raises(RunError, match=message):
        peval.compare(one, two)
    found = peval.compare(one, two, ignore=["dtype"])
    assert found.unlike == ("dtype",)
    with pytest.raises(RunError, match="--ignore dtype"):
        peval.compare(one, two, ignore=["engine"])


def test_signatures_may_differ_in_the_adapter_alone() -> None:
    one = "task:t|adapter:abc|route:native|n:5|dtype:f"
    assert unlike(one, "task:t|adapter:none|route:none|n:7|dtype:f") == {}
    assert unlike(one, "task:t|adapter:none|n:7|peval:2") == {
        "dtype": ("f", "absent"), "peval": ("absent", "2"),
    }  # fmt: skip


def test_different_items_are_named_and_compared_only_when_told(make: Make) -> None:
    one = make("one")
    two = make("two", {"t": {None: BASE[:-2]}})
    with pytest.raises(RunError, match=r"two/base lacks 2 of t: t-38, t-39; --common-items"):
        peval.compare(one, two)
    found = peval.compare(one, two, common_items=True)
    assert {c.n_items for c in found.comparisons} == {N - 2}
    assert found.left_out == {"t": 2}


def test_a_missing_task_is_named(make: Make) -> None:
    one = make("one", {"t": {None: BASE}, "u": {None: BASE}})
    two = make("two", {"t": {None: BASE}})
    with pytest.raises(RunError, match=r"two/base lacks the task u"):
        peval.compare(one, two)
    assert {c.task for c in peval.compare(one, two, common_items=True).comparisons} == {"t"}
    other = make("three", {"v": {None: BASE}})
    with pytest.raises(RunError, match="no task in common"):
        peval.compare(one, other, common_items=True)


def test_the_same_id_with_other_content_is_another_item(make: Make) -> None:
    one, two = make("one"), make("two", asked="something else?")
    with pytest.raises(
        RunError, match=r"has other items than one/base under the ids t-0, t-1, t-10 and 37 more"
    ):
        peval.compare(one, two)
    with pytest.raises(RunError, match="no item of t in common"):
        peval.compare(one, two, common_items=True)


def test_other_clusters_make_other_items(make: Make) -> None:
    with pytest.raises(RunError, match="has other items than"):
        peval.compare(make("one"), make("two", n_per_cluster=4))


def test_failed_items_are_left_out_and_the_run_is_partial(make: Make) -> None:
    failing = BETTER.copy()
    failing[:3] = np.nan
    run = make("a", {"t": {None: BASE, "good": failing}})
    found = peval.compare(run)
    assert {c.n_items for c in found.comparisons} == {N - 3}
    assert found.partial == (
        "a: 3 of 80 requests failed and 0 are unanswered; their items are left out",
    )
    assert main(["compare", run]) == 3


def test_a_run_in_progress_is_reported(make: Make, tmp_path: Path) -> None:
    (tmp_path / "going").mkdir()
    (tmp_path / "going" / "manifest.json").write_text('{"manifest_version": 1}')
    going = str(tmp_path / "going")
    found = peval.compare(make("a"), going, against="base")
    assert found.partial == ("going: still in progress, no results yet; left out",)
    assert not found.complete
    with pytest.raises(RunError, match="still in progress, no results yet"):
        peval.compare(going)


def test_parts_of_a_sample_are_one_item(make: Make) -> None:
    run = make("a")
    path = Path(run) / "completions.parquet"
    rows = parquet.read_table(path).to_pylist()
    table = [row | {"part": part} for row in rows for part in (0, 1)]
    # One part of one answer differs, so that this answer does.
    changed = next(r for r in table if r["adapter"] == "good" and r["part"] == 1)
    changed["text"] = "other"
    schema = parquet.read_schema(path)
    import pyarrow as pa

    parquet.write_table(pa.Table.from_pylist(table, schema=schema), path)
    found = peval.compare(run, make("b"))
    good = next(c for c in found.comparisons if c.adapter == "b/good" and c.family == PRIMARY)
    assert (good.n_items, good.delta) == (N, 0)
    assert good.n_identical == 0  # two parts are another answer than one
    (itself,) = (
        c
        for c in peval.compare(run, run).comparisons
        if c.adapter == "a/good" and c.family == PRIMARY
    )
    assert itself.n_identical == N


def test_metrics_of_all_items_together(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has no mean over items is computed as in the run, from the parts that were kept."""
    import pyarrow as pa

    ratio = Aggregate(lambda items: sum(a for a, _ in items) / sum(b for _, b in items))
    monkeypatch.setattr("peval.decide.compare.aggregates", lambda task: {"rougeL": ratio})
    run = make("a")
    path = Path(run) / "completions.parquet"
    table = parquet.read_table(path)
    cells = [json.dumps([value, 2.0]) for value in table["rougeL"].to_pylist()]
    at = table.schema.get_field_index("rougeL")
    parquet.write_table(table.set_column(at, "rougeL", pa.array(cells)), path)
    found = peval.compare(run)
    good = next(c for c in found.comparisons if c.adapter == "good" and c.family == PRIMARY)
    assert good.delta == pytest.approx((BETTER - BASE).mean() / 2)
    assert (good.test, good.mde) == ("jackknife t", None)
    with pytest.raises(UsageError, match="--adjust max-t needs a mean over items"):
        peval.compare(run, adjust="max-t")


@pytest.mark.parametrize("content", [None, b"no parquet"])
def test_unreadable_scores_are_one_line(
    make: Make, content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make("a")
    path = Path(run) / "completions.parquet"
    path.unlink()
    if content:
        path.write_bytes(content)
    assert main(["compare", run]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "completions.parquet" in err
    assert "peval rescore" in err


def test_the_command_prints_the_table_or_json(
    make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make("a")
    assert main(["compare", run, "--adjust", "max-t"]) == 0
    out = capsys.readouterr().out
    assert "good − base" in out
    assert "▲" in out
    assert "max-T" in out
    assert main(["compare", run, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["adjustment"] == "holm"
    assert {c["family"] for c in found["comparisons"]} == {"primary", "exploratory"}


def test_nothing_to_compare_is_said(make: Make) -> None:
    one = make("one", {"t": {"x": BASE}})
    two = make("two", {"t": {"y": BASE}})
    with pytest.raises(UsageError, match="nothing to compare among one/x, two/y"):
        peval.compare(one, two)
    assert peval.compare(one, two, against="x").comparisons
    with pytest.raises(UsageError, match="needs a run"):
        peval.compare()
    with pytest.raises(UsageError, match="--adjust bonferroni"):
        peval.compare(one, adjust="bonferroni")  # type: ignore[arg-type]
