"""Sentence classification end to end on toy checkpoints, really trained: heads, words, contexts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jsonschema
import lowres
import pyarrow.parquet
import pytest

import peval
from peval.errors import AdapterError
from peval.results import Results

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(400),
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.usefixtures("one_thread"),
]
SCHEMA = json.loads((Path(peval.__file__).parent / "results.schema.json").read_text())
N_DEV, N_OOD, N_SHARED = 560, 540, 516
N_CONTEXTS = 2
N_ITEMS = 20
ALL = ("cola", "cola-without-ood", "cola-ood")
RUNS = [(m, shots, seed) for m in ("full", "lora") for shots in (4, 64) for seed in (0, 1)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Path:
    """Data whose sets share 516 sentences, and eight finetunes of a tiny OPT, one of them twice."""
    folder = tmp_path_factory.mktemp("lowres")
    dev, ood = lowres.sentences(N_DEV, 2), lowres.sentences(N_OOD - N_SHARED, 3, True)
    shared = [*dev[: N_SHARED - 3], *dev[:3]]  # CoLA's own set says three sentences twice
    lowres.write_data(folder / "data", dev, [*shared, *ood])
    base = lowres.make_base("opt", folder / "opt")
    facts = ["adapter,method,shots,seed"]
    for method, shots, seed in RUNS:
        name = f"{method}-{shots}-{seed}"
        items = lowres.sentences(64, 1)[:shots]
        out = lowres.train_head(base, folder / "runs" / name, items, seed, method == "lora")
        if method == "lora":
            lowres.write_labels(out)
        facts.append(f"{name},{method},{shots},{seed}")
    shutil.copytree(folder / "runs" / "full-64-0", folder / "runs" / "full-64-2")
    facts.append("full-64-2,full,64,2")
    (folder / "facts.csv").write_text("\n".join(facts) + "\n")
    return folder


def value(found: Results, task: str, system: str | None) -> float:
    """Return an accuracy."""
    accuracy = found.estimate(task, "accuracy", system).value
    assert accuracy is not None
    return accuracy


@pytest.fixture(scope="module")
def heads(place: Path) -> Results:
    return peval.score(
        base=str(place / "opt"), adapters=[str(place / "runs" / "*")], suite="lowres-cola",
        profile="lowres-2024", data_dir=str(place / "data"), dtype="float32",
        facts=str(place / "facts.csv"), out=str(place / "run"), select="best:cola",
    )  # fmt: skip


def test_heads_learn_what_they_were_trained_on(heads: Results) -> None:
    assert heads.complete
    assert len(heads.adapters) == 9
    best = max(value(heads, "cola", a["name"]) for a in heads.adapters)
    assert best > value(heads, "cola", "majority-target") + 0.1
    whole = json.loads(json.dumps(heads.to_dict()))
    jsonschema.validate(whole["generalization"], SCHEMA["properties"]["generalization"])


def test_a_copy_counts_once(heads: Results, place: Path) -> None:
    assert (heads.sweep["n_adapters"], heads.sweep["n_effective"]) == (9, 8)
    assert heads.sweep["duplicates"] == [
        {"adapters": ["full-64-0", "full-64-2"], "alike_in": "weights"}
    ]
    assert {len(s["adapters"]) for s in heads.sweep["settings"]} == {2}
    assert "Of 9 adapters there are 8 different ones" in (place / "run" / "report.md").read_text()


def test_shared_sentences_are_found_and_said(heads: Results, place: Path) -> None:
    first, rest = heads.generalization["pairs"]
    assert (first["in_domain"], first["n_shared"], first["n_out"]) == ("cola", N_SHARED, N_OOD)
    assert (rest["in_domain"], rest["n_shared"]) == ("cola-without-ood", 0)
    report = (place / "run" / "report.md").read_text()
    assert report.count("**Overlap**") == 1
    assert "516 of 540 sentences of `cola-ood` are in `cola` too" in report


def test_gaps_and_gains(heads: Results) -> None:
    pair = heads.generalization["pairs"][1]
    assert len(pair["systems"]) == 9
    for row in pair["systems"]:
        one = value(heads, "cola-without-ood", row["adapter"])
        assert row["gap"] == pytest.approx(value(heads, "cola-ood", row["adapter"]) - one)
        assert row["low"] < row["gap"] < row["high"]
    majority = value(heads, "cola", "majority-target")
    found = heads.generalization["majority"][0]
    assert found["value"] == majority
    for gain in found["gains"]:
        assert gain["value"] == pytest.approx(value(heads, "cola", gain["adapter"]) - majority)
        assert gain["low"] <= gain["value"] <= gain["high"]


def test_table_and_scatter(heads: Results, place: Path) -> None:
    report = (place / "run" / "report.md").read_text()
    for name in ("full, shots 4", "full, shots 64", "lora, shots 4", "lora, shots 64"):
        assert f"| {name} | 2 |" in report
    for theme in ("light", "dark"):
        drawn = place / "run" / "figures" / f"domains-cola-cola-ood-{theme}.svg"
        assert "<svg" in drawn.read_text()
    warned = "**Below the majority class**" in report
    for task in heads.generalization["majority"]:
        means = {g["adapter"]: g["value"] for g in task["gains"]}
        for setting in heads.sweep["settings"]:
            mean = sum(means[a] for a in setting["adapters"]) / len(setting["adapters"])
            assert mean >= 0 or warned


def test_classes_without_names_are_asked_for(place: Path) -> None:
    bare = place / "bare"
    shutil.copytree(place / "runs" / "lora-4-0", bare, dirs_exist_ok=True)
    (bare / "config.json").unlink()
    with pytest.raises(AdapterError, match=r"LABEL_0, LABEL_1.*--labels"):
        peval.score(
            base=str(place / "opt"), adapters=[str(bare)], tasks=["cola"], profile="lowres-2024",
            data_dir=str(place / "data"), out=str(place / "none"),
        )  # fmt: skip


@pytest.fixture(scope="module")
def words(place: Path) -> Results:
    """Eight Llamas trained to say Yes or No beside their base, asked in contexts too, in vLLM."""
    base = lowres.make_base("llama", place / "llama")
    lowres.write_data(place / "small", lowres.sentences(60, 4), lowres.sentences(40, 5, True))
    facts = ["adapter,method,shots,seed"]
    for method, shots, seed in RUNS:
        name = f"{method}-{shots}-{seed}"
        items = lowres.sentences(64, 1)[:shots]
        lowres.train_words(base, place / "words" / name, items, seed, method == "lora")
        facts.append(f"{name},{method},{shots},{seed}")
    (place / "words.csv").write_text("\n".join(facts) + "\n")
    return peval.score(
        base=str(base), adapters=[str(place / "words" / "*")], suite="lowres-cola",
        profile="llmft-minimal", shots=[0, 16], contexts=N_CONTEXTS, dtype="float32", limit=N_ITEMS,
        facts=str(place / "words.csv"), data_dir=str(place / "small"), out=str(place / "run-words"),
        engine_options={"enforce_eager": True},
    )  # fmt: skip


def test_words_and_contexts_in_vllm(words: Results) -> None:
    assert words.complete
    assert words.run["serving"]["engine"].startswith("vllm")
    pairs = [(p["in_domain"], p["out_of_domain"]) for p in words.generalization["pairs"]]
    assert pairs == [
        (f"{name}-{k}-shot", f"cola-ood-{k}-shot")
        for k in (0, 16)
        for name in ("cola", "cola-without-ood")
    ]
    best = max(value(words, "cola-0-shot", a["name"]) for a in words.adapters)
    assert best > value(words, "cola-0-shot", "majority-target") + 0.1


def test_prompts_of_a_context_share_it_in_the_engines_cache(words: Results, place: Path) -> None:
    """By vLLM's own count of cached tokens, over prompts with 16 demonstrations and with none."""
    (spent,) = words.run["sittings"]
    assert spent["n_read"] == spent["n_prompt_tokens"]
    share = spent["n_cached"] / spent["n_read"]
    assert share > 0.5
    said = f"({share:.0%} of them in the engine's prefix cache)"
    assert said in (place / "run-words" / "report.md").read_text()


