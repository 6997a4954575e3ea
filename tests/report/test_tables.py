"""The tables for papers and for machines."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hostile_text import HOSTILE
from made_runs import made_run

import peval.api
from peval.report.as_csv import csv_text
from peval.report.as_latex import latex
from peval.report.document import (
    Cell,
    Code,
    Column,
    Document,
    Quiet,
    Section,
    Strong,
    Table,
    slug,
)

COLUMNS = (Column(("",), numeric=False), Column((Code("t_1"), " acc, %"), ("low", "high")))
SMALL = Table(
    "scores",
    "50 % of it",
    COLUMNS,
    (
        (Cell((Strong("base"),), ("base",)), Cell(("35 [23, 49]\n−1 ▼",), (0.349, 0.23, None))),
        (Cell((Quiet(HOSTILE),)), Cell(("–",), (None,))),
        (Cell(("=1+1",)), Cell(("\\{$#^~|\"}",), (0.1,))),
    ),
)  # fmt: skip


def test_every_value_has_a_column_of_its_own() -> None:
    rows = list(csv.reader(csv_text(SMALL).splitlines()))
    assert rows[0] == ["name", "t_1 acc, %", "t_1 acc, % low", "t_1 acc, % high"]
    assert rows[1] == ["base", "0.349", "0.23", ""]
    assert rows[3] == ["'=1+1", "0.1", "", ""]


def test_a_table_for_a_paper_is_escaped_and_breaks_its_lines() -> None:
    text = latex(Document("t", (Section("s", (SMALL,)),)))
    assert r"\shortstack[r]{35 {[}23, 49{]}\\$-$1 $\blacktriangledown$} \\" in text
    assert r"\textbf{base} & " in text
    assert r"\caption{50 \% of it}\label{tab:scores}" in text
    body = text[text.index(r"\midrule") :]
    assert not re.findall(r"(?<!\\)[#%_]", body)


def test_a_long_table_breaks_over_pages() -> None:
    rows = tuple((Cell((str(n),)), Cell((str(n),), (n,))) for n in range(60))
    text = latex(Document("t", (Section("s", (Table("long", "c", COLUMNS, rows),)),)))
    assert text.count(r"\begin{longtable}{lr}") == text.count(r"\end{longtable}") == 1


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex on this machine")
def test_a_run_with_hostile_names_compiles(hostile_run: Path, tmp_path: Path) -> None:
    tables = peval.api.report(hostile_run, "latex").read_text(encoding="utf-8")
    (tmp_path / "paper.tex").write_text(
        r"\documentclass{article}\usepackage[utf8]{inputenc}\usepackage{amssymb,booktabs,longtable}"
        rf"\begin{{document}}{tables}\end{{document}}",
        encoding="utf-8",
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout[-2000:]


def test_a_folder_of_tables_is_written_anew(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", {"a/b": {None: [0.0, 1.0], "x": [1.0, 1.0]}})
    (run / "tables").mkdir()
    (run / "tables" / "old.csv").write_text("")
    folder = peval.api.report(run, "csv")
    assert {path.name for path in folder.iterdir()} == {
        "scores-headline.csv", "scores-exact_match.csv", "differences.csv", "retention.csv",
        "adapters.csv", "cost.csv",
    }  # fmt: skip


def test_names_are_fit_for_files_and_told_apart() -> None:
    assert slug("scores", "rougeL") == "scores-rougeL"
    assert slug("a/b") != slug("a b")
    assert re.fullmatch(r"[\w.-]+", slug("../lm-eval:x", "é", "y" * 300))
