"""The report: one run byte for byte, and what its parts promise."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
from scripted import TOY, ScriptedEngine

import peval
from peval import api
from peval.report.figures import draw_differences
from peval.report.flips import Flip, flips
from peval.report.format import cell, counted, points
from peval.report.markdown import FIGURE, markdown
from peval.report.terminal import summary
from peval.results import Results
from peval.store import Store
from peval.types import Sample

GOLDEN = Path(__file__).parent / "golden" / "report.md"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Results]:
    patch = pytest.MonkeyPatch()
    out = tmp_path_factory.mktemp("run") / "run"
    with patch.context() as p:
        p.setattr(api, "open_engine", lambda setup, progress: ScriptedEngine())
        results = peval.score(
            base=str(TOY / "base"),
            adapters=[str(TOY / "adapters" / name) for name in ("generalist", "noop")],
            suite=["superni", "superni-train"],
            data_dir=str(TOY / "data"),
            tasks=["task00[12]*", "task101*", "task106*"],
            limit=5,
            out=str(out),
            engine="hf",
        )
    return out, results


def everywhere(results: Results) -> Results:
    """The same results without what differs between machines."""
    fixed = results.run | {
        "base": results.run["base"] | {"name": "tests/toy/base"},
        "versions": {"python": "3"},
        "serving": results.run["serving"] | {"engine": "scripted"},
        "command": ["peval", "score", "--adapter", "a path"],
        "peval": "0",
    }
    estimates = tuple(dataclasses.replace(e, signature="signature") for e in results.estimates)
    return dataclasses.replace(results, run=fixed, estimates=estimates)


def test_the_report_byte_for_byte(run: tuple[Path, Results]) -> None:
    out, results = run
    with Store(out / "store.sqlite") as store:
        text = markdown(everywhere(results), flips(results, store), FIGURE)
    if os.environ.get("PEVAL_UPDATE_GOLDEN"):
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")


def test_the_figure_is_drawn_and_not_blank(run: tuple[Path, Results], tmp_path: Path) -> None:
    from matplotlib.image import imread

    _, results = run
    assert draw_differences(results, tmp_path / "figure.png")
    pixels = imread(tmp_path / "figure.png")
    assert pixels.shape[1] > 800
    assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 20
    alone = dataclasses.replace(results, comparisons=())
    assert not draw_differences(alone, tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_model_text_cannot_break_out_of_its_block(run: tuple[Path, Results]) -> None:
    hostile = "```\n# Owned\n````"
    sample = Sample("id|`x", hostile, (hostile,), "c|d")
    flip = Flip("superni", "a|b", sample, hostile, "<script>" * 900, 1.0, "rougeL")
    text = markdown(everywhere(run[1]), [flip], None)
    assert "\n# Owned" not in text
    block = text[text.index("`````text") :]
    assert "[…]" in block
    assert max(map(len, block.splitlines()[:6])) < 400


def test_the_terminal_says_the_same(run: tuple[Path, Results]) -> None:
    text = summary(run[1])
    assert "superni-train" in text
    assert "copy-input" in text
    assert all(len(line) < 100 for line in text.splitlines())


def test_numbers_as_people_write_them() -> None:
    assert [points(v) for v in (0.123, -0.0004, -0.05, None)] == ["+12.3", "0.0", "−5.0", "–"]
    assert [counted(n, "entry") for n in (1, 1200)] == ["1 entry", "1,200 entries"]
    assert cell("a|b\nc") == "a\\|b c"