def test_contexts_are_clusters_and_the_runs_of_a_base(words: Results, place: Path) -> None:
    pair = words.generalization["pairs"][2]
    assert pair["in_domain"] == "cola-16-shot"
    for row in pair["systems"]:
        assert words.estimate("cola-16-shot", "accuracy", row["adapter"]).n_clusters == N_CONTEXTS
        assert [one["context"] for one in row["contexts"]] == ["context 0", "context 1"]
        for one in row["contexts"]:
            alone = words.estimate(
                "cola-16-shot", "accuracy", row["adapter"], f"task:{one['context']}"
            )
            assert one["in_domain"] == pytest.approx(alone.value)
        # Contexts that agree by chance leave what so few sentences leave open.
        assert row["high"] - row["low"] > 2 * 1.96 * (0.2 / N_ITEMS / N_CONTEXTS) ** 0.5
    report = (place / "run-words" / "report.md").read_text()
    assert f"| base | {N_CONTEXTS}\u00a0contexts |" in report
    assert "| lora, shots 64 | 2 |" in report


def test_students_beside_their_teacher(words: Results, place: Path) -> None:
    """The base with a context is the teacher of adapters asked without one."""
    found = {(a["teacher"], a["student"]): a["systems"] for a in words.generalization["agreement"]}
    assert list(found) == [(f"{n}-16-shot", f"{n}-0-shot") for n in ALL]
    chosen = pyarrow.parquet.read_table(
        place / "run-words" / "completions.parquet",
        columns=["task", "adapter", "sample_id", "chosen"],
    ).to_pylist()
    said = {(r["task"], r["adapter"], r["sample_id"]): r["chosen"] for r in chosen}
    for row in found["cola-16-shot", "cola-0-shot"]:
        same = [
            label == said["cola-0-shot", row["adapter"], name.partition("/")[2]]
            for (task, who, name), label in said.items()
            if task == "cola-16-shot" and who is None
        ]
        assert len(same) == N_CONTEXTS * N_ITEMS
        assert row["value"] == pytest.approx(sum(same) / len(same))
        assert row["low"] <= row["value"] <= row["high"]
    whole = json.loads(json.dumps(words.to_dict()))
    jsonschema.validate(whole["generalization"], SCHEMA["properties"]["generalization"])
    assert "Context distillation" in (place / "run-words" / "report.md").read_text()


