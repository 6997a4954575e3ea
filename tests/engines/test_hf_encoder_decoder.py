"""An encoder-decoder on transformers and peft: prompts are encoded, answers are decoded."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import t5

from peval.engines.hf_backend import HfBackend
from peval.types import Adapter, Base, Completion, Decoding, EngineSpec, Request

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.usefixtures("one_thread"),
]
CHOICES = ((7, 8, 9), (11,), (12, 3))
N_TOKENS = 5


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("t5")
    t5.make_adapters(t5.make_base(where / "base"), where)
    return where


NAMES = (None, *t5.KINDS, "full")


def answers(place: Path) -> dict[str, Completion]:
    base = Base("t5", place / "base", "", "float32", 512, t5.N_WORDS, is_encoder_decoder=True)
    adapters = tuple(
        Adapter(name, place / name, "", name, 0, (), None, changes_nothing=False, route="hf")
        for name in NAMES
        if name
    )
    backend = HfBackend(EngineSpec("hf", base, adapters, "float32", 64, 0), lambda: None)
    assert backend.ready["refused"] == {}
    backend._decoders[None].eos = ()
    for number, prompt in enumerate(prompts()):
        for name in NAMES:
            rest = ("t", str(number), name, prompt)
            backend.submit(Request(f"{name}/write/{number}", *rest, Decoding(N_TOKENS)))
            choose = Request(f"{name}/choose/{number}", *rest, Decoding(0), choices=CHOICES)
            backend.submit(choose)
    done = {}
    while backend.has_work():
        done |= {one.key: one for one in backend.step()}
    return done


def prompts() -> list[tuple[int, ...]]:
    rng = random.Random(5)
    return [tuple(rng.choices(range(2, 59), k=n)) for n in (4, 11, 7)]


def test_an_encoder_decoder_answers_as_if_it_were_alone(place: Path) -> None:
    found = answers(place)
    for name in NAMES:
        model = t5.alone(place / "base", place / name if name else None)
        for number, prompt in enumerate(prompts()):
            ids = t5.greedy(model, prompt, N_TOKENS, ends=())
            assert list(found[f"{name}/write/{number}"].token_ids) == ids, (name, number)
            likelihoods = found[f"{name}/choose/{number}"].likelihoods
            for choice, one in zip(CHOICES, likelihoods, strict=True):
                rows = t5.logprobs(model, prompt, list(choice[:-1]))
                expected = [float(r[t]) for r, t in zip(rows, choice, strict=True)]
                assert one.logprobs == pytest.approx(expected, abs=2e-5), (name, number)
    differ = {n for n in NAMES if found[f"{n}/choose/0"].likelihoods
              != found["None/choose/0"].likelihoods}  # fmt: skip
    assert differ == set(NAMES) - {None}
