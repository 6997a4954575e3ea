"""Judges are data: ``judges/<name>.yaml`` and the prompts in ``judges/<name>.md``. Strict."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from peval.errors import JudgeError
from peval.judging.template import Prompt, fields_of, read_prompts
from peval.rundir import digest
from peval.shipped import shipped
from peval.strict_yaml import read_yaml

Kind = Literal["pairwise", "rating", "rubric"]
Reply = Literal["marker", "rating", "ranking", "probabilities", "criteria", "number"]
EngineKind = Literal["server", "local", "reward", "labels"]

_REPLIES: Mapping[str, tuple[str, ...]] = {
    "pairwise": ("marker", "ranking", "probabilities"),
    "rating": ("rating", "number"),
    "rubric": ("criteria",),
}
_FIELDS: Mapping[str, frozenset[str]] = {
    "pairwise": frozenset({
        "question", "question_1", "question_2", "reference", "reference_1", "reference_2",
        "answer_a", "answer_b", "answer_a_1", "answer_a_2", "answer_b_1", "answer_b_2",
    }),
    "rating": frozenset({
        "question", "question_1", "question_2", "reference", "reference_1", "reference_2",
        "answer", "answer_1", "answer_2",
    }),
    "rubric": frozenset({
        "question", "question_1", "question_2", "reference", "reference_1", "reference_2",
        "answer", "answer_1", "answer_2", "criteria",
    }),
}  # fmt: skip
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
VARIANTS = ("plain", "reference", "turn-2", "turn-2-reference")


@dataclass(frozen=True)
class Judge:
    """Who judges, what it sees, and how its reply is read.

    ``kind``: "pairwise" (which of two answers is better), "rating" (a number for one answer) or
    "rubric" (yes or no to each of ``criteria``). ``orders``: "both", or "once" in a random order.
    ``combine``: the two orders' "mean", or a tie unless they "agree" (MT-Bench). ``fence``:
    "random" puts a mark that no answer can know around every text from elsewhere; "none" leaves a
    published prompt as it is. ``labels`` are the replies for the first and the second answer.
    ``price_*`` are US dollars per million tokens.
    """

    name: str
    version: int
    description: str
    source: str
    licence: str
    kind: Kind
    reply: Reply
    engine: EngineKind = "server"
    model: str = ""
    key_variable: str = "OPENAI_API_KEY"
    max_tokens: int = 1024
    temperature: float = 0.0
    top_logprobs: int = 0
    labels: tuple[str, str] = ("[[A]]", "[[B]]")
    lowest: float = 1.0
    highest: float = 10.0
    criteria: Mapping[str, str] = field(default_factory=dict)
    orders: Literal["both", "once"] = "both"
    combine: Literal["mean", "agree"] = "mean"
    fence: Literal["random", "none"] = "random"
    price_input: float = 0.0
    price_output: float = 0.0
    prompts: Mapping[str, Prompt] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        """Return the hash of all that can change a verdict: prices and prose are not part."""
        fields = dataclasses.asdict(self)
        free = ("description", "source", "licence", "price_input", "price_output", "key_variable")
        for name in (*free, "orders", "combine"):
            del fields[name]
        return digest(fields)

    def record(self) -> dict[str, Any]:
        """Return the judge as JSON's own types."""
        return dict(dataclasses.asdict(self))

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Judge:
        """Read back what `record` returned."""
        prompts = {name: Prompt(**one) for name, one in record["prompts"].items()}
        return cls(**{**record, "prompts": prompts, "labels": tuple(record["labels"])})


def judge_names() -> list[str]:
    """Return the names of the judges that ship with peval."""
    return sorted(path.stem for path in shipped("judges").glob("*.yaml"))


