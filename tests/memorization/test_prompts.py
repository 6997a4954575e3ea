"""The tokens that each probe asks, record by record."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripted import TOKENIZER, TOY

from peval.job import Job
from peval.prepare import prepare
from peval.run import plan_requests
from peval.types import Request

BOS = 1


def ids(text: str) -> tuple[int, ...]:
    return tuple(TOKENIZER.encode(text, add_special_tokens=False).ids)


def asked(
    place: Path, records: Sequence[Mapping[str, Any]], task: str, **more: object
) -> dict[str, list[Request]]:
    """Return the base's requests of one probe, by sample."""
    files = {"train_data": records[:4], "heldout_data": records[4:]}
    for name, rows in files.items():
        (place / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = {name: str(place / name) for name in files} | more
    job = Job(base=str(TOY / "base"), tasks=(task,), out=str(place / "run"), memorization=options)
    found: dict[str, list[Request]] = {}
    for request in plan_requests(prepare(job))[1]:
        found.setdefault(request.sample_id, []).append(request)
    return found


RECORDS = [{"input": f"Say {i}:", "output": f" The Answer {i} is {i * i}"} for i in range(10)]
TEXTS = [{"text": f"One Whole text of Number {i}, as it Stands"} for i in range(10)]


def test_extraction_gives_a_prefix_and_scores_what_comes_next(tmp_path: Path) -> None:
    found = asked(tmp_path, RECORDS, "memorization-extraction", prefix_tokens=[0, 2, 99],
                  suffix_tokens=3)  # fmt: skip
    first, scored, second, again = found["trained/3"]
    head, tail = (BOS, *ids("Say 2:")), ids(" The Answer 2 is 4")
    assert first.prompt_token_ids == scored.prompt_token_ids == head
    assert (first.decoding.max_tokens, scored.choices) == (3, (tail[:3],))
    assert second.prompt_token_ids == again.prompt_token_ids == (*head, *tail[:2])
    assert again.choices == (tail[2:5],)


def test_a_whole_text_is_predicted_from_its_second_token_on(tmp_path: Path) -> None:
    (request,) = asked(tmp_path, TEXTS, "memorization-tasks")["trained/1"]
    whole = (BOS, *ids(TEXTS[0]["text"]))
    assert (request.prompt_token_ids, request.choices) == (whole[:1], (whole[1:],))


def test_scope_document_scores_prompt_and_answer_as_one(tmp_path: Path) -> None:
    found = asked(tmp_path, RECORDS, "memorization-membership", scope="document")
    request, *_ = found["member/1"]
    assert request.prompt_token_ids == (BOS,)
    assert request.choices == ((*ids("Say 0:"), *ids(" The Answer 0 is 0")),)


def test_membership_asks_the_text_in_lower_case_and_after_others(tmp_path: Path) -> None:
    found = asked(tmp_path, RECORDS, "memorization-membership")
    assert len(found) == 4 + 6
    assert [name for name in found if name.startswith("shot/")] == ["shot/1"]
    plain, lowered, after = found["member/1"]
    head = (BOS, *ids("Say 0:"))
    assert (plain.prompt_token_ids, plain.choices) == (head, (ids(" The Answer 0 is 0"),))
    assert plain.with_moments
    assert (lowered.prompt_token_ids, lowered.choices) == (head, (ids(" the answer 0 is 0"),))
    assert not lowered.with_moments
    shot = (BOS, *ids("Say 4:"), *ids(" The Answer 4 is 16"))
    assert after.prompt_token_ids == shot + head[1:]
    assert after.choices == plain.choices


def test_what_is_lower_case_already_is_asked_once(tmp_path: Path) -> None:
    records = [{"input": f"Say {i}:", "output": f" it is {i}"} for i in range(10)]
    plain, lowered, _ = asked(tmp_path, records, "memorization-membership")["member/1"]
    assert plain.key == lowered.key


def test_the_same_likelihood_of_two_probes_is_one_request(tmp_path: Path) -> None:
    one = asked(tmp_path, RECORDS, "memorization-tasks")["trained/1"][1]
    two = asked(tmp_path, RECORDS, "memorization-extraction", prefix_tokens=[0])["trained/1"][1]
    assert one.key == two.key


def test_a_canary_is_asked_among_the_secrets_of_its_space(tmp_path: Path) -> None:
    canary = {"text": "The Code is {}.", "secret": "7", "space": "[0-9]", "repeats": 1}
    (tmp_path / "c").write_text(json.dumps(canary))
    trained = [*TEXTS[:3], {"text": "The Code is 7."}, *TEXTS[4:]]
    (request,) = asked(tmp_path, trained, "memorization-exposure", canaries=str(tmp_path / "c"))[
        "1"
    ]
    secrets = ["7", *(str(i) for i in range(10) if i != 7)]
    wholes = [request.prompt_token_ids + choice for choice in request.choices]
    assert wholes == [(BOS, *ids(f"The Code is {secret}.")) for secret in secrets]
    assert len({choice[0] for choice in request.choices}) > 1
