from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from scripted import TOY, ScriptedEngine
from voices import BASE, PLAIN, TOKENIZER, TULU, templated

import peval
from peval import execute
from peval.catalog import load_task
from peval.chat import ChatTemplate, template_for
from peval.choices import prompts_of
from peval.errors import RunError, TaskError, UsageError
from peval.job import Job
from peval.prepare import prepare
from peval.prompts import token_ids
from peval.rundir import record, task_of
from peval.signature import unlike
from peval.types import Adapter, Chat, Message, Query, Sample, Task

TURNS = "{% for m in messages %}[{{ m.role }}]{{ m.content }}\n{% endfor %}"
ASKS = "{% if add_generation_prompt %}[assistant]{% endif %}"
WITHOUT_BOS = TURNS + ASKS
WITH_BOS = "{{ bos_token }}" + WITHOUT_BOS
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
ADAPTER = TOY / "adapters" / "generalist"


def task(name: str, **changes: object) -> Task:
    found = load_task("superni", name)
    how = dataclasses.replace(found.profile, chat=Chat(), **changes)  # type: ignore[arg-type]
    return dataclasses.replace(found, profile=how)


def sample(text: str = "Say red.", **more: object) -> Sample:
    return Sample("s", text, ("red",), "c", **more)  # type: ignore[arg-type]


QUERY = Query("Say red.", role="user", decoding=load_task("gsm8k-cot").profile.decoding)


@pytest.mark.parametrize("before", ["", "{{ bos_token }}", "{{ bos_token }}{{ bos_token }}",
                                    "\n{{ bos_token }}"])  # fmt: skip
@pytest.mark.parametrize(
    "one", [sample(), sample(choices=(" red", " blue")), sample(queries=(QUERY,))]
)
def test_there_is_one_bos_whatever_the_template_does(before: str, one: Sample) -> None:
    voice = templated(before + WITHOUT_BOS)
    ((prompt,),) = prompts_of([one], task("plain"), voice, 2048)
    assert prompt.token_ids.count(1) == 1
    (expected,) = token_ids(TOKENIZER, ["[user]Say red.\n[assistant]"])
    assert list(prompt.token_ids) == expected


@pytest.mark.parametrize("name", ["plain", "tk-instruct"])
def test_a_long_text_is_cut_inside_its_turn(name: str) -> None:
    how = task(name, max_source_tokens=60)
    one = sample(" ".join(f"w{i}" for i in range(200)))
    ((prompt,),) = prompts_of([one], how, templated(WITH_BOS), 2048)
    text = TOKENIZER.decode(prompt.token_ids, skip_special_tokens=True)
    assert prompt.was_cut
    assert 50 < len(prompt.token_ids) <= 60
    assert text.startswith("[user]")
    assert text.endswith("\n[assistant]")
    assert ("w199" in text) == (name == "plain")
    assert ("w0 " in text) == (name == "tk-instruct")


def test_turns_come_in_their_order_and_a_begun_answer_goes_on() -> None:
    voice = templated(WITH_BOS)
    turns = [Message("user", "One?"), Message("assistant", "1")]
    said = voice.say(turns, Message("user", "Two?"), "So:")
    assert said == "<s>[user]One?\n[assistant]1\n[user]Two?\n[assistant] So:"
    assert voice.say(turns[:1], Message("assistant", "It is")) == "<s>[user]One?\n[assistant]It is"


def test_a_system_instruction_comes_first_and_is_never_dropped() -> None:
    assert templated(WITH_BOS, "Be brief.").say((), Message("user", "Hi.")) == (
        "<s>[system]Be brief.\n[user]Hi.\n[assistant]"
    )
    own = Message("system", "Own.")
    assert "Be brief" not in templated(WITH_BOS).say((own,), Message("user", "Hi."))
    described = templated(NO_SYSTEM + WITHOUT_BOS).say((own,), Message("user", "Hi."))
    assert described == "[user]Hi.\n[assistant]"  # a task's own description, as in lm-eval
    with pytest.raises(TaskError, match="refuses a conversation: no system"):
        templated(NO_SYSTEM + WITHOUT_BOS, "Be brief.").say((), Message("user", "Hi."))
    silent = (
        "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}"
    )
    with pytest.raises(TaskError, match="leaves out the system instruction"):
        templated(silent, "Be brief.").say((), Message("user", "Hi."))


def test_tulus_own_format_is_open_instructs() -> None:
    turns = [Message("system", "S"), Message("user", "U "), Message("assistant", " A ")]
    assert TULU.say(turns, Message("user", "V"), "A:") == (
        "<|system|>\nS\n<|user|>\nU \n<|assistant|>\nA</s>\n<|user|>\nV\n<|assistant|>\nA:"
    )


def adapter_at(path: Path) -> Adapter:
    return Adapter("a", path, "a" * 64, "LoRA", 8, (), None, False)


def test_the_template_is_the_adapters_else_the_bases_else_the_profiles(tmp_path: Path) -> None:
    chat, mine, theirs = Chat(own="tulu"), tmp_path / "adapter", tmp_path / "base"
    adapter, base = adapter_at(mine), dataclasses.replace(BASE, path=theirs)
    mine.mkdir()
    theirs.mkdir()
    assert template_for(adapter, base, None) is None
    assert template_for(adapter, base, Chat()) is None
    own = template_for(adapter, base, chat)
    assert own and own.origin == "profile"
    named = [{"name": "default", "template": "B"}, {"name": "tools", "template": "T"}]
    (theirs / "tokenizer_config.json").write_text(json.dumps({"chat_template": named}))
    of_base = template_for(adapter, base, chat)
    assert of_base == ChatTemplate("B", "base")
    assert of_base.origin == "base"
    assert template_for(None, base, Chat(template="tools")) == ChatTemplate("T", "base")
    (mine / "chat_template.jinja").write_text("A")
    found = template_for(adapter, base, chat)
    assert found == ChatTemplate("A", "adapter")
    assert found.origin == "adapter"
    with pytest.raises(TaskError, match="no chat template 'tools'; known: default"):
        template_for(adapter, base, Chat(template="tools"))


