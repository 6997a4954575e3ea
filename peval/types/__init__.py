"""The nouns. Read this package and `run.py`, and you know how peval works.

A `Task` names data, whose reader makes a `Sample` of each item. Every sample is put to the `Base`
and to each `Adapter` in a `Request`, an `Engine` answers with a `Completion`, a scorer makes a
`Score` of that, and of many scores come an `Estimate` and a `Comparison`.

Standard library only; everything is frozen. Scores are fractions in [0, 1]; only the report
writes percent.
"""

from peval.types.answers import (
    Answered,
    Asked,
    Completion,
    Drawn,
    Judged,
    Likelihood,
    Moments,
    Posed,
    Request,
    Said,
    Score,
)
from peval.types.engines import Engine, EngineSpec, LoraRoom
from peval.types.estimates import Comparison, Estimate, Pool
from peval.types.samples import (
    PASSAGE,
    Dataset,
    Example,
    Instruction,
    Labelling,
    Message,
    Query,
    Sample,
)
from peval.types.systems import CONTROL, HF, MERGE, NATIVE, Adapter, Base
from peval.types.tasks import Chat, Decoding, Profile, Task

__all__ = [
    "Decoding", "Chat", "Profile", "Task",
    "Example", "Instruction", "Message", "PASSAGE", "Query", "Labelling", "Sample", "Dataset",
    "Base", "NATIVE", "HF", "MERGE", "CONTROL", "Adapter",
    "Request", "Posed", "Asked", "Moments", "Likelihood", "Drawn", "Completion", "Said",
    "Answered", "Judged", "Score",
    "Pool", "Estimate", "Comparison",
    "LoraRoom", "EngineSpec", "Engine",
]  # fmt: skip
