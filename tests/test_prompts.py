"""Prompts, against the code that defined them.

``golden/tk_instruct_prompts.jsonl`` holds tasks written for this test and, for each, the text and
token ids that Tk-Instruct's own collator (github.com/yizhongw/Tk-Instruct at 7c0e400,
``src/ni_collator.py``, run with ``text_only`` on and off) makes of them with the tokenizer in
``golden/tokenizer``, a byte-level BPE of 512 tokens with a BOS, trained on the same tasks.
"""

import dataclasses
import json
import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peval.datasets import superni
from peval.errors import DataError, TaskError
from peval.prompts import encode, encode_all, longest_prompt
from peval.types import Decoding, Example, Instruction, Profile, Sample, Task

GOLDEN = Path(__file__).parent / "golden"
DECODING = Decoding(max_tokens=128)
TK = Profile("golden", "tk-instruct", 0, 1024, None, DECODING)
PLAIN = Profile("plain", "plain", 0, None, None, Decoding(max_tokens=4))


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(GOLDEN / "tokenizer", local_files_only=True)


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    """Return (sample, profile, golden row) of every prompt, the samples through the reader."""
    root = tmp_path_factory.mktemp("golden")
    lines = (GOLDEN / "tk_instruct_prompts.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    for row in rows:
        if "raw" in row:
            path = root / f"{row['task']}.json"
            path.write_text(json.dumps(row["raw"]), encoding="utf-8")
    found = superni.read(Task("golden", 1, "", "superni", "test", TK, ("rouge_l",)), root)
    cases = []
    for row in (row for row in rows if "raw" not in row):
        sample = [s for s in found.samples if s.cluster == row["task"]][row["instance"]]
        shape = {key: row[key] for key in ("n_positive_examples", "max_source_tokens")}
        cases.append((sample, dataclasses.replace(TK, **shape), row))
    return cases


def test_equals_the_reference_collator(golden, tokenizer):
    assert len(golden) == 127
    for sample, profile, row in golden:
        prompt = encode(sample, profile, tokenizer, context_tokens=4096)
        assert list(prompt.token_ids) == row["token_ids"], row
        assert prompt.was_cut == (not row["source"].endswith("\nOutput: "))
        if not prompt.was_cut:
            text = tokenizer.decode(prompt.token_ids, skip_special_tokens=False)
            assert text == "<s>" + row["source"]


def test_golden_covers_cuts_dropped_examples_and_the_joining_space(golden, tokenizer):
    prompts = [encode(sample, profile, tokenizer, 4096) for sample, profile, _ in golden]
    assert sum(prompt.was_cut for prompt in prompts) > 20
    shown = [row["source"].count(" Positive Example ") for *_, row in golden]
    offered = [min(len(s.instruction.examples), p.n_positive_examples) for s, p, _ in golden]
    assert sum(a < b for a, b in zip(shown, offered, strict=True)) > 10
    # One more example would fit, were it not for the spaces that only the count has.
    spaced = 0
    for (sample, profile, row), n in zip(golden, shown, strict=True):
        if 2 <= n < len(sample.instruction.examples):
            more = dataclasses.replace(profile, n_positive_examples=n + 1, max_source_tokens=4000)
            length = len(encode(sample, more, tokenizer, 8192).token_ids)
            spaced += length <= row["max_source_tokens"]
    assert spaced > 3


def test_batch_equals_one_by_one(golden, tokenizer):
    samples = [sample for sample, *_ in golden]
    for n_examples, limit in ((0, 100), (2, 220), (5, 300)):
        profile = dataclasses.replace(TK, n_positive_examples=n_examples, max_source_tokens=limit)
        together = encode_all(samples, profile, tokenizer, 4096)
        assert together == [encode(sample, profile, tokenizer, 4096) for sample in samples]
        assert {prompt.was_cut for prompt in together} == {True, False}


@given(st.lists(st.text(), min_size=3, max_size=3))
@settings(max_examples=40)
def test_blocks_end_in_punctuation_whatever_the_text(tokenizer, texts):
    definition, asked, answered = texts
    instruction = Instruction(definition, (Example(asked, answered),))
    sample = Sample("1", asked, ("x",), "task", instruction=instruction)
    profile = dataclasses.replace(TK, n_positive_examples=1, max_source_tokens=100_000)
    prompt = encode(sample, profile, tokenizer, 200_000)
    text = tokenizer.decode(prompt.token_ids, skip_special_tokens=False).removeprefix("<s>")
    head, tail = text.split("\n\n Positive Example 1 -\nInput: ")[0], text.rsplit("\nOutput: ")[-2]
    assert head.startswith("Definition: ")
    assert head[-1] in string.punctuation
    assert tail[-1] in string.punctuation
    assert text.endswith("\nOutput: ")
    assert not prompt.was_cut


def test_without_instruction_only_the_question(tokenizer):
    prompt = encode(Sample("1", "Why", ("x",), "own"), TK, tokenizer, 4096)
    text = tokenizer.decode(prompt.token_ids, skip_special_tokens=True)
    assert text == "Now complete the following example -\nInput: Why.\nOutput: "


def test_limit_is_the_smaller_of_profile_and_context():
    assert longest_prompt(TK, 4096) == 1024
    assert longest_prompt(TK, 1024) == 1024 - 128
    assert longest_prompt(PLAIN, 64) == 60


def test_no_room_for_a_prompt(tokenizer):
    with pytest.raises(TaskError, match="128 tokens in a context of 128") as error:
        encode_all([], TK, tokenizer, context_tokens=128)
    assert "\n" not in str(error.value)


def test_plain_is_the_input_itself(tokenizer):
    sample = Sample("1", " Two  spaces,\nas they are ", ("x",), "own")
    prompt = encode(sample, PLAIN, tokenizer, 512)
    assert list(prompt.token_ids) == tokenizer(sample.input)["input_ids"]
    assert not prompt.was_cut


def test_plain_keeps_bos_and_the_end(tokenizer):
    sample = Sample("1", "a long story " * 30 + "and the question?", ("x",), "own")
    whole = tokenizer(sample.input)["input_ids"]
    prompt = encode(sample, PLAIN, tokenizer, context_tokens=24)
    assert prompt.was_cut
    assert list(prompt.token_ids) == [tokenizer.bos_token_id, *whole[-19:]]
    exact = encode(sample, PLAIN, tokenizer, context_tokens=len(whole) + 4)
    assert list(exact.token_ids) == whole
    assert encode(sample, PLAIN, tokenizer, context_tokens=5).token_ids == (whole[-1],)


def test_a_prompt_of_no_tokens_is_refused():
    class Nothing:
        bos_token_id = None

        def __call__(self, text, **options):
            return {"input_ids": [[] for _ in text]}

    with pytest.raises(DataError, match="the sample 'seven' gives an empty prompt"):
        encode(Sample("seven", "", ("x",), "own"), PLAIN, Nothing(), 64)
