from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from scripted import ROOT

# Libraries read it when they are imported.
os.environ["HF_HUB_OFFLINE"] = "1"

# The same examples every time (others with PEVAL_SLOW=1), on a machine of whatever speed.
settings.register_profile(
    "peval", deadline=None, suppress_health_check=[HealthCheck.too_slow],
    derandomize=os.environ.get("PEVAL_SLOW") != "1",
)  # fmt: skip
settings.load_profile("peval")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of real engines first: what is long must not be left for the end."""
    items.sort(key=lambda item: item.get_closest_marker("engine") is None)


@pytest.fixture(scope="session", autouse=True)
def own_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep tests away from the user's terminal and vLLM's cache.

    What vLLM finds out about a model's code, once for all tests, is half of a start on a CPU.
    """
    place = tmp_path_factory.getbasetemp()
    shared = place.parent if "PYTEST_XDIST_WORKER" in os.environ else place
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_CACHE_ROOT", str(shared / "vllm"))
        patch.setenv("COLUMNS", "100")
        yield


@pytest.fixture(scope="module", autouse=True)
def modules_cache(own_machine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let what is made once for a module remember nothing of what was computed elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def own_cache(
    modules_cache: None, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Let a test remember nothing of what was computed elsewhere."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.delenv("PEVAL_DATA", raising=False)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real benchmark data, where this machine has it."""
    place = Path(os.environ.get("PEVAL_DATA") or ROOT.parent / "shared" / "data")
    if not (place / "super_natural_instructions").is_dir():
        pytest.skip("no real benchmark data: set PEVAL_DATA")
    return place


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Small models on cores that other tests use too: waiting threads would cost more."""
    import torch

    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)
