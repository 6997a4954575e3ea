"""A run's report on disk, in the forms that are asked for."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

from peval.report.answers import Answers
from peval.report.as_csv import csv_text
from peval.report.as_html import page
from peval.report.as_latex import latex
from peval.report.document import Document
from peval.report.draw import draw
from peval.report.flips import flips
from peval.report.ink import themed
from peval.report.markdown import FIGURES, markdown
from peval.report.samples import samples
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
    content = document(results, answers, flips(answers))
    match form:
        case "md":
            return _write_markdown(rundir, content)
        case "html":
            write_text(rundir.path / "report.html", page(content, samples(answers)))
            return rundir.path / "report.html"
        case "latex":
            write_text(rundir.path / "tables.tex", latex(content))
            return rundir.path / "tables.tex"
        case "csv":
            return _write_csv(rundir.path / "tables", content)


def _write_csv(folder: Path, content: Document) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for table in content.tables:
        write_text(folder / f"{table.name}.csv", csv_text(table))
    return folder


def _write_markdown(rundir: RunDir, content: Document) -> Path:
    folder = rundir.path / FIGURES
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for figure in content.figures:
        svg = draw(figure.name, figure.chart)
        write_text(folder / f"{figure.name}-light.svg", themed(svg, "light"))
        write_text(folder / f"{figure.name}-dark.svg", themed(svg, "dark"))
    write_text(rundir.report, markdown(content))
    return rundir.report
