"""Scores to estimates and comparisons: the results that everything downstream reads."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from types import NoneType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from peval import corpus, stats
from peval.corpus import Aggregate, is_mean, is_whole_only
from peval.errors import RunError
from peval.items import Items
from peval.stats.units import Clusters
from peval.types import (
    HF,
    Adapter,
    Asked,
    Comparison,
    Completion,
    Estimate,
    Score,
    Task,
)

SCHEMA_VERSION = 1

Record = dict[str, Any]
Part = Literal["estimates", "comparisons", "baselines"]
Signer = Callable[[Task, str, Any, int], str]


@dataclass(frozen=True)
class Results:
    """What a run found. The command line prints from it; `results.json` holds the same.

    ``programs`` tell what became of the programs that coding tasks asked for.
    ``baselines`` have the shape of estimates, with a baseline's name as adapter. ``run`` tells
    what was run and whether it is "complete" or "partial". ``memorization`` holds what its report
    needs beside estimates: curves, the blind check, overlaps; it is empty without training data.
    ``sweep`` is described in `peval.sweeps`; ``noise`` holds `peval.noise.Noise`;
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


@dataclass(frozen=True)
class Answers:
    """One system's scores on one task, in the order of its samples.

    ``values`` maps a metric to an array of shape (n_samples,), NaN (or None) where there is no
    score;
    ``said`` holds hashes of what was answered, and None where something is missing.
    ``unasked`` masks, by metric, the samples that it does not apply to, where there are such.
    ``troubles`` maps fields of an `Estimate` to masks of the same shape: what happened to a sample.
    """

    values: Mapping[str, NDArray[Any]]
    said: tuple[object, ...]
    unasked: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    troubles: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)

    def tally(self, rows: NDArray[np.intp] | None = None) -> dict[str, int]:
        """Return how many samples had each trouble, of some rows or of all."""
        nothing = np.zeros(len(self.said), dtype=bool)
        found = dict.fromkeys(("n_truncated", "n_prompts_cut"), nothing) | dict(self.troubles)
        return {
            kind: int((where if rows is None else where[rows]).sum())
            for kind, where in found.items()
        }


def answers(
    task: Task,
    requests: Sequence[Asked],
    completions: Mapping[str, Completion],
    scores: Sequence[Score | None],
) -> Answers:
    """Line up one system's completions and scores with the samples of a task.

    Parameters
    ----------
    requests, scores
        The system's requests and score for each sample, in the samples' order.
    completions
        By request key.
    """
    posed = [one for asked in requests for one in asked]
    found = [completions.get(one.key) for one in posed]
    sizes = [len(asked) for asked in requests]
    # Extraction asks for so many tokens and no more: there the limit cuts nothing off.
    limited = task.settings.get("probe") != "extraction"
    happened = {
        "n_truncated": [limited and c is not None and c.was_truncated for c in found],
        "n_prompts_cut": [one.prompt_was_cut for one in posed],
        "n_empty": [c is not None and _is_empty(c) for c in found],
    }
    troubles = {kind: _any(flags, sizes) for kind, flags in happened.items()}
    troubles["n_unparsed"] = np.array([bool(s and s.status == "unparsed") for s in scores])
    return Answers(
        values={
            metric: column([s.values.get(metric) if s else None for s in scores])
            for metric in task.metrics
        },
        said=_by_sample(list(map(_said, found)), sizes),
        unasked=_unasked(task, scores),
        troubles=troubles,
    )


def _any(flags: Sequence[bool], sizes: Sequence[int]) -> NDArray[np.bool_]:
    """Tell for each sample whether any of its requests is flagged; ``sizes`` counts them."""
    mask = np.zeros(len(sizes), dtype=bool)
    mask[np.repeat(np.arange(len(sizes)), sizes)[np.array(flags, dtype=bool)]] = True
    return mask


def _by_sample(said: Sequence[bytes | None], sizes: Sequence[int]) -> tuple[object, ...]:
    """Return each sample's hashes as one, or None if one failed or is missing."""
    if len(said) == len(sizes):  # one request each
        return tuple(said)
    rest = iter(said)
    parts = (tuple(islice(rest, size)) for size in sizes)
    return tuple(None if None in mine else mine for mine in parts)


