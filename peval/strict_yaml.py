"""YAML from files that people write: every fault one line, and no key twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from peval.errors import PevalError


def read_yaml(path: Path, error: type[PevalError]) -> Any:
    """Return what a YAML file holds, None where it holds nothing; any fault is an ``error``."""
    import yaml  # not for commands that read none

    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _refuse_repeated(node, path, error)
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except RecursionError:
        raise error(f"{path}: nested too deeply") from None
    except (OSError, ValueError, yaml.YAMLError) as fault:  # ValueError: no UTF-8, or no date
        raise error(f"{path}: not readable as YAML: {' '.join(str(fault).split())}") from fault


def _refuse_repeated(root: Any, path: Path, error: type[PevalError]) -> None:
    """Refuse a key that stands twice in a mapping: PyYAML takes the last without a word."""
    import yaml

    waiting, seen = [root], set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen or isinstance(node, yaml.ScalarNode):
            continue
        seen.add(id(node))  # an alias is the node that it names
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
            continue
        keys = set()
        for key, value in node.value:
            said = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else id(key)
            if said in keys:
                line = key.start_mark.line + 1
                raise error(f"{path}: line {line}: the key {key.value!r} twice")
            keys.add(said)
            waiting.append(value)
