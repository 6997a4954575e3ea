"""Scores to estimates and comparisons: the results that everything downstream reads."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from peval.errors import RunError
from peval.types import (
    Comparison,
    Estimate,
)

SCHEMA_VERSION = 1

Record = dict[str, Any]
Part = Literal["estimates", "comparisons", "baselines"]


@dataclass(frozen=True)
class Results:
    """What a run found. The command line prints from it; `results.json` holds the same.

    ``programs`` tell what became of the programs that coding tasks asked for.
    ``baselines`` have the shape of estimates, with a baseline's name as adapter. ``run`` tells
    what was run and whether it is "complete" or "partial". ``memorization`` holds what its report
    needs beside estimates: curves, the blind check, overlaps; it is empty without training data.
    ``sweep`` is described in `peval.sweeps`; ``noise`` holds `peval.noise.Noise`, ``proofs`` what
    `peval.proof.Proof` says of each adapter (and of the base, None);
    ``generalization`` is described in `peval.generalization`.
    ``judged`` holds what judges found, beside their estimates: diagnostics, null answers, ratings,
    agreement; it is empty where nobody judged.
    """

    run: Record
    adapters: tuple[Record, ...]
    tasks: tuple[Record, ...]
    estimates: tuple[Estimate, ...]
    comparisons: tuple[Comparison, ...]
    baselines: tuple[Estimate, ...]
    memorization: Record = field(default_factory=dict)
    programs: tuple[Record, ...] = ()
    sweep: Record = field(default_factory=dict)
    noise: tuple[Record, ...] = ()
    judged: Record = field(default_factory=dict)
    generalization: Record = field(default_factory=dict)
    proofs: tuple[Record, ...] = ()
    schema_version: int = SCHEMA_VERSION

    @property
    def complete(self) -> bool:
        """Tell whether every request was answered."""
        return bool(self.run["status"] == "complete")

    def estimate(
        self, task: str, metric: str, adapter: str | None = None, group: str | None = None
    ) -> Estimate:
        """Return one estimate; the base's where `adapter` is None.

        Raises
        ------
        KeyError
            If the run has no such estimate.
        """
        for e in self.estimates + self.baselines:
            if (e.task, e.metric, e.adapter, e.group) == (task, metric, adapter, group):
                return e
        raise KeyError((task, metric, adapter, group))

    def comparison(
        self, task: str, metric: str, adapter: str, group: str | None = None
    ) -> Comparison:
        """Return an adapter's paired difference to the base; KeyError if there is none."""
        for c in self.comparisons:
            if (c.task, c.metric, c.adapter, c.group) == (task, metric, adapter, group):
                return c
        raise KeyError((task, metric, adapter, group))

    def to_pandas(self, part: Part = "estimates") -> Any:
        """Return a part as a `pandas.DataFrame`, a row for each record; the base has no adapter.

        Examples
        --------
        >>> Results({"status": "complete"}, (), (), (), (), ()).to_pandas().shape
        (0, 15)
        """
        import pandas as pd

        noun = Comparison if part == "comparisons" else Estimate
        rows = [dataclasses.asdict(one) for one in getattr(self, part)]
        return pd.DataFrame(rows, columns=[f.name for f in dataclasses.fields(noun)])

    def _repr_html_(self) -> str:
        """Return whole tasks as a table for notebooks."""
        from html import escape

        columns = ("task", "metric", "system", "value", "95 %", "items")
        head = "".join(f"<th>{column}</th>" for column in columns)
        rows = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in _cells(e)) + "</tr>"
            for e in self.estimates
            if e.group is None
        )
        status = escape(str(self.run["status"]))
        return f"<table><caption>peval: {status}</caption><tr>{head}</tr>{rows}</table>"

    def to_dict(self) -> Record:
        """Return the content of `results.json`."""
        return {"schema_version": self.schema_version} | {
            one.name: _plain(getattr(self, one.name))
            for one in dataclasses.fields(self)
            if one.name != "schema_version"
        }

    @classmethod
    def from_dict(cls, record: Record) -> Results:
        """Read back what `to_dict` returned."""
        if record.get("schema_version") != SCHEMA_VERSION:
            version = record.get("schema_version")
            raise RunError(f"results of schema version {version}; this peval reads 1")
        return cls(
            run=record["run"],
            adapters=tuple(record["adapters"]),
            tasks=tuple(record["tasks"]),
            estimates=tuple(Estimate(**e) for e in record["estimates"]),
            comparisons=tuple(Comparison(**c) for c in record["comparisons"]),
            baselines=tuple(Estimate(**e) for e in record["baselines"]),
            memorization=record.get("memorization", {}),
            programs=tuple(record.get("programs", ())),
            sweep=record.get("sweep", {}),
            noise=tuple(record.get("noise", ())),
            judged=record.get("judged", {}),
            generalization=record.get("generalization", {}),
            proofs=tuple(record.get("proofs", ())),
        )


def _cells(e: Estimate) -> tuple[str, ...]:
    value = "" if e.value is None else f"{e.value:.3f}"
    spread = "" if e.low is None or e.high is None else f"{e.low:.3f} to {e.high:.3f}"
    return e.task, e.metric, e.adapter or "base", value, spread, str(e.n_items)


def load_results(path: Path) -> Results:
    """Read a `results.json`; RunError if it is missing or malformed."""
    try:
        return Results.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise RunError(f"{path}: not there; is {path.parent} a finished peval run?") from None
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path}: not a peval results file ({error}); run it again") from error


def _plain(value: object) -> Any:
    """Return nested records as JSON's own types."""
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return value