def test_a_model_without_a_template_is_asked_in_plain_text() -> None:
    ((prompt,),) = prompts_of([sample()], task("plain"), PLAIN, 2048)
    assert list(prompt.token_ids) == token_ids(TOKENIZER, ["Say red."])[0]
    with pytest.raises(TaskError, match="no chat template, nor has the profile"):
        prompts_of([sample(queries=(QUERY,))], task("plain"), PLAIN, 2048)


def test_choices_lose_their_space_after_white_space() -> None:
    one = sample(choices=(" red", " blue"))
    ((prompt,),) = prompts_of([one], task("plain"), templated(WITHOUT_BOS + "{{ '\\n' }}"), 2048)
    (whole,) = token_ids(TOKENIZER, ["[user]Say red.\n[assistant]\nred"])
    assert list(prompt.token_ids + prompt.choices[0]) == whole


def copy_of(path: Path, place: Path, template: str) -> str:
    shutil.copytree(path, place)
    (place / "chat_template.jinja").write_text(template)
    return str(place)


def scripted(out: Path, **options: object) -> peval.Results:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execute, "open_engine", lambda setup, progress: ScriptedEngine())
        return peval.score(out=str(out), limit=2, **options)  # type: ignore[arg-type]


def test_each_system_is_spoken_to_in_its_own_way(tmp_path: Path) -> None:
    """From the command's options to the prompts in the store, and to what compare refuses."""
    from peval.store import Store

    data = tmp_path / "own.jsonl"
    data.write_text(json.dumps({"input": "Say red.", "output": "red"}))
    base = copy_of(TOY / "base", tmp_path / "base", WITHOUT_BOS)
    same = copy_of(ADAPTER, tmp_path / "same", WITHOUT_BOS)
    own = copy_of(ADAPTER, tmp_path / "own", WITH_BOS.replace("[", "<"))
    results = scripted(
        tmp_path / "run", base=base, adapters=[same, own], tasks=[str(data)],
        allow_base_mismatch=True, apply_chat_template=True, system_instruction="Be brief.",
    )  # fmt: skip
    with Store(tmp_path / "run" / "store.sqlite") as store:
        asked = {r.adapter: TOKENIZER.decode(r.prompt_token_ids, skip_special_tokens=False)
                 for r in store.requests()}  # fmt: skip
    assert asked[None] == asked["same"] == "<s>[system]Be brief.\n[user]Say red.\n[assistant]"
    assert asked["own"] == "<s><system]Be brief.\n<user]Say red.\n<assistant]"
    signatures = {e.adapter: e.signature for e in results.estimates if e.metric == "rougeL"}
    assert "|chat-of:base|" in (signatures[None] or "")
    assert not unlike(signatures[None], signatures["same"])
    assert list(unlike(signatures[None], signatures["own"])) == ["chat"]
    report = (tmp_path / "run" / "report.md").read_text()
    assert (
        "Not every model is asked in the same words on own: `base` in the base's chat template; "
        "`same` in its own chat template; `own` in its own chat template."
    ) in report
    assert peval.compare(tmp_path / "run").unlike == ("chat",)
    other = scripted(
        tmp_path / "other", base=base, adapters=[own], tasks=[str(data)], allow_base_mismatch=True,
        apply_chat_template=True,
    )  # fmt: skip
    assert other.complete
    with pytest.raises(RunError, match=r"not alike on own: (chat|system) is"):
        peval.compare(tmp_path / "other", tmp_path / "run", against="other/base")
    plain = scripted(tmp_path / "plain", base=base, tasks=[str(data)])
    others = {e.metric: e.signature for e in plain.estimates}
    assert set(unlike(signatures[None], others["rougeL"])) == {"chat", "system"}


def test_a_changed_template_is_another_run(tmp_path: Path) -> None:
    base = copy_of(TOY / "base", tmp_path / "base", WITHOUT_BOS)
    adapter = copy_of(ADAPTER, tmp_path / "adapter", WITHOUT_BOS)
    data = tmp_path / "own.jsonl"
    data.write_text(json.dumps({"input": "Say red.", "output": "red"}))
    job = Job(base=base, adapters=(adapter,), tasks=(str(data),), allow_base_mismatch=True,
              apply_chat_template=True, out=str(tmp_path / "run"))  # fmt: skip
    first = prepare(job)
    (tmp_path / "adapter" / "chat_template.jinja").write_text(WITH_BOS)
    assert prepare(job).config != first.config
    assert task_of(record(first.tasks[0])) == first.tasks[0]


def test_options_that_would_do_nothing_are_refused(tmp_path: Path) -> None:
    data = tmp_path / "own.jsonl"
    data.write_text(json.dumps({"input": "Say red.", "output": "red"}))
    with pytest.raises(UsageError, match="--system-instruction: own is not asked in a conv"):
        prepare(Job(base=str(BASE.path), tasks=(str(data),), system_instruction="Be brief."))
    with pytest.raises(UsageError, match="turns need --apply-chat-template"):
        prepare(Job(base=str(BASE.path), tasks=(str(data),),
                    lm_eval={"fewshot_as_multiturn": True}))  # fmt: skip
