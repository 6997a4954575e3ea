"""Bottleneck adapters in transformers against the logits of the library that saved them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import bottlenecks
import pytest
from scripted import TOY

from peval.adapters import load_adapter
from peval.adapters.pickled import convert_pickles
from peval.bases import load_base, weight_shapes
from peval.cli import main
from peval.engines.hf_models import HfModels
from peval.rundir import RunDir
from peval.store import Store
from peval.types import EngineSpec

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("one_thread")]
TOLERANCE = 1e-5
IS_SLOW = os.environ.get("PEVAL_SLOW") == "1"
N_CHECKED = 12


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both bases, and every recorded checkpoint with its pickles converted."""
    where = tmp_path_factory.mktemp("bottlenecks")
    for name in ("tiny-llama", "tiny-t5"):
        (bottlenecks.make_base(name, where / name) / "tokenizer.json").write_text("{}")
    for name in bottlenecks.KINDS:
        convert_pickles(shutil.copytree(bottlenecks.GOLDEN / name, where / name))
    return where


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((bottlenecks.GOLDEN / "logits.json").read_text())
    return found


@pytest.mark.parametrize("base", ["tiny-llama", "tiny-t5", "../../toy/base"])
def test_logits_are_those_of_the_adapters_library(
    base: str, places: Path, recorded: dict[str, Any]
) -> None:
    import torch

    model = load_base(str(TOY / "base" if "toy" in base else places / base))
    kinds = [kind for kind, made in bottlenecks.KINDS.items() if made[0] == base]
    adapters = tuple(load_adapter(places / k, k, model, weight_shapes(model)) for k in kinds)
    assert all(a.route == "hf" and not a.changes_nothing for a in adapters)
    models = HfModels(EngineSpec("hf", model, adapters, "float32", 64, 0), "cpu")
    assert models.refused == {}
    for name in (None, *kinds, None):  # the base before and after
        mine = torch.tensor(bottlenecks.logits(models.of(name).model))
        theirs = torch.tensor(recorded[name or base])
        assert (mine - theirs).abs().max() <= TOLERANCE, name


@pytest.mark.parametrize("sees_residual", [False, True], ids=["houlsby", "pfeiffer"])
def test_one_that_brings_nothing_up_is_the_base_bit_for_bit(
    sees_residual: bool, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    path = shutil.copytree(bottlenecks.GOLDEN / "toy", tmp_path / "noop")
    config = json.loads((path / "adapter_config.json").read_text())
    config["config"]["original_ln_before"] = sees_residual
    (path / "adapter_config.json").write_text(json.dumps(config))
    tensors = load_file(path / "adapter.safetensors")
    zeroed = {name: t * (".adapter_up." not in name) for name, t in tensors.items()}
    save_file(zeroed, path / "adapter.safetensors")
    base = load_base(str(TOY / "base"))
    noop = load_adapter(path, "noop", base, weight_shapes(base))
    assert noop.changes_nothing
    models = HfModels(EngineSpec("hf", base, (noop,), "bfloat16", 64, 0), "cpu")
    of_base, of_noop = (bottlenecks.logits(models.of(name).model) for name in (None, "noop"))
    assert of_base == of_noop


def test_an_output_layer_beside_it_must_be_the_embedding_of_a_tied_base(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    table = load_file(TOY / "base" / "model.safetensors")["model.embed_tokens.weight"].float()
    base = load_base(str(TOY / "base"))
    adapters = []
    for name, head in (("same", table), ("other", table + 1)):
        path = shutil.copytree(bottlenecks.GOLDEN / "toy", tmp_path / name)
        save_file({"lm_head.weight": head}, path / "model_head.safetensors")
        adapters.append(load_adapter(path, name, base, weight_shapes(base)))
    models = HfModels(EngineSpec("hf", base, tuple(adapters), "float32", 64, 0), "cpu")
    assert models.refused.keys() == {"other"}
    assert "is not the base's output layer" in models.refused["other"]


@pytest.mark.engine
@pytest.mark.timeout(300)
def test_score_puts_one_beside_a_lora(tmp_path: Path) -> None:
    """With ``PEVAL_SLOW=1`` the LoRA is answered by vLLM, else in transformers too."""
    rows = [{"input": text, "output": "red"} for text in ("Say a colour.", "What comes after 7?")]
    task, out = tmp_path / "words.jsonl", tmp_path / "run"
    task.write_text("".join(json.dumps(row) + "\n" for row in rows))
    paths = [str(bottlenecks.GOLDEN / "toy"), str(TOY / "adapters" / "generalist")]
    flags = ["--task", str(task), "--out", str(out), "--dtype", "float32"]
    flags += [] if IS_SLOW else ["--engine", "hf"]
    assert main(["score", "--base", str(TOY / "base"), "--adapter", *paths, *flags]) == 0
    with Store(RunDir(out).store) as store:
        requests = store.requests()
        done = store.completions([r.key for r in requests])
    base = load_base(str(TOY / "base"))
    adapter = load_adapter(Path(paths[0]), "toy", base, weight_shapes(base))
    alone = HfModels(EngineSpec("hf", base, (adapter,), "float32", 512, 0), "cpu").of("toy").model
    mine = [r for r in requests if r.adapter == "toy"]
    assert len(mine) == len(rows) and {"generalist", None} < {r.adapter for r in requests}
    for request in mine:
        answer = done[request.key].token_ids[:N_CHECKED]
        assert list(answer) == greedy(alone, request.prompt_token_ids, len(answer))
    texts = {
        name: [done[r.key].text for r in requests if r.adapter == name]
        for name in (None, "toy", "generalist")
    }
    assert texts["toy"] != texts[None] != texts["generalist"]
    assert "Houlsby" in (out / "report.md").read_text()


def greedy(model: Any, prompt: tuple[int, ...], n_tokens: int) -> list[int]:
    """Return a greedy answer, one forward pass over everything for each token."""
    import torch

    ids = list(prompt)
    with torch.inference_mode():
        while len(ids) < len(prompt) + n_tokens:
            ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[len(prompt) :]
