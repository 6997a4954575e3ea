"""Benchmarks as the hub has them, at pinned revisions, read through ``datasets``.

Or from a folder that holds a copy of such a repository, its parquet files where the hub has them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peval import hub
from peval.errors import DataError, PevalError


@dataclass(frozen=True)
class Source:
    """A dataset on the hub: which configuration, at which commit, with which columns."""

    repository: str
    config: str
    revision: str
    splits: Mapping[str, str]
    columns: tuple[str, ...]


SOURCES = {
    "mmlu": Source(
        "cais/mmlu", "all", "c30699e8356da336a370243923dbaf21066bb9fe",
        {"test": "test", "dev": "dev"}, ("question", "subject", "choices", "answer"),
    ),
    "gsm8k": Source(
        "openai/gsm8k", "main", "e53f048856ff4f594e959d75785d2c2d37b678ee",
        {"test": "test"}, ("question", "answer"),
    ),
    "tydiqa": Source(
        "google-research-datasets/tydiqa", "secondary_task",
        "da78f23f9119363459acbaf46bf89426ff26c259",
        {"dev": "validation", "train": "train"}, ("id", "context", "question", "answers"),
    ),
}  # fmt: skip
"""By reader; ``splits`` maps our names to the hub's."""


@dataclass(frozen=True)
class Rows:
    """The rows of one split with the files that they came from."""

    table: Any
    where: str
    files: tuple[Path, ...]

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield each row with its place for error messages."""
        for number, row in enumerate(self.table):
            yield f"{self.where}: row {number}", row


def local_files(folder: Path, reader: str, split: str) -> list[Path]:
    """Return a folder's parquet files of a split, where the hub's repository has them."""
    source = SOURCES.get(reader)
    if source is None or split not in source.splits:
        return []
    return sorted((folder / source.config).glob(f"{source.splits[split]}-*.parquet"))


def rows(reader: str, split: str, folder: Path | None, layout: str) -> Rows:
    """Return the rows of a split: of a folder's parquet files, or of the hub for None.

    Raises
    ------
    DataError
        They cannot be had: what to get instead and where to put it. Or their columns are others.
    """
    source = SOURCES[reader]
    where = f"{source.repository if folder is None else folder}: {source.splits[split]}"
    place = _download(reader, layout) if folder is None else folder
    found = local_files(place, reader, split)
    table = _table(where, found)
    absent = [name for name in source.columns if name not in table.column_names]
    if absent:
        raise DataError(
            f"{where}: no column '{absent[0]}'; expected {', '.join(source.columns)} as in "
            f"{source.repository}"
        )
    return Rows(table.select_columns(list(source.columns)), where, tuple(found))


def _download(reader: str, layout: str) -> Path:
    """Return where the hub's files lie once they are here."""
    source = SOURCES[reader]
    patterns = [f"{source.config}/{split}-*.parquet" for split in source.splits.values()]
    try:
        return hub.download(source.repository, patterns, source.revision, "dataset")
    except PevalError as fault:
        raise DataError(
            f"{reader} data is needed, and neither --data-dir nor PEVAL_DATA is set: "
            f"{source.repository} at {source.revision[:8]}: {fault}; get {layout} and set "
            "--data-dir to their folder"
        ) from fault


def _table(where: str, files: Sequence[Path]) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise DataError(f"{where}: needs the package 'datasets': pip install datasets") from error
    failures = (OSError, ValueError, datasets.exceptions.DatasetsError)
    try:
        names = [str(path) for path in files]
        return datasets.load_dataset("parquet", data_files=names, split="train")
    except failures as error:
        reason = " ".join(str(error.__cause__ or error).split())[:200]
        raise DataError(f"{where}: cannot be read ({type(error).__name__}: {reason})") from error
