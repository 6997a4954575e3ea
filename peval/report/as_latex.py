r"""The tables for papers: a file to ``\input``, in booktabs' manner."""

from __future__ import annotations

import re

from peval.report.document import Code, Document, Quiet, Span, Strong, Table, Text

ROWS_ON_A_PAGE = 40
HEADER = """\
% Tables of a peval report. The preamble needs
% \\usepackage[utf8]{inputenc}\\usepackage{amssymb,booktabs,longtable}
"""
_CHARACTERS = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "%": r"\%",
    "#": r"\#", "_": r"\_", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''",
    "▲": r"$\blacktriangle$", "▼": r"$\blacktriangledown$", "·": r"$\cdot$", "−": "$-$", "–": "--",
    "…": r"\ldots{}", "→": r"$\rightarrow$", "\N{NO-BREAK SPACE}": "~", "[": "{[}", "]": "{]}",
}  # fmt: skip
_SPECIAL = re.compile("|".join(map(re.escape, _CHARACTERS)))


def latex(document: Document) -> str:
    """Return all tables of a report."""
    return "\n\n".join([HEADER, *map(_table, document.tables)]) + "\n"


def _table(table: Table) -> str:
    columns = "".join("r" if column.numeric else "l" for column in table.columns)
    head = " & ".join(_inline(column.title) for column in table.columns) + r" \\"
    aligned = ["r" if column.numeric else "l" for column in table.columns]
    rows = [
        " & ".join(_cell(c.text, side) for c, side in zip(row, aligned, strict=True)) + r" \\"
        for row in table.rows
    ]
    caption = rf"\caption{{{_escaped(table.caption)}}}\label{{tab:{table.name}}}"
    if len(rows) > ROWS_ON_A_PAGE:
        begin = [rf"\begin{{longtable}}{{{columns}}}", caption + r"\\", r"\toprule", head,
                 r"\midrule\endhead", r"\bottomrule\endfoot"]  # fmt: skip
        return "\n".join([*begin, *rows, r"\end{longtable}"])
    begin = [r"\begin{table}\centering", caption, rf"\begin{{tabular}}{{{columns}}}", r"\toprule",
             head, r"\midrule"]  # fmt: skip
    return "\n".join([*begin, *rows, r"\bottomrule", r"\end{tabular}", r"\end{table}"])


def _cell(text: Text, side: str) -> str:
    said = _inline(text)
    return rf"\shortstack[{side}]{{{said}}}" if r"\\" in said else said


def _inline(text: Text) -> str:
    return r"\\".join("".join(map(_span, text)).split("\n"))


def _span(span: Span) -> str:
    match span:
        case Code(text):
            return rf"\texttt{{{_escaped(text)}}}"
        case Strong(text):
            return rf"\textbf{{{_escaped(text)}}}"
        case Quiet(text):
            return rf"\emph{{{_escaped(text)}}}"
        case str():
            return _escaped(span)


def _escaped(text: str) -> str:
    return _SPECIAL.sub(lambda found: _CHARACTERS[found.group(0)], text)
