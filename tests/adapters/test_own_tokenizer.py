"""Checkpoints with a tokenizer of their own: prompts, answers and signature follow it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from checkpoints import make
from scripted import TOY, ScriptedEngine

from peval.adapters import load_adapter
from peval.adapters.own_tokenizer import end_ids, own_words
from peval.bases import load_base, weight_shapes
from peval.engines.decoder import Decoders
from peval.engines.hf_backend import HfBackend
from peval.errors import AdapterError
from peval.execute import score_job
from peval.job import Job
from peval.prepare import prepare
from peval.progress import Silent
from peval.run import plan_requests
from peval.rundir import RunDir
from peval.store import Store
from peval.tokenizer import tokenizers
from peval.types import Adapter, Base, Decoding, EngineSpec, Request

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("one_thread")]
NEW = ["<think>", "</think>", "<|end|>"]
PROMPT = "Say <think> in English."


@pytest.fixture(scope="module")
def base() -> Base:
    return replace(load_base(str(TOY / "base")), dtype="float32")


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA with resized embeddings, saved as trainers do: tokens added, another end of turn."""
    import transformers

    place = tmp_path_factory.mktemp("extended")
    path = make("lora-resized", place / "adapter", place)
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(TOY / "base")
    tokenizer.add_tokens(NEW[:2])
    tokenizer.add_special_tokens({"additional_special_tokens": NEW[2:]})
    tokenizer.eos_token = "<|end|>"
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def adapter(extended: Path, base: Base) -> Adapter:
    return load_adapter(extended, "extended", base, weight_shapes(base))


def copy_of(extended: Path, tmp_path: Path) -> Path:
    return shutil.copytree(extended, tmp_path / "copy")


def test_it_is_another_adapter_than_the_same_weights_alone(
    adapter: Adapter, extended: Path, base: Base, tmp_path: Path
) -> None:
    bare = copy_of(extended, tmp_path)
    for file in bare.glob("*token*"):
        file.unlink()
    alone = load_adapter(bare, "alone", base, weight_shapes(base))
    assert adapter.own_words
    assert not alone.own_words
    assert adapter.sha256 != alone.sha256


@pytest.mark.parametrize("change", ["padding", "merges", "pad"])
def test_what_changes_no_token_makes_no_tokenizer_of_its_own(
    change: str, base: Base, tmp_path: Path
) -> None:
    for file in base.path.glob("tokenizer*"):
        shutil.copy(file, tmp_path)
    tokenizer = json.loads((tmp_path / "tokenizer.json").read_text())
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    if change == "padding":
        tokenizer |= {"padding": {"strategy": {"Fixed": 9}}, "truncation": {"max_length": 9}}
    elif change == "merges":
        pairs = tokenizer["model"]["merges"]
        pairs = [p if isinstance(p, str) else " ".join(p) for p in pairs]
        tokenizer["model"]["merges"] = pairs
    else:
        settings |= {"pad_token": "</s>", "model_max_length": 64, "padding_side": "left"}
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer, indent=1))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    assert own_words(tmp_path, base) is None


def test_added_tokens_are_one_token_in_its_prompts_alone(adapter: Adapter, base: Base) -> None:
    import transformers

    known = tokenizers(base, [adapter])
    (mine,) = known["extended"]([PROMPT])["input_ids"]
    (theirs,) = known[None]([PROMPT])["input_ids"]
    reference: Any = transformers.AutoTokenizer.from_pretrained(adapter.path)
    assert mine == reference(PROMPT)["input_ids"]
    assert reference.convert_tokens_to_ids("<think>") in mine
    assert len(theirs) > len(mine)


