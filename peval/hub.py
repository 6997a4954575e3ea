"""A name that the user gave, turned into a local directory; the Hugging Face Hub if it must be."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from peval.errors import PevalError

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_WANTED = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken")
_UNWANTED = ["original/*", "onnx/*", "consolidated*"]  # the same weights once more


PICKLED = ("pytorch_model*.bin",)
"""Weights of repositories that have no others."""


def resolve(
    name_or_path: str, flag: str, error: type[PevalError], patterns: Sequence[str] = _WANTED
) -> Path:
    """Find a local path, or download a repository of the Hub (from its cache when offline).

    Parameters
    ----------
    name_or_path
        A path, or a hub id ``org/name``.
    flag
        The command-line flag it came from, for messages.
    error
        What to raise.
    patterns
        Which of a repository's files are wanted.

    Returns
    -------
    Path
        A path that exists. What exists locally always wins, and what looks like a path is never
        asked of the Hub: a mistyped path must not fetch a stranger's repository.
    """
    try:
        path = Path(name_or_path).expanduser()
        if name_or_path and path.exists():
            return path
    except (OSError, ValueError, RuntimeError):  # too long, a NUL byte, an unknown ~user
        raise error(f"{flag} {name_or_path!r}: not a usable path") from None
    if not _could_be_hub_id(name_or_path):
        raise error(f"{flag} {name_or_path!r}: no such path (and a hub id has the form org/name)")
    try:
        return download(name_or_path, patterns)
    except PevalError as fault:
        remedy = "give a local path, or set HF_HOME to a cache"
        raise error(f"{flag} {name_or_path!r}: {fault}; {remedy}") from fault


def is_here(name_or_path: str) -> bool:
    """Say whether a path or a hub id can be read without the network."""
    import huggingface_hub
    from huggingface_hub import errors

    try:
        if Path(name_or_path).exists():
            return True
        if _could_be_hub_id(name_or_path):
            huggingface_hub.snapshot_download(name_or_path, local_files_only=True)
            return True
    except (OSError, ValueError, errors.LocalEntryNotFoundError):
        pass
    return False


def _could_be_hub_id(text: str) -> bool:
    """``runs/x`` is a path, not an id, where a directory ``runs`` exists."""
    return _HUB_ID.fullmatch(text) is not None and not Path(text.split("/")[0]).exists()


def download(
    repository: str, patterns: Sequence[str], revision: str | None = None, kind: str = "model"
) -> Path:
    """Return the directory of a repository's files that match, from the cache when offline.

    ``kind`` is "model" or "dataset".

    Raises
    ------
    PevalError
        Why it cannot be had, after one try: an unreachable Hub costs a second, not a minute.
    """
    import huggingface_hub
    from huggingface_hub import errors

    try:
        path = huggingface_hub.snapshot_download(
            repository, repo_type=kind, revision=revision, allow_patterns=list(patterns),
            ignore_patterns=_UNWANTED,
            local_files_only=revision is not None and not _answers(repository, revision, kind),
        )  # fmt: skip
    except errors.LocalEntryNotFoundError:
        fault = "the Hub cannot be reached and the local cache does not hold it"
    except errors.GatedRepoError:
        fault = "the Hub asks for its terms to be accepted first, and for HF_TOKEN"
    except errors.RepositoryNotFoundError:
        fault = "no such path here and no such repository on the Hub (private ones need HF_TOKEN)"
    except (OSError, ValueError, http_errors().HTTPError) as cause:
        fault = f"the Hub could not be asked ({type(cause).__name__})"
    else:
        return Path(path)
    raise PevalError(fault)


def http_errors() -> ModuleType:
    """Return the library whose errors huggingface_hub lets through; its versions differ."""
    try:
        import httpx2
    except ImportError:
        import httpx

        return httpx
    return httpx2


def _answers(repository: str, revision: str, kind: str) -> bool:
    """Tell whether the Hub can be asked: for a pinned commit, huggingface_hub tries for 24 s."""
    import huggingface_hub
    from huggingface_hub import errors

    try:
        huggingface_hub.HfApi().repo_info(repository, repo_type=kind, revision=revision, timeout=10)
    except (http_errors().TransportError, errors.OfflineModeIsEnabled):
        return False
    except (OSError, ValueError, http_errors().HTTPError):
        return True  # it can be asked, and will say by itself what is wrong
    return True
