"""Prompts of the Tulu evaluations, character by character.

The SHA-256 values over real data are those of the prompts that allenai/open-instruct itself makes:
its ``eval/*/run_eval.py`` was run at 80a584b and f745360 with a model that only records prompts,
task files in sorted order, and compared with ours text by text.
"""

import hashlib
from dataclasses import replace

import pytest
from tulu_oracles import fitting_mmlu_prompt
from voices import TOKENIZER, TULU, chat, plain

from peval import datasets
from peval.catalog import load_task
from peval.chat import begun
from peval.datasets import bbh, gsm8k, mmlu, tydiqa
from peval.datasets import tulu_prompts as tulu
from peval.errors import DataError, TaskError
from peval.prompts import token_ids
from peval.queries import with_passages
from peval.types import PASSAGE, Message, Query

FORMS = {"chat": chat, "plain": plain}


def sha(texts):
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:32]


def question(text="Which?", answer="B", subject="high_school_physics"):
    return mmlu.Question("x/test/0", subject, text, ("one", "two ", "3", "IV"), answer)


SHOTS = tuple(question(f"Shot {n}?", answer) for n, answer in enumerate("DACBA"))


def words(text):
    return len(text.split())


def test_mmlu_with_a_shot():
    prompt = tulu.mmlu_prompt(question(), SHOTS[:1])
    assert prompt.plain == (
        "The following are multiple choice questions (with answers) about  high school physics.\n"
        "\n"
        "Shot 0?\nA. one\nB. two \nC. 3\nD. IV\nAnswer: D\n"
        "\n"
        "Which?\nA. one\nB. two \nC. 3\nD. IV\nAnswer:"
    )
    assert prompt.user == prompt.plain
    assert chat(prompt) == (f"<|user|>\n{prompt.plain}\n<|assistant|>\nThe answer is:")


def test_mmlu_without_shots():
    assert tulu.mmlu_prompt(question(subject="anatomy"), ()).plain == (
        "The following are multiple choice questions (with answers) about  anatomy.\n"
        "\n"
        "Which?\nA. one\nB. two \nC. 3\nD. IV\nAnswer:"
    )


def problem(text):
    return gsm8k.Problem("test-0", text, "#### 1", "1")


def test_gsm8k_with_reasoning():
    prompt = tulu.gsm8k_prompt(problem(" How many? \n"), reasoning=True)
    assert prompt.user.startswith(
        "Answer the following questions.\n"
        "\n"
        "Question: There are 15 trees in the grove. Grove workers will plant trees in the grove "
        "today. After they are done, there will be 21 trees. How many trees did the grove workers "
        "plant today?\n"
        "Answer: There are 15 trees originally. Then there were 21 trees after some more were "
        "planted. So there must have been 21 - 15 = 6. So the answer is 6.\n"
        "\n"
        "Question: If there are 3 cars"
    )
    assert prompt.user.endswith("23 - 15 is 8. So the answer is 8.\n\nQuestion: How many?")
    assert prompt.user.count("Question: ") == 9
    assert prompt.plain == prompt.user + "\nAnswer:"
    assert chat(prompt) == f"<|user|>\n{prompt.user}\n<|assistant|>\nAnswer:"


def test_gsm8k_direct():
    prompt = tulu.gsm8k_prompt(problem("How many?"), reasoning=False)
    assert "plant today?\nAnswer: 6\n\nQuesion: If there are 3 cars" in prompt.user
    assert prompt.user.endswith("have left?\nAnswer: 8\n\nQuestion: How many?")
    assert prompt.user.count("Quesion: ") == 8


def bbh_task(n_shots=3, answer="Well. So the answer is ({n})."):
    shots = "\n\n".join(
        f"Q: Number {n}?\nA: Let's think step by step.\n{answer.format(n=n)}"
        for n in range(n_shots)
    )
    found = bbh.Problem("count-0", "count", " Last?", "(9)")
    return bbh.BbhTask("count", f"Count things.\n\n{shots}\n", (found,))


def test_bbh_with_reasoning():
    task = bbh_task()
    prompt = tulu.bbh_prompt(task, task.problems[0], reasoning=True)
    assert prompt.user == (
        "Count things.\n"
        "\n"
        "Q: Number 0?\nA: Let's think step by step.\nWell. So the answer is (0).\n"
        "\n"
        "Q: Number 1?\nA: Let's think step by step.\nWell. So the answer is (1).\n"
        "\n"
        "Q: Number 2?\nA: Let's think step by step.\nWell. So the answer is (2).\n"
        "\n"
        "Q:  Last?"
    )
    assert prompt.plain == prompt.user + "\nA:"
    assert chat(prompt) == f"<|user|>\n{prompt.user}\n<|assistant|>\nA:"