def test_a_run_asks_each_system_in_its_own_tokens(
    extended: Path, tmp_path: Path, base: Base
) -> None:
    task = tmp_path / "words.jsonl"
    task.write_text(json.dumps({"input": PROMPT, "targets": ["English"]}) + "\n")
    bare = copy_of(extended, tmp_path)
    (bare / "tokenizer.json").unlink()
    job = Job(base=str(base.path), adapters=(str(extended), str(bare)), tasks=(str(task),),
              engine="hf", out=str(tmp_path / "run"))  # fmt: skip
    setup = prepare(job)
    _, requests = plan_requests(setup)
    asked = {r.adapter: r.prompt_token_ids for r in requests}
    assert asked["copy"] == asked[None]
    assert len(asked["adapter"]) < len(asked[None])
    found = score_job(setup, Silent(), ["peval"], lambda setup, progress: ScriptedEngine())
    signatures = {e.adapter: e.signature for e in found.estimates if e.group is None}
    assert signatures["adapter"] != signatures["copy"]


def test_its_answers_end_and_read_as_its_tokenizer_says(adapter: Adapter, base: Base) -> None:
    decoders = Decoders(EngineSpec("hf", base, (adapter,), "float32", 64, 0))
    first = max(json.loads((base.path / "tokenizer.json").read_text())["model"]["vocab"].values())
    think, end = first + 1, first + 3
    request = Request("k", "t", "s", "extended", (5,), Decoding(8, stop=("</think>",)))
    mine = decoders["extended"]
    assert mine.eos == (2, end)
    assert mine.text(request, (think, 40, end)).startswith("<think>")
    assert mine.n_tokens(request, (think, think + 1, 9)) == 2
    assert decoders[None].eos == (2,)
    assert not decoders["another"].is_own


def test_greedy_answers_are_those_of_transformers_with_its_tokenizer(
    adapter: Adapter, base: Base
) -> None:
    import peft
    import torch
    import transformers

    model: Any = transformers.AutoModelForCausalLM.from_pretrained(base.path, dtype="float32")
    model.resize_token_embeddings(adapter.vocabulary_size, mean_resizing=False)
    model = peft.PeftModel.from_pretrained(model, adapter.path).eval()
    words: Any = transformers.AutoTokenizer.from_pretrained(adapter.path)
    ids = words(PROMPT, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        out = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False,
            eos_token_id=[2, words.eos_token_id], pad_token_id=0,
        )[0, ids.shape[1] :]  # fmt: skip
    backend = HfBackend(EngineSpec("hf", base, (adapter,), "float32", 64, 0), lambda: None)
    prompt = tuple(tokenizers(base, [adapter])["extended"]([PROMPT])["input_ids"][0])
    backend.submit(Request("k", "t", "s", "extended", prompt, Decoding(8)))
    (answer,) = backend.step()
    assert answer.token_ids == tuple(out.tolist())
    assert answer.text.strip() == words.decode(out, skip_special_tokens=True).strip()


@pytest.mark.engine
@pytest.mark.timeout(300)
@pytest.mark.skipif(os.environ.get("PEVAL_SLOW") != "1", reason="two engine starts: PEVAL_SLOW=1")
def test_vllm_answers_in_its_words_as_transformers_does(
    extended: Path, base: Base, tmp_path: Path
) -> None:
    """One beside the base in its batches (another end of text), one in an engine of its own."""
    import transformers

    batched = shutil.copytree(TOY / "adapters" / "generalist", tmp_path / "batched")
    words: Any = transformers.AutoTokenizer.from_pretrained(base.path)
    words.eos_token = words.convert_ids_to_tokens(words("14")["input_ids"][-1])
    words.save_pretrained(batched)
    task, out = tmp_path / "words.jsonl", tmp_path / "run"
    rows = [{"input": text, "output": "x"} for text in (PROMPT, "Name a colour.", "Count to ten.")]
    task.write_text("".join(json.dumps(row) + "\n" for row in rows))
    paths = (str(extended), str(batched), str(TOY / "adapters" / "generalist"))
    job = Job(base=str(base.path), adapters=paths, tasks=(str(task),), engine="vllm",
              dtype="float32", out=str(out))  # fmt: skip
    score_job(prepare(job), Silent(), ["peval"])
    with Store(RunDir(out).store) as store:
        requests = store.requests()
        done = store.completions([r.key for r in requests])
    loaded = tuple(
        load_adapter(Path(path), name, base, weight_shapes(base))
        for path, name in zip(paths, ("adapter", "batched", "generalist"), strict=True)
    )
    assert [a.route for a in loaded] == ["merge", "native-lora", "native-lora"]
    backend = HfBackend(EngineSpec("hf", base, loaded, "float32", 512, 0), lambda: None)
    for request in requests:
        backend.submit(request)
    theirs = {}
    while backend.has_work():
        theirs |= {answer.key: answer for answer in backend.step()}
    assert {r.adapter for r in requests} == {None, "adapter", "batched", "generalist"}
    for request in requests:
        mine, other = done[request.key], theirs[request.key]
        assert (mine.token_ids, mine.finish_reason) == (other.token_ids, other.finish_reason)
        assert mine.text == other.text
    texts = {n: [done[r.key].text for r in requests if r.adapter == n]
             for n in ("batched", "generalist")}  # fmt: skip
    assert texts["batched"] != texts["generalist"]  # it ends at its own end


