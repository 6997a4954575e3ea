"""A tokenizer that a checkpoint brings: whether it does anything else than the base's, and what.

Its files are input from strangers. They are loaded by the class of the base's tokenizer, from a
copy that holds only what is known to matter; nothing that they name is imported or opened.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from peval.adapters.config import CONFIG_FILE
from peval.adapters.patterns import why_unsafe
from peval.adapters.trial import try_tokenizer
from peval.errors import AdapterError
from peval.machine import file_sha256
from peval.strict_json import read_object, show
from peval.types import Base

_WHOLE = "tokenizer.json"
_VOCABULARIES = (_WHOLE, "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt")
_FILES = (*_VOCABULARIES, "merges.txt", "added_tokens.json", "special_tokens_map.json")
_SETTINGS_FILE = "tokenizer_config.json"
_SETTINGS = (
    "bos_token", "eos_token", "unk_token", "add_bos_token", "add_eos_token", "add_prefix_space",
    "do_lower_case",
)  # fmt: skip
# What else may stand in the settings that a tokenizer is loaded with.
_LOADED = (
    *_SETTINGS, "pad_token", "sep_token", "cls_token", "mask_token", "added_tokens_decoder",
    "additional_special_tokens", "extra_special_tokens", "clean_up_tokenization_spaces", "legacy",
    "model_max_length", "padding_side", "truncation_side", "errors", "sp_model_kwargs",
)  # fmt: skip
# How a text is cut and filled up is said anew in each call.
_WITHOUT_EFFECT = ("version", "truncation", "padding")
_MAX_BYTES = 1 << 26


def own_words(path: Path, base: Base | None) -> str | None:
    """Return a hash of how a checkpoint's texts are made and end; None where it is as the base's.

    Raises
    ------
    AdapterError
        Its files are malformed, or hold a pattern that could run for hours.
    """
    if base is None or path.resolve() == base.path.resolve():
        return None
    tokenizer = _own_tokenizer(path, base) if has_tokenizer(path) else None
    ends = end_ids(path)
    if tokenizer is None and ends in (None, end_ids(base.path)):
        return None
    return hashlib.sha256(f"{tokenizer} {ends}".encode()).hexdigest()


def load_own(base_tokenizer: Any, path: Path) -> Any:
    """Load a checkpoint's tokenizer by the class of the base's; the base's where it has none."""
    if not has_tokenizer(path):
        return base_tokenizer
    with tempfile.TemporaryDirectory(prefix="peval-tokenizer-") as folder:
        copy = Path(folder)
        for name in _FILES:
            if (path / name).is_file():
                shutil.copyfile(path / name, copy / name)
        found = _read(path / _SETTINGS_FILE)
        known = {key: found[key] for key in _LOADED if key in found}
        (copy / _SETTINGS_FILE).write_text(json.dumps(known), encoding="utf-8")
        return type(base_tokenizer).from_pretrained(folder, local_files_only=True)


def _own_tokenizer(path: Path, base: Base) -> str | None:
    """Return a hash of what a checkpoint's tokenizer does; None where it is as the base's."""
    settings, theirs = _settings(path), _settings(base.path)
    has_same_settings = theirs | settings == theirs
    if has_same_settings and _is_same_file(path / _WHOLE, base.path / _WHOLE):
        return None
    mine, other = _vocabulary(path), _vocabulary(base.path)
    if has_same_settings and mine == other:
        return None
    _check_patterns(path / _WHOLE, mine, other)
    if (path / _WHOLE).is_file():
        try_tokenizer(path / _WHOLE)
    return hashlib.sha256(json.dumps([mine, settings], sort_keys=True).encode()).hexdigest()


def end_ids(path: Path) -> list[int] | None:
    """Return the token ids that end an answer, by a model's configs; None where they say nothing.

    An adapter says nothing. ``generation_config.json`` has the last word, as in transformers;
    nothing else in that file (temperature, penalties) may reach an evaluation.
    """
    names = ("generation_config.json", "config.json")
    for name in names if not (path / CONFIG_FILE).exists() else ():
        file = path / name
        ids = read_object(file, AdapterError).get("eos_token_id") if file.exists() else None
        if ids is None:
            continue
        found = ids if isinstance(ids, list) else [ids]
        if not all(type(each) is int for each in found):
            raise AdapterError(f"{file}: eos_token_id: {show(ids)} is no token id")
        return found
    return None


def has_tokenizer(path: Path) -> bool:
    """Say whether a directory holds a tokenizer's vocabulary."""
    return any((path / name).is_file() for name in _VOCABULARIES)


def _settings(path: Path) -> dict[str, Any]:
    """Return what is set beside the vocabulary that decides over a text's tokens."""
    found = _read(path / "special_tokens_map.json") | _read(path / _SETTINGS_FILE)
    return {key: _plain(found[key]) for key in _SETTINGS if found.get(key) is not None}


def _plain(value: Any) -> Any:
    """Return a token's text, however it is written."""
    return value.get("content", value) if isinstance(value, dict) else value


def _vocabulary(path: Path) -> dict[str, Any]:
    """Return what the files say, in a form in which equals are alike."""
    found = {k: v for k, v in _read(path / _WHOLE).items() if k not in _WITHOUT_EFFECT}
    if not found:
        files = [path / name for name in _FILES if (path / name).is_file()]
        return {file.name: file_sha256(_small(file)) for file in files}
    model = found.get("model")
    if isinstance(model, dict) and isinstance(merges := model.get("merges"), list):
        pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in merges]
        found["model"] = model | {"merges": pairs}
    return found


def _small(file: Path) -> Path:
    if file.stat().st_size > _MAX_BYTES:
        raise AdapterError(f"{file}: larger than the {_MAX_BYTES} bytes such a file may have")
    return file


def _is_same_file(mine: Path, theirs: Path) -> bool:
    both = mine.is_file() and theirs.is_file()
    return both and file_sha256(_small(mine)) == file_sha256(theirs)


def _check_patterns(file: Path, mine: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Refuse a pattern that neither the base's tokenizer has nor is plainly harmless."""
    known = set(_patterns(theirs))
    for pattern in _patterns(mine):
        why = None if pattern in known else why_unsafe(pattern, max_repeats=5, max_branches=100)
        if why:
            raise AdapterError(
                f"{file}: pattern {show(pattern)} {why}; the base's tokenizer has no such"
            )


def _patterns(vocabulary: dict[str, Any]) -> Iterator[str]:
    left: list[Any] = [value for key, value in vocabulary.items() if key != "model"]
    while left:
        found = left.pop()
        if isinstance(found, dict):
            if isinstance(regex := found.get("Regex"), str):
                yield regex
            left += found.values()
        elif isinstance(found, list):
            left += found


def _read(file: Path) -> dict[str, Any]:
    return read_object(file, AdapterError, _MAX_BYTES) if file.exists() else {}