@pytest.fixture(scope="module")
def in_vllm(place: Path, heads: Results) -> Results:
    """Four of the heads once more, in vLLM."""
    names = ["full-64-0", "full-64-1", "lora-64-0", "lora-64-1"]
    return peval.score(
        base=str(place / "opt"), adapters=[str(place / "runs" / name) for name in names],
        suite="lowres-cola", profile="lowres-2024", data_dir=str(place / "data"), dtype="float32",
        engine="vllm", limit=100, out=str(place / "run-vllm"),
    )  # fmt: skip


def test_heads_in_vllm_say_what_they_say_in_transformers(
    in_vllm: Results, heads: Results, place: Path
) -> None:
    assert in_vllm.complete
    assert in_vllm.run["serving"]["engine"].startswith("vllm")
    assert {a["route"] for a in in_vllm.adapters} == {"merge"}
    assert in_vllm.run["sittings"][0]["n_engine_starts"] == 1
    proofs = {one["adapter"]: one for one in in_vllm.proofs}
    assert all(one["agrees"] and one["mean_nat"] < 1e-5 for one in proofs.values())
    assert len(proofs) == 4
    mine, theirs = (likelihoods(place / name) for name in ("run-vllm", "run"))
    n_rest = N_DEV - N_SHARED + 3
    assert len(mine) == 4 * (100 + n_rest + 100)
    largest = {name: max(-min(v) for (_, who, _), v in mine.items() if who == name)
               for name in proofs}  # fmt: skip
    for key, values in mine.items():
        # As exact as float32 is with logits of this size.
        assert values == pytest.approx(theirs[key], abs=1e-5 * max(1, largest[key[1]])), key
    assert len(set(map(tuple, mine.values()))) > 400


def likelihoods(run: Path) -> dict[tuple[str, str, str], list[float]]:
    """Return the classes' log-probabilities by task, adapter and sample."""
    rows = pyarrow.parquet.read_table(run / "completions.parquet").to_pylist()
    return {(r["task"], r["adapter"], r["sample_id"]): r["logprobs"] for r in rows}
