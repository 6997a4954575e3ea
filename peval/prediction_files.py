"""Files of other people's predictions: ids with texts, or lm-eval's logs, and whose they are."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from peval.counts import counted
from peval.datasets import files
from peval.errors import DataError, UsageError
from peval.logged import Logged, is_logged, read_logged
from peval.machine import file_sha256
from peval.spoken import turns_of

NAMES = ("prediction", "completion", "solution", "gold_label", "response", "output")
"""What fields with a prediction are called; ``gold_label`` is HANS's own name."""

IDS = ("id", "task_id", "pairID", "index", "question_id")


@dataclass(frozen=True)
class Given:
    """The predictions of a file by sample id, or what lm-eval logged.

    Several texts are the answers to a conversation's turns, or programs for one problem.
    """

    name: str
    path: Path
    sha256: str
    texts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    logged: Mapping[str, Logged] = field(default_factory=dict)

    @property
    def ids(self) -> Set[str]:
        """The samples that are answered."""
        return self.texts.keys() | self.logged.keys()


def named_files(predictions: Sequence[str | Path]) -> dict[str, Path]:
    """Return files by the names of their systems.

    ``NAME=FILE`` says one; else it is the file's, with its folder where two have one name, or the
    folder's where the file is lm-eval's.

    Raises
    ------
    UsageError
        Two would be called alike.
    """
    pairs = [("", str(one)) if Path(one).exists() else _pair(str(one)) for one in predictions]
    paths = [Path(path) for _, path in pairs]
    stems = [re.sub(r"\.jsonl?(\.gz)?$", "", path.name) for path in paths]
    parents = [path.resolve().parent.name for path in paths]
    names = [
        name or (parent if stem.startswith("samples_") else stem)
        for (name, _), stem, parent in zip(pairs, stems, parents, strict=True)
    ]
    names = [
        name if names.count(name) == 1 else f"{parent}/{name}"
        for name, parent in zip(names, parents, strict=True)
    ]
    if len(set(names)) < len(names):
        raise UsageError(f"--predictions: two files would both be called {names[0]!r}; rename one")
    return dict(zip(names, paths, strict=True))


def _pair(text: str) -> tuple[str, str]:
    name, _, path = text.rpartition("=")
    return name, path


def read_given(name: str, path: Path, several: bool, ids: Mapping[str, str]) -> Given:
    """Read a file of either kind; its first line tells. The rest is as in `read_predictions`."""
    first = next(_records(path), (None, None))[1]
    sha256 = file_sha256(path)
    if not is_logged(first):
        return Given(name, path, sha256, read_predictions(path, several, ids))
    logged: dict[str, Logged] = {}
    for where, row in _records(path):
        if not isinstance(row, Mapping) or not is_logged(row):
            raise DataError(f"{where}: expected 'doc_id' and 'resps', as in the lines before")
        key, one = read_logged(row, where)
        if logged.setdefault(key, one) != one:
            raise DataError(f"{where}: document {key} stands in an earlier line with other 'resps'")
    return Given(name, path, sha256, logged=logged)


def read_predictions(
    path: Path, several: bool = False, ids: Mapping[str, str] = {}
) -> dict[str, tuple[str, ...]]:
    """Return the predictions of a file by id; with ``several``, an id may stand in it again.

    ``ids`` names samples by their text, for lines without an id.

    Raises
    ------
    DataError
        The file is missing, empty or malformed.
    """
    found: dict[str, tuple[str, ...]] = {}
    for where, row in _records(path):
        key, texts = _prediction(row, where, ids)
        if key in found and not several:
            raise DataError(f"{where}: the id {key!r} stands in an earlier line too")
        found[key] = (*found.get(key, ()), *texts)
    if not found:
        raise DataError(f"{path}: no lines; expected objects with 'id' and 'prediction'")
    return found


def _records(path: Path) -> Iterator[tuple[str, object]]:
    """Yield each record: JSON lines or list, or commas or tabs under a header (.csv, .txt)."""
    lines = files.read_lines(path)
    if path.name.removesuffix(".gz").endswith(".jsonl"):
        yield from ((where, files.parse(text, where)) for where, _, text in lines)
        return
    if path.name.removesuffix(".gz").endswith(".json"):
        rows = files.parse(files.decode(files.read_bytes(path), str(path)), str(path))
        if not isinstance(rows, list):
            raise DataError(f"{path}: must be a JSON list of objects")
        yield from ((f"{path}: record {n}", row) for n, row in enumerate(rows, start=1))
        return
    header: list[str] = []
    separator = ","
    for where, _, text in lines:
        if not header and "\t" in text:
            separator = "\t"
        # Files with tabs do not quote: a quotation mark is a character like any other.
        (cells,) = [text.split("\t")] if separator == "\t" else csv.reader([text])
        if header:
            yield where, dict(zip(header, cells, strict=False))
        else:
            header = cells


def words_of(text: str) -> str:
    """Return a text as lines without an id name it: its words, whatever is between them."""
    return " ".join(text.split())


def _asked(record: Mapping[str, Any], ids: Mapping[str, str]) -> str | None:
    """Return the id of the sample that a record names by its text, or the text of no sample."""
    given = [record.get(name) for name in ("prompt", "instruction", "input")]
    prompt, instruction, more = (text if isinstance(text, str) else "" for text in given)
    texts = [text for text in (prompt, f"{instruction} {more}", instruction) if text.strip()]
    known = (ids[words_of(text)] for text in texts if words_of(text) in ids)
    return next(known, texts[0] if texts else None)


def _prediction(record: object, where: str, ids: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    if not isinstance(record, Mapping):
        raise DataError(f"{where}: must be a JSON object with 'id' and 'prediction'")
    name = next((name for name in IDS if name in record), IDS[0])
    key = record.get(name)
    if key is None:
        key = _asked(record, ids)
    if isinstance(key, bool) or not isinstance(key, (str, int)) or key == "":
        raise DataError(f"{where}: field {name!r} must be text or a whole number")
    texts = turns_of(record, where) or (_text(record, where),)
    try:
        f"{key}{''.join(texts)}".encode()
    except UnicodeEncodeError:
        raise DataError(f"{where}: holds half a character (a lone surrogate); mend it") from None
    return str(key), texts


def _text(record: Mapping[str, object], where: str) -> str:
    found: object = counted(record, where)
    name = next((name for name in NAMES if name in record), NAMES[0])
    if found is None:
        found = record.get(name)
    if not isinstance(found, str):
        raise DataError(f"{where}: field {name!r} must be text")
    return found
