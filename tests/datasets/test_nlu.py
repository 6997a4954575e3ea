"""Sentence classification: files, patterns, demonstrations, and what is left out or removed."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from scripted import TOY
from transformers import AutoTokenizer

from peval import catalog, datasets
from peval.bases import load_base
from peval.datasets import nlu
from peval.datasets.nlu.contexts import draw, qqp_subset
from peval.datasets.nlu.patterns import pattern_of
from peval.datasets.nlu.rows import Row, rows
from peval.errors import DataError, TaskError
from peval.labellings import encode_labellings
from peval.plan import without_unasked
from peval.types import Dataset, Task

NAMES = ("entailment", "contradiction")
GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "llmft_contexts.json").read_text())


def pool(n: int = 400) -> list[Row]:
    """Return the pairs that the golden contexts were drawn from."""
    source = np.random.RandomState(7)
    return [
        Row(
            str(i), i, (f"Premise number {i}.", f"Hypothesis number {i * 7 % n}."),
            NAMES[source.randint(2)],
        )
        for i in range(n)
    ]  # fmt: skip


@pytest.mark.parametrize("case", GOLDEN)
def test_prompts_are_those_of_the_study(case: str) -> None:
    """Hashes of what uds-lsv/llmft at 3acc389 itself made of the same pairs."""
    profile, n_shots, seed = case.split("/")
    pattern = pattern_of(profile, "hans")
    assert pattern is not None
    shown = draw(pool(), NAMES, int(n_shots), int(seed))
    context = "".join(pattern.demonstration(r.texts, NAMES.index(r.label)) for r in shown)
    text = context + pattern.question(("Premise A.", "Hypothesis B."))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == GOLDEN[case]


def test_patterns_character_by_character() -> None:
    def asked(profile: str, data_set: str, *texts: str) -> list[str]:
        pattern = pattern_of(profile, data_set)
        assert pattern is not None
        return [pattern.question(texts), pattern.demonstration(texts, 1)]

    assert asked("minimal", "cola-ood", "A {b}.") == ["A {b}. ? ", "A {b}. ? Yes "]
    assert asked("minimal", "mnli", "P.", "H.") == ["P. H. ? ", "P. H. ? No\n\n"]
    assert asked("verbalizers", "mnli", "P.", "H.")[0] == "P. H. ?"
    assert asked("gpt-3", "rte", "P.", "H.") == [
        "P. question: H. Yes or No? answer:",
        "P. question: H. Yes or No? answer: No\n\n",
    ]
    assert asked("eval-harness", "mnli", "P.", "H.") == [
        "P. \nQuestion: H. True or False? Answer:",
        "P. \nQuestion: H. True or False?\nAnswer: False\n\n",
    ]
    assert pattern_of("eval-harness", "cola") is None


def test_contexts_are_balanced_seeded_and_distinct() -> None:
    contexts = [draw(pool(), NAMES, 16, seed) for seed in range(10)]
    for one in contexts:
        assert [r.label for r in one].count("entailment") == 8
        assert len({r.id for r in one}) == 16
    assert contexts == [draw(pool(), NAMES, 16, seed) for seed in range(10)]
    assert len({tuple(r.id for r in one) for one in contexts}) == 10
    with pytest.raises(DataError, match="cannot be shared"):
        draw(pool(), NAMES, 3, 0)
    assert list(map(len, qqp_subset(pool(3000), pool(1500)))) == [1000, 1000]


MNLI = [("p1", "The sky is blue.", 'It is "blue".', "entailment"), ("p2", "A.", "B.", "neutral"),
        ("p3", "C.", "D.", "contradiction"), ("p4", "E.", "F.", "-")]  # fmt: skip


def write_mnli(folder: Path, form: str) -> None:
    if form == "jsonl":
        lines = [json.dumps({"pairID": i, "sentence1": a, "sentence2": b, "gold_label": label})
                 for i, a, b, label in MNLI]  # fmt: skip
        (folder / "multinli_1.0_dev_matched.jsonl").write_text("\n".join(lines))
    elif form == "tsv":
        lines = ["index\tpairID\tsentence1\tsentence2\tlabel1\tgold_label"]
        lines += [f"{n}\t{i}\t{a}\t{b}\tneutral\t{label}"
                  for n, (i, a, b, label) in enumerate(MNLI)]  # fmt: skip
        (folder / "dev_matched.tsv").write_text("\n".join(lines) + "\n")
    else:
        numbers = {"entailment": 0, "neutral": 1, "contradiction": 2, "-": -1}
        table = [{"premise": a, "hypothesis": b, "label": numbers[label], "idx": n}
                 for n, (_, a, b, label) in enumerate(MNLI)]  # fmt: skip
        pyarrow.parquet.write_table(
            pyarrow.Table.from_pylist(table), folder / "validation_matched-00000-of-00001.parquet"
        )


@pytest.mark.parametrize("form", ["jsonl", "tsv", "parquet"])
def test_mnli_is_the_same_in_every_form(form: str, tmp_path: Path) -> None:
    (tmp_path / "mnli").mkdir()
    write_mnli(tmp_path / "mnli", form)
    found = rows("mnli", "validation", tmp_path)
    assert [(r.texts, r.label) for r in found] == [((a, b), label) for _, a, b, label in MNLI[:3]]
    binary = nlu.read(catalog.load_task("mnli-binary"), tmp_path)
    assert [s.targets for s in binary] == [("entailment",), ("contradiction",)]
    assert binary[0].choices == NAMES


def test_hans_knows_heuristic_and_subcase(tmp_path: Path) -> None:
    header = "gold_label\tsentence1_parse\tsentence1\tsentence2\tpairID\theuristic\tsubcase"
    row = "non-entailment\t(x)\tThe judge saw me.\tI saw the judge.\tex0\tlexical_overlap\tln_x"
    (tmp_path / "heuristics_evaluation_set.txt").write_text(f"{header}\n{row}\n")
    (sample,) = nlu.read(catalog.load_task("hans"), tmp_path)
    assert sample.category == "lexical_overlap, non-entailment"
    assert (sample.cluster, sample.id) == ("ln_x", "ex0")
    assert sample.labelling and sample.labelling.text == "The judge saw me. I saw the judge. ?"


def write_cola(folder: Path, n: int = 6) -> None:
    (folder / "cola").mkdir()
    (folder / "cola_ood").mkdir()
    lines = [f"gj04\t{i % 2}\t{'' if i % 2 else '*'}\tSentence {i}." for i in range(n)]
    (folder / "cola" / "dev.tsv").write_text("\n".join(lines) + "\n")
    (folder / "cola" / "train.tsv").write_text("\n".join(lines * 9) + "\n")
    (folder / "cola_ood" / "dev.tsv").write_text("\n".join(lines[:2]) + "\n")


def test_what_cola_shares_with_its_out_of_domain_set_is_found(tmp_path: Path) -> None:
    write_cola(tmp_path)
    whole, less, ood = (
        {s.input for s in nlu.read(catalog.load_task(name), tmp_path)}
        for name in ("cola", "cola-without-ood", "cola-ood")
    )
    assert (len(whole), len(less), len(ood)) == (6, 4, 2)
    assert less == whole - ood
    assert len(nlu.files_of(catalog.load_task("cola-without-ood"), tmp_path)) == 2


def test_paws_loses_the_marks_of_bytes(tmp_path: Path) -> None:
    line = """1\tb'What is it ?'\tb"It 's what ?"\t0"""
    (tmp_path / "dev_and_test.tsv").write_text(f"id\tsentence1\tsentence2\tlabel\n{line}\n")
    (row,) = rows("paws-qqp", "validation", tmp_path)
    assert row.texts == ("What is it ?", "It 's what ?")
    assert row.label == "not_duplicate"
    (tmp_path / "dev_and_test.tsv").write_text(
        "id\tsentence1\tsentence2\tlabel\n1\tWhat is it ?\tbe it so\t1\n"
    )
    assert rows("paws-qqp", "validation", tmp_path)[0].texts == ("What is it ?", "be it so")


HUB = {
    "mnli/validation_matched": ("mnli-matched", {"premise": "P.", "hypothesis": "H.", "label": 2}),
    "mnli/validation_mismatched": ("mnli-mismatched", {"premise": "P.", "hypothesis": "H.",
                                                       "label": 2}),
    "hans/plain_text/validation": ("hans", {"premise": "P.", "hypothesis": "H.", "label": 1,
                                            "heuristic": "constituent", "subcase": "cn_adverb"}),
    "cola/validation": ("cola", {"sentence": "P.", "label": 1}),
    "cola_ood/validation": ("cola-ood", {"sentence": "P.", "label": 1}),
    "rte/validation": ("rte", {"sentence1": "P.", "sentence2": "H.", "label": 1}),
    "qqp/validation": ("qqp", {"question1": "P.", "question2": "H.", "label": 1}),
    "paws_qqp/validation": ("paws-qqp", {"sentence1": "P.", "sentence2": "H.", "label": 1}),
}  # fmt: skip


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
@pytest.mark.parametrize("place", HUB)
def test_the_hubs_form_of_every_data_set(place: str, form: str, tmp_path: Path) -> None:
    """Rows as the hub's configurations have them, beside those without a label."""
    name, row = HUB[place]
    texts = ("P.",) if "sentence" in row else ("P.", "H.")
    table = [row | {"idx": 0}, row | {"idx": 1, "label": -1}, row | {"idx": 2}]
    path = tmp_path / place
    path.parent.mkdir(parents=True)
    if form == "jsonl":
        path.with_suffix(".jsonl").write_text("\n".join(map(json.dumps, table)))
    else:  # in two parts
        for part in (0, 1):
            pyarrow.parquet.write_table(
                pyarrow.Table.from_pylist(table[part * 2 : part * 2 + 2]),
                tmp_path / f"{place}-0000{part}-of-00002.parquet",
            )
    if name == "qqp":
        shutil.copytree(tmp_path / "qqp", tmp_path / "train")
        for file in (tmp_path / "train").iterdir():
            file.rename(tmp_path / "qqp" / file.name.replace("validation", "train"))
    task = catalog.load_task(name, "lowres-2024")
    samples = nlu.read(task, tmp_path)
    assert [s.id for s in samples] == ["0", "2"]
    label = nlu.labels_of(task)[row["label"]]  # type: ignore[call-overload]
    assert {(s.input, s.targets) for s in samples} == {("\n".join(texts), (label,))}
    assert len(nlu.files_of(task, tmp_path)) == (1 if form == "jsonl" else 2) * (
        2 if name == "qqp" else 1
    )