def test_bbh_direct():
    task = bbh_task()
    assert tulu.bbh_prompt(task, task.problems[0], reasoning=False).plain == (
        "Count things.\n"
        "\n"
        "Q: Number 0?\nA: (0).\n"
        "\n"
        "Q: Number 1?\nA: (1).\n"
        "\n"
        "Q: Number 2?\nA: (2).\n"
        "\n"
        "Q:  Last?\nA:"
    )


def test_bbh_demonstrations_of_another_form_are_refused():
    task = bbh_task(n_shots=2)
    with pytest.raises(DataError, match=r"BBH count: 2 demonstrations .*count\.txt"):
        tulu.bbh_prompt(task, task.problems[0], reasoning=True)
    task = bbh_task(answer="It is ({n}).")
    with pytest.raises(DataError, match=r"BBH count: a demonstration without .*count\.txt"):
        tulu.bbh_prompt(task, task.problems[0], reasoning=False)


SHOT = tydiqa.Question("swahili-1-0", "swahili", "Kifungu kimoja.", "Nani?", ("Mimi", "Wewe"))
ASKED = tydiqa.Question("swahili-2-0", "swahili", "Kifungu kingine.", "Lini?", ("Leo",))


def test_tydiqa_with_passage():
    prompt = tulu.tydiqa_prompt("tulu2", ASKED, SHOT, "(here)")
    assert prompt.plain == (
        "Jibu swali lifuatalo kulingana na habari kwenye kifungu kilichotolewa.\n"
        "\n"
        "Kifungu: (here)\nSwali: Nani?\nJibu: Mimi\n"
        "\n"
        "Kifungu: (here)\nSwali: Lini?\nJibu:"
    )
    assert chat(prompt).endswith("Swali: Lini?\n\n<|assistant|>\nJibu:")
    older = tulu.tydiqa_prompt("tulu1", ASKED, SHOT, "(here)")
    assert older.plain == prompt.plain
    assert chat(older).endswith("Swali: Lini?\n<|assistant|>\nJibu:")


def test_tydiqa_without_passage():
    assert tulu.tydiqa_prompt("tulu2", ASKED, SHOT, None).plain == (
        "Jibu swali lifuatalo.\n\nSwali: Nani?\nJibu: Mimi\n\nSwali: Lini?\nJibu:"
    )


def test_frozen_wordings():
    """All demonstrations and languages, on machines without the real data too."""
    asked = [tulu.gsm8k_prompt(problem("How many?"), reasoning).user for reasoning in (True, False)]
    assert sha(asked) == "3b0267ab700dbe6cf01929d1eef574fa"
    asked = [
        tulu.tydiqa_prompt("tulu2", replace(ASKED, language=language), SHOT, passage)
        .plain.replace(PASSAGE, SHOT.context.lower(), 1)
        .replace(PASSAGE, ASKED.context.lower(), 1)
        for language in tydiqa.LANGUAGES
        for passage in (PASSAGE, None)
    ]
    assert sha(asked) == "61fd0c8d52db2819961df54a84571b4f"


@pytest.mark.parametrize("n_words", [1, 500, 511, 512, 513, 4000])
def test_a_passage_is_cut_to_512_tokens_with_the_bos(n_words):
    words = "a " * (n_words - 1) + "a"
    (ids,) = token_ids(TOKENIZER, [words])
    query = Query(f"<{PASSAGE}> {PASSAGE}!", passages=(words, "b"), max_passage_tokens=512)
    (found,) = with_passages([query], TOKENIZER)
    cut = TOKENIZER.decode(ids[:512], skip_special_tokens=False)
    assert found.text == f"<{words if len(ids) <= 512 else cut}> b!"
    assert len(ids) <= 512 or cut.startswith("<s>")


@pytest.mark.parametrize(
    ("templated", "text"),
    [("end", "end A:"), ("end\n", "end\nA:"), ("end ", "end A:"), ("end\t", "end\t A:")],
)
def test_a_cue_follows_white_space_or_brings_its_own(templated, text):
    assert begun(templated, "A:") == text


