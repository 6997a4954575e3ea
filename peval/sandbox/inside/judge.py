"""The process that runs the tests. The program's code never runs here; its values arrive here."""

from __future__ import annotations

import ast
import builtins
import importlib
import json
import sys
from collections.abc import Callable
from functools import lru_cache
from types import CodeType
from typing import Any

from .channel import Channel, ClosedError
from .codec import MalformedError, decode, loads
from .differential import Comparison
from .peer import FromProgram, Gone, Peer, Remote, UnsupportedError

MAX_TEXT = 500
MAX_JOB = 2**30
# The deepest value that may cross needs a few frames for each level.
RECURSION_LIMIT = 5000
# What tests use without importing it, as the reference solutions happen to import it.
MODULES = frozenset({"math", "re", "sys", "collections", "itertools", "random", "copy"})
TOO_LARGE = {"t": "too_large", "v": None}
SYNTAX_ERRORS = frozenset({"SyntaxError", "IndentationError", "TabError"})

Verdict = dict[str, Any]
Checks = dict[str, dict[str, Any]]
"""The checks that this process was told, by name: programs of one problem come in a row."""
MAX_KNOWN = 16
Tests = Callable[[Peer, Remote], None]


class WrongError(Exception):
    """The program's answer is wrong."""


def serve(harness: Channel, program: Channel, known: Checks) -> bool:
    """Report that the program is confined, take a job, run its tests, report the verdict.

    Returns whether the program's process closed its end before the tests were over.
    """
    try:
        greeting = program.receive()
    except (ClosedError, MalformedError):
        greeting = {"fault": "the program's process ended before it was confined"}
    harness.send(greeting)
    if "ready" not in greeting:
        return True
    peer = Peer(program)
    job = harness.receive(MAX_JOB)
    if job["check"] not in known:
        harness.send({"want": job["check"]})
        while len(known) >= MAX_KNOWN:
            del known[next(iter(known))]
        known[job["check"]] = harness.receive(MAX_JOB)
    verdict = verdict_on({**known[job["check"]], "code": job["code"]}, peer)
    harness.send_bytes(json.dumps(verdict).encode())
    return peer.gone is not None and peer.gone.reason == "closed"


def verdict_on(job: dict[str, Any], peer: Peer) -> Verdict:
    """Load the program, run the job's tests against it, and say how it went."""
    sys.modules["random"].seed(0)
    sys.setrecursionlimit(RECURSION_LIMIT)
    try:
        tests = TESTS[job["kind"]](job)
        tests(peer, _entry_point(peer, job))
        verdict = {"status": "passed", "reason": "", "detail": ""}
    except Gone as gone:
        verdict = _failed(gone.reason, gone.detail)
    except UnsupportedError as error:
        verdict = {"status": "fault", "reason": "unsupported_test", "detail": str(error)}
    except BrokenTestError as error:
        verdict = {"status": "fault", "reason": "broken_test", "detail": str(error)[:MAX_TEXT]}
    except BaseException as error:
        verdict = _on_error(error)
    if peer.gone:
        # A test may have swallowed it.
        verdict = _failed(peer.gone.reason, peer.gone.detail)
    form = "objects" if peer.used_objects else "values"
    return {**verdict, "form": form, "outputs": job.get("outputs")}


class BrokenTestError(Exception):
    """A benchmark's test does not compile, or asks nothing of the program."""


def _failed(reason: str, detail: str) -> Verdict:
    return {"status": "failed", "reason": reason, "detail": detail[:MAX_TEXT]}


def _on_error(error: BaseException) -> Verdict:
    if isinstance(error, FromProgram):
        name, text = error.told
        if name in SYNTAX_ERRORS:
            return _failed("syntax", f"{name}: {text}")
        if name == "MemoryError":
            return _failed("memory", text)
        if isinstance(error, PermissionError):
            return {"status": "refused", "reason": "not_permitted", "detail": text[:MAX_TEXT]}
        return _failed("exception", f"{name}: {text}")
    text = _text(error)
    if isinstance(error, WrongError):
        return _failed("wrong", text)
    if isinstance(error, AssertionError):
        return _failed("wrong", text or "an assertion of the test failed")
    return _failed("wrong", f"the test raised {type(error).__name__}: {text}")


def _text(error: BaseException) -> str:
    """Return what an error says; an answer in it may be too long or too deep to print."""
    try:
        return str(error)
    except Exception as unprintable:
        return f"(its text cannot be printed: {type(unprintable).__name__})"


