"""Classification heads in transformers, beside transformers' own pipeline."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import lowres
import pytest

from peval.adapters import load_adapter
from peval.bases import load_base, weight_shapes
from peval.engines import open_engine
from peval.engines.hf_heads import HeadBackend
from peval.engines.vllm_heads import without_padding
from peval.errors import AdapterError
from peval.heads import named_classes
from peval.inspection import inspect, text
from peval.routing import routed
from peval.types import Adapter, Completion, Decoding, EngineSpec, Request

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(400),
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.usefixtures("one_thread"),
]
TEXTS = [text for text, _ in lowres.sentences(12, 9)] + ["the cat", "sees the old dog a man"]


@pytest.fixture(scope="module", params=["opt", "llama"])
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lowres.make_base(request.param, tmp_path_factory.mktemp("bases") / request.param)


def adapter_of(path: Path, base: Path) -> Adapter:
    found = load_base(str(base))
    return load_adapter(path, path.name, found, weight_shapes(found))


def asked(base: Path, adapter: Adapter) -> list[Request]:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    return [
        Request(str(n), "cola", str(n), adapter.name, tuple(tokenizer(text)["input_ids"]),
                Decoding(max_tokens=0), choices=((0,), (1,)), of_head=True)
        for n, text in enumerate(TEXTS)
    ]  # fmt: skip


def answers(base: Path, *adapters: Adapter) -> dict[str, dict[str, Completion]]:
    spec = EngineSpec("hf", load_base(str(base)), adapters, "float32", 512, 0)
    backend = HeadBackend(spec, lambda: None)
    found: dict[str, dict[str, Completion]] = {}
    for adapter in adapters:
        for request in asked(base, adapter):
            backend.submit(request)
        mine = found.setdefault(adapter.name, {})
        while backend.has_work():
            mine |= {one.key: one for one in backend.step()}
    return found


def pipelines_logits(base: Path, path: Path) -> list[list[float]]:
    """Return what transformers' pipeline says of each text, by class."""
    import peft
    import transformers

    auto: Any = transformers.AutoModelForSequenceClassification
    if (path / "adapter_config.json").exists():
        model = auto.from_pretrained(base, num_labels=2)
        model = peft.PeftModel.from_pretrained(model, str(path)).merge_and_unload()
    else:
        model = auto.from_pretrained(path)
    classify: Any = transformers.pipeline(
        "text-classification", model=model.eval(),
        tokenizer=transformers.AutoTokenizer.from_pretrained(base),
    )  # fmt: skip
    said = [classify(text, function_to_apply="none", top_k=None) for text in TEXTS]
    order = model.config.id2label
    return [
        [{o["label"]: o["score"] for o in one}[order[i]] for i in sorted(order)] for one in said
    ]


def test_heads_say_what_the_pipeline_says(base: Path, tmp_path: Path) -> None:
    assert_like_the_pipeline(base, tmp_path)


@pytest.mark.parametrize("kind", ["opt-350m", "neox"])
def test_heads_of_other_widths_and_names(kind: str, tmp_path: Path) -> None:
    """OPT-350M's head is as narrow as its embedding; Pythia's output layer has another name."""
    assert_like_the_pipeline(lowres.make_base(kind, tmp_path / kind), tmp_path)


def assert_like_the_pipeline(base: Path, tmp_path: Path) -> None:
    import torch

    items = lowres.sentences(32, 1)
    full = lowres.train_head(base, tmp_path / "full", items, 0, lora=False)
    lora = lowres.train_head(base, tmp_path / "lora", items, 0, lora=True)
    found = [adapter_of(full, base), named_classes(adapter_of(lora, base), lowres.LABELS)]
    assert [a.labels for a in found] == [lowres.LABELS] * 2
    assert [a.route for a in found] == ["hf", "hf"]
    mine = answers(base, *found)
    for adapter, path in zip(found, (full, lora), strict=True):
        logits = torch.tensor(pipelines_logits(base, path))
        wanted = logits.double().log_softmax(-1)
        got = torch.tensor(
            [[one.total for one in mine[adapter.name][str(n)].likelihoods]
             for n in range(len(TEXTS))], dtype=torch.float64,
        )  # fmt: skip
        assert (got - wanted).abs().max() < 1e-5
        assert wanted.std(0).min() > 1e-3  # texts are told apart


def test_a_model_without_padding_token_answers_batches(base: Path, tmp_path: Path) -> None:
    full = lowres.train_head(base, tmp_path / "full", lowres.sentences(16, 1), 0, lora=False)
    bare = tmp_path / "bare"
    shutil.copytree(full, bare)
    config = json.loads((bare / "config.json").read_text())
    (bare / "config.json").write_text(json.dumps(config | {"pad_token_id": None}))
    mine = answers(base, adapter_of(full, base), adapter_of(bare, base))
    for key, one in mine["full"].items():
        other = mine["bare"][key]
        assert one.likelihoods == other.likelihoods


