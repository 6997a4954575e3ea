"""Facts on adapters: from their own files, and from a table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from scripted import TOY

from peval.adapters.training_facts import facts_of, read_facts
from peval.errors import UsageError
from peval.types import Adapter


def adapter(path: Path) -> Adapter:
    return Adapter("a", path, "0" * 64, "LoRA", 16, ("q_proj", "k_proj"), None, False)


def test_what_a_checkpoint_says_of_its_making(tmp_path: Path) -> None:
    path = tmp_path / "slow" / "checkpoint-500"
    path.mkdir(parents=True)
    (path / "adapter_config.json").write_text('{"lora_alpha": 32}')
    (path / "adapter_model.safetensors").write_bytes(b"12345")
    state = {
        "global_step": 400,
        "epoch": 2.0,
        "log_history": [{"learning_rate": 2e-4}, {"learning_rate": 0.0, "loss": 1.5}],
    }
    (path / "trainer_state.json").write_text(json.dumps(state))
    assert facts_of(adapter(path)) == {
        "method": "LoRA", "rank": 16, "target_modules": "k_proj q_proj", "alpha": 32, "bytes": 5,
        "steps": 500, "epochs": 2.0, "learning_rate": 2e-4, "series": "slow",
    }  # fmt: skip


def test_the_toy_says_what_it_knows() -> None:
    found = facts_of(adapter(TOY / "adapters" / "generalist"))
    assert found["alpha"] == 32
    assert "learning_rate" not in found


def test_a_table_as_csv_and_as_yaml(tmp_path: Path) -> None:
    table = tmp_path / "facts.csv"
    table.write_text("adapter, learning_rate, seed, data\na, 1e-4, 3, tulu\nb,,4,\n")
    wanted = {"a": {"learning_rate": 1e-4, "seed": 3, "data": "tulu"}, "b": {"seed": 4}}
    assert read_facts(table, ["a", "b"]) == wanted
    table = tmp_path / "facts.yaml"
    table.write_text("a: {learning_rate: 1.0e-4, seed: 3, data: tulu}\nb:\n  seed: 4\n")
    assert read_facts(table, ["a", "b"]) == wanted


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("f.csv", "name,seed\na,1\n", r"f\.csv: line 1: expected distinct column names"),
        ("f.csv", "adapter,seed,seed\na,1,1\n", r"line 1: expected distinct"),
        ("f.csv", "adapter,seed\na,1\nb\n", r"line 3: 1 fields, the header has 2"),
        ("f.csv", "adapter,seed\nc,1\n", r"line 2: no adapter 'c' here; known: a, b"),
        ("f.csv", "adapter,seed\na,1\na,2\n", r"line 3: the adapter 'a' stands there twice"),
        ("f.csv", "adapter,lr\na,nan\n", r"line 2, lr: nan is no finite number"),
        (
            "f.yaml",
            "a:\n  seed: 1\nb:\n  seed: [1]\n",
            r"f\.yaml: b, seed: \[1\] is neither a number",
        ),
        ("f.yaml", "a: 1\n", r"expected a mapping of facts"),
        ("f.yaml", "", r"expected a mapping of facts"),
        ("f.yaml", "a: {\n", r"not readable as YAML"),
        ("f.yaml", "a: {seed: 1}\na: {seed: 2}\n", r"line 2: the key 'a' twice"),
        ("absent.csv", None, r"absent\.csv: not readable"),
    ],
)
def test_what_cannot_be_read_is_named_by_file_line_and_field(
    tmp_path: Path, name: str, text: str | None, message: str
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=message):
        read_facts(tmp_path / name, ["a", "b"])
