from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest

from peval import catalog
from peval.plan import ADAPTERS_PER_BATCH, Encoded, Serving, plan
from peval.prompts import Prompt
from peval.types import Adapter, Base, Request, Sample

BASE = Base("b", Path("b"), "b" * 64, "float32", 2048, 100)
SERVING = Serving("vllm-1", "float32", 2048, {})
TASK = catalog.load_task("superni")


def adapter(name: str, sha256: str = "a") -> Adapter:
    return Adapter(name, Path(name), sha256 * 64, "LoRA", 8, ("q_proj",), None, False)


def alike(prompts: list[tuple[Prompt, ...]]) -> defaultdict[str | None, list[tuple[Prompt, ...]]]:
    """The same prompts for every system."""
    return defaultdict(lambda: prompts)


def encoded(*ids: tuple[int, ...]) -> list[Encoded]:
    samples = [Sample(str(i), "x", ("y",), "c") for i in range(len(ids))]
    return [Encoded(TASK, samples, alike([(Prompt(one, False),) for one in ids]))]


def one_key(**changes: object) -> str:
    """The key of one request, with one thing changed."""
    base = replace(BASE, sha256=changes.get("base", BASE.sha256))
    decoding = replace(
        TASK.profile.decoding,
        **{k: v for k, v in changes.items() if k in DECODING},  # type: ignore[arg-type]
    )
    task = replace(TASK, profile=replace(TASK.profile, decoding=decoding))
    who = replace(
        adapter("n"), **{k: v for k, v in changes.items() if k in ("sha256", "route", "name")}
    )  # type: ignore[arg-type]
    serving = replace(SERVING, **{k: v for k, v in changes.items() if k in SERVING_FIELDS})  # type: ignore[arg-type]
    prompt = Prompt(changes.get("prompt", (1, 2, 3)), False)  # type: ignore[arg-type]
    scored = {k: v for k, v in changes.items() if k in ("choices", "with_moments")}
    prompt = replace(prompt, **scored)  # type: ignore[arg-type]
    part = Encoded(task, [Sample("s", "x", ("y",), "c")], alike([(prompt,)]))
    return plan([part], base, [who], serving, with_base=False)[0].key


DECODING = ("max_tokens", "temperature", "stop", "seed", "top_p", "n", "top_k")
SERVING_FIELDS = ("engine", "dtype", "max_model_len", "options")


@pytest.mark.parametrize(
    "change",
    [
        {"base": "c" * 64},
        {"sha256": "d" * 64},
        {"route": "merged"},
        {"prompt": (1, 2, 4)},
        {"prompt": (12, 3)},
        {"max_tokens": 64},
        {"temperature": 0.5},
        {"top_p": 0.95},
        {"top_k": 50},
        {"n": 20},
        {"stop": ("\n",)},
        {"engine": "vllm-2"},
        {"dtype": "bfloat16"},
        {"max_model_len": 4096},
        {"options": {"block_size": 16}},
    ],
)
def test_everything_that_can_change_an_answer_changes_the_key(change: dict[str, object]) -> None:
    assert one_key(**change) != one_key()


def test_moments_change_the_key_and_no_key_without_them_ever_changes() -> None:
    assert one_key(choices=((4,),), with_moments=True) != one_key(choices=((4,),))
    held = "b6fbaf0bcc8fdfbbb93396bb58b70ca4e334f171605796a2dcba1136b4e0c9de"
    assert one_key(choices=((4,), (5, 6))) == held


def test_the_key_ignores_names_and_the_seed_of_a_greedy_answer() -> None:
    assert one_key(name="other", seed=7) == one_key()
    assert one_key(temperature=0.5, seed=7) != one_key(temperature=0.5)


def test_the_base_and_an_adapter_never_share_a_key() -> None:
    requests = plan(encoded((1,)), BASE, [adapter("a")], SERVING)
    assert len({request.key for request in requests}) == 2


def test_prompts_of_all_adapters_stand_together_with_the_base() -> None:
    requests = plan(encoded((1,), (2,)), BASE, [adapter("a"), adapter("b", "e")], SERVING)
    asked = [(request.sample_id, request.adapter) for request in requests]
    assert asked == [("0", None), ("0", "a"), ("0", "b"), ("1", None), ("1", "a"), ("1", "b")]


def test_more_adapters_than_a_batch_holds_take_rounds() -> None:
    many = [adapter(f"a{i}", f"{i:x}"[-1]) for i in range(ADAPTERS_PER_BATCH + 2)]
    requests = plan(encoded((1,), (2,)), BASE, many, SERVING)
    assert len(requests) == 2 * (len(many) + 1)
    last: list[Request] = requests[-4:]
    assert [r.adapter for r in last] == ["a16", "a17", "a16", "a17"]
    assert sum(request.adapter is None for request in requests) == 2


def test_keys_of_single_answers_are_those_of_earlier_versions() -> None:
    assert one_key()[:16] == "89f5725ba9bfde06"
    assert one_key(temperature=0.5)[:16] == "48a1ef28005f6878"
