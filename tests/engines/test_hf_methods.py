"""Every kind of checkpoint on transformers and peft, beside a model loaded for it alone."""

from __future__ import annotations

import dataclasses
import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from checkpoints import KINDS, base_of, finetune, make, mixture, overflowing
from scripted import TOY

from peval.adapters import load_adapter
from peval.bases import load_base, weight_shapes
from peval.engines.hf_backend import HfBackend
from peval.engines.wire import NO_NUMBERS
from peval.engines.worker import with_numbers
from peval.types import Adapter, Completion, Decoding, EngineSpec, Request

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(400),
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.usefixtures("one_thread"),
]
N_TOKENS = 6
LENGTHS = (5, 14, 14, 9)
UNSERVED = {
    "target-parameters", "vblora-topk", "cpt", "randlora", "shira", "psoft", "poly",
    "pissa-random", "multitask-prompt", "multitask-one",
}  # fmt: skip
WHOLE = {"full": "", "bias-only": ".bias"}
ON = {
    base: [name for name, kind in KINDS.items() if kind.base == base and name not in UNSERVED]
    for base in ("toy", "biased", "gpt2")
}
ON["biased"] += WHOLE


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kinds")


def base_with_words(name: str, place: Path) -> Path:
    """Return a base with a tokenizer that can be loaded: answers are decoded."""
    base = base_of(name, place)
    if name != "toy":
        for file in (TOY / "base").glob("tokenizer*"):
            shutil.copy(file, base)
    return base


def saved(name: str, base: Path, place: Path) -> Path:
    if name in WHOLE:
        return finetune(base, place / name, WHOLE[name])
    return make(name, place / name, place)


def prompts() -> list[tuple[int, ...]]:
    rng = random.Random(3)
    found = [tuple(rng.choices(range(2, 39), k=n)) for n in LENGTHS]
    # What begins an aLoRA stands in the middle of two prompts, and in no other.
    return [(*p[:3], 5, 6, *p[5:]) if n < 2 else p for n, p in enumerate(found)]


CHOICES = ((7, 8, 9), (11,), (12, 3))


def asked(name: str | None) -> Iterator[Request]:
    for number, prompt in enumerate(prompts()):
        rest = ("t", str(number), name, prompt)
        yield Request(f"{name}/write/{number}", *rest, Decoding(N_TOKENS))
        yield Request(f"{name}/choose/{number}", *rest, Decoding(0), choices=CHOICES)


def engine(base: Path, adapters: tuple[Adapter, ...], dtype: str = "float32") -> HfBackend:
    spec = EngineSpec("hf", load_base(str(base)), adapters, dtype, 64, 0)
    found = HfBackend(spec, lambda: None)
    found._decoders[None].eos = ()  # so that every answer has its full length
    return found


def answers(backend: HfBackend, names: list[str | None]) -> dict[str, Completion]:
    for requests in zip(*map(asked, names), strict=True):  # adapters take turns, as in a run
        for request in requests:
            backend.submit(request)
    done = {}
    while backend.has_work():
        done |= {one.key: one for one in backend.step()}
    return done


def alone(path: Path | None, base: Path) -> Any:
    """Load the base, and an adapter on it, as PEFT's own documentation does."""
    import peft
    import torch
    import transformers

    auto = transformers.AutoModelForCausalLM
    if path is not None and not (path / "adapter_config.json").exists():
        return auto.from_pretrained(path, dtype=torch.float32).eval()
    model = auto.from_pretrained(base, dtype=torch.float32)
    if path is None:
        return model.eval()
    if path.name == "lora-resized":
        model.resize_token_embeddings(KINDS["lora-resized"].resize)
    return peft.PeftModel.from_pretrained(model, path).eval()


def next_logprobs(model: Any, ids: list[int]) -> Any:
    import torch

    with torch.inference_mode():
        return model(input_ids=torch.tensor([ids])).logits[0].float().log_softmax(-1)


def written(model: Any, prompt: tuple[int, ...]) -> list[int]:
    """Go on greedily, every token from the start: no cache, no padding, no batch."""
    ids = list(prompt)
    for _ in range(N_TOKENS):
        ids.append(int(next_logprobs(model, ids)[-1].argmax()))
    return ids[len(prompt) :]


def check(name: str | None, model: Any, found: dict[str, Completion]) -> None:
    for number, prompt in enumerate(prompts()):
        done = found[f"{name}/write/{number}"]
        assert list(done.token_ids) == written(model, prompt), (name, number)
        for choice, one in zip(CHOICES, found[f"{name}/choose/{number}"].likelihoods, strict=True):
            rows = next_logprobs(model, [*prompt, *choice])[-len(choice) - 1 : -1]
            expected = [float(row[token]) for row, token in zip(rows, choice, strict=True)]
            assert one.logprobs == pytest.approx(expected, abs=2e-5), (name, number)


@pytest.mark.parametrize("on", ON)
def test_every_kind_answers_as_if_it_were_alone(on: str, place: Path) -> None:
    base = base_with_words(on, place)
    paths = {name: saved(name, base, place) for name in ON[on]}
    found = load_base(str(base))
    shapes = weight_shapes(found)
    adapters = tuple(load_adapter(path, name, found, shapes) for name, path in paths.items())
    backend = engine(base, adapters)
    assert backend.ready["refused"] == {}
    done = answers(backend, [None, *paths])
    check(None, alone(None, base), done)
    for name, path in paths.items():
        check(name, alone(path, base), done)
    again = answers(backend, [None])
    assert all(again[key] == done[key] for key in again)  # whatever was loaded in between
    differ = {n for n in paths if any(
        done[f"{n}/choose/{i}"].likelihoods != done[f"None/choose/{i}"].likelihoods
        for i in range(len(LENGTHS)))}  # fmt: skip
    assert differ == set(paths)


