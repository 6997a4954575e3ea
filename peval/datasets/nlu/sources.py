"""Where each data set's splits lie, in the hub's form and in the original files, and their columns.

Hub forms: nyu-mll/glue (configurations mnli, cola, rte, qqp), jhu-cogsci/hans, and for the two that
have none there, rows with the same columns. Original files:
MultiNLI 1.0 and GLUE's archive, github.com/tommccoy1/hans, the CoLA release, and
github.com/uds-lsv/llmft at 3acc389 for CoLA's out-of-domain set and PAWS-QQP.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """One data set.

    ``files`` are names by split, tried in their order, each beside or below the data folder.
    ``label_names`` give the labels in the order of their numbers. ``columns`` are those of a file
    without a header. ``train`` is the data set whose training split gives demonstrations.
    ``is_torn``: lines that lack fields are left out, as `datasets` does with GLUE's QQP, whose
    questions hold line breaks. ``telling`` names mean this data set wherever they lie; others do
    so in its first folder alone.
    """

    folders: tuple[str, ...]
    files: Mapping[str, tuple[str, ...]]
    texts: tuple[tuple[str, ...], ...]
    label_names: tuple[str, ...]
    train: str
    label: tuple[str, ...] = ("gold_label", "label")
    id: tuple[str, ...] = ("pairID", "idx", "index", "id")
    columns: tuple[str, ...] = ()
    is_torn: bool = False
    telling: tuple[str, ...] = ()


def _hub(split: str, *original: str) -> tuple[str, ...]:
    parts = f"{split}-*.parquet"
    forms = (f"{split}.jsonl", f"{split}.parquet", parts, f"data/{parts}", f"plain_text/{parts}",
             f"plain_text/{split}.jsonl")  # fmt: skip
    return (*original, *forms)


_NLI = ("entailment", "neutral", "contradiction")
_PAIR = (("premise", "sentence1"), ("hypothesis", "sentence2"))
_COLA_COLUMNS = ("source", "label", "mark", "sentence")
_MNLI_TRAIN = _hub("train", "multinli_1.0_train.jsonl", "train.tsv", "multinli_1.0_train.txt")

SOURCES: Mapping[str, Source] = {
    "mnli": Source(
        folders=("mnli", "MNLI", "multinli_1.0"),
        files={
            "validation": _hub(
                "validation_matched", "multinli_1.0_dev_matched.jsonl", "dev_matched.tsv",
                "multinli_1.0_dev_matched.txt",
                "mnli_development_set_number_of_correct_responses.txt",
            ),
            "train": _MNLI_TRAIN,
        },
        texts=_PAIR, label_names=_NLI, train="mnli",
    ),
    "mnli-mismatched": Source(
        folders=("mnli", "MNLI", "multinli_1.0"),
        files={"validation": _hub(
            "validation_mismatched", "multinli_1.0_dev_mismatched.jsonl", "dev_mismatched.tsv",
            "multinli_1.0_dev_mismatched.txt",
        )},
        texts=_PAIR, label_names=_NLI, train="mnli",
    ),
    "hans": Source(
        folders=("hans", "HANS"),
        files={"validation": _hub("validation", "heuristics_evaluation_set.jsonl",
                                  "heuristics_evaluation_set.txt", "derived_gold_key.csv")},
        texts=_PAIR, label_names=("entailment", "non-entailment"), train="mnli",
    ),
    "cola": Source(
        folders=("cola", "CoLA", "cola_public/raw"),
        files={"validation": _hub("validation", "dev.tsv", "in_domain_dev.tsv"),
               "train": _hub("train", "train.tsv", "in_domain_train.tsv")},
        texts=(("sentence",),), label_names=("unacceptable", "acceptable"), train="cola",
        columns=_COLA_COLUMNS,
    ),
    "cola-ood": Source(
        folders=("cola_ood", "cola", "CoLA", "cola_public/raw"),
        files={"validation": _hub("validation", "out_of_domain_dev.tsv", "dev.tsv")},
        telling=("out_of_domain_dev.tsv",),
        texts=(("sentence",),), label_names=("unacceptable", "acceptable"), train="cola",
        columns=_COLA_COLUMNS,
    ),
    "rte": Source(
        folders=("rte", "RTE"),
        files={"validation": _hub("validation", "dev.tsv"), "train": _hub("train", "train.tsv")},
        texts=_PAIR, label_names=("entailment", "not_entailment"), train="rte",
    ),
    "qqp": Source(
        folders=("qqp", "QQP"),
        files={"validation": _hub("validation", "dev.tsv"), "train": _hub("train", "train.tsv")},
        texts=(("question1",), ("question2",)), label_names=("not_duplicate", "duplicate"),
        train="qqp", label=("is_duplicate", "label"), is_torn=True,
    ),
    "paws-qqp": Source(
        folders=("paws_qqp", "paws-qqp"),
        files={"validation": _hub("validation", "dev_and_test.tsv")},
        texts=(("sentence1",), ("sentence2",)), label_names=("not_duplicate", "duplicate"),
        train="qqp",
    ),
}  # fmt: skip
