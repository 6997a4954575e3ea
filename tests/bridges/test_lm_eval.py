"""lm-evaluation-harness tasks through peval, beside lm-eval's own transformers backend."""

from __future__ import annotations

import copy
import dataclasses
import importlib.util
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml
from bridges.toy_harness import TASKS, write_tasks
from scripted import TOY, ScriptedEngine
from voices import PLAIN, TOKENIZER

import peval
from peval import api, coding, execute
from peval.bridges import lm_eval_index, lm_eval_samples, lm_eval_scores, lm_eval_tasks
from peval.catalog import load_task
from peval.cli import main
from peval.errors import DataError, RunError, TaskError, UsageError
from peval.job import Job
from peval.prepare import prepare
from peval.prompts import token_ids
from peval.queries import SPARE_TOKENS, encode_queries
from peval.store import Store
from peval.types import Completion, Drawn, Query, Sample

pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(not importlib.util.find_spec("lm_eval"), reason="lm-eval is not installed"),
]
ADAPTER = str(TOY / "adapters" / "generalist")
LIMIT = 12


@pytest.fixture(autouse=True, scope="module")
def only_included() -> Any:
    """Index no task but our own: lm-eval's 14,000 files take it 10 s."""
    from lm_eval.tasks import TaskManager

    patch = pytest.MonkeyPatch()
    patch.setattr(
        lm_eval_tasks,
        "_manager",
        lambda path: TaskManager(include_path=path, include_defaults=False),
    )
    yield
    patch.undo()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tasks(tmp_path_factory.mktemp("tasks"))


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the adapter as a model of its own.

    lm-eval's ``peft=`` cuts the base's embeddings to the tokenizer's size, which changes every
    probability of a model that has spare rows, as the toy has.
    """
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    place = tmp_path_factory.mktemp("merged")
    base = AutoModelForCausalLM.from_pretrained(TOY / "base", dtype=torch.float32)
    PeftModel.from_pretrained(base, ADAPTER).merge_and_unload().save_pretrained(place)
    AutoTokenizer.from_pretrained(TOY / "base").save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def reference(folder: Path, merged: Path) -> dict[str | None, dict[str, Any]]:
    """Return lm-eval's own results, of the base and of an adapter."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    found: dict[str | None, dict[str, Any]] = {}
    for name, model in ((None, TOY / "base"), ("generalist", merged)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results = simple_evaluate(
                model="hf",
                model_args={"pretrained": str(model), "dtype": "float32"},
                tasks=list(TASKS),
                task_manager=TaskManager(include_path=str(folder), include_defaults=False),
                batch_size=8,
                device="cpu",
                limit=LIMIT,
                bootstrap_iters=0,
            )
        found[name] = results
    return found


def score(folder: Path, out: Path, engine: str) -> peval.Results:
    return peval.score(
        base=str(TOY / "base"),
        adapters=[ADAPTER],
        tasks=[f"lm-eval:{name}" for name in TASKS],
        lm_eval={"include_path": str(folder)},
        limit=LIMIT,
        dtype="float32",
        engine=engine,
        proof="off",
        out=str(out),
    )


@pytest.mark.engine
@pytest.mark.parametrize("engine", ["hf", "vllm"])
def test_numbers_are_lm_evals_own(
    engine: str, folder: Path, reference: dict[str | None, dict[str, Any]], tmp_path: Path
) -> None:
    if engine == "vllm" and not importlib.util.find_spec("vllm"):
        pytest.skip("vLLM is not installed")
    results = score(folder, tmp_path / "run", engine)
    assert results.complete
    n_compared = 0
    for system, theirs in reference.items():
        for task, metrics in theirs["results"].items():
            for key, expected in metrics.items():
                metric, _, name = key.partition(",")
                if "stderr" in metric or not isinstance(expected, float):
                    continue
                ours = metric if name == "none" else key
                found = results.estimate(f"lm-eval:{task}", ours, system)
                assert found.value == pytest.approx(expected, rel=2e-5, abs=1e-9), (task, key)
                n_compared += 1
                if (
                    metric in ("f1", "mcc") and found.value == 0.0
                ):  # without any one item it is 0 as well
                    assert (found.low, found.high) == (None, None)
                    continue
                assert found.low is not None and found.high is not None
                assert found.low <= found.value <= found.high
    print(f"\n{engine}: {n_compared} numbers are lm-eval's")
    assert n_compared == 2 * 16


def test_what_lm_eval_logged_joins_as_a_named_adapter(
    folder: Path,
    reference: dict[str | None, dict[str, Any]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its own files, written by its own tracker, give all of its numbers without a model."""
    from lm_eval.loggers import EvaluationTracker

    for name, theirs in reference.items():
        tracker = EvaluationTracker(output_path=str(tmp_path / "logs"))
        tracker.general_config_tracker.model_name_sanitized = name or "plain"
        tracker.date_id = "2026-01-01T00-00-00.000000"
        for task, rows in theirs["samples"].items():
            tracker.save_results_samples(task, copy.deepcopy(rows))
    n_compared = 0
    for task in TASKS:
        mine, other = (
            next((tmp_path / "logs" / name).glob(f"samples_{task}_2026*"))
            for name in ("generalist", "plain")
        )
        results = peval.score_predictions(
            [mine, f"old={other}"], f"lm-eval:{task}", limit=LIMIT,
            lm_eval={"include_path": str(folder)}, out=tmp_path / task,
        )  # fmt: skip
        assert results.complete
        for system, ours in ((None, "old"), ("generalist", "generalist")):
            for key, expected in reference[system]["results"][task].items():
                metric, _, how = key.partition(",")
                if "stderr" in metric or not isinstance(expected, float):
                    continue
                metric = metric if how == "none" else key
                found = results.estimate(f"lm-eval:{task}", metric, ours)
                assert found.value == pytest.approx(expected, rel=1e-9), (task, key)
                assert "|engine:predictions|" in found.signature
                assert "|options:imported=lm-eval|" in found.signature
                n_compared += 1
    assert n_compared == 2 * 16
    words = ["--include-path", str(folder), "--limit", str(LIMIT), "--out", str(tmp_path / "cli")]
    for leaf, code in (("toy_generate", 2), (task, 0)):  # the documents of another task are not its
        told = ["rescore", "--predictions", str(mine), "--task", f"lm-eval:{leaf}"]
        assert main([*told, *words]) == code
    assert "was it logged of this task" in capsys.readouterr().err


CHAT = (
    "{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content }}</{{ m.role }}>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
TEMPLATES = {None: CHAT, "generalist": CHAT.replace("{{ bos_token }}", "").replace("</", "\n</")}
SPOKEN = ["toy_generate", "toy_cloze", "toy_choice", "toy_fewshot", "toy_mutual", "toy_begun"]


@pytest.mark.engine
@pytest.mark.parametrize(("multiturn", "system"), [(True, None), (False, "Answer with one word.")])
def test_conversations_are_lm_evals_own(
    multiturn: bool, system: str | None, folder: Path, merged: Path, tmp_path: Path
) -> None:
    """Prompts and numbers, of a base with a template and an adapter with another, BOS or none."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    models = {None: tmp_path / "base", "generalist": tmp_path / "merged"}
    adapter = tmp_path / "generalist"
    for place, source in zip(
        [*models.values(), adapter], [TOY / "base", merged, ADAPTER], strict=True
    ):
        shutil.copytree(source, place)
    for name, place in [*models.items(), ("generalist", adapter)]:
        (place / "chat_template.jinja").write_text(TEMPLATES[name])
    how = {"max_gen_toks": 5, "until": ["e"]}
    results = peval.score(
        base=str(models[None]), adapters=[str(adapter)], tasks=[f"lm-eval:{t}" for t in SPOKEN],
        lm_eval={"include_path": str(folder), "num_fewshot": 2, "gen_kwargs": how,
                 "fewshot_as_multiturn": multiturn},
        apply_chat_template=True, system_instruction=system, limit=6, dtype="float32",
        engine="hf", allow_base_mismatch=True, proof="off", out=str(tmp_path / "run"),
    )  # fmt: skip
    assert results.complete
    with Store(tmp_path / "run" / "store.sqlite") as store:
        asked = {(r.task, r.adapter, r.sample_id): r for r in store.requests() if r.part == 0}
    n_compared = 0
    for name, model in models.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reference = simple_evaluate(
                model="hf", model_args={"pretrained": str(model), "dtype": "float32"},
                tasks=SPOKEN, num_fewshot=2, gen_kwargs=how, apply_chat_template=True,
                fewshot_as_multiturn=multiturn, system_instruction=system,
                task_manager=TaskManager(include_path=str(folder), include_defaults=False),
                batch_size=8, device="cpu", limit=6, bootstrap_iters=0, log_samples=True,
            )  # fmt: skip
        for task, samples in reference["samples"].items():
            for row in samples:
                ours = asked[f"lm-eval:{task}", name, str(row["doc_id"])]
                text = row["arguments"][0][0]
                text = text if task == "toy_generate" else text.rstrip()
                special = not text.startswith("<s>")
                (ids,) = token_ids(TOKENIZER, [text], add_special_tokens=special)
                assert list(ours.prompt_token_ids) == ids
        for task, metrics in reference["results"].items():
            for key, expected in metrics.items():
                metric, _, filter_name = key.partition(",")
                if "stderr" in metric or not isinstance(expected, float):
                    continue
                found = results.estimate(
                    f"lm-eval:{task}", metric if filter_name == "none" else key, name
                )
                assert found.value == pytest.approx(expected, rel=2e-5, abs=1e-9), (task, key)
                n_compared += 1
    print(f"\n{n_compared} numbers of conversations are lm-eval's")
    assert n_compared == 2 * 13


def test_a_base_without_a_template_is_asked_plainly(folder: Path, tmp_path: Path) -> None:
    """In the words that lm-eval has without a chat, with the same examples, beside the adapter."""
    adapter = tmp_path / "own"
    shutil.copytree(ADAPTER, adapter)
    (adapter / "chat_template.jinja").write_text(CHAT)
    asked: dict[str, dict[tuple[str | None, str], str]] = {}
    for name, how in (("chat", {"apply_chat_template": True}), ("plain", {})):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(execute, "open_engine", lambda setup, progress: ScriptedEngine())
            peval.score(
                base=str(TOY / "base"), adapters=[str(adapter)], tasks=["lm-eval:toy_fewshot"],
                lm_eval={"include_path": str(folder)}, limit=4, allow_base_mismatch=True,
                system_instruction="Be brief. ", out=str(tmp_path / name), **how,
            )  # fmt: skip
        with Store(tmp_path / name / "store.sqlite") as store:
            asked[name] = {
                (r.adapter, r.sample_id): TOKENIZER.decode(
                    r.prompt_token_ids, skip_special_tokens=True
                )
                for r in store.requests()
            }
    for (adapter_name, sample), text in asked["chat"].items():
        plain = asked["plain"][adapter_name, sample]
        if adapter_name is None:
            assert text == plain
            assert text.startswith("Be brief. ")
        else:
            assert text != plain
            assert text.startswith("<system>Be brief.")
            assert text.count("<user>") == 3


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["temperature=0.5", "do_sample=true"], {"temperature": 0.5, "do_sample": True}),
        (["max_gen_toks=7,until=END"], {"max_gen_toks": 7, "until": "END"}),
        (['{"until": ["a", "b"]}'], {"until": ["a", "b"]}),
    ],
)
def test_gen_kwargs_are_read_as_lm_eval_reads_them(words: list[str], found: object) -> None:
    assert lm_eval_tasks.generation_settings(words) == found