def test_glues_validation_is_never_taken_for_sentences_out_of_domain(tmp_path: Path) -> None:
    """CoLA's sets have the same columns; only their names tell them apart."""
    write_cola(tmp_path)
    shutil.rmtree(tmp_path / "cola_ood")
    task = catalog.load_task("cola-ood")
    with pytest.raises(DataError, match="no validation file of cola-ood; put out_of_domain_dev"):
        nlu.read(task, tmp_path)
    with pytest.raises(DataError, match="no validation file of cola-ood"):
        nlu.read(task, tmp_path / "cola")
    (tmp_path / "cola" / "out_of_domain_dev.tsv").write_text("gj04\t1\t\tOther.\n")
    (sample,) = nlu.read(task, tmp_path)
    assert sample.input == "Other."


def test_qqps_broken_lines_are_left_out_as_on_the_hub(tmp_path: Path) -> None:
    """A question with a line break in it makes two lines of too few fields."""
    header = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate"
    broken = ["2\t3\t4\tWho\tis he", "or she?\t1"]
    lines = [header, "1\t1\t2\tWhy?\tHow?\t0", *broken, "3\t5\t6\t\tWhat?\t1"]
    (tmp_path / "dev.tsv").write_text("\n".join(lines) + "\n")
    found = rows("qqp", "validation", tmp_path)
    assert [(r.texts, r.label) for r in found] == [
        (("Why?", "How?"), "not_duplicate"), (("", "What?"), "duplicate"),
    ]  # fmt: skip


