"""Every kind of checkpoint through its route on real vLLM, held against transformers and peft.

``PEVAL_SLOW=1`` takes every kind that fits a base which vLLM serves, those that need an engine of
their own, and bfloat16.
"""

from __future__ import annotations

import functools
import importlib.util
import itertools
import math
import os
import random
import shutil
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from checkpoints import KINDS, base_of, finetune, make
from scripted import TOY

from peval import adapters as adapter_files
from peval import routing
from peval.adapters.whole import is_whole
from peval.bases import load_base, weight_shapes
from peval.engines import RoutedEngine, SupervisedEngine
from peval.errors import AdapterError
from peval.types import Adapter, Completion, Decoding, EngineSpec, Request

IS_SLOW = os.environ.get("PEVAL_SLOW") == "1"
N_PROMPTS = 3
MAX_TOKENS = 12
CHOICES = ((5, 17, 300), (44, 9))
TOLERANCE_NAT = 2e-3
# bfloat16 has steps of 1/8 where a logit is 16, so no engine comes within 0.02 nat of float32: ours
# may be this many times as far from it as transformers in bfloat16 is.
BFLOAT16_TIMES = 1.5
QUICK = (
    "lora", "rslora", "lora-patterns", "lora-embedding", "dora", "pissa", "pissa-initial",
    "olora-initial", "modules-to-save-norm", "adalora", "loha", "lokr",
    "ia3", "vera", "vera-unsaved", "oft", "boft", "hra", "fourierft", "miss", "miss-bat", "c3a",
    "waveft", "delora", "gralora", "ln-tuning", "prompt-tuning", "p-tuning", "multitask-one",
)  # fmt: skip
APART = (
    "lora-resized", "modules-to-save", "dora-embedding", "trainable-tokens",
    "trainable-tokens-lora", "full",
)  # fmt: skip
BIASED = {
    "lora-bias": ("merge", False),
    "lora-bias-all": ("merge", False),
    "lora-b-bias": ("merge", False),
    "modules-to-save-head": ("merge", True),
}

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(not importlib.util.find_spec("vllm"), reason="vLLM is not installed"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kinds")


def loaded(paths: dict[str, Path], base: Path = TOY / "base") -> tuple[Adapter, ...]:
    known = load_base(str(base))
    shapes = weight_shapes(known)
    return tuple(adapter_files.load_adapter(p, name, known, shapes) for name, p in paths.items())


def prompts() -> list[tuple[int, ...]]:
    rng = random.Random(0)
    return [tuple(rng.choices(range(10, 1000), k=rng.randint(5, 30))) for _ in range(N_PROMPTS)]


def requests(names: Sequence[str | None], mark: str = "") -> list[Request]:
    """Ask every system the same, interleaved: to generate, and for likelihoods."""
    generate = [
        Request(f"{name}/{i}{mark}", "toy", str(i), name, prompt, Decoding(MAX_TOKENS))
        for i, prompt in enumerate(prompts())
        for name in names
    ]
    return generate + [
        replace(r, key=f"{r.key}?", decoding=Decoding(0), choices=CHOICES) for r in generate
    ]


def engine_of(
    adapters: tuple[Adapter, ...], log: Path, dtype: str = "float32", base: Path = TOY / "base"
) -> Any:
    whole = EngineSpec("vllm", load_base(str(base)), adapters, dtype, 256, 0, {"max_num_seqs": 32})
    return RoutedEngine([(s, SupervisedEngine(s, log)) for s in routing.specs(whole)])


def ask(engine: Any, asked: Sequence[Request]) -> dict[str, Completion]:
    answers = {a.key: a for a in engine.complete(asked)}
    assert set(answers) == {r.key for r in asked}
    return answers


@pytest.fixture(scope="module")
def kinds(place: Path) -> dict[str, Path]:
    """Checkpoints by name: PEFT's kinds, no-ops on three routes, whole finetunes."""
    names = list(QUICK)
    if IS_SLOW:
        names += [k for k, kind in KINDS.items() if kind.base == "toy" and k not in names]
    found = {name: make(name, place / name, place) for name in names if name not in APART}
    base = TOY / "base"
    found["partial"] = finetune(base, place / "partial", "layers.1.")
    found["noop"] = TOY / "adapters" / "noop"
    found["noop-merge"] = found["noop"]
    found["noop-rewrite"] = make("loha", place / "noop-rewrite", place, is_trained=False)
    return found


@pytest.fixture(scope="module")
def served(kinds: dict[str, Path]) -> tuple[Adapter, ...]:
    """The adapters that vLLM serves here; refused kinds and those of transformers are left out."""
    found = []
    for name, path in kinds.items():
        try:
            (adapter,) = loaded({name: path})
        except AdapterError:
            continue
        if adapter.route != "hf" and name not in ("multitask-prompt",):
            found.append(replace(adapter, route="merge") if name == "noop-merge" else adapter)
    return tuple(found)


@pytest.fixture(scope="module")
def answers(
    served: tuple[Adapter, ...], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Completion]]:
    """Everything asked of one engine, and the base once more in the end."""
    log = tmp_path_factory.mktemp("vllm") / "engine.log"
    engine = engine_of(served, log)
    prompted = {a.name for a in served if a.route == "prompt-embeds"}
    started_s = time.monotonic()
    asked = [
        r for r in requests([None, *(a.name for a in served)])
        if not (r.choices and r.adapter in prompted)
    ]  # fmt: skip
    try:
        yield ask(engine, [*asked, *requests([None], mark=" again")])
    finally:
        engine.close()
    print(f"\n{len(served)} adapters in {time.monotonic() - started_s:.0f} s")


