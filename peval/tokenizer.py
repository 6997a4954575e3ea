"""The tokenizers that prompts are made with: the base model's, and those that adapters bring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from peval.adapters.own_tokenizer import load_own
from peval.errors import AdapterError, BaseModelError, PevalError
from peval.prompts import Tokenizer
from peval.types import Adapter, Base


def load_tokenizer(base: Base) -> Tokenizer:
    """Load a tokenizer from the base model's files alone.

    Raises
    ------
    BaseModelError
        If its files are missing or unreadable.
    """
    from transformers import AutoTokenizer

    try:
        return cast(Tokenizer, AutoTokenizer.from_pretrained(base.path, local_files_only=True))
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BaseModelError(f"{base.path}: its tokenizer cannot be loaded ({reason})") from error


def tokenizers(base: Base, adapters: Sequence[Adapter]) -> dict[str | None, Tokenizer]:
    """Load the base's tokenizer (None) and that of each adapter, the base's where it has none.

    Raises
    ------
    PevalError
        A tokenizer's files are unreadable.
    """
    shared = load_tokenizer(base)
    found: dict[str | None, Tokenizer] = {None: shared}
    for adapter in adapters:
        found[adapter.name] = _own(adapter, shared) if adapter.own_words else shared
    return found


def _own(adapter: Adapter, shared: Tokenizer) -> Tokenizer:
    try:
        return cast(Tokenizer, load_own(shared, adapter.path))
    except PevalError:
        raise
    except Exception as error:  # tokenizers raises bare Exception at files that it cannot read
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise AdapterError(f"{adapter.path}: its tokenizer cannot be loaded ({reason})") from error
