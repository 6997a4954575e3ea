"""Every answer as one row of a Parquet file, for people who use pandas.

Answers are written system by system as columns. Which metrics are numbers is known when the last
score is, so the columns wait in a file beside it until then: memory holds one system's at a time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from peval.columns import OF_SAMPLES, metrics_of, of_answers, of_samples, table_of
from peval.errors import RunError
from peval.types import Answered, Sample, Score

ROWS_PER_GROUP = 10_000


class AnswersFile:
    """Writes one row per answer with a column per metric; the whole file or none of it.

    Where a request drew several answers, ``draw`` counts them, and each has the request's score.
    A context manager; the file is there when it is left without an error.

    Raises
    ------
    RunError
        If the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._spool = path.with_name(f".{path.name}.{os.getpid()}.spool")
        self._part = path.with_name(f".{path.name}.{os.getpid()}.part")
        self._blocks: list[tuple[str, str | None, int]] = []  # task, system, place in the spool
        self._task = ""
        self._samples: dict[str, Any] = {}
        self._numbers: dict[str, int] = {}  # of the task's samples, by id
        self._metrics: dict[str, bool] = {}  # whether its items are compound

    def __enter__(self) -> AnswersFile:
        import pyarrow as pa

        with self._one_line_errors():
            self._sink = pa.OSFile(str(self._spool), "wb")
        return self

    def begin(self, task: str, samples: Sequence[Sample]) -> None:
        """Take a task's samples; what is added next is about them."""
        self._task = task
        self._samples[task] = of_samples(samples)
        self._numbers = {sample.id: number for number, sample in enumerate(samples)}

    def add(self, system: str | None, answered: Answered, scores: Sequence[Score | None]) -> None:
        """Take one system's answers to some samples; without a score or an answer: nulls."""
        import pyarrow as pa

        table = table_of(answered, scores)
        numbers = np.array([self._numbers[sample.id] for sample in answered.samples], dtype=int)
        table = table.set_column(0, "sample", pa.array(numbers[table["sample"].to_numpy()]))
        for name in metrics_of(table):
            is_compound = table.schema.field(name).type == pa.string()
            self._metrics[name] = self._metrics.get(name, False) or is_compound
        with self._one_line_errors():
            self._blocks.append((self._task, system, self._sink.tell()))
            with pa.ipc.new_stream(self._sink, table.schema) as stream:
                stream.write_table(table)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            with self._one_line_errors():
                self._sink.close()
                if error is None:
                    self._write()
        finally:
            for path in (self._spool, self._part):
                with suppress(OSError):
                    path.unlink(missing_ok=True)

    def _write(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        with pq.ParquetWriter(self._part, self._schema(), compression="zstd") as writer:
            waiting: list[Any] = []
            for table in self._tables():
                waiting.append(table)
                if sum(map(len, waiting)) >= ROWS_PER_GROUP:
                    together = pa.concat_tables(waiting)
                    whole = len(together) // ROWS_PER_GROUP * ROWS_PER_GROUP
                    writer.write_table(together.slice(0, whole), row_group_size=ROWS_PER_GROUP)
                    waiting = [together.slice(whole)]
            if sum(map(len, waiting)):
                writer.write_table(pa.concat_tables(waiting), row_group_size=ROWS_PER_GROUP)
        with self._part.open("rb") as file:
            os.fsync(file.fileno())
        self._part.replace(self._path)

    def _tables(self) -> Iterator[Any]:
        """Yield what was added, with the columns of samples and of all metrics."""
        import pyarrow as pa
        import pyarrow.compute as pc

        schema = self._schema()
        if not self._blocks:
            return
        with pa.memory_map(str(self._spool)) as file:
            for task, system, place in self._blocks:
                file.seek(place)
                table = pa.ipc.open_stream(file).read_all()
                samples = self._samples[task].take(table["sample"])
                asked = pc.coalesce(table["later"], samples["input"])
                samples = samples.set_column(OF_SAMPLES.index("input"), "input", asked)
                known = {"task": [task] * len(table), "adapter": [system] * len(table)}
                columns = [
                    samples[field.name] if field.name in OF_SAMPLES
                    else table[field.name].cast(field.type) if field.name in table.column_names
                    else pa.array(known.get(field.name, [None] * len(table)), field.type)
                    for field in schema
                ]  # fmt: skip
                yield pa.table(columns, schema=schema)

    def _schema(self) -> Any:
        """Return the columns; compound metrics, which only all items have, are JSON of parts."""
        import pyarrow as pa

        text = pa.string()
        names = ("task", "sample_id", "adapter", "key", "category", "cluster", "input")
        fields = [(name, text) for name in names]
        fields += [("targets", pa.list_(text)), *of_answers()]
        kinds = {m: text if self._metrics[m] else pa.float64() for m in sorted(self._metrics)}
        return pa.schema(fields + list(kinds.items()))

    @contextmanager
    def _one_line_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = " ".join(str(error).split())
            raise RunError(
                f"{self._path}: cannot be written ({reason}); what was computed is kept, "
                "the same command goes on"
            ) from error
