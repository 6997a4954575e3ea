"""Checkpoints that wait to be scored: links of our own, as the trainer may delete its files."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

_NOT_THE_MODEL = ("optimizer", "scheduler", "rng_state", "scaler", "training_args")


def take(checkpoint: Path, folder: Path) -> Path:
    """Return a copy of a checkpoint's files less the optimizer's, made of links where it can be.

    Raises
    ------
    OSError
        The checkpoint is gone, or the disk is full.
    """
    copy = folder / checkpoint.name
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir(parents=True)
    try:
        for file in checkpoint.iterdir():
            if file.is_file() and not file.name.startswith(_NOT_THE_MODEL):
                _link(file, copy / file.name)
    except OSError:
        drop(copy)
        raise
    return copy


def drop(copy: Path) -> None:
    """Forget a copy."""
    shutil.rmtree(copy, ignore_errors=True)


def _link(file: Path, copy: Path) -> None:
    try:
        os.link(file, copy)
    except OSError:  # another file system, or one without links
        shutil.copyfile(file, copy)
