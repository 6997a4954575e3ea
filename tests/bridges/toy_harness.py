"""Task files for lm-evaluation-harness over the toy's data, of every kind that it knows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from scripted import TOY

COLOURS = ["red", "green", "blue", "white"]
TASKS: dict[str, dict[str, Any]] = {
    "toy_generate": {
        "output_type": "generate_until",
        "doc_to_text": "Definition: {{definition}}\n\nInput: {{input}}\nOutput:",
        "doc_to_target": "{{output}}",
        "generation_kwargs": {"until": ["\n", "."], "max_gen_toks": 12, "do_sample": False},
        "metric_list": [
            {"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}
        ],
        "filter_list": [
            {"name": "first-word", "filter": [
                {"function": "regex", "regex_pattern": "(\\w+)"}, {"function": "take_first"}]},
            {"name": "whole", "filter": [
                {"function": "remove_whitespace"}, {"function": "take_first"}]},
        ],
    },
    "toy_cloze": {
        "output_type": "loglikelihood",
        "doc_to_text": "Input: {{input}}\nOutput: ",
        "doc_to_target": "{{output}}",
        "metric_list": [
            {"metric": "perplexity", "aggregation": "perplexity", "higher_is_better": False},
            {"metric": "acc", "aggregation": "mean", "higher_is_better": True},
        ],
    },
    "toy_choice": {
        "output_type": "multiple_choice",
        "doc_to_text": "{{input}}\nAnswer:",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "{{gold}}",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    },
    "toy_fewshot": {
        "output_type": "multiple_choice",
        "doc_to_text": "{{input}}\nAnswer:",
        "doc_to_choice": ["A", "B"],
        "doc_to_target": "{{gold % 2}}",
        "num_fewshot": 2,
        "fewshot_split": "test",
        "metric_list": [
            {"metric": "acc"},
            {"metric": "f1", "aggregation": "f1", "higher_is_better": True},
            {"metric": "mcc", "aggregation": "matthews_corrcoef", "higher_is_better": True},
        ],
    },
    "toy_mutual": {
        "output_type": "multiple_choice",
        "doc_to_text": "{{input}}\nAnswer:",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "{{gold}}",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_mutual_info"}],
    },
    "toy_begun": {
        "output_type": "multiple_choice",
        "doc_to_text": "{{input}}",
        "gen_prefix": "The answer is",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "{{gold}}",
        "fewshot_split": "test",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    },
    "toy_rolling": {
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{definition}} {{input}} {{output}}",
        "metric_list": [
            {"metric": "word_perplexity"}, {"metric": "byte_perplexity"},
            {"metric": "bits_per_byte"},
        ],
    },
}  # fmt: skip


def write_tasks(folder: Path) -> Path:
    """Write data and task files; return the folder to include."""
    rows = []
    for number, file in enumerate(sorted((TOY / "data" / "tasks").glob("task1*.json"))):
        task = json.loads(file.read_text())
        for instance in task["Instances"][:2]:
            rows.append({
                "definition": task["Definition"][0], "input": instance["input"],
                "output": instance["output"][0], "gold": len(rows) % 4 if number % 3 else 0,
                "choices": [*COLOURS[:3], instance["output"][0]],
            })  # fmt: skip
    data = folder / "rows.jsonl"
    data.write_text("\n".join(map(json.dumps, rows)))
    for name, body in TASKS.items():
        whole = {
            "task": name, "dataset_path": "json", "test_split": "test",
            "dataset_kwargs": {"data_files": {"test": str(data)}}, "metadata": {"version": 1.0},
        } | body  # fmt: skip
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(whole))
    metrics = [{"metric": "acc", "weight_by_size": True}, {"metric": "acc_norm"}]
    for name, tasks, how in (
        ("toy_group", ["toy_choice", "toy_cloze"], None),
        ("toy_sized", ["toy_choice", "toy_small", "toy_begun"], metrics),
        ("toy_alike", ["toy_sized", "toy_mutual"], [{"metric": "acc", "weight_by_size": False}]),
    ):
        group = {"group": name, "task": tasks} | ({"aggregate_metric_list": how} if how else {})
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(group))
    small = {"task": "toy_small", "include": "toy_choice.yaml"}
    few = folder / "few.jsonl"
    few.write_text("\n".join(map(json.dumps, rows[:5])))
    small["dataset_kwargs"] = {"data_files": {"test": str(few)}}
    (folder / "toy_small.yaml").write_text(yaml.safe_dump(small))
    return folder