def test_gen_kwargs_that_cannot_be_meant_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--gen-kwargs greedy: "):
        lm_eval_tasks.generation_settings(["greedy"])
    with pytest.raises(TaskError, match="asks for num_beams, which peval has not"):
        scripted_run(folder, tmp_path, ["toy_generate"], gen_kwargs={"num_beams": 4})


def test_rescoring_needs_no_engine_and_changes_nothing(folder: Path, tmp_path: Path) -> None:
    first = scripted_run(folder, tmp_path, ["toy_generate", "toy_choice"])
    (tmp_path / "run" / "results.json").unlink()
    assert api.rescore(tmp_path / "run").estimates == first.estimates


def test_a_group_is_its_tasks(folder: Path, tmp_path: Path) -> None:
    results = scripted_run(folder, tmp_path, ["toy_group"])
    assert [task["name"] for task in results.tasks] == ["lm-eval:toy_choice", "lm-eval:toy_cloze"]
    (signature,) = {
        e.signature.split("|metric:")[1].split("|")[0]
        for e in results.estimates
        if (e.task, e.metric, e.adapter) == ("lm-eval:toy_choice", "acc", None)
    }
    assert "lm-eval-0.4" in signature


@pytest.mark.engine
def test_groups_have_lm_evals_own_numbers(folder: Path, merged: Path, tmp_path: Path) -> None:
    """By size and not, a group within a group, on one engine start for all."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    results = peval.score(
        base=str(TOY / "base"), adapters=[ADAPTER], tasks=["lm-eval:toy_alike"],
        lm_eval={"include_path": str(folder)}, dtype="float32", engine="hf", limit=8,
        proof="off", out=str(tmp_path / "run"),
    )  # fmt: skip
    n_compared = 0
    for name, model in ((None, TOY / "base"), ("generalist", merged)):
        expected = simple_evaluate(
            model="hf", model_args={"pretrained": str(model), "dtype": "float32"}, limit=8,
            tasks=["toy_alike"], batch_size=8, device="cpu", bootstrap_iters=0,
            task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        )["groups"]  # fmt: skip
        for group, metrics in expected.items():
            for key, value in metrics.items():
                metric, _, filter_name = key.partition(",")
                if filter_name == "none" and "stderr" not in metric:
                    found = results.estimate(f"lm-eval:{group}", metric, name)
                    assert found.value == pytest.approx(value, abs=1e-12)
                    assert found.low is not None and found.high is not None
                    assert found.low <= value <= found.high
                    n_compared += 1
    assert n_compared == 2 * 3
    sized = results.estimate("lm-eval:toy_sized", "acc")
    assert sized.n_items == sum(
        results.estimate(f"lm-eval:{task}", "acc").n_items
        for task in ("toy_choice", "toy_small", "toy_begun")
    )
    assert "|mean-of:items" in sized.signature
    assert "|mean-of:tasks" in results.estimate("lm-eval:toy_alike", "acc").signature
    (alike,) = [c for c in results.comparisons if c.task == "lm-eval:toy_alike"]
    adapter, base = (results.estimate("lm-eval:toy_alike", "acc", n) for n in ("generalist", None))
    assert adapter.value is not None and base.value is not None
    assert alike.delta == pytest.approx(adapter.value - base.value, abs=1e-12)
    # No answer differs: there is no variance for a z test, and no certainty either.
    assert (alike.family, alike.test, alike.p_value) == ("primary", "McNemar, exact", 1.0)
    assert alike.low is not None and alike.high is not None
    assert alike.low < 0 < alike.high
    text = (tmp_path / "run" / "report.md").read_text()
    assert "## Groups of tasks" in text
    assert "`lm-eval:toy_sized` acc, % |" in text
    assert api.rescore(tmp_path / "run").estimates == results.estimates


def test_the_index_of_shipped_tasks_is_built_once(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what is found in the kept one is what lm-eval's own would find."""
    from lm_eval.tasks import TaskManager, _index

    shipped = tmp_path / "site-packages" / "tasks"
    shutil.copytree(folder, shipped)
    built: list[object] = []
    build = _index.TaskIndex.build

    def counted(paths: Any, **options: Any) -> Any:
        built.extend(paths)
        return build(paths, **options)

    monkeypatch.setattr(_index.TaskIndex, "build", staticmethod(counted))
    first, second = (lm_eval_index._shipped(shipped) for _ in range(2))
    assert built == [shipped]
    own = TaskManager(include_path=str(shipped), include_defaults=False)
    for index in (first, second):
        ours = lm_eval_index._with(TaskManager(include_defaults=False), index)
        assert ours.all_tasks == own.all_tasks
        assert ours.all_groups == own.all_groups
        assert ours.all_subtasks == own.all_subtasks
        assert ours.load(["toy_alike"]).keys() == own.load(["toy_alike"]).keys()
        assert list(ours.load(["toy_alike"])["tasks"]) == list(own.load(["toy_alike"])["tasks"])
    (shipped / "toy_small.yaml").unlink()
    assert len(lm_eval_index._shipped(shipped)) == len(first) - 1
    assert built.count(shipped) == 3  # lm-eval's own manager was the second


