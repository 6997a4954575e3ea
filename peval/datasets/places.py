"""Where a benchmark's files are: a folder that the user names, or ``PEVAL_DATA``."""

from __future__ import annotations

import os
from pathlib import Path

from peval.errors import DataError


def folder(data_dir: Path | None, name: str, layout: str) -> Path:
    """Return the folder of one benchmark: ``data_dir/name`` if it exists, else ``data_dir`` itself.

    Parameters
    ----------
    data_dir
        None means the environment's ``PEVAL_DATA``.
    name
        The benchmark's own folder, such as "mmlu".
    layout
        What the folder has to hold, for the error.

    Raises
    ------
    DataError
        No folder is named, or it does not exist.
    """
    given = data_dir or os.environ.get("PEVAL_DATA")
    if not given:
        raise DataError(
            f"{name} data is needed: set --data-dir (or PEVAL_DATA) to a folder with {layout}"
        )
    place = Path(given)
    inner = place / name
    found = inner if inner.is_dir() else place
    if not found.is_dir():
        raise DataError(f"{place}: not a folder; set --data-dir to one with {layout}")
    return found


def is_given(data_dir: Path | None) -> bool:
    """Tell whether the user named a folder."""
    return bool(data_dir or os.environ.get("PEVAL_DATA"))


def either(path: Path) -> Path | None:
    """Return the file itself or its gzipped form, whichever exists; None if neither does."""
    for candidate in (path, path.with_name(path.name + ".gz")):
        if candidate.is_file():
            return candidate
    return None


def require(path: Path, layout: str) -> Path:
    """Return the file or its gzipped form.

    Raises
    ------
    DataError
        Neither exists; the message says what the folder has to hold.
    """
    found = either(path)
    if found is None:
        raise DataError(f"{path}: no such file; set --data-dir to a folder with {layout}")
    return found
