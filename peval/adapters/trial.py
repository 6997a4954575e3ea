"""A tokenizer from strangers is tried in a process of its own before it is loaded in ours.

The library of tokenizers panics at some files, and a rule of a few bytes can write millions of
tokens into every text.
"""

from __future__ import annotations

from pathlib import Path

from peval.adapters.apart import complaint
from peval.errors import AdapterError
from peval.strict_json import show

_CPU_S = 4
_MEMORY_BYTES = 1 << 30
_TOKENS_PER_CHARACTER = 10
_TEXT = "Question: What is 7 and 8?\nAnswer: fifteen, aaaaaaaa. Ünïcödé, 日本語 🙂\n\n"
_ALLOWED = len(_TEXT) * _TOKENS_PER_CHARACTER

_CHILD = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, ({_MEMORY_BYTES}, {_MEMORY_BYTES}))
resource.setrlimit(resource.RLIMIT_CPU, ({_CPU_S}, {_CPU_S}))
from tokenizers import Tokenizer
try:
    n = len(Tokenizer.from_file(sys.argv[1]).encode({_TEXT!r}).ids)
except BaseException as error:
    print("cannot be loaded: " + str(error))
else:
    if n > {_ALLOWED}:
        print(f"makes {{n}} tokens of {len(_TEXT)} characters")
"""


def try_tokenizer(file: Path) -> None:
    """Refuse a ``tokenizer.json`` that cannot be loaded, or that writes far more than it reads.

    Raises
    ------
    AdapterError
        Says what it does.
    """
    why = complaint(_CHILD, str(file.absolute()))
    if why:
        raise AdapterError(f"{file}: {show(why)[1:-1]}")
