"""vLLM and transformers on the toy model: equal answers, and none lost whatever dies."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from waiting import comes_true

import peval
from peval import catalog, execute
from peval.engines import SupervisedEngine
from peval.rundir import RunDir
from peval.store import Store
from peval.types import Adapter, Base, Completion, Decoding, EngineSpec, Request

ROOT = Path(__file__).parents[2]
TOY = ROOT / "tests" / "toy"
ADAPTERS = ("generalist", "narrow", "memorizer", "noop")
MAX_MODEL_LEN = 256

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not all((TOY / "adapters" / name).exists() for name in ADAPTERS),
        reason="the toy model is absent",
    ),
    pytest.mark.skipif(not importlib.util.find_spec("vllm"), reason="vLLM is not installed"),
]


def load_adapter(path: Path, name: str) -> Adapter:
    config = json.loads((path / "adapter_config.json").read_text())
    targets = tuple(config["target_modules"])
    return Adapter(name, path, name, "lora", config["r"], targets, None, name == "noop")


def spec(kind: str, *more: Adapter) -> EngineSpec:
    config = json.loads((TOY / "base" / "config.json").read_text())
    base = Base("toy", TOY / "base", "0" * 64, "float32", MAX_MODEL_LEN, config["vocab_size"])
    adapters = [load_adapter(TOY / "adapters" / name, name) for name in ADAPTERS]
    # Batches that are full soon, so that prompts are read in pieces.
    options = {"max_num_seqs": 32, "max_num_batched_tokens": 64} if kind == "vllm" else {}
    return EngineSpec(kind, base, (*adapters, *more), "float32", MAX_MODEL_LEN, 0, options)  # type: ignore[arg-type]


def requests(n: int = 12, max_tokens: int = 16) -> list[Request]:
    """Ask base and adapters, interleaved, the same prompts of unequal lengths."""
    rng = random.Random(0)
    prompts = [tuple(rng.choices(range(10, 1000), k=rng.randint(3, 40))) for _ in range(n)]
    return [
        Request(f"{name}/{i}", "toy", str(i), name, prompt, Decoding(max_tokens))
        for i, prompt in enumerate(prompts)
        for name in (None, *ADAPTERS)
    ]


def ask(engine: SupervisedEngine, asked: Sequence[Request]) -> dict[str, Completion]:
    answers = {a.key: a for a in engine.complete(asked)}
    assert set(answers) == {r.key for r in asked}
    return answers


@pytest.fixture(scope="module")
def dora(tmp_path_factory: pytest.TempPathFactory) -> Adapter:
    """Return an adapter that vLLM refuses."""
    path = tmp_path_factory.mktemp("adapters") / "dora"
    shutil.copytree(TOY / "adapters" / "narrow", path)
    config = json.loads((path / "adapter_config.json").read_text())
    (path / "adapter_config.json").write_text(json.dumps({**config, "use_dora": True}))
    return load_adapter(path, "dora")


@pytest.fixture(scope="module")
def vllm(tmp_path_factory: pytest.TempPathFactory, dora: Adapter) -> Iterator[SupervisedEngine]:
    log = tmp_path_factory.mktemp("vllm") / "engine.log"
    engine = SupervisedEngine(spec("vllm", dora), log, stall_timeout_s=120)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def undisturbed(vllm: SupervisedEngine) -> dict[str, Completion]:
    return ask(vllm, requests())


def test_the_worker_says_what_it_is(
    vllm: SupervisedEngine, undisturbed: dict[str, Completion]
) -> None:
    assert vllm.ready["engine"] == "vllm"
    assert vllm.ready["dtype"] == "float32"
    assert vllm.ready["max_model_len"] == MAX_MODEL_LEN
    assert vllm.n_restarts == 0


def test_adapters_are_applied_and_noop_equals_the_base(undisturbed: dict[str, Completion]) -> None:
    def tokens(name: str | None) -> list[tuple[int, ...]]:
        return [undisturbed[f"{name}/{i}"].token_ids for i in range(12)]

    assert tokens("noop") == tokens(None)
    assert len({str(tokens(name)) for name in (None, "generalist", "narrow", "memorizer")}) == 4


def test_greedy_tokens_equal_those_of_transformers_and_peft(
    undisturbed: dict[str, Completion], tmp_path: Path
) -> None:
    engine = SupervisedEngine(spec("hf"), tmp_path / "engine.log")
    try:
        reference = ask(engine, requests())
        drawn = ask(engine, several(2))
        assert ask(engine, several(1)).items() <= drawn.items()
        assert {len(answer.drawn) for answer in drawn.values()} == {3}
        sure = ask(engine, surest(2))
        for r in surest(2):
            plain = reference[r.key.removesuffix("x3")].token_ids
            assert sure[r.key].token_ids == plain[: len(sure[r.key].token_ids)]
            assert sure[r.key].token_ids
    finally:
        engine.close()
    equal = [undisturbed[key] == answer for key, answer in reference.items()]
    print(f"\n{sum(equal)} of {len(equal)} greedy answers equal")
    # Ties between two tokens may fall either way; a broken adapter or mask moves far more.
    assert sum(equal) >= 0.98 * len(equal)


def test_impossible_requests_fail_alone(
    vllm: SupervisedEngine, undisturbed: dict[str, Completion]
) -> None:
    good = requests()[0]
    bad = {
        "long": replace(good, prompt_token_ids=(11,) * MAX_MODEL_LEN),
        "token": replace(good, prompt_token_ids=(11, 10**6)),
        "negative": replace(good, prompt_token_ids=(11, -1)),
        "empty": replace(good, prompt_token_ids=()),
        "adapter": replace(good, adapter="nobody"),
        "dora": replace(good, adapter="dora"),
    }
    answers = ask(vllm, [good, *(replace(r, key=key) for key, r in bad.items())])
    assert answers[good.key] == undisturbed[good.key]
    why = {key: answers[key].error or "" for key in bad}
    assert "exceed max_model_len 256" in why["long"]
    assert "outside the vocabulary" in why["token"]
    assert "outside the vocabulary" in why["negative"]
    assert "empty" in why["empty"]
    assert "nobody is not loaded" in why["adapter"]
    assert why["dora"].startswith("adapter refused by the engine: ")
    assert "DoRA" in why["dora"]


def test_stop_strings_end_an_answer(
    vllm: SupervisedEngine, undisturbed: dict[str, Completion]
) -> None:
    asked = next(r for r in requests() if len(undisturbed[r.key].text) > 3)
    text = undisturbed[asked.key].text
    stop = text[2]
    stopped = replace(asked, key="stopped", decoding=Decoding(16, stop=(stop,)))
    answer = ask(vllm, [stopped])["stopped"]
    assert answer.text == text[: text.index(stop)]
    assert answer.finish_reason == "stop"


def several(n_requests: int) -> list[Request]:
    """Ask base and an adapter for three answers to each prompt."""
    how = Decoding(12, temperature=2.0, seed=5, top_p=0.99, n=3)
    asked = [r for r in requests(n_requests) if r.adapter in (None, "narrow")]
    return [replace(r, key=f"{r.key}x3", decoding=how) for r in asked]


def surest(n_requests: int) -> list[Request]:
    """Ask for a draw among the likeliest token alone: the greedy answer, whatever the heat."""
    first = several(n_requests)
    return [replace(r, decoding=replace(r.decoding, n=1, top_p=1, top_k=1)) for r in first]


def test_draws_depend_on_their_request_alone(
    vllm: SupervisedEngine, undisturbed: dict[str, Completion]
) -> None:
    together = ask(vllm, [*requests(4), *several(4)])
    alone = ask(vllm, several(2))
    assert {key: together[key] for key in alone} == alone
    assert [a.error for a in together.values() if a.error] == []
    assert {len(together[request.key].drawn) for request in several(4)} == {3}
    # Noise is not shared: neither by the draws of a prompt nor by the prompts.
    firsts = [tuple(one.token_ids for one in together[r.key].drawn) for r in several(4)]
    assert len(set(firsts)) == len(firsts)
    assert any(len(set(draws)) > 1 for draws in firsts)
    again = [replace(r, decoding=replace(r.decoding, seed=6)) for r in several(4)]
    others = ask(vllm, again)
    shared = sum(
        len(set(draws) & {one.token_ids for one in others[r.key].drawn})
        for draws, r in zip(firsts, several(4), strict=True)
    )
    assert shared < 8  # seeds 5 and 6 must not have two of three draws in common
    greedy = [replace(r, decoding=Decoding(12)) for r in several(4)]
    assert {k: a.token_ids for k, a in ask(vllm, surest(4)).items()} == {
        k: a.token_ids for k, a in ask(vllm, greedy).items()
    }
    hot = replace(requests()[0], key="hot", decoding=Decoding(4, temperature=4.0))
    assert "temperature 4 is outside" in (ask(vllm, [hot])["hot"].error or "")


CATEGORIES = {"writing": 0.7, "math": 0.0, "stem": 0.1}


def mt_bench(folder: Path) -> Path:
    """Write two questions of two turns in each of three categories, as FastChat has them."""
    path = folder / "mt_bench" / "question.jsonl"
    path.parent.mkdir(parents=True)
    rows = [
        {"question_id": f"{name}-{n}", "category": name,
         "turns": [f"Sort the letters of plum and pear {n}.", "And now in reverse?"]}
        for name in CATEGORIES for n in range(2)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_turns_at_each_categorys_temperature_with_several_draws(
    vllm: SupervisedEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Lent(SupervisedEngine):
        """The engine that the other tests use too: closing it leaves it up."""

        def __init__(self) -> None:
            vars(self).update(vars(vllm))

        def close(self) -> None: ...

    def short(*names: object) -> catalog.Selection:
        """Return what was chosen, with answers that fit into this engine's small context."""
        found = select(*names)
        (task,) = found.tasks
        decoding = replace(task.profile.decoding, max_tokens=24)
        return replace(
            found, tasks=(replace(task, profile=replace(task.profile, decoding=decoding)),)
        )

    select = catalog.select
    monkeypatch.setattr(catalog, "select", short)
    vllm.start()
    monkeypatch.setattr(execute, "open_engine", lambda setup, progress: Lent())
    found = peval.score(
        adapters=[str(TOY / "adapters" / "generalist")], tasks=("mt-bench",),
        data_dir=str(mt_bench(tmp_path / "data")), dtype="float32", engine="vllm",
        max_model_len=MAX_MODEL_LEN, samples_per_prompt=3, out=str(tmp_path / "run"),
    )  # fmt: skip
    assert found.complete
    with Store(RunDir(tmp_path / "run").store) as store:
        asked, samples = store.requests(), store.samples()["mt-bench"]
        said = store.completions(r.key for r in asked)
    openings = [r for r in asked if r.part == 0]
    how = {(samples[r.sample_id].category, r.decoding.temperature, r.decoding.n) for r in openings}
    assert how == {("writing", 0.7, 3), ("math", 0.0, 1), ("stem", 0.1, 3)}
    # A conversation for each draw: 2 systems x 2 questions x (3 + 1 + 3) second turns.
    later = [r for r in asked if r.part]
    assert (len(openings), len(later)) == (12, 28)
    words = Tokenizer.from_file(str(TOY / "base" / "tokenizer.json"))
    first = {(r.sample_id, r.adapter): r for r in openings}
    for request in later:
        opening = first[request.sample_id, request.adapter]
        draw, turn = samples[request.sample_id].draw_and_turn(request.part)
        before = said[opening.key].drawn[draw].text.strip()
        text = words.decode(list(request.prompt_token_ids), skip_special_tokens=False)
        assert text.endswith(f"<|assistant|>\n{before}</s>\n<|user|>\nAnd now in reverse?\n"
                             "<|assistant|>\n") and turn == 1, text  # fmt: skip
        assert request.decoding.temperature == opening.decoding.temperature
    hot = [said[r.key].drawn for r in openings if r.decoding.temperature == 0.7]
    assert any(len({one.token_ids for one in drawn}) > 1 for drawn in hot)
    # Asked once more in another order, all at once, everything is said again.
    again = ask(vllm, list({r.key: r for r in reversed(asked)}.values()))
    assert again == said
    report = (tmp_path / "run" / "report.md").read_text()
    assert "## What answers are like" in report
    assert "| tokens |" in report


