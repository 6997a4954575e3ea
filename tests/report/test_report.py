"""The report: one run byte for byte, and what its parts promise."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from pathlib import Path

import pytest
from scripted import TOY, ScriptedEngine

import peval
from peval import execute
from peval.report import as_html
from peval.report.answers import Answer, Answers
from peval.report.as_csv import csv_text
from peval.report.as_latex import latex
from peval.report.document import Document
from peval.report.flips import Flip, flips
from peval.report.hygiene import SEVERAL
from peval.report.markdown import markdown
from peval.report.samples import samples
from peval.report.sections import document
from peval.report.terminal import summary
from peval.results import Results

SITTING = {
    "wall_s": 83.4, "starting_s": 14.2, "n_engine_starts": 1, "n_answered": 60,
    "n_prompt_tokens": 12_345, "n_tokens": 678,
}  # fmt: skip
GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Results]:
    patch = pytest.MonkeyPatch()
    out = tmp_path_factory.mktemp("run") / "run"
    with patch.context() as p:
        p.setattr(execute, "open_engine", lambda setup, progress: ScriptedEngine())
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
        "sittings": [SITTING],
        "peval": "0",
    }
    estimates = tuple(dataclasses.replace(e, signature="signature") for e in results.estimates)
    return dataclasses.replace(results, run=fixed, estimates=estimates)


def page(out: Path, results: Results, flipped: list[Flip] | None = None) -> Document:
    answers = Answers(out / "completions.parquet", results)
    return document(everywhere(results), answers, flips(answers) if flipped is None else flipped)


def golden(name: str, text: str) -> None:
    if os.environ.get("PEVAL_UPDATE_GOLDEN"):
        (GOLDEN / name).write_text(text, encoding="utf-8")
    assert text == (GOLDEN / name).read_text(encoding="utf-8")


def test_the_report_byte_for_byte(run: tuple[Path, Results]) -> None:
    golden("report.md", markdown(page(*run)))


def test_the_tables_byte_for_byte(run: tuple[Path, Results]) -> None:
    content = page(*run)
    golden("tables.tex", latex(content))
    golden("tables.csv", "\n".join(f"{t.name}\n{csv_text(t)}" for t in content.tables))


def test_the_page_byte_for_byte(run: tuple[Path, Results]) -> None:
    """But for its scripts, its style and its figures, which have tests of their own."""
    pytest.importorskip("itables", reason="no itables: pip install 'peval[html]'")
    out, results = run
    text = as_html.page(page(*run), samples(Answers(out / "completions.parquet", results)))
    for kind in ("svg", "style", "script type=module"):
        text = re.sub(rf"<{kind}.*?</{kind.split()[0]}>", "", text, flags=re.DOTALL)
    golden("report.html", re.sub(r"sha256-[\w+/=]+", "sha256", text).replace("<tr>", "\n<tr>"))


def test_the_figures_by_their_data(run: tuple[Path, Results]) -> None:
    found = {figure.name: dataclasses.asdict(figure) for figure in page(*run).figures}
    golden("figures.json", json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def test_every_figure_is_there_for_light_and_dark_pages(run: tuple[Path, Results]) -> None:
    out, results = run
    text = (out / "report.md").read_text(encoding="utf-8")
    names = [figure.name for figure in page(out, results).figures]
    assert names
    for name in names:
        assert f'srcset="figures/{name}-dark.svg"' in text
        assert f'src="figures/{name}-light.svg"' in text
        assert (out / "figures" / f"{name}-dark.svg").read_text().startswith("<svg")
    assert len(list((out / "figures").iterdir())) == 2 * len(names)


def test_an_order_of_adapters_or_tasks_changes_nothing_but_the_order_of_tasks(
    run: tuple[Path, Results],
) -> None:
    out, results = run
    turned = dataclasses.replace(
        results,
        adapters=results.adapters[::-1],
        estimates=results.estimates[::-1],
        comparisons=results.comparisons[::-1],
    )
    assert markdown(page(out, turned)).replace("signature", "") == markdown(
        page(out, results)
    ).replace("signature", "")


def test_model_text_cannot_break_out_of_its_block(run: tuple[Path, Results]) -> None:
    hostile = "```\n# Owned\n````"
    mine = Answer("superni", "a|b`", "id|`x", "c|d_[a](b)", hostile, (hostile,), "<script>" * 900)
    flip = Flip(mine, dataclasses.replace(mine, system=None, text=hostile), 1.0, 0.0)
    text = markdown(page(*run, [flip]))
    assert "\n# Owned" not in text
    block = text[text.index("`````text") :]
    assert "[…]" in block
    assert max(map(len, block.splitlines()[:6])) < 400


def test_the_terminal_says_the_same(run: tuple[Path, Results]) -> None:
    text = summary(run[1])
    assert "superni-train" in text
    assert "copy-input" in text
    assert all(len(line) < 100 for line in text.splitlines())
    assert "points against the base" in text
    assert "against the base" not in summary(dataclasses.replace(run[1], comparisons=()))


def test_what_went_wrong_is_tallied_and_said_aloud_above_one_percent(tmp_path: Path) -> None:
    """From texts to counts: empty, unparsed and truncated answers of two systems."""
    rows = [{"id": f"test-{i}", "prediction": "so 1"} for i in range(200)]
    for name, odd in (("few", 2), ("many", 3)):
        said = [row | ({"prediction": " "} if i < odd else {}) for i, row in enumerate(rows)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, said)))
    problems = [{"question": "1?", "answer": "#### 1"}] * 200
    (tmp_path / "gsm8k").mkdir()
    (tmp_path / "gsm8k" / "test.jsonl").write_text("\n".join(map(json.dumps, problems)))
    files = [tmp_path / "few.jsonl", tmp_path / "many.jsonl"]
    results = peval.score_predictions(
        files, "gsm8k-cot-full", data_dir=tmp_path, out=tmp_path / "run"
    )
    few, many = (results.estimate("gsm8k-cot-full", "exact_match", n) for n in ("few", "many"))
    assert (few.n_empty, few.n_unparsed, few.value) == (2, 2, 0.99)
    assert (many.n_empty, many.n_unparsed, many.n_items) == (3, 3, 200)
    text = (tmp_path / "run" / "report.md").read_text()
    assert "| `few` | 0 | 2 of 200 | 2 of 200 | 0 | 0 |" in text
    assert "| `many` | 0 | **3 of 200** | **3 of 200** | 0 | 0 |" in text
    assert "More than 1 %: empty answers: many 1.5 % on gsm8k-cot-full; no answer found: m" in text
    assert "NOTE  no answer found: many 1.5 % on gsm8k-cot-full" in summary(results)
    assert "few 1.0" not in summary(results)
    assert SEVERAL not in text  # each question has one answer


def test_it_is_said_what_counts_where_a_sample_has_several_answers(
    run: tuple[Path, Results],
) -> None:
    tasks, estimates = run[1].tasks, run[1].estimates
    profile = tasks[0]["profile"]
    drawn = {**profile, "decoding": {**profile["decoding"], "n": 20}}
    results = dataclasses.replace(
        run[1],
        tasks=({**tasks[0], "profile": drawn}, *tasks[1:]),
        estimates=tuple(dataclasses.replace(e, n_empty=2) for e in estimates),
    )
    assert SEVERAL in markdown(
        document(results, Answers(run[0] / "completions.parquet", run[1]), ())
    )
