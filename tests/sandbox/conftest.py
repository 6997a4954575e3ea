from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from peval.sandbox.pool import Pool

HERE = Path(__file__).parent
TIERS = ("namespaces", "landlock")


class Case(NamedTuple):
    name: str
    allowed: frozenset[str]
    code: str


def corpus(name: str) -> list[Case]:
    """Programs of a text file: a heading `## name: allowed statuses`, then the code."""
    text = (HERE / name).read_text()
    cases = []
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        heading, _, code = part.partition("\n")
        title, _, allowed = heading.partition(":")
        cases.append(Case(title, frozenset(allowed.split()), code))
    return cases


@pytest.fixture(scope="session", params=TIERS)
def tier(request: pytest.FixtureRequest) -> str:
    if sys.platform != "linux":
        pytest.skip("the sandbox needs Linux")
    from peval.sandbox.canaries import probe

    problems = probe(request.param).problems
    if problems:
        pytest.skip(f"this machine has no tier {request.param}: {problems[0]}")
    return str(request.param)


@pytest.fixture(scope="session")
def pool(tier: str) -> Iterator[Pool]:
    with Pool(tier, 2) as pool:
        yield pool
