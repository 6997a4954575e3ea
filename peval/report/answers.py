"""What was answered, from `completions.parquet`: scores of all rows, texts of a few.

Scores are read as columns; texts are read only for the rows that are shown, one group of rows at
a time, so that memory does not grow with what models said.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from peval.errors import RunError
from peval.report.view import headline
from peval.results import Results

TEXTS = ("task", "adapter", "sample_id", "category", "cluster", "input", "targets", "text",
         "chosen", "error", "finish_reason")  # fmt: skip

Rows = NDArray[np.int64]
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Block:
    """One system's answers to one task: row numbers, ids and headline scores, NaN for none.

    An item asked in parts is named by its last row. ``n_tokens`` were written, in ``n_answers``:
    an item has several where it has turns, parts or draws.
    """

    task: str
    system: str | None
    rows: Rows
    ids: Rows
    scores: Numbers
    n_answers: int
    n_tokens: int


@dataclass(frozen=True)
class Pairing:
    """An adapter's and the base's rows and scores on the items that both have scores for."""

    task: str
    adapter: str
    rows: Rows
    base_rows: Rows
    ids: Rows
    scores: Numbers
    base_scores: Numbers

    @property
    def deltas(self) -> Numbers:
        """The adapter's score minus the base's, item by item."""
        return self.scores - self.base_scores


@dataclass(frozen=True)
class Answer:
    """One row in words."""

    task: str
    system: str | None
    sample_id: str
    cluster: str
    input: str
    targets: tuple[str, ...]
    text: str


class Answers:
    """The answers of a run; blocks by task and system (None: the base).

    Raises
    ------
    RunError
        If the file is missing or is not of this version.
    """

    def __init__(self, path: Path, results: Results) -> None:
        self._path = path
        self.blocks = {(b.task, b.system): b for b in _blocks(path, results)}

    def pairings(self) -> Iterator[Pairing]:
        """Yield every adapter's answers beside the base's, task by task."""
        for (task, system), mine in self.blocks.items():
            base = self.blocks.get((task, None))
            if base is not None and system is not None:
                yield _pair(mine, base)

    def texts(self, rows: Iterable[int]) -> dict[int, Answer]:
        """Return the given rows in words."""
        import pyarrow.parquet as pq

        wanted = np.unique(np.fromiter(rows, dtype=np.int64))
        found: dict[int, Answer] = {}
        with pq.ParquetFile(self._path) as file:
            start = 0
            for group in range(file.num_row_groups):
                end = start + file.metadata.row_group(group).num_rows
                here = wanted[(wanted >= start) & (wanted < end)]
                if len(here):
                    table = file.read_row_group(group, columns=list(TEXTS)).take(here - start)
                    answers = map(_answer, table.to_pylist())
                    found |= dict(zip(here.tolist(), answers, strict=True))
                start = end
        return found


def _blocks(path: Path, results: Results) -> Iterator[Block]:
    """Split the file where task or system change: rows lie task by task, system by system."""
    table = _columns(path, sorted({headline(task) for task in results.tasks}))
    tasks, systems, ids = (_codes(table, name) for name in ("task", "adapter", "sample_id"))
    if not len(ids[0]):
        return
    n_tokens = table["n_tokens"].combine_chunks().fill_null(0).to_numpy(zero_copy_only=False)
    changes = (np.diff(tasks[0]) != 0) | (np.diff(systems[0]) != 0)
    starts = [0, *(np.flatnonzero(changes) + 1).tolist()]
    scores = {
        name: table[name].to_numpy() for name in table.column_names if _is_number(table, name)
    }
    heads = {task["name"]: headline(task) for task in results.tasks}
    nothing = np.full(len(ids[0]), np.nan)
    for start, end in zip(starts, [*starts[1:], len(ids[0])], strict=True):
        mine = ids[0][start:end]
        last = np.append(mine[1:] != mine[:-1], True)
        rows = start + np.flatnonzero(last)
        task = tasks[1][tasks[0][start]]
        system = systems[0][start]
        yield Block(
            task=task,
            system=None if system < 0 else systems[1][system],
            rows=rows,
            ids=mine[last],
            scores=scores.get(heads.get(task, ""), nothing)[rows],
            n_answers=int(end - start),
            n_tokens=int(n_tokens[start:end].sum()),
        )


def _columns(path: Path, metrics: Sequence[str]) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = ["task", "adapter", "sample_id"]
    again = f"`peval rescore {path.parent}` writes it"
    try:
        known = set(pq.read_schema(path).names)
        if not known.issuperset(TEXTS):
            raise RunError(f"{path}: written by an older peval; {again} anew")
        wanted = [*names, "n_tokens", *(m for m in metrics if m in known)]
        table = pq.read_table(path, columns=wanted, read_dictionary=names, memory_map=True)
    except FileNotFoundError:
        raise RunError(f"{path}: not there; {again}") from None
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise RunError(f"{path}: not readable ({reason}); {again} anew") from error
    return table.unify_dictionaries().combine_chunks()


def _codes(table: Any, name: str) -> tuple[Rows, list[str]]:
    """Return a text column as numbers, -1 for none, and what they stand for."""
    column = table[name].combine_chunks()
    if hasattr(column, "chunks"):
        column = column.chunk(0) if column.num_chunks else None
    if column is None:
        return np.zeros(0, dtype=np.int64), []
    codes = column.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return codes, column.dictionary.to_pylist()


def _is_number(table: Any, name: str) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_floating(table.schema.field(name).type))


def _pair(mine: Block, base: Block) -> Pairing:
    if np.array_equal(mine.ids, base.ids):
        at = here = np.arange(len(mine.ids))
    else:
        _, at, here = np.intersect1d(mine.ids, base.ids, return_indices=True)
    both = ~np.isnan(mine.scores[at]) & ~np.isnan(base.scores[here])
    at, here = at[both], here[both]
    return Pairing(
        mine.task, str(mine.system), mine.rows[at], base.rows[here], mine.ids[at],
        mine.scores[at], base.scores[here],
    )  # fmt: skip


def _answer(row: dict[str, Any]) -> Answer:
    text = row["chosen"] if row["chosen"] is not None else row["text"]
    return Answer(
        task=row["task"],
        system=row["adapter"],
        sample_id=row["sample_id"],
        cluster=row["cluster"],
        input=row["input"],
        targets=tuple(row["targets"] or ()),
        text=text if text is not None else row["error"] or "",
    )
