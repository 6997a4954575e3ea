"""What lies beside an adapter's weights: tokenizer, chat template, the trainer's record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from peval.errors import AdapterError, PevalError
from peval.machine import file_sha256
from peval.strict_json import read_object
from peval.types import Base

_TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "merges.txt", "vocab.txt",
)  # fmt: skip
_TEMPLATES = ("chat_template.jinja", "chat_template.json")
_MORE_TEMPLATES = "additional_chat_templates"
_MAX_BYTES = 1 << 26
_CREDIBLE = (int, float, str)


def tokenizer_differences(path: Path, base: Base | None) -> list[str]:
    """List the tokenizer files of an adapter that are not the base's, by content.

    Differences that only a writer makes (spaces, key order) do not count in JSON files.
    """
    if base is None or path.resolve() == base.path.resolve():
        return []
    return [
        name for name in _TOKENIZER_FILES
        if (path / name).is_file() and not _is_same(path / name, base.path / name)
    ]  # fmt: skip


def template_difference(path: Path, base: Base | None) -> str:
    """Say how the adapter's chat template stands to the base's: none, same, or another."""
    mine = chat_template(path)
    if mine is None:
        return "none"
    return "same" if base is not None and mine == chat_template(base.path) else "its own"


def chat_template(path: Path) -> str | None:
    """Return the chat template in a directory as text; it is not rendered here."""
    return chat_templates(path).get("default")


def chat_templates(path: Path) -> dict[str, str]:
    """Return the chat templates in a directory by name, unrendered; the usual one is "default"."""
    found: dict[str, str] = {}
    for name in ("tokenizer_config.json", _TEMPLATES[1]):  # the later wins, as in transformers
        given = _read(path / name).get("chat_template")
        rows = given if isinstance(given, list) else [{"name": "default", "template": given}]
        found |= {
            str(row["name"]): row["template"]
            for row in rows
            if isinstance(row, dict) and isinstance(row.get("template"), str) and "name" in row
        }
    files = {"default": path / _TEMPLATES[0]}
    files |= {file.stem: file for file in sorted((path / _MORE_TEMPLATES).glob("*.jinja"))}
    found |= {name: _text(file) for name, file in files.items() if file.is_file()}
    return {name: text for name, text in found.items() if text}


def _text(file: Path) -> str:
    return file.read_bytes()[:_MAX_BYTES].decode("utf-8", "replace")


def added_tokens(path: Path, base: Base | None) -> list[str]:
    """List the tokens that the adapter's tokenizer has and the base's has not."""
    known = _tokens(base.path) if base is not None else {}
    return [text for text in _tokens(path) if text not in known]


def training(path: Path) -> dict[str, Any]:
    """Return what the trainer recorded of the training, where its files are there."""
    state = _read(path / "trainer_state.json")
    found = {
        "steps": state.get("global_step"), "max_steps": state.get("max_steps"),
        "epochs": state.get("epoch"), "train_batch_size": state.get("train_batch_size"),
        "best_metric": state.get("best_metric"),
    }  # fmt: skip
    log = state.get("log_history")
    entries = [entry for entry in log if isinstance(entry, dict)] if isinstance(log, list) else []
    for entry in entries:
        found |= {key: entry[key] for key in ("loss", "eval_loss") if key in entry}
    # What is logged last has decayed, so the highest rate stands for the one that was set.
    rates = [r for entry in entries if isinstance(r := entry.get("learning_rate"), int | float)]
    found |= {"learning_rate": max(rates)} if rates else {}
    arguments = _read(path / "training_args.json")
    found |= {k: arguments[k] for k in ("learning_rate", "seed", "optim") if k in arguments}
    if (path / "training_args.bin").exists():
        found["not_read"] = "training_args.bin (a pickle file)"
    return {key: value for key, value in found.items() if type(value) in _CREDIBLE}


def _tokens(path: Path) -> dict[str, Any]:
    """Return the special and added tokens that a tokenizer lists, by their text."""
    found = dict(_read(path / "added_tokens.json"))
    decoder = _read(path / "tokenizer_config.json").get("added_tokens_decoder")
    listed = list(decoder.values()) if isinstance(decoder, dict) else []
    more = _read(path / "tokenizer.json").get("added_tokens")
    listed += more if isinstance(more, list) else []
    for token in listed:
        if isinstance(token, dict) and isinstance(token.get("content"), str):
            found[token["content"]] = None
    return found


def _is_same(mine: Path, theirs: Path) -> bool:
    if not theirs.is_file():
        return False
    if mine.stat().st_size == theirs.stat().st_size and file_sha256(mine) == file_sha256(theirs):
        return True
    return mine.suffix == ".json" and bool(_read(mine)) and _read(mine) == _read(theirs)


def _read(path: Path) -> dict[str, Any]:
    """Return a JSON object, empty where there is none that can be read."""
    try:
        return read_object(path, AdapterError, _MAX_BYTES) if path.is_file() else {}
    except PevalError:
        return {}
