"""A sweep read as one: settings over seeds, pivots, learning curves, which checkpoint was chosen.

Pure functions over results and facts; nothing here looks at texts or files.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from peval.results import Results
from peval.sweeps.curves import curves
from peval.sweeps.pivots import pivots
from peval.sweeps.scores import Scores
from peval.sweeps.selection import Rule, read_rule, select
from peval.sweeps.settings import settings
from peval.sweeps.spread import spreads
from peval.sweeps.trained import distinct, duplicates, trained

__all__ = ["Rule", "read_rule", "sweep"]


def sweep(results: Results, outputs: Mapping[str | None, str | None], rule: Rule) -> dict[str, Any]:
    """Return the sweep for `results.json`; empty for fewer than two adapters.

    Parameters
    ----------
    outputs
        By adapter (None: the base) a hash of all that it said; None where an answer is missing.
    rule
        Which checkpoint stands for its series.

    Returns
    -------
    dict
        ``n_adapters`` and ``n_effective``, with ``duplicates`` counted once; ``selection``;
        ``settings`` with their spread over seeds; ``pivots``; ``curves``.
    """
    runs = trained(results, outputs)
    if len(runs) < 2:
        return {}
    copies = duplicates(runs)
    kept = distinct(runs, copies)
    scores = Scores(results)
    chosen, choices = select(kept, scores, rule)
    found = settings(chosen)
    read = {
        "n_adapters": len(runs),
        "n_effective": len(kept),
        "duplicates": [dataclasses.asdict(copy) for copy in copies],
        "same_as_base": [
            r.name for r in runs if r.said is not None and r.said == outputs.get(None)
        ],
        "selection": {
            "rule": rule.kind,
            "split": rule.split,
            "choices": [dataclasses.asdict(choice) for choice in choices],
        },
        "settings": [
            {
                "facts": setting.facts,
                "adapters": list(setting.adapters),
                "seeds": list(setting.seeds),
                "speaks_of": setting.speaks_of,
                "scores": [dataclasses.asdict(s) for s in spreads(setting, scores)],
            }
            for setting in found
        ],
        "pivots": [dataclasses.asdict(pivot) for pivot in pivots(found, scores)],
        "curves": [dataclasses.asdict(curve) for curve in curves(kept, scores)],
    }
    return dict(json.loads(json.dumps(read)))  # lists for tuples, as results.json has them
