"""A run's report on disk, in the forms that are asked for."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

from peval.report.answers import Answers
from peval.report.document import Document
from peval.report.draw import draw
from peval.report.flips import flips
from peval.report.ink import themed
from peval.report.markdown import FIGURES, markdown
from peval.report.sections import document
from peval.results import Results
from peval.rundir import RunDir, write_text

Form = Literal["md", "html", "latex", "csv"]
FORMS: tuple[Form, ...] = ("md", "html", "latex", "csv")


def write_report(rundir: RunDir, results: Results, form: Form = "md") -> Path:
    """Write a run's report and return its path.

    "md" is ``report.md`` with its ``figures/``; "html" one file for browsers, ``report.html``;
    "latex" the tables, ``tables.tex``; "csv" a folder of tables, ``tables/``.

    Raises
    ------
    RunError
        If what was answered cannot be read, or the report cannot be written.
    """
    answers = Answers(rundir.completions, results)
    page = document(results, answers, flips(answers))
    return _write_markdown(rundir, page)


def _write_markdown(rundir: RunDir, page: Document) -> Path:
    folder = rundir.path / FIGURES
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for figure in page.figures:
        svg = draw(figure.name, figure.chart)
        write_text(folder / f"{figure.name}-light.svg", themed(svg, "light"))
        write_text(folder / f"{figure.name}-dark.svg", themed(svg, "dark"))
    write_text(rundir.report, markdown(page))
    return rundir.report
