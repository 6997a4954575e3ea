"""Files to labelled sentences, whatever form they come in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from peval.datasets import files
from peval.datasets.nlu.sources import SOURCES, Source
from peval.errors import DataError

# PAWS-QQP was written as the representation of Python bytes.
_BYTES = re.compile(r"""b(['"]).*\1""", re.DOTALL)
_NO_LABEL = ("-", "-1", "hidden")  # MultiNLI's pairs without a majority; the hub's unlabelled rows


@dataclass(frozen=True)
class Row:
    """One sentence or pair; ``number`` is its place in the file as stored.

    A file that is a mere key of ids and labels has rows without texts.
    """

    id: str
    number: int
    texts: tuple[str, ...]
    label: str
    heuristic: str = ""
    subcase: str = ""


def files_for(data_set: str, split: str, folder: Path) -> tuple[Path, ...]:
    """Return the file of a split, or its parts in their order.

    Raises
    ------
    DataError
        There is none; the message names the files that would do.
    """
    source = SOURCES[data_set]
    names = source.files[split]
    for number, place in enumerate([*(folder / inner for inner in source.folders), folder]):
        for name in source.telling if source.telling and number else names:
            for pattern in (name, name + ".gz"):
                if found := sorted(place.glob(pattern)):
                    return tuple(found)
    raise DataError(
        f"{folder}: no {split} file of {data_set}; put {' or '.join(names[:3])} into "
        f"{folder / source.folders[0]}"
    )


def rows(data_set: str, split: str, folder: Path) -> tuple[Row, ...]:
    """Return a split's labelled rows in stored order; rows without a label are left out.

    Raises
    ------
    DataError
        The file is missing, or a row lacks a field or has an unknown label: names row and field.
    """
    source, paths = SOURCES[data_set], files_for(data_set, split, folder)
    records = enumerate(chain.from_iterable(_records(path, source) for path in paths))
    found = [_row(record, where, number, source) for number, (where, record) in records]
    labelled = tuple(row for row in found if row is not None)
    if not labelled:
        raise DataError(f"{paths[0]}: no labelled rows")
    return labelled


def _records(path: Path, source: Source) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each record with the place it stands at."""
    name = path.name.removesuffix(".gz")
    if name.endswith(".parquet"):
        yield from _parquet(path)
    elif name.endswith(".jsonl"):
        for where, _, text in files.read_lines(path):
            record = files.parse(text, where)
            if not isinstance(record, dict):
                raise DataError(f"{where}: must be a JSON object")
            yield where, record
    else:
        yield from _tabular(path, source)


def _parquet(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{path}: cannot be read as Parquet ({error})") from error
    for number, record in enumerate(table.to_pylist(), start=1):
        yield f"{path}: row {number}", record


def _tabular(path: Path, source: Source) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield rows of separated text, with a header unless the source names the columns.

    These files do not quote: a quotation mark is a character like any other.
    """
    columns: Sequence[str] = source.columns
    separator = "," if ".csv" in path.suffixes else "\t"
    for number, raw in enumerate(files.read_bytes(path).split(b"\n"), start=1):
        where = f"{path}:{number}"
        cells = files.decode(raw, where).rstrip("\r").split(separator)
        if cells == [""]:
            continue
        if not columns:
            columns = cells
            continue
        if len(cells) < len(columns) and source.is_torn:
            continue
        if len(cells) < len(columns):
            raise DataError(f"{where}: {len(cells)} fields; expected {len(columns)}: "
                            f"{', '.join(columns)}")  # fmt: skip
        yield where, dict(zip(columns, cells, strict=False))


def _row(record: Mapping[str, Any], where: str, number: int, source: Source) -> Row | None:
    """Return the row of a record; None where it has no label."""
    label = _field(record, source.label, where)
    if str(label) in _NO_LABEL:
        return None
    is_key = not any(name in record for names in source.texts for name in names)
    texts = () if is_key else tuple(_text(record, names, where) for names in source.texts)
    if texts and not any(texts):
        raise DataError(f"{where}: field '{source.texts[0][0]}' is empty")
    return Row(
        id=str(next((record[name] for name in source.id if name in record), number)),
        number=number,
        texts=texts,
        label=_label(label, source, where),
        heuristic=str(record.get("heuristic", "")),
        subcase=str(record.get("subcase", "")),
    )


def _text(record: Mapping[str, Any], names: tuple[str, ...], where: str) -> str:
    text = _field(record, names, where)
    if not isinstance(text, str):
        raise DataError(f"{where}: field '{names[0]}' must be text")
    return text[2:-1] if _BYTES.fullmatch(text) else text


def _label(value: object, source: Source, where: str) -> str:
    names = source.label_names
    if isinstance(value, str) and value in names:
        return value
    if str(value).isdigit() and int(str(value)) < len(names):
        return names[int(str(value))]
    raise DataError(f"{where}: label {value!r}; expected {', '.join(names)} or 0 to "
                    f"{len(names) - 1}")  # fmt: skip


def _field(record: Mapping[str, Any], names: tuple[str, ...], where: str) -> Any:
    for name in names:
        if record.get(name) is not None:
            return record[name]
    raise DataError(f"{where}: no field {' or '.join(map(repr, names))}")
