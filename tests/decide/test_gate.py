"""Gates: verdicts, exit codes, malformed rules, JUnit."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from made_runs import made_run

import peval
from peval.cli import main
from peval.decide.gate import _against_base
from peval.decide.rules import Rule
from peval.types import Comparison

RNG = np.random.default_rng(0)
BASE = RNG.uniform(0.3, 0.7, 60).round(3)
SCORES: dict[str | None, Any] = {
    None: BASE,
    "good": (BASE + 0.2 + RNG.normal(0, 0.03, 60)).clip(0, 1).round(3),
    "bad": (BASE - 0.2 + RNG.normal(0, 0.03, 60)).clip(0, 1).round(3),
    "noisy": (BASE + RNG.normal(0, 0.15, 60)).clip(0, 1).round(3),
    "copy": BASE,
}


@pytest.fixture(autouse=True)
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made_run(Path("run"), {"t": SCORES})


def verdicts(rules: str) -> dict[str, str]:
    Path("gate.yaml").write_text(f"rules:\n{rules}")
    return {check.adapter: check.verdict for check in peval.gate("run", "gate.yaml").checks}


def test_floors() -> None:
    assert verdicts("- {task: t, floor: 0.5}") == {
        "good": "pass", "bad": "fail", "noisy": "undecided", "copy": "undecided",
    }  # fmt: skip
    assert verdicts("- {task: t, adapter: base, floor: 0.2}") == {"base": "pass"}


def test_gains() -> None:
    assert verdicts("- {task: t, gain: 0}") == {
        "good": "pass", "bad": "fail", "noisy": "undecided", "copy": "fail",
    }  # fmt: skip
    assert verdicts("- {task: t, adapter: good, gain: 0.2}") == {"good": "undecided"}
    assert verdicts("- {task: t, adapter: good, gain: 0.3}") == {"good": "fail"}


@pytest.mark.parametrize(
    ("metric", "kept", "gained"), [("rougeL", "pass", "pass"), ("refusals", "fail", "fail")]
)
def test_where_less_is_better_more_is_a_loss(metric: str, kept: str, gained: str) -> None:
    more = Comparison("t", metric, "a", None, None, 0.3, 0.2, 0.4, 0.001, "made", 9, 9, 0)
    for c, verdicts in (
        (more, (kept, gained)),
        (
            dataclasses.replace(more, metric="refusals", delta=-0.3, low=-0.4, high=-0.2),
            ("pass",) * 2,
        ),
    ):
        rules = (Rule("t", "margin", 0.02), Rule("t", "gain", 0.02))
        assert tuple(_against_base(rule, c, 9).verdict for rule in rules) == verdicts


def test_an_undecided_check_says_why() -> None:
    bare = Comparison("t", "mcc", "a", None, None, 0.3, None, None, 0.4, "made", 9, 9, 0)
    found = _against_base(Rule("t", "gain", 0.0), bare, 9)
    assert (found.verdict, found.why) == ("undecided", "these items show no interval")


def test_margins_are_non_inferiority() -> None:
    assert verdicts("- {task: t, margin: 0.02}") == {
        "good": "pass", "bad": "fail", "noisy": "undecided", "copy": "pass",
    }  # fmt: skip
    assert verdicts("- {task: t, adapter: noisy, margin: 0.1}") == {"noisy": "pass"}
    assert verdicts("- {task: t, adapter: bad, margin: 0.2}") == {"bad": "undecided"}
    # Every answer is the base's: nothing can have been lost.
    assert verdicts("- {task: t, adapter: copy, margin: 0}") == {"copy": "pass"}


def test_a_gain_that_the_report_does_not_mark_is_undecided(tmp_path: Path) -> None:
    """Few clusters: the interval excludes 0, the adjusted p-value does not allow the claim."""
    steady = BASE[:25] + 0.1 + np.tile([0.0, 0.02, -0.02, 0.01, -0.01], 5)
    made_run(tmp_path / "few", {"t": {None: BASE[:25], "good": steady}}, n_per_cluster=5)
    Path("gate.yaml").write_text("rules: [{task: t, gain: 0}]")
    (check,) = peval.gate("few", "gate.yaml").checks
    assert check.low is not None
    assert check.low > 0
    assert (check.verdict, check.why) == ("undecided", "its adjusted p-value is above 0.05")


def test_items_without_answer_leave_it_undecided(tmp_path: Path) -> None:
    failing = np.array(SCORES["good"])
    failing[0] = np.nan
    made_run(tmp_path / "partial", {"t": {None: BASE, "good": failing}})
    Path("gate.yaml").write_text(
        "rules: [{task: t, gain: 0}, {task: t, floor: 0.1}, {task: t, adapter: base, floor: 0.1}]"
    )
    found = peval.gate("partial", "gate.yaml")
    assert [c.verdict for c in found.checks] == ["undecided", "undecided", "pass"]
    assert {c.why for c in found.checks[:2]} == {"1 of 60 items have no answer"}


@pytest.mark.parametrize(
    ("rules", "code", "verdict"),
    [
        ("- {task: t, adapter: good, gain: 0.1}", 0, "pass"),
        ("- {task: t, adapter: good, gain: 0.1}\n- {task: t, adapter: noisy, gain: 0}", 3,
         "undecided"),
        ("- {task: t, adapter: noisy, gain: 0}\n- {task: t, adapter: bad, gain: 0}", 1, "fail"),
    ],
)  # fmt: skip
def test_exit_codes_and_json(
    rules: str, code: int, verdict: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("gate.yaml").write_text(f"rules:\n{rules}")
    assert main(["gate", "run", "--rules", "gate.yaml"]) == code
    assert capsys.readouterr().out.splitlines()[-1].startswith(verdict.upper())
    assert main(["gate", "run", "--rules", "gate.yaml", "--json"]) == code
    assert json.loads(capsys.readouterr().out)["verdict"] == verdict


def test_junit(capsys: pytest.CaptureFixture[str]) -> None:
    Path("gate.yaml").write_text("rules: [{task: t, metric: rougeL, margin: 0.02}]")
    assert main(["gate", "run", "--rules", "gate.yaml", "--junit", "gate.xml"]) == 1
    (suite,) = ElementTree.parse("gate.xml").getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("4", "1", "1")
    outcomes = {case.get("name", "").split(":")[0]: [child.tag for child in case] for case in suite}
    assert outcomes == {"good": [], "bad": ["failure"], "noisy": ["error"], "copy": []}


BAD_RULES = {
    "no task": ("rules: [{floor: 0.5}]", "gate.yaml: rule 1: names no task"),
    "an empty task": ("rules: [{task: '', floor: 0.5}]", "rule 1: names no task"),
    "unknown task": ("rules: [{task: tt, floor: 0.5}]", "rule 1: task 'tt' is not in the run; did "
                     "you mean t?"),
    "unknown metric": ("rules: [{task: t, metric: rouge, floor: 0}]", "rougeL"),
    "unknown adapter": ("rules: [{task: t, adapter: god, floor: 0}]", "good"),
    "the base has no gain": ("rules: [{task: t, adapter: base, gain: 0}]", "'base' is not in"),
    "two kinds": ("rules: [{task: t, floor: 0, gain: 0}]", "one of floor, gain, margin; found 2"),
    "no kind": ("rules: [{task: t}]", "found 0"),
    "unknown key": ("rules: [{task: t, flor: 0}]", "unknown key 'flor'; did you mean floor?"),
    "percent": ("rules: [{task: t, floor: 50}]", "fractions from 0 to 1"),
    "text": ("rules: [{task: t, floor: high}]", "floor cannot be 'high'"),
    "a list of text": ("rules: [t]", "rule 1: expected keys and values"),
    "a task that is a list": ("rules: [{task: [t], floor: 0}]", "task cannot be ['t']"),
    "no rules": ("rules: []", "holds no rule"),
    "other keys": ("rule: [{task: t}]", "expected one key, rules"),
    "broken": ("rules: [", "not readable as YAML"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_RULES)
def test_bad_rules_are_one_line_and_exit_2(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    content, expected = BAD_RULES[case]
    Path("gate.yaml").write_text(content)
    assert main(["gate", "run", "--rules", "gate.yaml"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert expected in err


def test_no_file_no_run_no_base(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gate", "run", "--rules", "none.yaml"]) == 2
    Path("gate.yaml").write_text("rules: [{task: t, gain: 0}]")
    assert main(["gate", "nowhere", "--rules", "gate.yaml"]) == 2
    made_run(tmp_path / "alone", {"t": {"good": BASE}})
    assert main(["gate", "alone", "--rules", "gate.yaml"]) == 2
    assert "needs the base" in capsys.readouterr().err
    made_run(tmp_path / "base", {"t": {None: BASE}})
    Path("gate.yaml").write_text("rules: [{task: t, floor: 0}]")
    assert main(["gate", "base", "--rules", "gate.yaml"]) == 2
    assert "add adapter: base" in capsys.readouterr().err


def test_a_run_in_progress_is_undecided(capsys: pytest.CaptureFixture[str]) -> None:
    Path("going").mkdir()
    Path("going/manifest.json").write_text('{"manifest_version": 1}')
    Path("gate.yaml").write_text("rules: [{task: t, gain: 0}]")
    assert main(["gate", "going", "--rules", "gate.yaml"]) == 3
    assert "still in progress" in capsys.readouterr().out