def test_a_killed_worker_costs_time_but_no_answer(
    vllm: SupervisedEngine, undisturbed: dict[str, Completion]
) -> None:
    before = vllm.n_restarts
    answers: dict[str, Completion] = {}
    *most, last = requests()

    def asked() -> Iterator[Request | None]:
        """Keep one request back until the worker is dead, so that it cannot answer them all."""
        yield from most
        while not answers:
            yield None
        assert vllm.worker_pid is not None
        os.kill(vllm.worker_pid, signal.SIGKILL)
        yield last

    for answer in vllm.complete(asked()):
        answers[answer.key] = answer
    assert answers == undisturbed
    assert vllm.n_restarts == before + 1


def test_a_stopped_worker_is_replaced(
    vllm: SupervisedEngine, undisturbed: dict[str, Completion], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = vllm.n_restarts
    vllm.start()
    assert vllm.worker_pid is not None
    os.killpg(vllm.worker_pid, signal.SIGSTOP)
    monkeypatch.setattr(vllm, "_stall_timeout_s", 3.0)
    notices: list[str] = []

    def noticed(notice: str) -> None:
        notices.append(notice)
        monkeypatch.setattr(vllm, "_stall_timeout_s", 120.0)

    monkeypatch.setattr(vllm, "_on_event", noticed)
    assert ask(vllm, requests()) == undisturbed
    assert vllm.n_restarts == before + len(notices) == before + 1


PARENT = """
import sys, pickle
from peval.engines import SupervisedEngine
spec, log = pickle.load(open(sys.argv[1], "rb"))
engine = SupervisedEngine(spec, log)
engine.start()
print(engine.worker_pid, flush=True)
sys.stdin.read()
"""


def test_a_killed_parent_takes_the_engine_with_it(tmp_path: Path) -> None:
    import pickle

    (tmp_path / "spec").write_bytes(pickle.dumps((spec("vllm"), tmp_path / "engine.log")))
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "spec")],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        assert parent.stdout is not None
        group = int(parent.stdout.readline())
        assert members(group)
        parent.kill()
    assert comes_true(lambda: not members(group))


def members(group: int) -> list[int]:
    """Return the living processes of a group."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, process_group = path.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(process_group) == group and state != "Z":
            found.append(int(path.parent.name))
    return found
