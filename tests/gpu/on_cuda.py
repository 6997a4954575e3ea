"""What marks a test as one for a GPU."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable

import pytest


def needs_cuda(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test as one for a GPU, and skip it where there is none."""
    absent = not shutil.which("nvidia-smi") or not importlib.util.find_spec("vllm")
    skip = pytest.mark.skipif(absent, reason="needs a CUDA device and vLLM")
    return pytest.mark.gpu(pytest.mark.timeout(1800)(skip(test)))
