from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import pytest
import torch
from checkpoints import make
from safetensors.torch import load_file

from peval.adapters.pickled import convert_pickles
from peval.cli import main
from peval.errors import AdapterError

FILE = "adapter_model.safetensors"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("pickled")
    return make("lora", place / "lora", place)


@pytest.fixture
def pickled(source: Path, tmp_path: Path) -> Path:
    path = shutil.copytree(source, tmp_path / "adapter")
    torch.save(load_file(path / FILE), path / "adapter_model.bin")
    (path / FILE).unlink()
    return path


def test_a_pickle_is_read_only_when_asked_for(
    pickled: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(pickled)]) == 2
    assert "peval inspect --allow-pickle" in capsys.readouterr().err
    assert main(["inspect", str(pickled), "--allow-pickle"]) == 0
    mine, theirs = load_file(pickled / FILE), load_file(source / FILE)
    assert mine.keys() == theirs.keys()
    assert all(mine[name].equal(theirs[name]) for name in mine)
    assert convert_pickles(pickled) == []


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("kind", ["zip", "raw", "nested", "no table", "garbage"])
def test_a_pickle_that_is_more_than_weights_runs_nothing(
    kind: str, pickled: Path, tmp_path: Path
) -> None:
    trace, file = tmp_path / "was-here", pickled / "adapter_model.bin"
    if kind == "zip":
        torch.save({"x": torch.ones(1), "y": Evil(trace)}, file)
    elif kind == "raw":
        file.write_bytes(pickle.dumps(Evil(trace)))
    elif kind == "garbage":
        file.write_bytes(b"PK\x03\x04 nothing")
    else:
        torch.save({"x": {"y": torch.ones(1)}} if kind == "nested" else [torch.ones(1)], file)
    with pytest.raises(AdapterError) as caught:
        convert_pickles(pickled)
    assert str(caught.value).startswith(f"{file}: ")
    assert str(caught.value).isprintable()
    assert not trace.exists()
    assert not (pickled / FILE).exists()