def test_a_base_is_the_base_bit_for_bit_beside_what_rewrites_it(place: Path) -> None:
    """PiSSA, OLoRA, biases and embeddings are written over the weights they are loaded on."""
    import torch

    for on, names in {
        "toy": ["pissa", "olora-initial", "lora-resized", "modules-to-save"],
        "biased": ["lora-bias-all", "modules-to-save-head"],
    }.items():
        base = base_with_words(on, place)
        known = load_base(str(base))
        shapes = weight_shapes(known)
        adapters = tuple(load_adapter(saved(n, base, place), n, known, shapes) for n in names)
        held = engine(base, adapters)._models.of(None).model.state_dict()
        fresh = alone(None, base).state_dict()
        assert held.keys() == fresh.keys()
        assert all(torch.equal(held[name], fresh[name]) for name in fresh)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_noop_is_the_base_bit_for_bit(dtype: str) -> None:
    base = load_base(str(TOY / "base"))
    noop = load_adapter(TOY / "adapters" / "noop", "noop", base, weight_shapes(base))
    done = answers(engine(TOY / "base", (noop,), dtype), [None, "noop"])
    for key in [key for key in done if key.startswith("None/")]:
        theirs = dataclasses.replace(done[key.replace("None", "noop")], key=key)
        assert theirs == done[key]


MIXTURES: dict[str, dict[str, Any]] = {
    "x-lora": {},
    "x-lora-by-layer": {"layerwise_scalings": True, "xlora_depth": 1, "top_k_lora": 1,
                        "enable_softmax": False, "enable_softmax_topk": True},
    "x-lora-scaled": {"scaling_pass_value": 0.5, "global_scaling_weight": 3.0,
                      "softmax_temperature": 0.5, "xlora_dropout_p": 0.0},
}  # fmt: skip


def mixture_alone(path: Path) -> Any:
    """Load an X-LoRA as PEFT does by itself: from where its config says that the experts lie."""
    import peft
    import torch
    import transformers

    auto: Any = transformers.AutoModelForCausalLM
    model = auto.from_pretrained(TOY / "base", dtype=torch.float32)
    model.config.use_cache = False
    return peft.PeftModel.from_pretrained(model, path).eval()


def test_x_lora_answers_as_in_peft_alone(place: Path, tmp_path: Path) -> None:
    made = {n: mixture(place / n, place, **settings) for n, settings in MIXTURES.items()}
    base = load_base(str(TOY / "base"))
    shapes = weight_shapes(base)
    moved = {n: shutil.copytree(path, tmp_path / n) for n, path in made.items()}
    adapters = tuple(load_adapter(path, n, base, shapes) for n, path in moved.items())
    backend = engine(base.path, adapters)
    assert backend.ready["refused"] == {}
    done = answers(backend, [None, *made])
    check(None, alone(None, base.path), done)
    experts = alone(made["x-lora"] / "lora", base.path)
    for name, path in made.items():
        check(name, mixture_alone(path), done)
        for other in (alone(None, base.path), experts):
            with pytest.raises(AssertionError):
                check(name, other, done)


def test_a_prompt_of_several_tasks_is_refused_alone(place: Path) -> None:
    path = make("multitask-prompt", place / "multitask-prompt", place)
    base = load_base(str(TOY / "base"))
    several = load_adapter(path, "several", base, weight_shapes(base))
    backend = engine(TOY / "base", (several,))
    assert "holds 2 tasks, of which one must be chosen" in backend.ready["refused"]["several"]


def test_a_prompt_of_one_task(place: Path) -> None:
    import peft
    import torch

    path = place / "one-task"
    model = alone(None, TOY / "base")
    config = peft.MultitaskPromptTuningConfig(
        task_type="CAUSAL_LM", num_virtual_tokens=3, num_tasks=1
    )
    torch.manual_seed(4)
    adapted = peft.get_peft_model(model, config)
    adapted.save_pretrained(path)
    assert json.loads((path / "adapter_config.json").read_text())["num_tasks"] == 1
    base = load_base(str(TOY / "base"))
    backend = engine(TOY / "base", (load_adapter(path, "one", base, weight_shapes(base)),))
    done = answers(backend, ["one"])
    loaded = alone(path, TOY / "base")
    plain = loaded.forward
    loaded.forward = lambda **given: plain(task_ids=torch.tensor([0]), **given)
    check("one", loaded, done)


def test_an_overflowing_adapter_spoils_its_own_rows_alone(tmp_path: Path) -> None:
    bad = overflowing(tmp_path / "bad", 1e30)
    base = load_base(str(TOY / "base"))
    shapes = weight_shapes(base)
    paths = {"good": TOY / "adapters" / "generalist", "bad": bad}
    adapters = tuple(load_adapter(path, name, base, shapes) for name, path in paths.items())
    found = answers(engine(base.path, adapters), [None, "good", "bad"])
    alone = answers(engine(base.path, adapters[:1]), [None, "good"])
    assert {key: found[key] for key in alone} == alone
    for key, one in found.items():
        if key.startswith("bad/write"):
            assert one.error == NO_NUMBERS
        elif key.startswith("bad"):
            assert with_numbers(one).error == NO_NUMBERS
        else:
            assert with_numbers(one) == one