@functools.cache
def alone(adapter: Adapter, dtype: str) -> Any:
    """Return the adapter's model as transformers and peft load it."""
    import peft
    import torch
    import transformers

    whole = is_whole(adapter.path)
    source = adapter.path if whole else adapter.base_name
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(
        source, dtype=getattr(torch, dtype)
    )
    if adapter.vocabulary_size and not whole:
        model.resize_token_embeddings(adapter.vocabulary_size, mean_resizing=False)
    return (model if whole else peft.PeftModel.from_pretrained(model, adapter.path)).eval()


def greedy(adapter: Adapter) -> list[list[int]]:
    """Return the greedy tokens after each prompt, in float32."""
    import torch

    model = alone(adapter, "float32")
    extra = {"task_ids": torch.tensor([0])} if adapter.method.startswith("multitask") else {}
    found = []
    with torch.inference_mode():
        for prompt in prompts():
            ids = torch.tensor([prompt])
            out = model.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=MAX_TOKENS,
                do_sample=False, eos_token_id=2, pad_token_id=0, **extra,
            )[0].tolist()  # fmt: skip
            found.append(out[len(prompt) :])
    return found


def expected(adapter: Adapter, dtype: str) -> list[float]:
    """Return the log-probability of each token of the choices, prompt by prompt."""
    import torch

    model = alone(adapter, dtype)
    found = []
    with torch.inference_mode():
        for prompt, choice in itertools.product(prompts(), CHOICES):
            logits = model(torch.tensor([prompt + choice])).logits[0].float().log_softmax(-1)
            at = range(len(prompt) - 1, len(prompt) + len(choice) - 1)
            found += [float(logits[i, t]) for i, t in zip(at, choice, strict=True)]
    return found


def answered(adapter: Adapter, answers: dict[str, Completion]) -> list[float]:
    """Return the same of an engine's answers."""
    return [
        nat
        for i in range(N_PROMPTS)
        for one in answers[f"{adapter.name}/{i}?"].likelihoods
        for nat in one.logprobs
    ]


