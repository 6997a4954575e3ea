"""Other people's predictions: a JSONL of ids and texts, scored without any engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from peval.datasets import files
from peval.errors import DataError
from peval.types import Score

Scorer = Callable[[str, str, Sequence[str]], Score]
"""From key, prediction and targets to a score."""


@dataclass(frozen=True)
class Rescored:
    """Scores by id, in the order of the references; ``unknown`` are ids that have no reference."""

    scores: Mapping[str, Score]
    unknown: tuple[str, ...]

    @property
    def missing(self) -> tuple[str, ...]:
        """The ids without a prediction: their scores are failed, never averaged."""
        return tuple(key for key, score in self.scores.items() if score.status == "failed")


def score_predictions(
    path: Path, references: Mapping[str, Sequence[str]], score: Scorer
) -> Rescored:
    """Score the predictions of a file against references by id.

    Parameters
    ----------
    path
        JSON lines, plain or gzipped, each with ``id`` (text or a whole number) and ``prediction``
        (text).
    references
        Targets by id.
    score
        Such as `peval.scorers.squad.score_squad`.

    Raises
    ------
    DataError
        The file is missing, empty or malformed, an id stands in it twice, or none is known.
    """
    predictions = read_predictions(path)
    if not predictions.keys() & references.keys():
        mine, other = next(iter(references), "none"), next(iter(predictions))
        raise DataError(f"{path}: no id is known (here {other!r}; expected ids such as {mine!r})")
    scores = {
        key: score(key, predictions[key], targets)
        if key in predictions
        else Score(key, {}, "failed", why=f"no prediction in {path.name}")
        for key, targets in references.items()
    }
    return Rescored(scores, tuple(key for key in predictions if key not in references))


def read_predictions(path: Path) -> dict[str, str]:
    """Return the predictions of a file by id; raises as `score_predictions` does."""
    found: dict[str, str] = {}
    for where, _, text in files.read_lines(path):
        key, prediction = _prediction(files.parse(text, where), where)
        if key in found:
            raise DataError(f"{where}: the id {key!r} stands in an earlier line too")
        found[key] = prediction
    if not found:
        raise DataError(f"{path}: no lines; expected objects with 'id' and 'prediction'")
    return found


def _prediction(record: object, where: str) -> tuple[str, str]:
    if not isinstance(record, Mapping):
        raise DataError(f"{where}: must be a JSON object with 'id' and 'prediction'")
    key, prediction = record.get("id"), record.get("prediction")
    if isinstance(key, bool) or not isinstance(key, (str, int)) or key == "":
        raise DataError(f"{where}: field 'id' must be text or a whole number")
    if not isinstance(prediction, str):
        raise DataError(f"{where}: field 'prediction' must be text")
    return str(key), prediction