def test_a_finetune_ends_where_its_own_config_says(base: Base, tmp_path: Path) -> None:
    for file in base.path.iterdir():
        shutil.copy(file, tmp_path)
    assert own_words(tmp_path, base) is None
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [2, 7]}')
    assert end_ids(tmp_path) == [2, 7]
    assert own_words(tmp_path, base) is not None


def edit(file: str, change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        found = json.loads((path / file).read_text())
        change(found)
        (path / file).write_text(json.dumps(found))

    return apply


REGEX = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}
MALFORMED: dict[str, Callable[[Path], Any]] = {
    "cut": lambda p: (p / "tokenizer.json").write_text('{"model": {'),
    "deep": lambda p: (p / "tokenizer.json").write_text('{"a":' * 100_000),
    "large": lambda p: (p / "tokenizer.json").write_bytes(b" " * ((1 << 26) + 1)),
    "no object": lambda p: (p / "tokenizer.json").write_text("[]"),
    "settings": lambda p: (p / "tokenizer_config.json").write_text("null"),
    "evil pattern": edit("tokenizer.json", lambda t: t.update(pre_tokenizer=REGEX)),
    "evil end": lambda p: (p / "special_tokens_map.json").write_text('{"eos_token": '),
}  # fmt: skip


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_tokenizer_ends_in_one_line(
    case: str, extended: Path, base: Base, tmp_path: Path
) -> None:
    path = copy_of(extended, tmp_path)
    MALFORMED[case](path)
    with pytest.raises(AdapterError) as caught:
        load_adapter(path, "x", base, weight_shapes(base))
    assert str(caught.value).startswith(str(path))
    assert str(caught.value).isprintable()


def test_no_file_and_no_class_that_its_settings_name_is_opened(
    adapter: Adapter, extended: Path, base: Base, tmp_path: Path
) -> None:
    path = copy_of(extended, tmp_path)
    named = {
        "tokenizer_file": "/etc/passwd",
        "vocab_file": "/etc/passwd",
        "tokenizer_class": "Evil",
        "auto_map": {"AutoTokenizer": ["evil.E", "evil.E"]},
    }
    edit("tokenizer_config.json", lambda settings: settings.update(named))(path)
    again = load_adapter(path, "again", base, weight_shapes(base))
    known = tokenizers(base, [adapter, again])
    assert known["again"]([PROMPT])["input_ids"] == known["extended"]([PROMPT])["input_ids"]


def test_what_cannot_be_loaded_is_said_in_one_line(
    extended: Path, base: Base, tmp_path: Path
) -> None:
    path = copy_of(extended, tmp_path)
    edit("tokenizer_config.json", lambda t: t.update(eos_token=5))(path)
    broken = load_adapter(path, "broken", base, weight_shapes(base))
    with pytest.raises(AdapterError, match="its tokenizer cannot be loaded"):
        tokenizers(base, [broken])
    edit("tokenizer.json", lambda t: t["model"].update(type="Oracle"))(path)
    with pytest.raises(AdapterError, match=r"tokenizer\.json: cannot be loaded"):
        load_adapter(path, "broken", base, weight_shapes(base))
