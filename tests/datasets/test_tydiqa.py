"""TyDi QA's readers and the Tulu subset."""

import gzip
import json

import pytest
from tulu_oracles import fingerprint

from peval.datasets import tydiqa
from peval.errors import DataError


def qa(name="english-1-0", **changes):
    return {"id": name, "question": "Who?", "answers": [{"text": "I", "answer_start": 3}]} | changes


def content(*questions, **changes):
    return {
        "data": [{"title": "t", "paragraphs": [{"context": "It is I.", "qas": list(questions)}]}]
    }


def write(path, value):
    raw = json.dumps(value).encode()
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)


def filler(language, index):
    return tydiqa.Question(f"{language}-{index}-0", language, "c", "q", ("a",))


def test_both_layouts_give_the_same_questions(tmp_path):
    for part in ("official", "by_language"):
        (tmp_path / part).mkdir()
    english, korean = qa(), qa("korean-2-0", answers=[{"text": "a"}, {"text": "b"}])
    write(tmp_path / "official" / "tydiqa-goldp-v1.1-dev.json", content(korean, english))
    write(tmp_path / "by_language" / "english_tydiqa_dev.json", content(english))
    write(tmp_path / "by_language" / "korean_tydiqa_dev.json.gz", content(korean))
    found = tydiqa.read(tmp_path / "official", "dev")
    assert found == tydiqa.read(tmp_path / "by_language", "dev")
    assert list(found) == ["english", "korean"]
    assert found["korean"] == (
        tydiqa.Question("korean-2-0", "korean", "It is I.", "Who?", ("a", "b")),
    )


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"data": []}, r"dev\.json: field 'data' must be a list"),
        ({"data": [{}]}, r"data\[0\]: field 'paragraphs' must be a list"),
        ({"data": [{"paragraphs": [{"qas": [qa()]}]}]}, r"paragraphs\[0\]: field 'context' must"),
        (content(), r"paragraphs\[0\]: field 'qas' must be a list"),
        (content(qa(), qa(question="")), r"qas\[1\]: field 'question' must be text"),
        (content(qa(answers=[])), r"qas\[0\]: field 'answers' must be a list"),
        (content(qa(answers=[{}])), r"answers\[0\]: field 'text' must be text"),
        (content(qa("latin-1-0")), r"qas\[0\]: field 'id' is 'latin-1-0'; expected LANGUAGE"),
        (content(qa("korean-1-0")), r"field 'id' of 'korean-1-0': not a question in english"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, value, message):
    write(tmp_path / "english_tydiqa_dev.json", value)
    with pytest.raises(DataError, match=message) as caught:
        tydiqa.read(tmp_path, "dev")
    assert "english_tydiqa_dev.json" in str(caught.value)


def test_a_folder_without_files_says_what_to_get(tmp_path):
    with pytest.raises(DataError, match=r"no TyDi QA file of the train split; .*goldp-v1\.1"):
        tydiqa.read(tmp_path, "train")


def test_leaving_a_language_out_moves_nothing_for_the_others():
    sizes = tydiqa.OFFICIAL_SIZES
    everything = {
        split: {
            language: [filler(language, i) for i in range(n)]
            for language, n in zip(tydiqa.LANGUAGES, sizes[split], strict=True)
        }
        for split in sizes
    }
    whole = tydiqa.tulu_subset(everything["dev"], everything["train"])
    assert list(whole) == list(tydiqa.LANGUAGES)
    few = {split: {"korean": everything[split]["korean"]} for split in sizes}
    assert tydiqa.tulu_subset(few["dev"], few["train"], ["korean"])["korean"] == whole["korean"]
    with pytest.raises(DataError, match="no train questions in 'korean'"):
        tydiqa.tulu_subset(few["dev"], {}, ["korean"])
    with pytest.raises(DataError, match="no dev questions in 'arabic'"):
        tydiqa.tulu_subset(few["dev"], few["train"])


def test_the_tulu_subset_is_pinned(shared_data):
    dev = tydiqa.read(shared_data / "tydiqa_goldp", "dev")
    train = tydiqa.read(shared_data / "tydiqa_goldp", "train")
    assert tuple(len(dev[one]) for one in tydiqa.LANGUAGES) == tydiqa.OFFICIAL_SIZES["dev"]
    sizes = dict(zip(tydiqa.LANGUAGES, tydiqa.OFFICIAL_SIZES["train"], strict=True))
    assert {one: len(found) for one, found in train.items()}.items() <= sizes.items()
    subset = tydiqa.tulu_subset(dev, train, ["english", "korean", "swahili"])
    assert [one.demonstration.id for one in subset.values()] == [
        "english--1348460535696370694-7",
        "korean--3603215519413180645-66",
        "swahili-1358232147436082083-36",
    ]
    stand_ins = {one: [filler(one, i) for i in range(n)] for one, n in sizes.items()}
    whole = tydiqa.tulu_subset(dev, stand_ins)
    questions = [question for one in whole.values() for question in one.questions]
    assert len({question.id for question in questions}) == 900
    assert fingerprint(questions) == (
        "c2d0ef497032346215e5d1973a7392915d47cfac12d860392736f10ae4f559ec"
    )
    assert whole["korean"].questions == subset["korean"].questions