def test_fewshot_examples_and_limits_make_another_run(folder: Path, tmp_path: Path) -> None:
    def digests(**lm_eval: object) -> dict[str, str]:
        settings = {"include_path": str(folder)} | lm_eval
        job = Job(base=str(TOY / "base"), tasks=("lm-eval:toy_choice", "lm-eval:toy_fewshot"),
                  limit=3, lm_eval=settings, out=str(tmp_path / "x"))  # fmt: skip
        found: dict[str, str] = prepare(job).config["data"]
        return found

    own, one = digests(), digests(num_fewshot=1)
    assert own.keys() == {"lm-eval:toy_choice", "lm-eval:toy_fewshot"}
    assert all(own[name] != one[name] for name in own)


def test_a_changed_filter_is_another_run(folder: Path, tmp_path: Path) -> None:
    """Its prompts are the same, its scores are not: no old number may stand for it."""
    place = tmp_path / "tasks"
    shutil.copytree(folder, place)
    first = scripted_run(place, tmp_path, ["toy_generate"])
    assert scripted_run(place, tmp_path, ["toy_generate"]).estimates == first.estimates
    lm_eval_tasks._load.cache_clear()  # as a new process would
    file = place / "toy_generate.yaml"
    file.write_text(file.read_text().replace("(\\w+)", "(\\d+)"))
    with pytest.raises(RunError, match="another configuration"):
        scripted_run(place, tmp_path, ["toy_generate"])


