"""Every kind of checkpoint through its route on real vLLM, held against transformers and peft.

``PEVAL_SLOW=1`` takes every kind that fits a base which vLLM serves, in bfloat16 too.
"""

from __future__ import annotations

import importlib.util
import math
import os
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from checkpoints import KINDS, finetune, make
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
# Log-probabilities in float32 agree far better than the 0.02 nat that bfloat16 is allowed.
TOLERANCE_NAT = {"float32": 2e-3, "bfloat16": 0.02}
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

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(not importlib.util.find_spec("vllm"), reason="vLLM is not installed"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kinds")


def loaded(paths: dict[str, Path]) -> tuple[Adapter, ...]:
    base = load_base(str(TOY / "base"))
    shapes = weight_shapes(base)
    return tuple(adapter_files.load_adapter(p, name, base, shapes) for name, p in paths.items())


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


def engine_of(adapters: tuple[Adapter, ...], log: Path, dtype: str = "float32") -> Any:
    base = load_base(str(TOY / "base"))
    whole = EngineSpec("vllm", base, adapters, dtype, 256, 0, {"max_num_seqs": 32})
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


def reference(adapter: Adapter, dtype: str) -> tuple[list[list[int]], list[list[float]]]:
    """Return greedy tokens and choices' log-probabilities of transformers and peft."""
    import peft
    import torch
    import transformers

    whole = is_whole(adapter.path)
    source = adapter.path if whole else TOY / "base"
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(
        source, dtype=getattr(torch, dtype)
    )
    if adapter.vocabulary_size and not whole:
        model.resize_token_embeddings(adapter.vocabulary_size, mean_resizing=False)
    if not whole:
        model = peft.PeftModel.from_pretrained(model, adapter.path)
    model.eval()
    n_virtual = 0 if whole else getattr(model.active_peft_config, "num_virtual_tokens", 0) or 0
    extra = {"task_ids": torch.tensor([0])} if adapter.method.startswith("multitask") else {}
    tokens, likely = [], []
    with torch.inference_mode():
        for prompt in prompts():
            ids = torch.tensor([prompt])
            out = model.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=MAX_TOKENS,
                do_sample=False, eos_token_id=2, pad_token_id=0, **extra,
            )[0].tolist()  # fmt: skip
            tokens.append(out[len(prompt) :])
            for choice in CHOICES if not n_virtual else ():
                logits = model(torch.tensor([prompt + choice])).logits[0].float().log_softmax(-1)
                at = range(len(prompt) - 1, len(prompt) + len(choice) - 1)
                likely.append([float(logits[i, t]) for i, t in zip(at, choice, strict=True)])
    return tokens, likely


def check(adapter: Adapter, answers: dict[str, Completion], dtype: str) -> float:
    """Hold an adapter's answers against the reference; return the largest difference in nat."""
    tokens, likely = reference(adapter, dtype)
    for i, expected in enumerate(tokens):
        answer = answers[f"{adapter.name}/{i}"]
        assert answer.error is None, answer.error
        if dtype == "float32":
            assert list(answer.token_ids) == expected
    if not likely:
        return 0.0
    mine = [one.logprobs for i in range(N_PROMPTS)
            for one in answers[f"{adapter.name}/{i}?"].likelihoods]  # fmt: skip
    pairs = zip(mine, likely, strict=True)
    worst = max(abs(a - b) for m, r in pairs for a, b in zip(m, r, strict=True))
    assert worst <= TOLERANCE_NAT[dtype]
    return worst


def test_every_kind_agrees_with_transformers_and_peft(
    served: tuple[Adapter, ...], answers: dict[str, Completion]
) -> None:
    assert len(served) >= 25
    worst: dict[str, float] = {}
    wrong = []
    for adapter in served:
        try:
            found = check(adapter, answers, "float32")
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


@pytest.mark.parametrize("kind", APART if IS_SLOW else APART[:1])
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
    assert math.isfinite(check(adapters[0], found, "float32"))


@pytest.mark.skipif(not IS_SLOW, reason="another engine start: PEVAL_SLOW=1")
def test_log_probabilities_in_bfloat16(served: tuple[Adapter, ...], tmp_path: Path) -> None:
    mine = tuple(a for a in served if a.route != "prompt-embeds")
    engine = engine_of(mine, tmp_path / "engine.log", "bfloat16")
    try:
        found = ask(engine, requests([a.name for a in mine]))
    finally:
        engine.close()
    worst: dict[str, float] = {}
    for adapter in mine:
        nat = check(adapter, found, "bfloat16")
        worst[adapter.route] = max(nat, worst.get(adapter.route, 0.0))
    print("\nbfloat16: " + ", ".join(f"{route} {nat:.3f} nat" for route, nat in worst.items()))
