"""Rewrites against PEFT's own merge, in float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from checkpoints import KINDS, base_of, make, merged_weights

from peval.adapters import load_adapter, open_adapter
from peval.adapters.checkpoint import Checkpoint
from peval.adapters.rewrite import rewrite
from peval.bases import load_base, weight_shapes
from peval.errors import AdapterError

REWRITTEN = [
    "miss", "miss-down", "miss-mini", "loha", "loha-patterns", "lokr", "lokr-both", "lokr-full",
    "vera", "adalora", "delora", "gralora", "vblora", "pissa-initial", "olora-initial",
]  # fmt: skip


def opened(kind: str, path: Path) -> tuple[Checkpoint, Any, Any]:
    base = load_base(str(base_of(KINDS[kind].base, path)))
    shapes = weight_shapes(base)
    found = open_adapter(make(kind, path / kind, path), base, shapes)
    assert isinstance(found, Checkpoint)
    return found, base, shapes


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", REWRITTEN)
def test_a_rewrite_merges_to_the_same_weights(kind: str, tmp_path: Path) -> None:
    found, base, shapes = opened(kind, tmp_path)
    assert found.route.name == "rewrite-lora"
    assert found.plan is not None
    out = rewrite(found.config, found.file, found.plan, tmp_path / "lora")
    adapter = load_adapter(out, "x", base, shapes)
    assert (adapter.route, adapter.method) == ("native-lora", "LoRA")
    assert f"LoRA of rank {adapter.rank}" in found.route.why
    before, mine = merged_weights(out, base.path), merged_weights(found.path, base.path)
    plain = merged_weights(None, base.path)
    changed = [name for name in plain if not plain[name].equal(mine[name])]
    assert len(changed) >= len(found.plan.modules)
    for name in plain:
        assert (before[name] - mine[name]).abs().max() <= 2e-6 * max(1, mine[name].abs().max())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["miss-bat", "pissa", "vera-unsaved", "hira"])
def test_what_is_no_lora_is_not_rewritten(kind: str, tmp_path: Path) -> None:
    found, _, _ = opened(kind, tmp_path)
    assert found.route.name == "merge"
    assert found.plan is not None
    with pytest.raises(AdapterError, match="is not exactly a LoRA"):
        rewrite(found.config, found.file, found.plan, tmp_path / "lora")
