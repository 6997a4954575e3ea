"""Links in a checkpoint's directory: within it, or within a Hub cache, never out of it."""

from __future__ import annotations

import os
from pathlib import Path

from peval.errors import AdapterError

_FOLDERS = ("additional_chat_templates", "pissa_init", "olora_init")  # that are read too
_READ = frozenset({".json", ".safetensors", ".jinja", ".model", ".txt", ".bin"})


def check_links(directory: Path) -> None:
    """Refuse a directory one of whose files is a link to somewhere else.

    Raises
    ------
    AdapterError
        Names the link.
    """
    if not directory.is_dir():
        return
    home = _home(_real(directory))
    folders = [directory / name for name in _FOLDERS if (directory / name).is_dir()]
    inside = [path for folder in folders for path in sorted(folder.iterdir())]
    for path in (*sorted(directory.iterdir()), *inside):
        leads_out = path.is_symlink() and not _real(path).is_relative_to(home)
        if leads_out and (path.suffix in _READ or path in folders):
            raise AdapterError(f"{path}: is a link out of the adapter's directory, which is not "
                               "followed; copy the file")  # fmt: skip


def _home(directory: Path) -> Path:
    """Return what links may point into: in a Hub cache snapshots link to ``blobs`` beside them."""
    for place in (directory, *directory.parents):
        if place.parent.name == "snapshots" and place.parent.parent.name.startswith("models--"):
            return place.parent.parent
    return directory


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))  # unlike Path.resolve, no error on a loop
