from __future__ import annotations

from pathlib import Path

import pytest

from peval.engines.causes import is_permanent, last_cause

KV = """(EngineCore pid=77) ERROR 11-22 18:58:39 [core.py:1] Traceback (most recent call last):
(EngineCore pid=77) ERROR 11-22 18:58:39 [core.py:1]   File "x.py", line 1, in f
(EngineCore pid=77) ERROR 11-22 18:58:39 [core.py:1] ValueError: No available memory for the cache \
blocks. Try increasing it.
Traceback (most recent call last):
  File "y.py", line 2, in g
RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
"""
PYDANTIC = """Traceback (most recent call last):
  File "y.py", line 2, in g
pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig
  Value error, User-specified max_model_len (9999) is greater than the derived one (2048).
    For further information visit https://errors.pydantic.dev/2.13/v/value_error
"""


def test_the_root_is_found_behind_its_echo(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(KV)
    cause = last_cause(log, 0)
    assert cause.startswith("ValueError: No available memory for the cache blocks")
    assert "gpu_memory_utilization" in cause
    assert "VLLM_CPU_KVCACHE_SPACE" in cause
    assert is_permanent(cause)


def test_a_refused_value_is_explained(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(PYDANTIC)
    cause = last_cause(log, 0)
    assert "max_model_len (9999) is greater than the derived one (2048)" in cause
    assert "\n" not in cause
    assert is_permanent(cause)


def test_only_the_part_after_the_start_counts(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(KV)
    start = log.stat().st_size
    with log.open("a") as f:
        f.write("INFO all is well\n")
    assert last_cause(log, start) == ""


@pytest.mark.parametrize("cause", ["RuntimeError: a passing trouble", "worker killed by SIGKILL"])
def test_a_passing_trouble_is_worth_another_try(cause: str) -> None:
    assert not is_permanent(cause)