def only(system: Answers, kept: NDArray[np.bool_]) -> Answers:
    """Return a system's answers to some of the samples."""
    return Answers(
        values={metric: values[kept] for metric, values in system.values.items()},
        said=tuple(said for said, keep in zip(system.said, kept, strict=True) if keep),
        unasked={metric: mask[kept] for metric, mask in system.unasked.items()},
        troubles={kind: mask[kept] for kind, mask in system.troubles.items()},
    )


def _unasked(task: Task, scores: Sequence[Score | None]) -> dict[str, NDArray[np.bool_]]:
    masks = {}
    for metric in task.metrics:
        if any(s.values.get(metric, 0) is None for s in scores if s):
            asked = [s is None or s.values.get(metric, 0) is not None for s in scores]
            masks[metric] = ~np.array(asked)
    return masks


def _is_empty(completion: Completion) -> bool:
    """Tell whether any text that was generated is nothing but white space."""
    asked_for_text = not completion.likelihoods
    if not asked_for_text or completion.finish_reason == "error":
        return False
    return not completion.text.strip() or any(not one.text.strip() for one in completion.more)


def column(values: Sequence[Any]) -> NDArray[Any]:
    """Return numbers as floats with NaN where there is none, anything else as objects."""
    if all(issubclass(kind, int | float | NoneType) for kind in set(map(type, values))):
        return np.array(values, dtype=float)
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def is_there(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell where there is a score."""
    if values.dtype == object:
        return np.array([value is not None for value in values], dtype=bool)
    there: NDArray[np.bool_] = ~np.isnan(values)
    return there


def _is_share(values: NDArray[Any]) -> bool:
    """Tell whether a metric's values are numbers in [0, 1], whose plain mean is meant."""
    return bool(values.dtype != object and np.all((values >= 0) & (values <= 1)))


def _said(answer: Completion | None) -> bytes | None:
    """Return a hash of what an answer holds, or None if it failed or is missing."""
    if answer is None or answer.error:
        return None
    held = answer.text
    if answer.more or answer.likelihoods:
        held = repr((held, [one.text for one in answer.more], answer.likelihoods))
    return hashlib.blake2b(held.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def estimates(
    task: Task,
    items: Items,
    adapter: Adapter | str | None,
    system: Answers,
    sign: Signer,
    aggregates: Mapping[str, Aggregate] = {},
) -> Iterator[Estimate]:
    """Yield one system's estimates on one task: whole, by category, by cluster.

    ``adapter`` is None for the base, and a name for a baseline.
    """
    name = adapter.name if isinstance(adapter, Adapter) else adapter
    for metric in task.metrics:
        values, unasked = system.values[metric], system.unasked.get(metric)
        has_score = is_there(values)
        for group, rows in items.groups:
            if group is not None and is_whole_only(aggregates.get(metric)):
                continue
            asked = rows if unasked is None else rows[~unasked[rows]]
            there = asked[has_score[asked]]
            n_items = len(there)
            found = values[there], items.clusters[there]
            interval = _interval(*found, aggregates.get(metric)) if n_items else None
            yield Estimate(
                task=task.name,
                metric=metric,
                adapter=name,
                group=group,
                value=interval.value if interval else None,
                low=_finite(interval.low) if interval else None,
                high=_finite(interval.high) if interval else None,
                n_items=n_items,
                n_clusters=interval.n_clusters if interval else 0,
                n_missing=len(asked) - n_items,
                signature=sign(task, metric, adapter, n_items),
                **system.tally(asked),
            )


def control_of(adapter: Adapter, adapters: Iterable[Adapter]) -> str | None:
    """Name what an adapter is held against: the base (None), or the base in the same engine."""
    if adapter.route != HF:
        return None
    return next((one.name for one in adapters if one.is_control), None)


def comparisons(
    task: Task,
    items: Items,
    adapter: Adapter,
    pair: tuple[Answers, Answers],
    alpha: float,
    aggregates: Mapping[str, Aggregate] = {},
    against: str | None = None,
) -> Iterator[Comparison]:
    """Yield one adapter's paired differences to the base: `pair` is (adapter's, base's).

    ``against`` names the base where it is asked in a second engine (`control_of`).

    The whole task and each category carry a p-value; a single cluster's difference has its
    interval only, as there are too many of them for their p-values to mean anything. The headline
    metric of the whole task has its minimum detectable effect at level `alpha`.
    """
    system, base = pair
    same = np.array([a is not None and a == b for a, b in zip(system.said, base.said)])  # noqa: B905
    for metric in task.metrics:
        mine, theirs = system.values[metric], base.values[metric]
        have_scores = is_there(mine) & is_there(theirs)
        for group, rows in items.groups:
            if group is not None and is_whole_only(aggregates.get(metric)):
                continue
            there = rows[have_scores[rows]]
            both, c = (mine[there], theirs[there]), items.clusters[there]
            n_identical = int(same[there].sum())
            headline = group is None and metric == task.metrics[0]
            how, level = aggregates.get(metric), alpha if headline else None
            is_tested = not (group or "").startswith("task:")
            found = paired(both, c, n_identical, how, level, is_tested) if len(c) else None
            interval, test, mde = found or (None, None, None)
            yield Comparison(
                task=task.name,
                metric=metric,
                adapter=adapter.name,
                against=against,
                group=group,
                delta=interval.value if interval else None,
                low=_finite(interval.low) if interval else None,
                high=_finite(interval.high) if interval else None,
                p_value=test.p_value if test else None,
                test=test.name if test else "none",
                n_items=len(c),
                n_clusters=interval.n_clusters if interval else 0,
                n_identical=n_identical,
                mde=mde,
            )


def _finite(bound: float) -> float | None:
    """Return a bound, or None where there is none: one cluster says nothing about others."""
    return bound if math.isfinite(bound) else None


def _interval(
    values: NDArray[Any], clusters: Clusters, aggregate: Aggregate | None
) -> stats.Interval:
    """Return a metric's interval: of a mean of shares, or of whatever ``aggregate`` computes."""
    if (found := _shares((values,), clusters, aggregate)) is not None:
        (shares,), units = found
        return stats.mean_interval(shares, units)
    assert aggregate is not None
    return corpus.interval(values.tolist(), clusters, aggregate)


def _shares(
    columns: Sequence[NDArray[Any]], clusters: Clusters, aggregate: Aggregate | None
) -> tuple[Sequence[NDArray[Any]], Clusters] | None:
    """Return columns of numbers in [0, 1] and their clusters; None where no mean of such is meant.

    An item that holds several becomes as many rows.
    """
    if aggregate is None:
        return columns, clusters
    if aggregate.of_shares:
        return corpus.spread(columns, clusters)
    plain = aggregate.interval is None and all(map(_is_share, columns)) and is_mean(aggregate)
    return (columns, clusters) if plain else None


def paired(
    both: tuple[NDArray[Any], NDArray[Any]],
    clusters: Clusters,
    n_identical: int,
    aggregate: Aggregate | None,
    alpha: float | None,
    is_tested: bool = True,
) -> tuple[stats.Interval, stats.Test | None, float | None]:
    """Return a paired difference's interval, of no width where every answer is alike, and its test.

    And, for a level `alpha` and a mean of items of which some differ, its minimum detectable
    effect.
    """
    test, mde = None, None
    if (found := _shares(both, clusters, aggregate)) is not None:
        (mine, theirs), units = found
        d = mine - theirs
        interval = stats.difference_interval(d, units)
        if is_tested:
            test = stats.paired_test(d, units)
        if alpha is not None and n_identical < len(clusters):
            mde = stats.minimum_detectable_effect(d, units, alpha)
    else:
        assert aggregate is not None
        mine, theirs = both
        interval, its = corpus.difference((mine.tolist(), theirs.tolist()), clusters, aggregate)
        test = its if is_tested else None
    if n_identical == len(clusters):
        interval = dataclasses.replace(interval, low=0.0, high=0.0)
    return interval, test, mde


def _plain(value: object) -> Any:
    """Return nested records as JSON's own types."""
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return value
