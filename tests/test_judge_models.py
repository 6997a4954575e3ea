"""Judges that are models on this machine: real vLLM, and real transformers."""

from __future__ import annotations

import json
import math
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from scripted import TOY, ScriptedEngine

import peval
from peval import api, conclude, engines, execute, judge_run
from peval.engines.reward import RewardEngine
from peval.errors import JudgeError
from peval.judge_engines import reward_engine
from peval.judging.judges import load_judge
from peval.judging.parts import SAME
from peval.judging.place import Place, places
from peval.judging.questions import NULL
from peval.results import load_results
from peval.rundir import RunDir
from peval.store import Store
from peval.types import Completion, Decoding, Engine, Message, Request

N = 4


@pytest.fixture(scope="module", autouse=True)
def without_reports() -> Iterator[None]:
    """Draw no figures: nothing here reads a report."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conclude, "write_report", lambda rundir, results: None)
        yield


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models") / "run"
    task = out.parent / "asks.jsonl"
    rows = [
        {"id": f"q{n}", "input": f"Name {n} red blue green red blue things now", "output": "red"}
        for n in range(N)
    ]
    task.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execute, "open_engine", lambda setup, progress: ScriptedEngine())
        adapters = [str(TOY / "adapters" / name) for name in ("generalist", "noop")]
        api.score(adapters=adapters, tasks=(str(task),), out=str(out))
    return out


@pytest.fixture
def run(answered: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(answered, tmp_path / "run"))


def asked(place: Place) -> dict[str, tuple[Request, tuple[Message, ...], Completion]]:
    """Return every call by key, with what it said to the judge and the judge's reply."""
    with Store(place.store) as store:
        prompts = store.samples()["asks"]
        requests = {r.key: r for r in store.requests() if r.part != SAME}
        replies = store.completions(requests)
    found = {}
    for key, request in requests.items():
        (query,) = prompts[key].queries
        found[key] = request, (*query.turns, Message("user", query.text)), replies[key]
    return found


@pytest.mark.parametrize(
    "kind",
    [
        "hf",
        pytest.param("vllm", marks=pytest.mark.skipif(
            not os.environ.get("PEVAL_SLOW"), reason="an engine start: set PEVAL_SLOW=1"
        )),
    ],
)  # fmt: skip
def test_a_local_judge_judges_both_orders(
    run: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None, kind: str
) -> None:
    monkeypatch.setattr(engines, "choose_kind", lambda wanted: kind)
    found = peval.judge(run, "pair-local", model=str(TOY / "base"), nulls=1)
    (one,) = found.judged["sections"]
    assert one["n_pending"] == 0 and not one["unscored"]
    assert one["orders"]["n_pairs"] > N and any("have one base" in w for w in one["warnings"])
    row = next(r for r in one["systems"] if r["system"] == "generalist")
    assert 0 < row["win_rate"] < 1
    (place,) = places(RunDir(run))
    calls = asked(place)
    assert {r.part for r, _, _ in calls.values()} == {0, 1}
    for text, said in _shares_of_a(calls).items():
        first, second = (math.exp(one.total) for one in said.likelihoods)
        assert first / (first + second) == pytest.approx(text, abs=0.02)  # bfloat16

    def refuse(*_: Any) -> Any:
        raise AssertionError("judging again opened an engine")

    monkeypatch.setattr(judge_run, "local_engine", refuse)
    again = peval.judge(run, "pair-local", model=str(TOY / "base"), nulls=1)
    assert again.to_dict() == found.to_dict()