def load_judge(name: str) -> Judge:
    """Read a shipped judge by name, or one's own by the path of its YAML file.

    Raises
    ------
    JudgeError
        Unknown, malformed, or a prompt with a field that the judge does not have.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else shipped("judges") / f"{name}.yaml"
    if path.suffix and name == str(path) and not path.is_file():
        raise JudgeError(f"{name}: {'not a file' if path.exists() else 'no such file'}")
    if not path.is_file():
        raise JudgeError(f"no judge {name!r}; known: {', '.join(judge_names())}, or give a .yaml")
    return _built(path, read_yaml(path, JudgeError))


def _built(path: Path, body: Any) -> Judge:
    known = {f.name: f for f in dataclasses.fields(Judge) if f.name != "prompts"}
    if not isinstance(body, dict) or (strange := sorted(map(str, body.keys() - known.keys()))):
        what = f"unknown {strange[0]!r}" if isinstance(body, dict) else "not a mapping"
        raise JudgeError(f"{path}: {what}; known: {', '.join(known)}")
    needed = ("name", "version", "description", "source", "licence", "kind", "reply")
    if missing := [name for name in needed if name not in body]:
        raise JudgeError(f"{path}: {missing[0]} is missing")
    _check_types(path, body)
    if body["reply"] not in _REPLIES[body["kind"]]:
        fits = ", ".join(_REPLIES[body["kind"]])
        raise JudgeError(f"{path}: reply {body['reply']!r} does not fit {body['kind']}: {fits}")
    if body["kind"] == "rubric" and not body.get("criteria"):
        raise JudgeError(f"{path}: a rubric needs criteria")
    if not _NAME.fullmatch(body["name"]):
        raise JudgeError(f"{path}: name is {body['name']!r}; letters, digits, . _ and - only")
    is_server = body.get("engine", "server") == "server"
    if is_server and body["reply"] == "probabilities" and body.get("top_logprobs", 0) < 2:
        raise JudgeError(f"{path}: probabilities behind an endpoint need top_logprobs of 2 or more")
    body["labels"] = tuple(body.get("labels", Judge.labels))
    prompts = {}
    if body.get("engine", "server") in ("server", "local"):
        prompts = read_prompts(path.with_suffix(".md"), VARIANTS, _FIELDS[body["kind"]])
        _check_shows_answers(path.with_suffix(".md"), body["kind"], prompts)
    return Judge(**body, prompts=prompts)


def _check_shows_answers(path: Path, kind: Kind, prompts: Mapping[str, Prompt]) -> None:
    """Refuse a prompt that hides what it asks about."""
    for variant, prompt in prompts.items():
        for wanted in ("answer_a", "answer_b") if kind == "pairwise" else ("answer",):
            if not any(name.startswith(wanted) for name in fields_of(prompt)):
                raise JudgeError(f"{path}: {variant}: {{{wanted}}} is not in the prompt")


def _check_types(path: Path, body: Mapping[str, Any]) -> None:
    choices = {
        "kind": get_args(Kind), "reply": get_args(Reply), "engine": get_args(EngineKind),
        "orders": ("both", "once"), "combine": ("mean", "agree"), "fence": ("random", "none"),
    }  # fmt: skip
    for name, value in body.items():
        if name in choices and value not in choices[name]:
            raise JudgeError(f"{path}: {name} is {value!r}; one of {', '.join(choices[name])}")
        if name in ("version", "max_tokens", "top_logprobs"):
            if type(value) is not int or value < 0:
                raise JudgeError(f"{path}: {name} is {value!r}; a whole number is needed")
        elif name in ("temperature", "lowest", "highest", "price_input", "price_output"):
            if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
                raise JudgeError(f"{path}: {name} is {value!r}; a number is needed")
        elif name == "labels":
            if not (isinstance(value, list) and len(value) == 2 and len(set(map(str, value))) == 2):
                raise JudgeError(f"{path}: labels is {value!r}; two different texts are needed")
        elif name == "criteria":
            if not (isinstance(value, dict) and all(isinstance(v, str) for v in value.values())):
                raise JudgeError(f"{path}: criteria is {value!r}; names with a question each")
        elif name not in choices and not isinstance(value, str):
            raise JudgeError(f"{path}: {name} is {value!r}; text is needed")
