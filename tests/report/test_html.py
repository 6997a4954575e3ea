"""One file, no network, nothing that was said is run; sorted and filtered in a real browser."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from browser import CHROMIUM, shown
from hostile_text import HOSTILE

import peval.api
from peval.errors import UsageError
from peval.report import as_html

# Sorts the first table by its second column, then asks for one adapter's losses on one task.
DRIVER = """
const soon = () => new Promise((done) => setTimeout(done, 200));
addEventListener("load", async () => {
  await soon();
  const said = {ready: document.documentElement.dataset.ready, title: document.title};
  const table = document.querySelector("table.sortable");
  const column = () => [...table.tBodies[0].rows].map((row) => Number(row.cells[1].dataset.order));
  said.before = column();
  table.tHead.rows[0].cells[1].querySelector(".dt-column-header").click();
  await soon();
  said.after = column();
  const rows = () => document.querySelectorAll("#answers tbody tr td[data-name=item]").length;
  const info = () => document.getElementById("answers_info").textContent;
  said.all = [rows(), info()];
  for (const [name, value] of [["task", "arithmetic"], ["adapter", ADAPTER], ["flipped", "lost"]]) {
    const select = document.getElementById(`filter-${name}`);
    select.value = value;
    select.dispatchEvent(new Event("change"));
  }
  said.lost = [rows(), info()];
  said.item = document.querySelector("#answers td[data-name=item]").innerText;
  said.text = document.querySelector("#answers td[data-name=adapter] pre").textContent;
  said.bold = document.querySelectorAll("#answers b:not([class]), #answers img, main i").length;
  said.overflow = document.documentElement.scrollWidth - innerWidth;
  const out = document.createElement("pre");
  out.id = "said";
  out.textContent = JSON.stringify(said);
  document.body.append(out);
});
"""


@pytest.fixture(scope="session")
def page(hostile_run: Path) -> str:
    pytest.importorskip("itables", reason="no itables: pip install 'peval[html]'")
    return peval.api.report(hostile_run, "html").read_text(encoding="utf-8")


class Seen(HTMLParser):
    """Counts elements and collects what a page could load or run."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.handlers: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        self.loads += [v for name, v in attrs if name in ("src", "href", "srcset", "action") and v]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_page_loads_nothing_and_runs_its_own_script_alone(page: str) -> None:
    seen = Seen(page)
    assert seen.tags.count("script") == 2
    assert seen.handlers == []
    assert [load for load in seen.loads if not load.startswith("#")] == []
    assert not {"img", "link", "iframe", "i", "u"} & set(seen.tags)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert re.fullmatch(
        r"default-src 'none'; script-src 'sha256-[\w+/=]+'; style-src 'unsafe-inline'", policy[1]
    )


def test_what_was_said_is_shown_as_it_was_said(page: str) -> None:
    seen = Seen(page)
    assert any(
        " ".join(HOSTILE.split()) in words for words in seen.words
    )  # the flips, side by side
    data = re.search(r"id=answers-data>(.*?)</script>", page, flags=re.S)
    assert data is not None
    rows = json.loads(data[1])
    assert len(rows) == 160
    assert all(row["input"] == HOSTILE for row in rows)
    assert {row["flipped"] for row in rows} == {"", "gained", "lost"}
    assert sum(row["flipped"] == "lost" for row in rows) == 40


def test_without_the_library_one_line_says_what_to_install(
    hostile_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(as_html, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"needs the package itables.*pip install 'peval\[html\]'"):
        peval.api.report(hostile_run, "html")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [1280, 500])
def test_a_browser_sorts_and_filters_and_runs_nothing_hostile(
    page: str, tmp_path: Path, width: int
) -> None:
    adapter = "a|b`<i>\"'&_x_"
    driver = DRIVER.replace("ADAPTER", json.dumps(adapter).replace("<", "\\u003c"))
    said = shown(page, driver, tmp_path / "page.html", width)
    assert said["ready"] == "1"
    assert said["title"] == "2 adapters on base"
    assert said["after"] == sorted(said["before"]) != said["before"]
    assert said["all"] == [10, "Showing 1 to 10 of 160 entries"]
    assert said["lost"][0] == 10
    assert "of 20 entries" in said["lost"][1]
    assert adapter in said["item"]
    assert "▼ lost 100 → 0" in said["item"]
    assert said["text"].startswith(HOSTILE)
    assert said["bold"] == 0
    assert said["overflow"] <= 0