def _shares_of_a(
    calls: dict[str, tuple[Request, tuple[Message, ...], Completion]],
) -> dict[float, Completion]:
    """Return transformers' P(A) / (P(A) + P(B)) after each prompt, with what vLLM replied."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(TOY / "base")
    model = AutoModelForCausalLM.from_pretrained(TOY / "base", dtype=torch.float32).eval()
    labels = tokenizer(["A", "B"], add_special_tokens=False)["input_ids"]
    found = {}
    for _, turns, reply in calls.values():
        text = "\n\n".join(turn.content for turn in turns)
        totals = []
        for label in labels:
            prompt = tokenizer(text)["input_ids"]
            with torch.inference_mode():
                logits = model(torch.tensor([prompt + label])).logits[0].log_softmax(-1)
            places = range(len(prompt) - 1, len(prompt) - 1 + len(label))
            totals.append(
                sum(float(logits[at, one]) for at, one in zip(places, label, strict=True))
            )
        found[1 / (1 + math.exp(totals[1] - totals[0]))] = reply
    return found


@pytest.mark.skipif(not os.environ.get("PEVAL_SLOW"), reason="two engine starts: set PEVAL_SLOW=1")
def test_the_judge_comes_after_the_evaluated_engine_is_gone(tmp_path: Path) -> None:
    task = tmp_path / "asks.jsonl"
    rows = [{"id": f"q{n}", "turns": [f"Name {n} things.", "Say why."]} for n in range(6)]
    task.write_text("".join(json.dumps(row) + "\n" for row in rows))
    adapters = [str(TOY / "adapters" / name) for name in ("generalist", "noop")]
    found = peval.score(str(TOY / "base"), adapters, tasks=(str(task),), out=str(tmp_path / "run"))
    assert found.complete
    for judge in ("pair-local", "rubric"):
        found = peval.judge(tmp_path / "run", judge, model=str(TOY / "base"), nulls=2)
    pair, rubric = found.judged["sections"]
    assert pair["n_pending"] == rubric["n_pending"] == 0
    noop = next(row for row in pair["systems"] if row["system"] == "noop")
    assert noop["win_rate"] == 0.5 and noop["n_scored"] == 6
    assert sum(rubric["unscored"].values()) + rubric["n_scored"] == rubric["n_items"] == 18


@pytest.fixture(scope="module")
def reward(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Path:
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForSequenceClassification

    path = tmp_path_factory.mktemp("reward") / "model"
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(TOY / "base")
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_labels=1, max_position_embeddings=96, pad_token_id=0,
    )  # fmt: skip
    LlamaForSequenceClassification(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def test_a_reward_model_rates_each_answer(run: Path, reward: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    found = peval.judge(run, "reward-model", model=str(reward), nulls=2)
    (one,) = found.judged["sections"]
    assert one["n_pending"] == 0 and one["kind"] == "rating"
    tokenizer = AutoTokenizer.from_pretrained(reward)
    model = AutoModelForSequenceClassification.from_pretrained(reward).eval()
    (place,) = places(RunDir(run))
    with Store(place.store) as store:
        prompts = store.samples()["asks"]
        requests = [r for r in store.requests() if not str(r.adapter).startswith(NULL)]
        replies = store.completions(r.key for r in requests)
    values: dict[str | None, list[float]] = {}
    for request in requests:
        (query,) = prompts[request.key].queries
        (question,) = query.turns
        assert query.role == "assistant"
        ids = tokenizer(question.content, query.text, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            value = float(model(ids).logits[0, 0])
        assert float(replies[request.key].text) == pytest.approx(value, abs=1e-6)
        values.setdefault(request.adapter, []).append(value)
    for row in one["systems"]:
        mine = values[row["system"]]
        assert row["mean"] == pytest.approx(sum(mine) / len(mine)) and "bounds" not in row
    estimate = load_results(run / "results.json").estimate(one["name"], "rating", None)
    assert (estimate.value is None) == bool(one["why_no_headline"])  # its weights are random


def test_what_a_reward_model_cannot_read_is_unscored(reward: Path) -> None:
    long = (Message("user", "Name things."), Message("assistant", "red " * 99))
    (reply,) = _rated(reward, long)
    assert reply.error == "cut off: longer than the model reads"


def test_a_reward_model_reads_a_whole_conversation(reward: Path, tmp_path: Path) -> None:
    talked = (Message("user", "Name one."), Message("assistant", "red"), Message("user", "Why?"),
              Message("assistant", "So."))  # fmt: skip
    chatty = Path(shutil.copytree(reward, tmp_path / "chatty"))
    template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    (chatty / "chat_template.jinja").write_text(template)
    plain, other = (_rated(path, talked)[0].text for path in (reward, chatty))
    assert plain != other != _rated(chatty, talked[2:])[0].text


def _rated(path: Path, turns: tuple[Message, ...]) -> list[Completion]:
    return _replies(RewardEngine(path, {"k": turns}))


def _replies(engine: Engine) -> list[Completion]:
    request = Request("k", "asks", "q0", None, (), Decoding(1))
    with closing(engine):
        return list(engine.complete([request]))


def test_models_that_are_no_reward_models_are_refused(
    run: Path, reward: Path, tmp_path: Path
) -> None:
    with pytest.raises(JudgeError, match="cannot be loaded"):
        peval.judge(run, "reward-model", model=str(run))
    twofold = Path(shutil.copytree(reward, tmp_path / "twofold"))
    config = json.loads((twofold / "config.json").read_text())
    names = {"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 0, "b": 1}}
    (twofold / "config.json").write_text(json.dumps(config | names))
    (twofold / "model.safetensors").unlink()
    _with_outputs(twofold, 2)
    with pytest.raises(JudgeError, match="has 2 outputs, not one"):
        peval.judge(run, "reward-model", model=str(twofold))
    headless = Path(shutil.copytree(TOY / "base", tmp_path / "headless"))
    with pytest.raises(JudgeError, match="no head for a reward"):
        peval.judge(run, "reward-model", model=str(headless))


def test_a_hub_that_cannot_be_reached_refuses_a_reward_model_at_once(
    run: Path, tmp_path: Path
) -> None:
    """transformers asks for two files, each six times: 46 s."""
    with socket.socket() as closed:  # bound, and listening to nobody
        closed.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
        environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "cache")}
        environment.pop("HF_HUB_OFFLINE", None)
        done = subprocess.run(
            [sys.executable, "-m", "peval.cli", "judge", str(run), "--judge", "reward-model",
             "--model", "org/reward"],
            env=environment, capture_output=True, text=True, timeout=30,
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "peval: --model 'org/reward': the Hub cannot be reached and the local cache does not hold "
        "it; give a local path, or set HF_HOME to a cache"
    )
    assert not api.rescore(run).judged.get("sections")  # nobody began to judge


def test_a_reward_model_of_the_hub_may_be_pickled(
    reward: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub
    import torch
    from safetensors.torch import load_file

    here = Path(shutil.copytree(reward, tmp_path / "snapshot"))
    weights = load_file(here / "model.safetensors")
    (here / "model.safetensors").unlink()

    def snapshot_download(name: str, *, allow_patterns: list[str], **_: object) -> str:
        if any(fnmatch("pytorch_model.bin", pattern) for pattern in allow_patterns):
            torch.save(weights, here / "pytorch_model.bin")
        return str(here)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.chdir(tmp_path)
    talked = (Message("user", "Name one."), Message("assistant", "red"))
    engine = reward_engine(replace(load_judge("reward-model"), model="org/reward"), {"k": talked})
    assert _replies(engine) == _rated(reward, talked)


def _with_outputs(path: Path, n: int) -> None:
    from transformers import AutoConfig, LlamaForSequenceClassification

    config = AutoConfig.from_pretrained(path)
    config.num_labels = n
    LlamaForSequenceClassification(config).save_pretrained(path)
