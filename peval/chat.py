"""Conversations to text: whose chat template speaks to a system, and what it makes of turns."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

from peval.adapters.facts import chat_templates
from peval.errors import TaskError
from peval.prompts import Tokenizer, token_ids
from peval.shipped import shipped
from peval.types import Adapter, Base, Chat, Message


@dataclass(frozen=True)
class ChatTemplate:
    """A template in Jinja, and whose it is."""

    text: str
    origin: Literal["adapter", "base", "profile"] = field(compare=False)

    @property
    def sha256(self) -> str:
        """Return the hash of its text."""
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True)
class Voice:
    """How one system is spoken to: its tokenizer, and its chat template (None: plain text).

    A system with a classification head answers with one of its ``labels``.
    ``encodes`` says that the prompt is encoded, so that no answer continues its text.
    """

    tokenizer: Tokenizer
    template: ChatTemplate | None = None
    system: str | None = None
    labels: tuple[str, ...] = ()
    encodes: bool = False

    def say(self, turns: Sequence[Message], last: Message, cue: str = "") -> str:
        """Return a conversation as text, up to where the answer begins.

        Parameters
        ----------
        turns
            Earlier turns; the voice's own system instruction comes first unless one is there.
        last
            A user's turn to be answered, or an assistant's to be continued.
        cue
            Begins the answer; a space comes before it unless the text ends in white space.

        Raises
        ------
        TaskError
            The template refuses the conversation, or leaves out the system instruction.
        """
        talk = [*turns, last]
        if self.system and talk[0].role != "system":
            talk.insert(0, Message("system", self.system))
        text = self._rendered(talk)
        if self.system and self.system.strip() not in text:
            raise TaskError(f"{self._whose()} leaves out the system instruction; ask without one")
        return begun(one_bos(text, self.tokenizer.bos_token), cue)

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of prompts, each with the BOS it brings or else the tokenizer's own."""
        bos = self.tokenizer.bos_token
        has_bos = [bos is not None and text.startswith(bos) for text in texts]
        found = {
            bare: iter(
                token_ids(
                    self.tokenizer,
                    [text for text, has in zip(texts, has_bos, strict=True) if has == bare],
                    **({"add_special_tokens": False} if bare else {}),
                )
            )
            for bare in (False, True)
        }
        return [next(found[bare]) for bare in has_bos]

    def _rendered(self, talk: Sequence[Message]) -> str:
        from jinja2 import TemplateError

        try:
            return self._render(talk)
        except (TemplateError, TypeError, ValueError) as error:
            # Some templates know no system turn: as in lm-eval, a task's description is then left
            # out. A system instruction that a person gave is not.
            if talk[0].role == "system" and not self.system:
                return self._rendered(talk[1:])
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise TaskError(f"{self._whose()} refuses a conversation: {reason}") from error

    def _render(self, talk: Sequence[Message]) -> str:
        assert self.template is not None
        answers = talk[-1].role == "user"
        return self.tokenizer.apply_chat_template(
            list(map(asdict, talk)), chat_template=self.template.text, tokenize=False,
            add_generation_prompt=answers, continue_final_message=not answers,
        )  # fmt: skip

    def _whose(self) -> str:
        assert self.template is not None
        return f"the chat template ({self.template.origin}'s)"


def template_for(adapter: Adapter | None, base: Base, chat: Chat | None) -> ChatTemplate | None:
    """Return the template for a system: the adapter's, else the base's, else the profile's own.

    Raises
    ------
    TaskError
        There are templates, but none of the name that was asked for.
    """
    if chat is None:
        return None
    origins: list[tuple[Literal["adapter", "base"], Adapter | Base]] = [("base", base)]
    if adapter is not None and not adapter.is_control:
        origins.insert(0, ("adapter", adapter))
    for origin, model in origins:
        found = chat_templates(model.path)
        if found:
            name = chat.template or "default"
            if name not in found:
                known = ", ".join(sorted(found))
                raise TaskError(f"{model.path}: no chat template {name!r}; known: {known}")
            return ChatTemplate(found[name], origin)
    if chat.own is None:
        return None
    own = shipped("tasks") / "chat" / f"{chat.own}.jinja"
    if not own.is_file():
        raise TaskError(f"no chat format {chat.own!r} in {own.parent}")
    return ChatTemplate(own.read_text(encoding="utf-8"), "profile")


def voice_for(
    adapter: Adapter | None, base: Base, chat: Chat | None, tokenizer: Tokenizer
) -> Voice:
    """Return how a system is spoken to; see `template_for`."""
    template, labels = template_for(adapter, base, chat), adapter.labels if adapter else ()
    system = chat.system if chat else None
    return Voice(tokenizer, template, system, labels, base.is_encoder_decoder)


def one_bos(text: str, bos: str | None) -> str:
    """Return a text with at most one BOS in front, however many a template wrote.

    Where there is one, the tokenizer adds none; where there is none, it adds its own.

    >>> one_bos("<s><s>[INST]", "<s>")
    '<s>[INST]'
    """
    rest = text.lstrip()
    if not bos or not rest.startswith(bos):
        return text
    while rest.startswith(bos):
        rest = rest.removeprefix(bos)
    return bos + rest


def begun(text: str, cue: str) -> str:
    """Append the cue to a template's text, after a space unless it ends in white space.

    >>> begun("[INST] How many? [/INST]", "Answer:")
    '[INST] How many? [/INST] Answer:'
    """
    return text + (cue if not cue or text.endswith(("\n", " ")) else f" {cue}")
