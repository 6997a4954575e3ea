"""Later turns: asked with the answer before them, resumed, failed, drawn several times."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
from scripted import TOKENIZER, TOY, ScriptedEngine

import peval
from peval import execute
from peval.errors import DataError, UsageError
from peval.job import Job
from peval.outline import outline, text
from peval.prepare import prepare
from peval.rundir import RunDir
from peval.store import Store
from peval.types import Completion, Drawn, Request

PROMPTS = TOY / "prompts" / "turns.jsonl"


class Draws(ScriptedEngine):
    """Draws as many answers as are asked for, each another."""

    def answer(self, request: Request) -> Completion:
        one = super().answer(request)
        more = [Drawn(f"{one.text} {k}", (1,), "stop") for k in range(1, request.decoding.n)]
        return dataclasses.replace(one, text=f"{one.text} 0", more=tuple(more))


def score(monkeypatch, engine, out, **options):
    monkeypatch.setattr(execute, "open_engine", lambda setup, progress: engine)
    options = {"tasks": (str(PROMPTS),), "profile": "vicuna"} | options
    adapters = [str(TOY / "adapters" / "generalist")]
    return peval.score(None, adapters, out=str(out), **options)


def stored(out: Path) -> tuple[list[Request], dict[str, Completion]]:
    with Store(RunDir(out).store) as store:
        requests = store.requests()
        return requests, store.completions(r.key for r in requests)


def words(request: Request) -> str:
    return TOKENIZER.decode(list(request.prompt_token_ids), skip_special_tokens=False)


def test_a_later_turn_holds_the_answer_before_it(tmp_path, monkeypatch):
    engine = ScriptedEngine()
    found = score(monkeypatch, engine, tmp_path / "run")
    assert found.complete
    requests, completions = stored(tmp_path / "run")
    assert sorted(r.part for r in requests if r.adapter is None) == [0, 0, 0, 0, 1, 1, 1]
    for name in (None, "generalist"):
        first, second = (
            next(r for r in requests if (r.adapter, r.sample_id, r.part) == (name, "fruit", part))
            for part in (0, 1)
        )
        said = completions[first.key].text.strip()
        assert f"<|user|>\nName a fruit that is red.\n<|assistant|>\n{said}" in words(second)
        assert words(second).endswith("<|user|>\nSay why.\n<|assistant|>\n")
        assert first.key != second.key
    # Nothing of turn 2 is asked before all of turn 1 is in the store.
    parts = [next(r.part for r in requests if r.key == asked.key) for asked in engine.asked]
    assert parts == sorted(parts)


@pytest.mark.parametrize("stop_after", [3, 10])
def test_a_run_that_was_stopped_goes_on_in_either_turn(tmp_path, monkeypatch, stop_after):
    whole = score(monkeypatch, ScriptedEngine(), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        score(monkeypatch, ScriptedEngine(stop_after=stop_after), tmp_path / "run")
    rest = ScriptedEngine()
    found = score(monkeypatch, rest, tmp_path / "run")
    assert len(rest.asked) == 14 - stop_after
    assert found.estimates == whole.estimates
    again = ScriptedEngine()
    assert score(monkeypatch, again, tmp_path / "run").estimates == whole.estimates
    assert not again.asked


def test_what_follows_a_failed_answer_is_not_asked(tmp_path, monkeypatch):
    score(monkeypatch, ScriptedEngine(), tmp_path / "whole")
    requests, _ = stored(tmp_path / "whole")
    lost = next(r for r in requests if (r.adapter, r.sample_id, r.part) == (None, "river", 0))
    engine = ScriptedEngine(fail_keys=frozenset({lost.key}))
    found = score(monkeypatch, engine, tmp_path / "run")
    assert not found.complete
    assert len(engine.asked) == 13
    assert found.estimate("turns", "loops").n_missing == 1
    assert found.estimate("turns", "loops", "generalist").n_missing == 0
    # The same command asks for what failed, and then goes on with it.
    rest = ScriptedEngine()
    assert score(monkeypatch, rest, tmp_path / "run").complete
    assert len(rest.asked) == 2


def test_each_draw_is_a_conversation_of_its_own(tmp_path, monkeypatch):
    found = score(monkeypatch, Draws(), tmp_path / "run", samples_per_prompt=3)
    assert found.complete
    requests, completions = stored(tmp_path / "run")
    mine = {r.part: r for r in requests if (r.adapter, r.sample_id) == (None, "fruit")}
    assert sorted(mine) == [0, 1, 3, 5]
    assert mine[0].decoding.n == 3
    assert [mine[part].decoding.seed for part in (1, 3, 5)] == [0, 1, 2]
    for part, one in zip((1, 3, 5), completions[mine[0].key].drawn, strict=True):
        assert mine[part].decoding.n == 1
        assert f"<|assistant|>\n{one.text.strip()}" in words(mine[part])


def test_without_a_chat_template_turns_stand_as_they_are(tmp_path, monkeypatch):
    score(monkeypatch, ScriptedEngine(), tmp_path / "run", profile="plain")
    requests, completions = stored(tmp_path / "run")
    first, second = (r for r in requests if (r.adapter, r.sample_id) == (None, "fruit"))
    said = completions[first.key].text.strip()
    assert words(second) == f"<s>Name a fruit that is red.\n\n{said}\n\nSay why.\n\n"


def test_another_run_takes_both_turns_over(tmp_path, monkeypatch):
    score(monkeypatch, ScriptedEngine(), tmp_path / "one")
    engine = ScriptedEngine()
    reuse = (str(tmp_path / "one"),)
    assert score(monkeypatch, engine, tmp_path / "two", reuse=reuse).complete
    assert not engine.asked


def test_turns_that_are_no_texts(tmp_path, monkeypatch):
    for row, why in (
        ({"turns": []}, "'turns' must be a list of texts"),
        ({"turns": ["a", 1]}, "'turns' must be a list of texts"),
        ({"turns": ["a", " "]}, "'turns' must be a list of texts that are not empty"),
        ({"turns": ["a"], "input": "b"}, "'turns' stand beside neither 'input' nor"),
        ({"input": " "}, "the prompt is empty"),
        ({"turn": ["a", "b"]}, "unknown field 'turn'; did you mean 'turns'"),
        ({"input": "a", "ouput": "b"}, "unknown field 'ouput'; did you mean 'output'"),
        ({"prompt": "a", "n": 1}, r"key 'input' \(or 'turns'\) is missing; it holds 'prompt', 'n'"),
        ({"turns": ["a", "b"], "output": "c"}, "several turns take 'references', a text for each"),
        ({"turns": ["a", "b"], "references": ["c"]}, "'references' must be 2 texts, one for each"),
        ({"turns": ["a", "b"], "references": "cd"}, "'references' must be 2 texts, one for each"),
    ):
        path = tmp_path / "bad.jsonl"
        path.write_text(json.dumps(row) + "\n")
        with pytest.raises(DataError, match=rf"bad.jsonl:1: {why}"):
            score(monkeypatch, ScriptedEngine(), tmp_path / "run", tasks=(str(path),))


def test_turns_do_not_go_beside_rows_that_are_scored(tmp_path, monkeypatch):
    path = tmp_path / "mixed.jsonl"
    path.write_text('{"input": "a", "output": "b"}\n{"turns": ["a", "b"]}\n')
    with pytest.raises(DataError, match=r"mixed.jsonl:2: 'turns' in a file whose first line is no"):
        score(monkeypatch, ScriptedEngine(), tmp_path / "run", tasks=(str(path),))


def test_references_of_ones_own_stand_where_judges_look_for_them(tmp_path, monkeypatch):
    path = tmp_path / "own.jsonl"
    path.write_text('{"turns": ["a", "b"], "references": ["c", "d"], "note": 1}\n{"input": "e"}\n')
    score(monkeypatch, ScriptedEngine(), tmp_path / "run", tasks=(str(path),))
    with Store(RunDir(tmp_path / "run").store) as store:
        first, second = store.samples()["own"].values()
    assert (first.targets, json.loads(first.problem)) == (("c",), {"references": ["c", "d"]})
    assert (second.targets, second.problem) == ((), "")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"tasks": ("superni",), "data_dir": str(TOY / "data"), "profile": None},
         "--samples-per-prompt 3: no open prompts here; superni is scored on one answer"),
        ({"profile": "plain"}, "turns is answered greedily by the profile 'plain'"),
        ({"samples_per_prompt": 0}, "--samples-per-prompt 0: give 1 or more"),
        ({"max_tokens": 0}, "--max-tokens 0: give 1 or more"),
        ({"tasks": ("superni",), "data_dir": str(TOY / "data"), "profile": None,
          "samples_per_prompt": 1, "max_tokens": 9},
         "--max-tokens 9: superni says itself how long an answer is"),
    ],
)  # fmt: skip
def test_draws_that_cannot_be_are_refused(tmp_path, monkeypatch, options, why):
    with pytest.raises(UsageError, match=re.escape(why)):
        score(monkeypatch, Draws(), tmp_path / "run", **{"samples_per_prompt": 3, **options})


def test_where_suites_mix_only_open_prompts_are_drawn_several_times(tmp_path, monkeypatch):
    path = tmp_path / "own.jsonl"
    path.write_text('{"input": "a", "output": "b"}\n')
    run = tmp_path / "run"
    found = score(monkeypatch, Draws(), run, tasks=(str(PROMPTS), str(path)), samples_per_prompt=3)
    requests, completions = stored(run)
    drawn = {r.task: len(completions[r.key].drawn) for r in requests if r.part == 0}
    assert drawn == {"turns": 3, "own": 1}
    assert found.estimate("own", "exact_match").n_items == 1
    assert "|decoding:t0.7s0n3," in found.estimate("turns", "loops").signature
    assert "|decoding:t0.7s0," in found.estimate("own", "exact_match").signature
    assert (
        "1 item, profile `vicuna`. **--samples-per-prompt 3 is for open prompts: this task is "
        "answered as its profile says.**" in (run / "report.md").read_text()
    )


def test_a_shorter_longest_answer_is_asked_for_and_said(tmp_path, monkeypatch):
    found = score(monkeypatch, Draws(), tmp_path / "run", max_tokens=9, samples_per_prompt=3)
    requests, _ = stored(tmp_path / "run")
    assert {r.decoding.max_tokens for r in requests} == {9}
    assert "|decoding:t0.7s0n3,9|" in found.estimate("turns", "loops").signature
    again = ScriptedEngine()
    score(monkeypatch, again, tmp_path / "other", reuse=(str(tmp_path / "run"),))
    assert len(again.asked) == 14  # longer answers are others


def test_a_dry_run_counts_the_turns_that_will_follow():
    job = Job(adapters=(str(TOY / "adapters" / "generalist"),), tasks=(str(PROMPTS),),
              profile="vicuna", samples_per_prompt=3)  # fmt: skip
    found = outline(prepare(job))
    assert (found["n_requests"], found["n_later_turns"]) == (8, 18)
    assert "turns     18 more requests follow from answers" in text(found)
