"""Classification heads before any engine: what classes mean, and which heads are refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from scripted import TOY
from transformers import AutoTokenizer

from peval import catalog
from peval.bases import load_base
from peval.chat import Voice
from peval.datasets.nlu.patterns import for_head
from peval.errors import AdapterError, DataError, UsageError
from peval.heads import asks_heads, encode_for_head, groups, named_classes, why_not_in_vllm
from peval.routing import routed, specs
from peval.types import HF, MERGE, Adapter, EngineSpec, Labelling, Sample

NLI = ("entailment", "neutral", "contradiction")


def adapter(*labels: str) -> Adapter:
    return Adapter("a", Path("runs/a"), "0", "full finetune", 0, (), None, False, route=HF,
                   labels=labels)  # fmt: skip


def test_classes_are_matched_by_name_and_never_by_place() -> None:
    assert groups(NLI, NLI) == ((0,), (1,), (2,))
    assert groups(NLI[::-1], NLI) == ((2,), (1,), (0,))
    assert groups(("CONTRADICTION", "Entailment"), NLI[::2]) == ((1,), (0,))


def test_three_classes_onto_entailment_and_its_absence() -> None:
    assert groups(NLI, ("entailment", "non-entailment")) == ((0,), (1, 2))
    assert groups(NLI[::2], ("entailment", "not_entailment")) == ((0,), (1,))


@pytest.mark.parametrize("classes", [NLI, ("entailment",), ("yes", "no")])
def test_a_head_of_other_labels_is_refused(classes: tuple[str, ...]) -> None:
    with pytest.raises(AdapterError, match=rf"a head of {len(classes)} class.* 2 labels"):
        groups(classes, ("entailment", "contradiction"))


def test_unnamed_classes_are_asked_for_and_never_assumed() -> None:
    with pytest.raises(AdapterError, match=r"LABEL_0, LABEL_1: say what they mean.*--labels"):
        named_classes(adapter("LABEL_0", "LABEL_1"), ())
    given = ("contradiction", "entailment")
    assert named_classes(adapter("LABEL_0", "LABEL_1"), given).labels == given
    with pytest.raises(AdapterError, match="3 classes, --labels names 2"):
        named_classes(adapter("LABEL_0", "LABEL_1", "LABEL_2"), given)


def test_given_names_must_not_contradict_the_config() -> None:
    own = adapter("entailment", "contradiction")
    assert named_classes(own, ("Entailment", "Contradiction")).labels == own.labels
    with pytest.raises(AdapterError, match="its config calls the classes entailment, contradi"):
        named_classes(own, ("contradiction", "entailment"))


def test_a_run_asks_heads_alone() -> None:
    of_words = catalog.load_task("hans")
    of_heads = catalog.load_task("hans", "lowres-2024")
    assert asks_heads([of_heads], [adapter("entailment", "contradiction")])
    assert not asks_heads([of_words], [adapter()])
    with pytest.raises(UsageError, match="--profile lowres-2024"):
        asks_heads([of_words], [adapter("entailment", "contradiction")])
    with pytest.raises(UsageError, match="a has no classification head"):
        asks_heads([of_heads], [adapter()])
    with pytest.raises(UsageError, match="the base has no classification head"):
        asks_heads([of_heads], [])


def test_what_vllms_form_cannot_hold_is_said(tmp_path: Path) -> None:
    base = dataclasses.replace(load_base(str(TOY / "base")), name="b", path=tmp_path)

    def why(**config: object) -> str | None:
        (tmp_path / "config.json").write_text(json.dumps(config))
        return why_not_in_vllm(base)

    assert why(architectures=["OPTForCausalLM"], word_embed_proj_dim=8, hidden_size=8) is None
    assert why(architectures=["GPT2LMHeadModel"], n_embd=8) is None
    narrow = why(architectures=["OPTForCausalLM"], word_embed_proj_dim=4, hidden_size=8)
    assert narrow == "vLLM's head reads 8 numbers of a token, that of b reads 4"
    assert "b is BertForMaskedLM" in (why(architectures=["BertForMaskedLM"]) or "")


def test_heads_of_as_many_classes_share_an_engine() -> None:
    made = [dataclasses.replace(adapter(*labels), name=name)
            for name, labels in (("a", NLI), ("b", NLI[::2]), ("c", NLI))]  # fmt: skip
    in_vllm = routed(made, ["b=hf"], "vllm")
    assert [a.route for a in in_vllm] == [MERGE, HF, MERGE]
    assert [a.route for a in routed(made, [], "hf")] == [HF] * 3
    whole = EngineSpec("vllm", load_base(str(TOY / "base")), routed(made, [], "vllm"), "float32",
                       64, 0)  # fmt: skip
    assert [[a.name for a in spec.adapters] for spec in specs(whole)] == [["a", "c"], ["b"]]
    apart = list(specs(dataclasses.replace(whole, adapters=in_vllm)))
    assert [(spec.kind, len(spec.adapters)) for spec in apart] == [("vllm", 2), ("hf", 1)]


def test_texts_are_those_of_the_study() -> None:
    assert for_head("head", ("P.", "H.")) == ("P.", "H.")
    assert for_head("head", ("S.",)) == ("S.", None)
    assert for_head("head-pattern", ("P.", "H.")) == ("P. Question: H. Yes or No?", None)
    assert for_head("head-pattern", ("S.",)) == ("Yes or No?S.", None)


def test_pairs_are_joined_and_cut_by_the_tokenizer() -> None:
    tokenizer = AutoTokenizer.from_pretrained(TOY / "base")
    task = catalog.load_task("hans", "lowres-2024")
    profile = dataclasses.replace(task.profile, max_source_tokens=12)
    task = dataclasses.replace(task, profile=profile)
    first, second = "the red cat runs and runs and runs", "the cat runs"
    labels = ("entailment", "non-entailment")
    sample = Sample("1", "", labels[:1], "1", choices=labels,
                    labelling=Labelling(first, labels, 12, second=second))  # fmt: skip
    voice = Voice(tokenizer, labels=("contradiction", "entailment"))
    ((prompt,),) = encode_for_head([sample], task, voice)
    wanted = tokenizer(first, second, truncation=True, max_length=12)["input_ids"]
    assert list(prompt.token_ids) == wanted
    assert len(wanted) == 12
    assert (prompt.was_cut, prompt.of_head, prompt.choices) == (True, True, ((1,), (0,)))


def test_a_key_without_sentences_cannot_be_asked() -> None:
    task = catalog.load_task("hans", "lowres-2024")
    sample = Sample("1", "", ("entailment",), "1", choices=("entailment", "non-entailment"))
    voice = Voice(AutoTokenizer.from_pretrained(TOY / "base"), labels=("entailment", "neutral"))
    with pytest.raises(DataError, match="nothing to ask"):
        encode_for_head([sample], task, voice)
