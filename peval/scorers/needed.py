"""What a program needs of its own top level, and what only shows it off."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from itertools import chain

from peval.scorers.parsing import tree_of

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_IMPORTS = (ast.Import, ast.ImportFrom)
_ARMS = ("body", "orelse", "finalbody")


def statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield statements with those in their branches, though not those in definitions."""
    for node in body:
        yield node
        if not isinstance(node, _DEFINITIONS):
            for arm in _ARMS:
                yield from statements(getattr(node, arm, ()))
            for handler in getattr(node, "handlers", ()):
                yield from statements(handler.body)


def made_by(body: Sequence[ast.stmt]) -> set[str]:
    """Return the names that definitions and assignments bind."""
    names: set[str] = set()
    for node in statements(body):
        if isinstance(node, _DEFINITIONS):
            names.add(node.name)
        elif not isinstance(node, _IMPORTS):
            names |= _names(node, ast.Store)
    return names


def imported_by(body: Sequence[ast.stmt]) -> set[str]:
    """Return the names that imports bind; a star stands for itself."""
    imports = [node for node in statements(body) if isinstance(node, _IMPORTS)]
    aliases = chain.from_iterable(node.names for node in imports)
    return {(one.asname or one.name).partition(".")[0] for one in aliases}


def without_demonstrations(code: str, entry_point: str) -> str:
    """Leave out prints, assertions, a main block, words, and all that is run after the function.

    After it, only definitions, imports, and what makes or changes a variable that the function
    uses belong to the program.
    """
    body = tree_of(code).body
    places = [i for i, node in enumerate(body) if entry_point in made_by([node])]
    end = max(places, default=len(body))
    reached = _reached(body, entry_point)
    variables = reached & _variables(body) - {entry_point}

    def changes(node: ast.stmt) -> bool:
        return bool(_names(node) & variables or _owners(node) & reached)

    kept: set[int] = set()
    dropped: set[int] = set()
    for i, node in enumerate(body):
        is_late = i > end and not isinstance(node, (*_DEFINITIONS, *_IMPORTS))
        is_left_out = _demonstrates(node) or (is_late and not changes(node))
        lines = range(node.lineno - 1, node.end_lineno or node.lineno)
        (dropped if is_left_out else kept).update(lines)
    lines_of = code.split("\n")
    return "\n".join(
        line for i, line in enumerate(lines_of) if i in kept or i not in dropped
    ).rstrip()


def _demonstrates(node: ast.stmt) -> bool:
    if isinstance(node, ast.Assert):
        return True
    if isinstance(node, ast.If):
        return "__name__" in _names(node.test)
    value = node.value if isinstance(node, ast.Expr) else None
    is_print = isinstance(value, ast.Call) and getattr(value.func, "id", "") == "print"
    return is_print or isinstance(value, ast.Name)  # a word of prose, such as "Done"


def _reached(body: Sequence[ast.stmt], entry_point: str) -> set[str]:
    """Return the names that a function uses, and those that what it uses does."""
    uses: dict[str, set[str]] = {}
    for node in body:
        for name in made_by([node]):
            uses[name] = uses.get(name, set()) | used_by([node])
    reached, new = {entry_point}, {entry_point}
    while new:
        new = set().union(*(uses.get(name, set()) for name in new)) - reached
        reached |= new
    return reached


def used_by(body: Sequence[ast.stmt]) -> set[str]:
    """Return the names that statements use and do not bind themselves."""
    found: set[str] = set()
    for node in body:
        inner = list(ast.walk(node))
        own = {one.arg for one in inner if isinstance(one, ast.arg)} | _names(node, ast.Store)
        shared = {name for one in inner if isinstance(one, ast.Global) for name in one.names}
        found |= (_names(node, ast.Load) - own) | shared
    return found


def _variables(body: Sequence[ast.stmt]) -> set[str]:
    return made_by([node for node in body if not isinstance(node, _DEFINITIONS)])


def _owners(node: ast.stmt) -> set[str]:
    """Return the names whose attributes or items a statement sets."""
    kinds = (ast.Attribute, ast.Subscript)
    set_in = [one for one in ast.walk(node) if isinstance(one, kinds)]
    return {
        one.value.id
        for one in set_in
        if isinstance(one.ctx, ast.Store) and isinstance(one.value, ast.Name)
    }


def _names(node: ast.AST, context: type[ast.expr_context] = ast.expr_context) -> set[str]:
    """Return the names in a node, those of one context if wanted."""
    found = (one for one in ast.walk(node) if isinstance(one, ast.Name))
    return {one.id for one in found if isinstance(one.ctx, context)}
