from __future__ import annotations

import json
from pathlib import Path

import pytest

from peval.adapters.own_tokenizer import end_ids
from peval.engines.decoder import AnswerDecoder, first_stop
from peval.types import Decoding, Request

EOS = 258


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a byte-level tokenizer: token i is byte i of GPT-2's alphabet."""
    tokenizers = pytest.importorskip("tokenizers")
    transformers = pytest.importorskip("transformers")
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {symbol: i for i, symbol in enumerate([*alphabet, "<pad>", "<s>", "</s>"])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    path = tmp_path_factory.mktemp("base")
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="</s>"
    ).save_pretrained(path)
    (path / "config.json").write_text('{"eos_token_id": 258}')
    return path


def ids(base: Path, text: str) -> tuple[int, ...]:
    vocabulary = json.loads((base / "tokenizer.json").read_text())["model"]["vocab"]
    shown = gpt2_bytes()
    return tuple(vocabulary[shown[byte]] for byte in text.encode())


def gpt2_bytes() -> dict[int, str]:
    """Return GPT-2's symbol for each byte: itself if printable, else the next one above 255."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    shifted = {byte: chr(256 + i) for i, byte in enumerate(others)}
    return {**{byte: chr(byte) for byte in printable}, **shifted}


def request(prompt: tuple[int, ...], *stop: str) -> Request:
    return Request("k", "t", "s", None, prompt, Decoding(8, stop=stop))


def test_the_end_token_and_what_follows_a_stop_are_left_out(base: Path) -> None:
    decoder = AnswerDecoder.of(base)
    answer = (*ids(base, " four.\nQ: more"), EOS)
    assert decoder.text(request(ids(base, "two and two")), answer) == " four.\nQ: more"
    assert decoder.text(request(ids(base, "two and two"), "more", "\n"), answer) == " four."
    assert decoder.has_stop(request((0,), "\n"), answer)
    assert not decoder.has_stop(request((0,), "?"), answer)


def test_a_prompt_cut_inside_a_character_stays_out_of_the_answer(base: Path) -> None:
    prompt = ids(base, "na\N{LATIN SMALL LETTER I WITH DIAERESIS}")[:-1]
    assert AnswerDecoder.of(base).text(request(prompt), ids(base, "yes")) == "yes"


def test_an_empty_answer_is_empty(base: Path) -> None:
    assert AnswerDecoder.of(base).text(request((3, 4)), ()) == ""
    assert AnswerDecoder.of(base).text(request((3, 4)), (EOS,)) == ""


@pytest.mark.parametrize(("stop", "at"), [(("c", "b"), 1), (("x",), None), ((), None)])
def test_the_first_stop_counts(stop: tuple[str, ...], at: int | None) -> None:
    assert first_stop("abc", stop) == at


def test_the_generation_config_knows_the_ends(tmp_path: Path) -> None:
    assert end_ids(tmp_path) is None
    (tmp_path / "config.json").write_text('{"eos_token_id": 7}')
    assert end_ids(tmp_path) == [7]
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [7, 8], "temperature": 1}')
    assert end_ids(tmp_path) == [7, 8]
