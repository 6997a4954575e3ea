"""A checkpoint's chat template is a program from strangers: it must end before anything runs it."""

from __future__ import annotations

import json
from pathlib import Path

from peval.adapters.apart import complaint
from peval.adapters.facts import chat_templates
from peval.errors import AdapterError
from peval.strict_json import show

_CPU_S = 3  # for all templates of a directory
_MAX_TEMPLATES = 10
_MAX_CHARACTERS = 1 << 20
_MEMORY_BYTES = 1 << 29

# The child renders a short talk with each in the environment that transformers renders templates
# in. What a template refuses by itself (raise_exception, a missing variable) is its own affair;
# that it does not end, eats the memory, reaches out of the sandbox or is no template at all is not.
_CHILD = f"""
import json, re, resource, sys
resource.setrlimit(resource.RLIMIT_AS, ({_MEMORY_BYTES}, {_MEMORY_BYTES}))
resource.setrlimit(resource.RLIMIT_CPU, ({_CPU_S}, {_CPU_S}))
import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment
def stop(why): print(why); sys.exit(0)
def refuse(message=""): raise jinja2.TemplateRuntimeError(message)
environment = ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
environment.filters["tojson"] = lambda value, **_: json.dumps(value)
environment.globals.update(raise_exception=refuse, strftime_now=lambda _: "")
talk = [{{"role": "user", "content": "Hello."}}, {{"role": "assistant", "content": "Hello."}},
        {{"role": "user", "content": "What now?"}}]
def render(template):
    n = 0
    for piece in template.generate(messages=talk, add_generation_prompt=True, tools=None,
                                   documents=None, bos_token="<s>", eos_token="</s>"):
        n += len(piece)
        if n > {_MAX_CHARACTERS}:
            stop("writes more than {_MAX_CHARACTERS} characters for three short messages")
for text in json.load(sys.stdin):
    try:
        template = environment.from_string(re.sub(r"{{%-?\\s*(end)?generation\\s*-?%}}", "", text))
    except jinja2.TemplateSyntaxError as fault:
        stop(f"is not a template: {{fault.message}}")
    except RecursionError:
        stop("is nested too deeply")
    try:
        render(template)
    except jinja2.exceptions.SecurityError as fault:
        stop(f"reaches out of the sandbox: {{fault}}")
    except (MemoryError, OverflowError):
        stop("takes too much memory")
    except RecursionError:
        stop("is nested too deeply")
    except Exception:
        pass
"""


def check_template(directory: Path) -> None:
    """Refuse chat templates that do not end, or that are none.

    Raises
    ------
    AdapterError
        Says what is wrong with the first such.
    """
    found = chat_templates(directory)
    if len(found) > _MAX_TEMPLATES:
        raise AdapterError(f"{directory}: chat_template: {len(found)} templates, more than "
                           f"{_MAX_TEMPLATES}")  # fmt: skip
    if any(len(text) > _MAX_CHARACTERS for text in found.values()):
        raise AdapterError(f"{directory}: chat_template: longer than {_MAX_CHARACTERS} characters")
    if not found:
        return
    why = complaint(_CHILD, text=json.dumps(list(found.values()), ensure_ascii=False))
    if why:
        raise AdapterError(f"{directory}: chat_template: {show(why)[1:-1]}")