def icl(shots: int, contexts: int = 2, name: str = "cola") -> Task:
    task = catalog.load_task(name, "llmft-minimal")
    return nlu.expand(task, [shots], contexts, as_sequence=True)[0]


def test_each_context_is_a_cluster(tmp_path: Path) -> None:
    write_cola(tmp_path)
    task = icl(2)
    assert task.name == "cola-2-shot"
    samples = nlu.read(task, tmp_path)
    assert [s.cluster for s in samples] == ["context 0"] * 6 + ["context 1"] * 6
    assert len({s.id for s in samples}) == 12
    assert icl(0).settings.get("shots") is None
    (none, two) = nlu.expand(catalog.load_task("cola", "llmft-minimal"), [0, 2], 3, False)
    assert (none.name, two.name) == ("cola-0-shot", "cola-2-shot")


def test_prompts_that_do_not_fit_are_left_out_and_counted(tmp_path: Path) -> None:
    write_cola(tmp_path)
    samples = nlu.read(icl(2, contexts=1), tmp_path)
    long = replace(samples[0].labelling, text="long " * 400)  # type: ignore[type-var]
    samples = (replace(samples[0], labelling=long), *samples[1:])
    tokenizer = AutoTokenizer.from_pretrained(TOY / "base")
    context = load_base(str(TOY / "base")).context_tokens
    prompts = {None: encode_labellings(samples, tokenizer, min(context, 200))}
    found, kept = without_unasked(icl(2), Dataset(samples, ()), prompts)
    assert len(found.samples) == len(kept[None]) == 5
    assert "context 0 (5 of 6 kept)" in found.notes[0]
    with pytest.raises(DataError, match="no prompt fits"):
        without_unasked(icl(2), Dataset(samples[:1], ()), {None: [()]})


