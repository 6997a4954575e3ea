"""One file for browsers: no network, sortable tables, answers to browse.

Tables are sorted and paged by DataTables, taken from the package `itables`. Every text is escaped,
and the page's policy runs the two scripts written here and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from peval.errors import UsageError
from peval.report.document import (
    Bullets,
    Cell,
    Code,
    Column,
    Document,
    Figure,
    Fold,
    Listing,
    Paragraph,
    Part,
    Quiet,
    Section,
    Span,
    Strong,
    Table,
    Text,
    Warning,
    slug,
)
from peval.report.draw import draw
from peval.report.ink import style_sheet, themed
from peval.report.samples import Sampled, Samples, trimmed

HERE = Path(__file__).parent
ROWS_PER_PAGE = 15


def page(document: Document, samples: Samples) -> str:
    """Return the page.

    Raises
    ------
    UsageError
        The package that brings DataTables is not installed.
    """
    script = (
        _datatables() + ";(function(DataTable){" + (HERE / "page.js").read_text("utf-8") + "})(DT);"
    )
    titles = [section.title for section in document.sections if section.title] + ["Answers"]
    return "".join([
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>"
        f'<meta http-equiv="Content-Security-Policy" content="{_policy(script)}">'
        '<meta name=viewport content="width=device-width,initial-scale=1">'
        '<meta name=color-scheme content="light dark">'
        f"<title>{html.escape(document.title)}</title>\n",
        f"<style>{_colours()}{(HERE / 'page.css').read_text('utf-8')}</style></head>\n",
        f"<body><header><h1>{html.escape(document.title)}</h1></header>\n<nav>",
        *(f"<a href=#{slug(title)}>{html.escape(title)}</a>" for title in titles),
        "</nav>\n<main>",
        *(_section(section) for section in document.sections),
        _browser(samples),
        f"</main>\n<script type=application/json id=answers-data>{_data(samples)}</script>\n",
        f"<script type=module>{script}</script></body></html>\n",
    ])  # fmt: skip


def _datatables() -> str:
    """Return DataTables' script, which leaves it in ``DT``."""
    spec = find_spec("itables")  # finding imports nothing: pandas stays out
    if spec is None or spec.origin is None:
        raise UsageError(
            "--format html needs the package itables, which brings DataTables: "
            "pip install 'peval[html]'"
        )
    script = (Path(spec.origin).parent / "html" / "dt_bundle.js").read_text("utf-8")
    exports = re.search(r"export\{(.*?)\};?", script)
    name = re.search(r"(\w+) as default", exports[1]) if exports else None
    if exports is None or name is None:
        raise UsageError("the installed itables is of another kind; pip install 'itables==2.9.1'")
    return script.replace(exports[0], f";const DT={name[1]};").replace("</script", "<\\/script")


def _policy(script: str) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'"


def _colours() -> str:
    light, dark = style_sheet()
    return f":root{{{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}"


def _section(section: Section) -> str:
    head = ""
    if section.title:
        level = section.level + 1
        title = html.escape(section.title)
        head = f"<h{level} id={slug(section.title)}>{title}</h{level}>"
    name = "decision" if not section.title else "part"
    return f"<section class={name}>{head}{''.join(map(_part, section.parts))}</section>\n"


def _part(part: Part) -> str:
    match part:
        case Paragraph(text):
            return f"<p>{_inline(text)}</p>"
        case Bullets(items):
            return f"<ul>{''.join(f'<li>{_inline(item)}</li>' for item in items)}</ul>"
        case Listing(lines, _):
            return f"<pre>{html.escape(chr(10).join(lines))}</pre>"
        case Warning(text, items):
            listed = "".join(f"<li>{_inline(item)}</li>" for item in items)
            listed = f"<ul>{listed}</ul>" if items else ""
            return f"<aside role=note><p>{_inline(text)}</p>{listed}</aside>"
        case Fold(title, parts):
            inner = "".join(map(_part, parts))
            return f"<details><summary>{html.escape(title)}</summary>{inner}</details>"
        case Table():
            return _table(part)
        case Figure():
            svg = themed(draw(part.name, part.chart), "page")
            alt = html.escape(part.alt)
            return f'<figure role=img aria-label="{alt}">{svg}</figure>'


def _inline(text: Text) -> str:
    return "".join(map(_span, text)).replace("\n", "<br>")


def _span(span: Span) -> str:
    match span:
        case Code(text):
            return f"<code>{html.escape(text)}</code>"
        case Strong(text):
            return f"<strong>{html.escape(text)}</strong>"
        case Quiet(text):
            return f"<em>{html.escape(text)}</em>"
        case str():
            return html.escape(span)


def _table(table: Table) -> str:
    paged = len(table.rows) > ROWS_PER_PAGE
    head = "".join(f"<th{_class(c)}>{_inline(c.title)}</th>" for c in table.columns)
    body = "".join("<tr>" + "".join(_cells(table.columns, row)) + "</tr>" for row in table.rows)
    return (
        f'<div class=wide><table class=sortable id="{table.name}" data-paged={paged:d}>'
        f"<caption>{html.escape(table.caption)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cells(columns: tuple[Column, ...], row: tuple[Cell, ...]) -> Iterator[str]:
    for column, cell in zip(columns, row, strict=True):
        first = cell.values[0] if cell.values else cell.plain
        # What is missing sorts below everything.
        order = ("-1e300" if column.numeric else "") if first is None else str(first)
        yield f'<td{_class(column)} data-order="{html.escape(order)}">{_inline(cell.text)}</td>'


def _class(column: Column) -> str:
    return " class=number" if column.numeric else ""


def _browser(samples: Samples) -> str:
    """Return the table of answers, which the script fills, with its filters."""
    n, of = len(samples.shown), samples.n_answers
    said = (
        f"{n:,} of {of:,} answers, spread over tasks and adapters, those that score otherwise than "
        "the base's first; all are in completions.parquet. Long texts are shown without their "
        "middle."
    )
    filters = "".join(
        f"<label>{name} <select id=filter-{name}><option value=''>all</option></select></label>"
        for name in ("task", "adapter", "flipped")
    )
    heads = "".join(f"<th>{t}</th>" for t in ("item", "input and target", "base", "adapter"))
    return (
        f"<section class=part><h2 id=Answers>Answers</h2><p>{said}</p>"
        f"<div class=filters>{filters}</div><noscript><p>Browsing needs JavaScript.</p></noscript>"
        f"<table id=answers><thead><tr>{heads}</tr></thead><tbody></tbody></table></section>\n"
    )


def _data(samples: Samples) -> str:
    """Return the answers as JSON that cannot end its element."""
    rows = [_row(one) for one in samples.shown]
    text = json.dumps(rows, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _row(one: Sampled) -> dict[str, object]:
    answer = one.answer
    return {
        "task": answer.task,
        "adapter": answer.system or "base",
        "id": answer.sample_id,
        "flipped": one.flipped,
        "score": one.score,
        "base_score": one.base_score,
        "input": trimmed(answer.input),
        "target": trimmed(" | ".join(answer.targets[:3])),
        "base": None if one.base_text is None else trimmed(one.base_text),
        "text": trimmed(answer.text),
    }