@pytest.mark.parametrize(
    ("profile", "suite", "chat", "max_tokens", "stop"),
    [
        ("tulu1", "gsm8k", True, 512, ("\n",)),
        ("tulu1", "gsm8k", False, 512, ("\n",)),
        ("tulu1", "bbh", True, 512, ()),
        ("tulu1", "tydiqa", True, 50, ("\n",)),
        ("tulu2", "gsm8k", True, 512, ()),
        ("tulu2", "gsm8k", False, 512, ("\n",)),
        ("tulu2", "bbh", True, 512, ("\n\n",)),
        ("tulu2", "bbh", False, 512, ("\n\n",)),
        ("tulu2", "tydiqa", True, 50, ()),
        ("tulu2", "tydiqa", False, 50, ("\n",)),
    ],
)
def test_decoding(profile, suite, chat, max_tokens, stop):
    found = tulu.decoding(profile, suite, chat)
    assert (found.max_tokens, found.stop, found.temperature) == (max_tokens, stop, 0.0)


def test_mmlu_has_no_decoding():
    with pytest.raises(TaskError, match="'mmlu' generates no answers; known: gsm8k, bbh, tydiqa"):
        tulu.decoding("tulu2", "mmlu", True)


@pytest.mark.parametrize(
    ("n_shots", "form", "expected"),
    [
        (0, "chat", "ca7ed7a6e33fd13aa3316141bd38d960"),
        (0, "plain", "f331b13db41f635db63aee4e65b506ee"),
        (5, "chat", "2a2bb2b656292ab48717647462d6888e"),
        (5, "plain", "cb5828ec67f6b18921f5605efe408b93"),
    ],
)
def test_mmlu_prompts_of_the_reference(shared_data, n_shots, form, expected):
    dev = mmlu.read(shared_data / "mmlu", "dev")
    test = mmlu.read(shared_data / "mmlu", "test")
    prompts = [
        FORMS[form](
            fitting_mmlu_prompt(
                asked,
                dev[subject][:n_shots],
                lambda prompt: words(FORMS[form](prompt)),
                tulu.MMLU_MAX_PROMPT_TOKENS,
            )[0]
        )
        for subject, questions in test.items()
        for asked in questions
    ]
    assert sha(prompts) == expected


@pytest.mark.parametrize(
    ("reasoning", "form", "expected"),
    [
        (True, "chat", "e6537c5d1163ed15132f1e42065af097"),
        (True, "plain", "a1d08e702e0ce71b07aa5f3d47ac393f"),
        (False, "chat", "3c3fc723cfdf0892aedb1e6c60067fad"),
        (False, "plain", "cdc3e1370cd4abe36fef4b3ad0d26877"),
    ],
)
def test_gsm8k_prompts_of_the_reference(shared_data, reasoning, form, expected):
    problems = gsm8k.tulu_subset(gsm8k.read(shared_data / "gsm8k"))
    assert sha(FORMS[form](tulu.gsm8k_prompt(one, reasoning)) for one in problems) == expected


@pytest.mark.parametrize(
    ("reasoning", "form", "expected"),
    [
        (True, "chat", "d875f04d1e43360c3bd69da405beec5d"),
        (True, "plain", "fd983304444dac8e147761127fa66e9f"),
        (False, "chat", "0526f145bac4cb7c21b7c11d052d9209"),
        (False, "plain", "a5b824238c24746d1873af9134ab00d5"),
    ],
)
def test_bbh_prompts_of_the_reference(shared_data, reasoning, form, expected):
    tasks = bbh.read(shared_data / "bbh")
    prompts = [
        FORMS[form](tulu.bbh_prompt(tasks[name], one, reasoning))
        for name, problems in bbh.tulu_subset(tasks).items()
        for one in problems
    ]
    assert sha(prompts) == expected


@pytest.mark.parametrize(
    ("profile", "passage", "form", "expected"),
    [
        ("tulu1", True, "chat", "0d0450321fee7f852d61fc1e7cbaf7a1"),
        ("tulu1", False, "chat", "aa835a026255320ca84742b79c293557"),
        ("tulu2", True, "chat", "17f7b0980847cf61fc489e618d69dd85"),
        ("tulu2", False, "chat", "0cd311984d82bb6c271f342eb22add4f"),
        ("tulu2", True, "plain", "948f153e9f61a40a66e548a4c50486da"),
        ("tulu2", False, "plain", "78b301b163f081257ab4dce9dba76dfe"),
    ],
)
def test_tydiqa_prompts_of_the_reference(shared_data, profile, passage, form, expected):
    name = "tydiqa-goldp" if passage else "tydiqa-no-context"
    task = load_task(name, profile if form == "chat" else f"{profile}-plain")
    found = datasets.read(task, shared_data)
    assert found.absent == (
        "arabic", "bengali", "finnish", "indonesian", "russian", "telugu",
    )  # fmt: skip
    queries = with_passages([one.queries[0] for one in found.samples], TOKENIZER)
    prompts = [
        TULU.say((), Message("user", one.text), one.cue) if form == "chat" else one.text
        for one in queries
    ]
    assert sha(prompts) == expected