def test_texts_in_which_no_filter_finds_an_answer_are_tallied(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "tasks"
    shutil.copytree(folder, place)
    (place / "none.yaml").write_text(
        (folder / "toy_generate.yaml").read_text()
        .replace("toy_generate", "toy_none").replace("(\\w+)", "(no such thing)")
        .replace("remove_whitespace", "regex")
    )  # fmt: skip
    results = scripted_run(place, tmp_path, ["toy_none"])
    assert [e.n_unparsed for e in results.estimates if e.group is None] == [3, 3]
    assert scripted_run(folder, tmp_path / "2", ["toy_generate"]).estimates[0].n_unparsed == 0


def test_repeats_of_sampled_answers_are_drawn(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "tasks"
    place.mkdir()
    body = yaml.safe_load((folder / "toy_generate.yaml").read_text())
    how = {"do_sample": True, "temperature": 0.7, "top_p": 0.9, "top_k": 40, "until": ["."]}
    more = {"task": "toy_often", "repeats": 3, "generation_kwargs": how}
    (place / "often.yaml").write_text(yaml.safe_dump(body | more))
    task = lm_eval_samples.expand(
        dataclasses.replace(
            load_task("lm-eval"), source="toy_often", settings={"include_path": str(place)}
        )
    )[0]
    sample = lm_eval_samples.read(task).samples[0]
    decoding = sample.queries[0].decoding
    assert decoding is not None
    assert (decoding.n, decoding.top_p, decoding.top_k) == (3, 0.9, 40)
    assert decoding.temperature == 0.7
    drawn = tuple(Drawn(text, (), "stop") for text in ("b", "c"))
    (instance,) = lm_eval_scores._answered(
        lm_eval_samples.built_instances(task)[:1], sample,
        [Completion("k", "a", (), "stop", more=drawn)],
    )  # fmt: skip
    assert instance.resps == ["a", "b", "c"]


def test_greedy_answers_know_no_limits_of_sampling() -> None:
    limits = {"top_p": 0.9, "top_k": 40, "until": ["."]}
    for greedy in ({"do_sample": False, "temperature": 0.7}, {"do_sample": True}, {}):
        decoding = lm_eval_samples._decoding(limits | greedy, repeats=3)
        assert (decoding.n, decoding.top_p, decoding.top_k) == (1, 1.0, 0)
        assert decoding.temperature == 0
    every = {"do_sample": True, "temperature": 1.0, "top_k": -1}
    assert lm_eval_samples._decoding(every, repeats=1).top_k == 0


def test_what_cannot_be_run_is_refused_in_one_line(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="no task 'toy_choise'; did you mean toy_choice"):
        scripted_run(folder, tmp_path, ["toy_choise"])
    body = yaml.safe_load((folder / "toy_choice.yaml").read_text())
    for name, more, why in (
        ("unsafe", {"unsafe_code": True}, "without a sandbox: .* --allow-unsandboxed-code"),
        ("odd", {"output_type": "generate_until", "generation_kwargs": {"num_beams": 4}},
         "asks for num_beams, which peval has not"),
    ):  # fmt: skip
        place = tmp_path / name
        place.mkdir()
        (place / "task.yaml").write_text(yaml.safe_dump(body | {"task": name} | more))
        with pytest.raises(TaskError, match=why):
            scripted_run(place, tmp_path, [name])


def test_consent_lets_unsafe_tasks_run(folder: Path, tmp_path: Path) -> None:
    body = yaml.safe_load((folder / "toy_choice.yaml").read_text())
    (tmp_path / "task.yaml").write_text(
        yaml.safe_dump(body | {"task": "unsafe", "unsafe_code": True})
    )
    assert scripted_run(tmp_path, tmp_path, ["unsafe"], unsandboxed=True).complete
    assert lm_eval_tasks.UNSANDBOXED == coding.UNSANDBOXED


@pytest.mark.parametrize("how", ["by path", "included", "by an odd tag"])
def test_no_way_around_the_consent_to_code(folder: Path, tmp_path: Path, how: str) -> None:
    """A file reached by its path, one that another includes, a tag spelled otherwise."""
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    text = (folder / "toy_choice.yaml").read_text()
    tag = "!%66unction" if how == "by an odd tag" else "!function"
    mark = tmp_path / "ran"
    (outside / "own.py").write_text(f"open({str(mark)!r}, 'w')\ndef process(docs): return docs\n")
    file = outside / "own.yaml"
    file.write_text(text + f"process_docs: {tag} own.process\n")
    place, name = tmp_path / "included", "toy_choice"
    place.mkdir()
    (place / "mine.yaml").write_text(yaml.safe_dump({"include": str(file), "task": "mine"}))
    if how == "by path":
        place, name = folder, str(file)
    elif how == "included":
        name = "mine"
    else:
        place = outside
    with pytest.raises(TaskError, match=r"runs Python code .*--allow-task-code"):
        scripted_run(place, tmp_path, [name])
    assert not mark.exists()


def test_task_files_that_run_code_need_consent(folder: Path, tmp_path: Path) -> None:
    text = (folder / "toy_choice.yaml").read_text()
    (tmp_path / "own.yaml").write_text(text + "process_docs: !function own.process\n")
    (tmp_path / "own.py").write_text("def process(docs):\n    return docs\n")
    with pytest.raises(TaskError, match=r"own.yaml: runs Python code .* --allow-task-code"):
        scripted_run(tmp_path, tmp_path, ["toy_choice"])
    results = scripted_run(tmp_path, tmp_path, ["toy_choice"], allow_task_code=True)
    assert results.complete


def scripted_run(folder: Path, place: Path, names: list[str], **lm_eval: object) -> peval.Results:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execute, "open_engine", lambda setup, progress: ScriptedEngine())
        return peval.score(
            base=str(TOY / "base"),
            tasks=[f"lm-eval:{name}" for name in names],
            lm_eval={"include_path": str(folder)} | lm_eval,
            limit=3,
            out=str(place / "run"),
        )


def words(n: int) -> Sample:
    text = " ".join(f"w{i}" for i in range(n))
    return Sample("s", "", (), "s", queries=(Query(text, rolling=True),))


@pytest.mark.parametrize("n_words", [1, 5, 20, 90])
def test_windows_are_lm_evals(n_words: int) -> None:
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

    tokenizer, context = TOKENIZER, 34
    sample = words(n_words)
    (prompts,) = encode_queries([sample], PLAIN, context)
    (ids,) = token_ids(tokenizer, [sample.queries[0].text])
    prefix = tokenizer.bos_token_id
    assert prefix is not None
    windows = get_rolling_token_windows(ids, prefix, context - SPARE_TOKENS, 1)
    expected = [tuple(map(tuple, make_disjoint_window(window))) for window in windows]
    assert [(prompt.token_ids, *prompt.choices) for prompt in prompts] == expected


def test_long_contexts_are_cut_as_lm_eval_cuts_them() -> None:
    tokenizer, context = TOKENIZER, 40
    query = Query("one two three four" * 30, (" a", " a rather long one", ""))
    with pytest.raises(DataError, match="empty or too long"):
        encode_queries([Sample("s", "", (), "s", queries=(query,))], PLAIN, context)
    query = Query(query.text, query.continuations[:2])
    (prompts,) = encode_queries([Sample("s", "", (), "s", queries=(query,))], PLAIN, context)
    assert len(prompts) == 2
    assert all(prompt.was_cut for prompt in prompts)
    max_length = context - SPARE_TOKENS
    for prompt, continuation in zip(prompts, query.continuations, strict=True):
        (whole,) = token_ids(tokenizer, [query.text + continuation])
        assert list(prompt.token_ids + prompt.choices[0]) == whole[-(max_length + 1) :]


def test_the_report_does_not_call_a_perplexity_percent(folder: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execute, "open_engine", lambda setup, progress: ScriptedEngine())
        peval.score(
            base=str(TOY / "base"),
            adapters=[ADAPTER],
            tasks=["lm-eval:toy_rolling", "lm-eval:toy_choice"],
            lm_eval={"include_path": str(folder)},
            limit=6,
            out=str(tmp_path / "run"),
        )
    text = (tmp_path / "run" / "report.md").read_text()
    header = next(line for line in text.splitlines() if line.startswith("|  | `lm-eval:toy_roll"))
    assert "`lm-eval:toy_rolling` word_perplexity |" in header
    assert "`lm-eval:toy_choice` acc, % |" in header
