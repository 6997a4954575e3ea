"""`peval score` and `peval inspect` on an encoder-decoder with adapters of several kinds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import t5
from scripted import TOY

from peval import inspection
from peval.adapters import load_adapter
from peval.bases import load_base, weight_shapes
from peval.chat import Voice
from peval.choices import encode_choices
from peval.cli import main
from peval.engines.decoder import AnswerDecoder
from peval.errors import AdapterError
from peval.rundir import RunDir
from peval.store import Store
from peval.tokenizer import load_tokenizer
from peval.types import Completion, Request, Sample

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # peft's, while it makes checkpoints
    pytest.mark.usefixtures("one_thread"),
]
ASKED = ("Say a colour.", "What comes after seven, and after eight, and after nine?")
N_CHECKED = 8
CHOICES = ((" red", " blue green"), (" eight", " ten"))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return t5.make_base(tmp_path_factory.mktemp("t5") / "base")


@pytest.fixture(scope="module")
def adapters(base: Path) -> dict[str, Path]:
    return t5.make_adapters(base, base.parent)


def test_a_base_says_what_it_is(base: Path) -> None:
    found = load_base(str(base))
    assert found.is_encoder_decoder and found.context_tokens == 1 << 20
    assert not load_base(str(TOY / "base")).is_encoder_decoder


def test_every_kind_passes_the_preflight(base: Path, adapters: dict[str, Path]) -> None:
    model = load_base(str(base))
    for name, path in adapters.items():
        adapter = load_adapter(path, name, model, weight_shapes(model), allow_base_mismatch=True)
        assert adapter.route == "hf" and not adapter.changes_nothing
        found = inspection.inspect(path, str(base), allow_base_mismatch=True)
        assert (found["route"], found["unchecked"]) == ("hf", "")
        assert "encoder-decoder" in found["route_why"] and "encoder-decoder" in found["vllm"]


def test_an_adapter_for_another_kind_of_model_is_refused(
    base: Path, adapters: dict[str, Path], tmp_path: Path
) -> None:
    model = load_base(str(base))
    config = json.loads((adapters["lora"] / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps(config | {"task_type": "CAUSAL_LM"}))
    weights = (adapters["lora"] / "adapter_model.safetensors").read_bytes()
    (tmp_path / "adapter_model.safetensors").write_bytes(weights)
    with pytest.raises(AdapterError, match="task_type: CAUSAL_LM, but the base is an encoder-dec"):
        load_adapter(tmp_path, "x", model, weight_shapes(model), allow_base_mismatch=True)


def test_choices_are_tokenized_apart_from_the_prompt(base: Path) -> None:
    model = load_base(str(base))
    tokenizer = load_tokenizer(model)
    sample = Sample("a", "Which colour? ", ("red",), "c", choices=("red", "blue"))
    (prompt,) = encode_choices([sample], Voice(tokenizer, encodes=True), 100)
    assert prompt.token_ids[-1] == t5.EOS
    alone = tokenizer([" red", " blue"], add_special_tokens=False)["input_ids"]
    assert prompt.choices == tuple(map(tuple, alone))


@pytest.mark.parametrize(
    "flags", [("--engine", "vllm"), ("--suite", "memorization")], ids=["vllm", "memorization"]
)
def test_what_an_encoder_decoder_cannot_do_is_refused(
    flags: tuple[str, ...], base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = written(tmp_path)
    more = ("--train-data", str(rows[0])) if "memorization" in flags else ()
    assert main(["score", "--base", str(base), "--task", str(rows[0]), *flags, *more]) == 2
    assert "encoder-decoder" in capsys.readouterr().err


def written(where: Path) -> tuple[Path, Path]:
    """Write a task that is answered in words, and one with choices."""
    words, choices = where / "words.jsonl", where / "choices.jsonl"
    words.write_text("".join(json.dumps({"input": t, "output": "red"}) + "\n" for t in ASKED))
    rows = [{"input": t, "choices": list(c), "output": c[0]}
            for t, c in zip(ASKED, CHOICES, strict=True)]  # fmt: skip
    choices.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return words, choices


@pytest.mark.engine
@pytest.mark.timeout(300)
def test_score_equals_transformers_and_peft(
    base: Path, adapters: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    adapters = {name: adapters[name] for name in ("lora", "prefix", "full")}
    paths = [str(path) for path in adapters.values()]
    tasks = [str(path) for path in written(tmp_path)]
    flags = ["--allow-base-mismatch", "--out", str(out)]
    assert main(["score", "--base", str(base), "--adapter", *paths, "--task", *tasks, *flags]) == 0
    with Store(RunDir(out).store) as store:
        requests = store.requests()
        done = store.completions([r.key for r in requests])
    assert len(requests) == 2 * len(ASKED) * (1 + len(adapters))
    decoder = AnswerDecoder.of(base, encodes=True)
    for name in (None, *adapters):
        model = t5.alone(base, adapters[name] if name else None)
        for request in (r for r in requests if r.adapter == name):
            check(request, done[request.key], model, decoder)
    text = {r.adapter: done[r.key].text for r in requests if not r.choices}
    assert len(set(text.values())) == 1 + len(adapters)


def check(request: Request, answer: Completion, model: Any, decoder: AnswerDecoder) -> None:
    """Hold an answer against a forward pass of the model alone."""
    prompt = request.prompt_token_ids
    assert prompt[-1] == t5.EOS
    if not request.choices:
        ids = t5.greedy(model, prompt, N_CHECKED, (t5.EOS,))
        assert list(answer.token_ids[:N_CHECKED]) == ids
        assert answer.text == decoder.tokenizer.decode(answer.token_ids, skip_special_tokens=True)
    for choice, one in zip(request.choices, answer.likelihoods, strict=True):
        rows = t5.logprobs(model, prompt, list(choice[:-1]))
        expected = [float(row[token]) for row, token in zip(rows, choice, strict=True)]
        assert one.logprobs == pytest.approx(expected, abs=5e-5)