def gaps_nat(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    return [abs(a - b) for a, b in zip(ours, theirs, strict=True)]


def check(adapter: Adapter, answers: dict[str, Completion]) -> float:
    """Hold an adapter's answers in float32 against the reference; return the largest difference."""
    for i, tokens in enumerate(greedy(adapter)):
        answer = answers[f"{adapter.name}/{i}"]
        assert answer.error is None, answer.error
        assert list(answer.token_ids) == tokens
    if adapter.route == "prompt-embeds":
        return 0.0
    worst = max(gaps_nat(answered(adapter, answers), expected(adapter, "float32")))
    assert worst <= TOLERANCE_NAT
    return worst


def test_every_kind_agrees_with_transformers_and_peft(
    served: tuple[Adapter, ...], answers: dict[str, Completion]
) -> None:
    assert len(served) >= 25
    worst: dict[str, float] = {}
    wrong = []
    for adapter in served:
        try:
            found = check(adapter, answers)
            worst[adapter.route] = max(found, worst.get(adapter.route, 0.0))
        except AssertionError as error:
            wrong.append(f"{adapter.name}: {str(error)[:300]}")
    print("\n" + ", ".join(f"{route} {nat:.1e} nat" for route, nat in worst.items()))
    assert not wrong, "\n".join(wrong)


def test_they_are_applied(served: tuple[Adapter, ...], answers: dict[str, Completion]) -> None:
    def said(name: str | None) -> list[Any]:
        return [answers[f"{name}/{i}"].token_ids for i in range(N_PROMPTS)] + [
            answers[f"{name}/{i}?"].likelihoods
            for i in range(N_PROMPTS)
            if f"{name}/{i}?" in answers
        ]

    idle = [a.name for a in served if said(a.name) == said(None)]
    assert idle == ["noop", "noop-merge", "noop-rewrite"]


def test_merging_and_unmerging_leaves_the_base_as_it_was(answers: dict[str, Completion]) -> None:
    for i in range(N_PROMPTS):
        for mark in ("", "?"):
            before, after = answers[f"None/{i}{mark}"], answers[f"None/{i} again{mark}"]
            assert replace(before, key="") == replace(after, key="")


@pytest.mark.skipif(not IS_SLOW, reason="another engine start each: PEVAL_SLOW=1")
@pytest.mark.parametrize("kind", APART)
def test_a_checkpoint_that_needs_an_engine_of_its_own(
    kind: str, place: Path, tmp_path: Path
) -> None:
    path = place / kind
    if kind == "full":
        finetune(TOY / "base", path, "")
    else:
        make(kind, path, place)
    adapters = loaded({kind: path})
    assert adapters[0].is_apart
    engine = engine_of(adapters, tmp_path / "engine.log")
    try:
        found = ask(engine, requests([kind]))
    finally:
        engine.close()
    assert math.isfinite(check(adapters[0], found))


@pytest.mark.skipif(not IS_SLOW, reason="three engine starts: PEVAL_SLOW=1")
def test_biases_and_an_output_layer_on_a_base_that_has_both(place: Path, tmp_path: Path) -> None:
    base = base_of("biased", place)
    shutil.copy(TOY / "base" / "tokenizer.json", base)
    paths = {k: make(k, place / k, place) for k in BIASED}
    paths["bitfit"] = finetune(base, place / "bitfit", ".bias")
    adapters = loaded(paths, base)
    assert {a.name: (a.route, a.is_apart) for a in adapters} == BIASED | {
        "bitfit": ("merge", False)
    }
    engine = engine_of(adapters, tmp_path / "engine.log", base=base)
    try:
        found = ask(engine, requests([None, *paths]))
    finally:
        engine.close()
    worst = max(check(adapter, found) for adapter in adapters)
    print(f"\nbiases and output layer: {worst:.1e} nat")
    said = {name: [found[f"{name}/{i}?"].likelihoods for i in range(N_PROMPTS)]
            for name in (None, *paths)}  # fmt: skip
    assert all(said[name] != said[None] for name in paths)


@pytest.mark.skipif(not IS_SLOW, reason="another engine start: PEVAL_SLOW=1")
def test_log_probabilities_in_bfloat16(served: tuple[Adapter, ...], tmp_path: Path) -> None:
    mine = tuple(a for a in served if a.route != "prompt-embeds")
    engine = engine_of(mine, tmp_path / "engine.log", "bfloat16")
    try:
        found = ask(engine, requests([a.name for a in mine]))
    finally:
        engine.close()
    ours: dict[str, list[float]] = {}
    theirs: dict[str, list[float]] = {}
    for adapter in mine:
        exact = expected(adapter, "float32")
        ours.setdefault(adapter.route, []).extend(gaps_nat(answered(adapter, found), exact))
        gaps = gaps_nat(expected(adapter, "bfloat16"), exact)
        theirs.setdefault(adapter.route, []).extend(gaps)
    for route, gaps in ours.items():
        mean, peer = statistics.fmean(gaps), statistics.fmean(theirs[route])
        print(f"\n{route} in bfloat16: {mean:.4f} nat (transformers {peer:.4f})")
        assert mean <= BFLOAT16_TIMES * peer, route
