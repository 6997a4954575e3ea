"""What judges and the judged can say must break neither the Markdown nor the page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path

import pytest
from browser import CHROMIUM, shown
from hostile_text import HOSTILE
from judge_server import JudgeServer, longer, serving
from markdown_it import MarkdownIt
from scripted import TOY, ScriptedEngine

import peval
from peval import api, execute
from peval.report.judged_examples import WIDTH, beside
from peval.types import Completion, Request

WORST = (
    f"{HOSTILE}\n```\n````\n</pre></details>\n# heading\n| a | b |\n| - | - |\n\u202eright to left"
)
DRIVER = """
addEventListener("load", () => setTimeout(() => {
  const folds = [...document.querySelectorAll("details")];
  folds.forEach((fold) => { fold.open = true; });
  const mine = folds.filter((fold) => fold.innerText.includes("Clearest verdicts"));
  const said = {
    title: document.title,
    folds: mine.length,
    listings: mine.flatMap((fold) => [...fold.querySelectorAll("pre")].map((p) => p.textContent)),
    strange: mine.flatMap((fold) => [...fold.querySelectorAll("pre *, img, script, td b")]).length,
    scripts: document.scripts.length,
    overflow: document.documentElement.scrollWidth - innerWidth,
  };
  const out = document.createElement("pre");
  out.id = "said";
  out.textContent = JSON.stringify(said);
  document.body.append(out);
}, 300));
"""


class Hostile(ScriptedEngine):
    """Says what would break a page that does not escape it."""

    def answer(self, request: Request) -> Completion:
        text = f"{WORST} {request.sample_id} " + "long " * 40 * (request.adapter is not None)
        return Completion(request.key, text, (1,), "stop")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("judged") / "run"
    task = out.parent / "asks.jsonl"
    rows = [{"id": f"{n}</td>|`{HOSTILE}", "input": f"{WORST} {n}", "output": "x",
             "category": f"c{n % 2}<u>"} for n in range(12)]  # fmt: skip
    task.write_text("".join(json.dumps(row) + "\n" for row in rows))
    server = JudgeServer(lambda prompt: f"{WORST}\n{longer(prompt)}")
    with pytest.MonkeyPatch.context() as patch, serving(server) as url:
        patch.setattr(execute, "open_engine", lambda setup, progress: Hostile())
        api.score(adapters=[str(TOY / "adapters" / "generalist")], tasks=(str(task),), out=str(out))
        peval.judge(out, "pair", model=f"m{HOSTILE}", endpoint=url, key_variable="none", nulls=2)
    return out


class Tags(HTMLParser):
    """The elements of a page and the text in its code blocks."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)


def test_hostile_text_stays_text_in_markdown(run: Path) -> None:
    report = (run / "report.md").read_text()
    tags = set(Tags(MarkdownIt("commonmark").enable("table").render(report)).tags)
    allowed = {"h1", "h2", "h3", "p", "ul", "li", "strong", "em", "code", "pre", "blockquote",
               "table", "thead", "tbody", "tr", "th", "td", "details", "summary", "br", "a", "sub",
               "picture", "source", "img", "hr"}  # fmt: skip
    assert tags <= allowed
    outside = "".join(line for line in report.splitlines() if line.lstrip().startswith("<"))
    assert "onerror" not in outside
    assert "\u202e" not in report and "\\u202e" in report


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_hostile_text_stays_text_in_a_browser(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("itables", reason="no itables: pip install 'peval[html]'")
    page = api.report(run, "html").read_text(encoding="utf-8")
    said: Mapping[str, object] = shown(page, DRIVER, tmp_path / "page.html", 1280)
    assert said["title"] == "1 adapter on base"
    assert said["folds"] == 1 and said["strange"] == 0 and said["scripts"] == 3
    listings = said["listings"]
    assert isinstance(listings, list) and len(listings) == 6
    assert all("<b>bold</b>" in text and "[[" in text for text in listings)
    assert isinstance(said["overflow"], int) and said["overflow"] <= 0


def test_texts_stand_beside_each_other_within_the_width() -> None:
    lines = beside([("mine", "word " * 80), ("opponent", "x" * 300)])
    assert lines[0].split() == ["mine", "opponent"] and max(map(len, lines)) <= WIDTH
    assert "word word" in lines[2] and "xxx" in lines[2]