def _entry_point(peer: Peer, job: dict[str, Any]) -> Remote:
    """Have the program loaded; return its function."""
    function = peer.load(job["code"], job["entry_point"])
    if not isinstance(function, Remote):
        raise peer.missing(job["entry_point"])
    return function


def _script(job: dict[str, Any]) -> Tests:
    """Run tests written in Python: assertions, or a function `check`."""
    namespace: dict[str, Any] = {"__name__": "tests"}
    try:
        test = _compiled(job["test"], "<test>")
        exec(_compiled(job["setup"], "<setup>"), namespace)
    except Exception as error:
        raise BrokenTestError(f"{type(error).__name__}: {error}") from None

    def run(peer: Peer, function: Remote) -> None:
        namespace.update({job["entry_point"]: function, "candidate": function})
        _bind_free_names(job["test"], namespace, peer)
        exec(test, namespace)
        if "check" in namespace and job["calls_check"]:
            namespace["check"](function)
        if not peer.n_calls:
            raise BrokenTestError("it never calls the program")

    return run


@lru_cache(2 * MAX_KNOWN)
def _compiled(source: str, name: str) -> CodeType:
    return compile(source, name, "exec", dont_inherit=True)


@lru_cache(MAX_KNOWN)
def _mentioned(source: str) -> frozenset[str]:
    """Return the names that a test looks up, its attributes too: fast, and all that most need."""
    codes, names = [_compiled(source, "<test>")], set[str]()
    while codes:
        code = codes.pop()
        names.update(code.co_names)
        codes += [part for part in code.co_consts if isinstance(part, CodeType)]
    return frozenset(names)


@lru_cache(MAX_KNOWN)
def _free_names(source: str) -> tuple[str, ...]:
    """Return what a test uses but does not define, builtins and such included."""
    nodes = list(ast.walk(ast.parse(source)))
    used = {node.id for node in nodes if isinstance(node, ast.Name)}
    return tuple(sorted(used.difference(*map(_defined, nodes))))


def _defined(node: ast.AST) -> set[str]:
    match node:
        case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
            return {name}
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return {name}
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            return {alias.asname or alias.name.partition(".")[0] for alias in names}
    return set()


def _bind_free_names(source: str, namespace: dict[str, Any], peer: Peer) -> None:
    """Bind what the test uses but does not define: well-known modules, or the program's classes."""
    if all(name in namespace or hasattr(builtins, name) for name in _mentioned(source)):
        return
    for name in _free_names(source):
        if name in namespace:
            continue
        if name in MODULES:
            namespace[name] = sys.modules.get(name) or importlib.import_module(name)
        elif not hasattr(builtins, name):
            found = peer.find(name)
            if isinstance(found, Remote):
                peer.used_objects = True
                namespace[name] = found


def _values(text: str) -> list[Any]:
    values: list[Any] = decode(loads(text.encode()))
    return values


def _differential(job: dict[str, Any]) -> Tests:
    """Compare outputs with a reference's."""
    inputs, shown, wanted = (_values(job[key]) for key in ("inputs", "inputs", "expected"))
    comparison = Comparison(job["oracle"], job["tolerance"])

    def run(peer: Peer, function: Remote) -> None:
        for arguments, kept, output in zip(inputs, shown, wanted, strict=True):
            got = function(*arguments)
            if not comparison.accepts(kept, got, output):
                raise WrongError(_shown(kept, got, output))

    return run


def _shown(arguments: list[Any], got: Any, wanted: Any) -> str:
    call, is_, not_ = (repr(value)[:120] for value in (arguments, got, wanted))
    return f"on {call} it gave {is_}, not {not_}"


def _record(job: dict[str, Any]) -> Tests:
    """Keep the outputs, one by one encoded: how a reference's are made."""
    inputs = _values(job["inputs"])

    def run(peer: Peer, function: Remote) -> None:
        job["outputs"] = [_kept(peer, function, arguments, job) for arguments in inputs]

    return run


def _kept(peer: Peer, function: Remote, arguments: list[Any], job: dict[str, Any]) -> Any:
    """Return one encoded output, or the mark of one that is too large to cross."""
    try:
        output = function(*arguments)
    except Gone as gone:
        if gone.reason != "value_limit":
            raise
        peer.gone = None
        return TOO_LARGE
    return peer.data(output is not None if job["not_none"] else output)


TESTS: dict[str, Callable[[dict[str, Any]], Tests]] = {
    "script": _script,
    "differential": _differential,
    "record": _record,
}
