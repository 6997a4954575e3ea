"""Ways of speaking to the toy, for tests of prompts."""

from __future__ import annotations

from scripted import TOY

from peval.bases import load_base
from peval.chat import ChatTemplate, Voice, template_for
from peval.datasets.tulu_prompts import Prompt
from peval.tokenizer import load_tokenizer
from peval.types import Chat, Message

BASE = load_base(str(TOY / "base"))
TOKENIZER = load_tokenizer(BASE)
PLAIN = Voice(TOKENIZER)
TULU = Voice(TOKENIZER, template_for(None, BASE, Chat(own="tulu")))


def templated(text: str, system: str | None = None) -> Voice:
    return Voice(TOKENIZER, ChatTemplate(text, "base"), system)


def chat(prompt: Prompt) -> str:
    """Return a prompt in Tulu's own chat format."""
    return TULU.say((), Message("user", prompt.user), prompt.cue)


def plain(prompt: Prompt) -> str:
    return prompt.plain
