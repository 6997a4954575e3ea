"""Text that means itself stays where it is, whatever it holds."""

from __future__ import annotations

import pytest
from markdown_it import MarkdownIt

from peval.report.document import (
    Bullets,
    Cell,
    Code,
    Column,
    Document,
    Fold,
    Paragraph,
    Part,
    Section,
    Strong,
    Table,
)  # fmt: skip
from peval.report.markdown import markdown

HOSTILE = [
    "**bold** *it* _em_ `code`", "<script>alert(1)</script>", "<!-- gone", "[a](javascript:x)",
    "a|b|c", "![x](y)", "&lt;b&gt;", "back\\slash \\| pipe", "~~gone~~", "`` ` ```", "<b", "a](b",
]  # fmt: skip


def shown(*parts: Part) -> str:
    text = markdown(Document("t", (Section("s", parts),)))
    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text)


def unescaped(html: str) -> str:
    for entity, character in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&")):
        html = html.replace(entity, character)
    return html


@pytest.mark.parametrize("text", HOSTILE)
def test_text_is_shown_as_it_is(text: str) -> None:
    html = shown(Paragraph(("x ", text, " y")), Bullets(((text,),)))
    assert f"<p>x {text} y</p>" in unescaped(html)
    assert f"<li>{text}</li>" in unescaped(html)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_cell_keeps_its_place(text: str) -> None:
    columns = (Column(("a",), numeric=False), Column((text,)))
    row = (Cell((Code(text),)), Cell((text, Strong(text))))
    html = shown(Table("t", "c", columns, (row,)))
    assert html.count("<td") == 2
    assert html.count("<th") - html.count("<thead") == 2
    assert f"<code>{text}</code>" in unescaped(html)


def test_rows_beyond_the_first_are_folded_away() -> None:
    rows = tuple((Cell((str(n),)),) for n in range(40))
    html = shown(Table("t", "c", (Column(("n",)),), rows, n_open=12))
    assert "<details><summary>28 more</summary>" in html
    assert html.count("<table>") == 2
    assert html.count("<td") == 40


def test_what_is_folded_is_markdown_all_the_same() -> None:
    html = shown(Fold("a <title>", (Paragraph((Strong("bold"),)),)))
    assert "<summary>a &lt;title&gt;</summary>" in html.replace("\\", "")
    assert "<strong>bold</strong>" in html
