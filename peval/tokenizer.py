"""The base model's tokenizer, the one that all prompts are made with."""

from __future__ import annotations

from typing import cast

from peval.errors import BaseModelError
from peval.prompts import Tokenizer
from peval.types import Base


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