@pytest.mark.parametrize("lora", [False, True])
def test_a_head_on_the_base_itself_is_noticed(base: Path, tmp_path: Path, lora: bool) -> None:
    idle = lowres.train_head(base, tmp_path / "idle", [], 0, lora=lora)
    trained = lowres.train_head(base, tmp_path / "trained", lowres.sentences(8, 1), 0, lora=lora)
    assert [adapter_of(path, base).changes_nothing for path in (idle, trained)] == [True, False]
    assert "but its head is the base" in text(inspect(idle, str(base), False))


def test_heads_that_do_not_fit_are_refused(base: Path, tmp_path: Path) -> None:
    full = lowres.train_head(base, tmp_path / "full", [], 0, lora=False, named=False)
    assert adapter_of(full, base).labels == ("LABEL_0", "LABEL_1")
    config = json.loads((full / "config.json").read_text())
    named = {"0": "a", "1": "b", "2": "c"}
    (full / "config.json").write_text(json.dumps(config | {"id2label": named}))
    with pytest.raises(AdapterError, match="does not name the 2 classes of the head"):
        adapter_of(full, base)
    lora = lowres.train_head(base, tmp_path / "lora", [], 0, lora=True)
    config = json.loads((lora / "adapter_config.json").read_text())
    (lora / "adapter_config.json").write_text(json.dumps(config | {"task_type": "CAUSAL_LM"}))
    with pytest.raises(AdapterError, match="score"):
        adapter_of(lora, base)


def test_inspection_says_what_the_classes_are_and_who_asks_them(base: Path, tmp_path: Path) -> None:
    for lora in (False, True):
        path = lowres.train_head(base, tmp_path / f"lora-{lora}", [], 0, lora, named=not lora)
        found = inspect(path, str(base), allow_base_mismatch=False)
        assert found["route"] == adapter_of(path, base).route == "hf"
        said = text(found)
        assert "or, with --engine vllm, in vLLM" in said
        assert "classes  " + ("LABEL_0, LABEL_1" if lora else ", ".join(lowres.LABELS)) in said


def test_an_adapter_without_its_head_is_refused(base: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    lora = lowres.train_head(base, tmp_path / "lora", [], 0, lora=True)
    file = lora / "adapter_model.safetensors"
    save_file({k: v for k, v in load_file(file).items() if "score" not in k}, file)
    with pytest.raises(AdapterError, match=r"no head .score or classifier."):
        adapter_of(lora, base)


def test_padding_behind_a_prompt_is_not_read(base: Path, tmp_path: Path) -> None:
    """What vLLM is asked: transformers' heads look for the last token that is no padding."""
    full = lowres.train_head(base, tmp_path / "full", lowres.sentences(16, 1), 0, lora=False)
    adapter = adapter_of(full, base)
    padded = [
        replace(r, prompt_token_ids=(*r.prompt_token_ids, 0, 0)) for r in asked(base, adapter)
    ]
    assert all(without_padding(r.prompt_token_ids, 0) == r.prompt_token_ids[:-2] for r in padded)
    assert without_padding((5, 0), None) == (5, 0)
    assert without_padding((0, 0), 0) == (0,)
    plain = answers(base, adapter)["full"]
    backend = HeadBackend(EngineSpec("hf", load_base(str(base)), (adapter,), "float32", 512, 0),
                          lambda: None)  # fmt: skip
    for request in padded:
        backend.submit(request)
    while backend.has_work():
        for one in backend.step():
            found = [value.total for value in one.likelihoods]
            assert found == pytest.approx([v.total for v in plain[one.key].likelihoods], abs=1e-6)


@pytest.mark.skipif(os.environ.get("PEVAL_SLOW") != "1", reason="slow: set PEVAL_SLOW=1")
@pytest.mark.parametrize("kind", ["opt", "llama", "neox"])
def test_vllms_classification_form_says_the_same(kind: str, tmp_path: Path) -> None:
    """Whole finetunes and LoRAs in one live engine (tests/test_lowres.py has an OPT always)."""
    base = lowres.make_base(kind, tmp_path / kind)
    paths = [
        lowres.train_head(base, tmp_path / f"{seed}-{lora}", lowres.sentences(32, 1), seed, lora)
        for seed in (0, 1) for lora in (False, True)
    ]  # fmt: skip
    loaded = [named_classes(adapter_of(path, base), lowres.LABELS) for path in paths]
    spec = EngineSpec("vllm", load_base(str(base)), routed(loaded, [], "vllm"), "float32", 512, 0)
    requests = [replace(r, key=f"{one.name}/{r.key}")
                for one in loaded for r in asked(base, one)]  # fmt: skip
    with closing(open_engine([spec], tmp_path / "log")) as engine:
        found = {one.key: one for one in engine.complete(requests)}
    theirs = answers(base, *loaded)
    for name, mine in theirs.items():
        largest = max(-value.total for one in mine.values() for value in one.likelihoods)
        within = 1e-5 * max(1, largest)  # as exact as float32 is with logits of this size
        for key, one in mine.items():
            values = [value.total for value in found[f"{name}/{key}"].likelihoods]
            assert values == pytest.approx([v.total for v in one.likelihoods], abs=within)