def test_a_verbalizer_of_several_tokens_is_named(tmp_path: Path) -> None:
    write_cola(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(TOY / "base")
    samples = nlu.read(catalog.load_task("cola"), tmp_path)
    with pytest.raises(DataError, match=r"' No' is 2 tokens .* --sequence-likelihood"):
        encode_labellings(samples, tokenizer, 256)
    as_sequence = nlu.expand(catalog.load_task("cola"), [], 1, as_sequence=True)[0]
    ((prompt,), *_) = encode_labellings(nlu.read(as_sequence, tmp_path), tokenizer, 256)
    assert tokenizer.decode(prompt.choices[0]) == " No"


def test_bad_files_and_requests_are_one_line(tmp_path: Path) -> None:
    cola = catalog.load_task("cola")
    with pytest.raises(DataError, match="no validation file of cola; put dev"):
        nlu.read(cola, tmp_path)
    (tmp_path / "dev.tsv").write_text("gj04\t7\t\tA.\n")
    with pytest.raises(DataError, match=r"dev.tsv:1: label '7'; expected unacceptable, acceptable"):
        nlu.read(cola, tmp_path)
    (tmp_path / "dev.tsv").write_text("gj04\t1\n")
    with pytest.raises(DataError, match=r"dev.tsv:1: 2 fields; expected 4"):
        nlu.read(cola, tmp_path)
    with pytest.raises(TaskError, match="is asked by a profile llmft"):
        nlu.read(catalog.load_task("cola", "plain"), tmp_path)
    (tmp_path / "dev.tsv").write_text("gj04\t1\t\tA.\n")
    with pytest.raises(TaskError, match="takes no demonstrations"):
        nlu.read(nlu.expand(cola, [2], 1, False)[0], tmp_path)


def test_the_real_mnli_is_read(shared_data: Path) -> None:
    found = datasets.read(catalog.load_task("mnli-matched"), shared_data).samples
    assert len(found) == 9815
    binary = datasets.read(catalog.load_task("mnli-binary"), shared_data).samples
    assert len(binary) == 6692
    assert round(sum(s.targets == ("entailment",) for s in binary) / 6692, 3) == 0.520
