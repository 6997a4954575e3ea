from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from peval.sandbox.inside import judge
from peval.sandbox.pool import Pool
from peval.sandbox.programs import REASONS, Limits, Program, Script, Status
from peval.sandbox.worker import Worker

TEST = Script("f", "assert f(1) == 2")
RIGHT = "def f(x): return x + 1"
SHORT = Limits(cpu_s=1, wall_s=3)


def mixed(n: int) -> list[Program]:
    codes = [
        RIGHT,
        "def f(x): return x",
        "import os; os._exit(0)",
        "def f(x): return set('abcdef')",
    ]
    return [Program(str(i), codes[i % len(codes)], TEST) for i in range(n)]


def test_verdicts_are_the_same_with_one_worker_and_many(tier: str) -> None:
    seen = []
    for n_workers in (1, 8):
        with Pool(tier, n_workers) as pool:
            verdicts = {v.key: (v.status, v.reason, v.detail) for v in pool.judge(mixed(60))}
        seen.append(verdicts)
    assert seen[0] == seen[1]
    assert len(seen[0]) == 60


def test_a_timeout_is_run_again_alone_before_it_counts(pool: Pool) -> None:
    slow = Program("slow", "def f(x):\n    while True: pass", TEST, SHORT)
    verdicts = list(pool.judge([slow, *mixed(6)]))
    assert verdicts[-1].key == "slow"
    assert (verdicts[-1].status, verdicts[-1].n_runs) == ("timeout", 2)
    assert verdicts[-1].reason in ("cpu", "wall")  # on a busy machine the clock may be first
    assert {v.n_runs for v in verdicts[:-1]} == {1}


def test_a_sleeper_meets_the_wall_limit(pool: Pool) -> None:
    sleeper = Program("s", "import time\ndef f(x): time.sleep(99)", TEST, Limits(1, 1))
    (verdict,) = pool.judge([sleeper])
    assert (verdict.status, verdict.reason) == (Status.TIMEOUT, "wall")


def test_honest_slow_programs_pass_on_a_crowded_machine(tier: str) -> None:
    burn = "import time\ndef f(x):\n    t = time.process_time()\n"
    burn += "    while time.process_time() - t < 0.3: pass\n    return x + 1"
    with Pool(tier, 6) as pool:
        verdicts = list(pool.judge(Program(str(i), burn, TEST, Limits(2, 60)) for i in range(12)))
    assert [v.passed for v in verdicts] == [True] * 12


def test_programs_are_taken_as_they_are_needed(pool: Pool) -> None:
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield Program(str(taken), RIGHT, TEST)

    verdicts = pool.judge(endless())
    for _ in range(20):
        assert next(verdicts).passed
    verdicts.close()
    assert taken <= 20 + 5 * pool.n_workers


def test_a_killed_supervisor_is_our_fault_and_the_program_runs_again(tier: str) -> None:
    with Pool(tier, 1) as pool:
        assert next(pool.judge([Program("a", RIGHT, TEST)])).passed
        worker = pool._idle.get()
        assert worker is not None
        os.killpg(worker.process.pid, signal.SIGKILL)
        worker.process.wait()
        pool._idle.put(worker)
        (verdict,) = pool.judge([Program("b", RIGHT, TEST)])
        assert verdict.passed
        assert verdict.n_runs == 2


def test_a_dead_worker_says_fault_and_never_wrong(tier: str) -> None:
    with Worker(tier) as worker:
        worker.process.kill()
        os.killpg(worker.process.pid, signal.SIGKILL)
        verdict = worker.judge(Program("a", RIGHT, TEST))
        assert (verdict.status, verdict.reason) == (Status.FAULT, "sandbox")


@pytest.mark.parametrize(
    "test", ["assert (", "assert True", "def check(candidate): pass", "import no_such_module"]
)
def test_a_test_that_asks_nothing_is_a_fault_of_the_data(pool: Pool, test: str) -> None:
    (verdict,) = pool.judge([Program("a", RIGHT, Script("f", test, calls_check=True))])
    assert not verdict.passed
    if "no_such" not in test:
        assert (verdict.status, verdict.reason) == (Status.FAULT, "broken_test")


def test_a_test_cannot_swallow_the_end_of_the_program(pool: Pool) -> None:
    test = "try:\n    f(1)\nexcept BaseException:\n    pass"
    (verdict,) = pool.judge([Program("a", "import os\ndef f(x): os._exit(0)", Script("f", test))])
    assert (verdict.status, verdict.reason) == (Status.CRASHED, "exit")


def test_expected_exceptions_reach_the_test(pool: Pool) -> None:
    test = "try:\n    f(1)\n    assert False\nexcept KeyError as e:\n    assert 'k' in str(e)"
    code = "class Mine(KeyError): pass\ndef f(x): raise Mine('k')"
    (verdict,) = pool.judge([Program("a", code, Script("f", test))])
    assert verdict.passed


def test_changes_to_arguments_reach_the_test(pool: Pool) -> None:
    test = "x, y = [3, 1], {}\nf(x, y)\nassert (x, y) == ([1, 3], {'a': 1})"
    code = "def f(x, y):\n    x.sort()\n    y['a'] = 1"
    (verdict,) = pool.judge([Program("a", code, Script("f", test))])
    assert verdict.passed
    assert verdict.form == "values"


DEEP = """
def deep(n, wrap):
    value = ()
    for _ in range(n): value = wrap(value)
    return value
def tuples(n): return deep(n, lambda value: (1, value))
def lists(n): return deep(n, lambda value: [value])
def dicts(n): return deep(n, lambda value: {"next": value})
"""
# A program, and a test that it passes as well where both run in one process.
AS_IN_ONE_PROCESS = {
    "a built-in type": ("f = tuple", "assert f([1, 2]) == (1, 2)"),
    "a keyword's list": ("def f(*, x): x.sort()", "x = [2, 1]\nf(x=x)\nassert x == [1, 2]"),
    "changed, then raised": (
        "def f(x):\n    x.append(1)\n    raise ValueError(2)",
        "x = []\ntry: f(x)\nexcept ValueError as e: assert (x, e.args) == ([1], ('2',))",
    ),
    "a missing file": ("f = open", "try: f('none')\nexcept FileNotFoundError: pass\nelse: 1 / 0"),
    "a wrong byte": (
        "def f(x): return x.decode()",
        "try: f(b'\\xff')\nexcept UnicodeDecodeError as e: assert 'invalid' in str(e)\nelse: 1 / 0",
    ),
    "a missing key": (
        "def f(x): return x['k']",
        "try: f({})\nexcept KeyError as e: assert str(e) == \"'k'\"\nelse: 1 / 0",
    ),
    "an exit": (
        "import sys\ndef f(x): sys.exit(x)",
        "try: f(1)\nexcept Exception: 1 / 0\nexcept SystemExit as e: assert str(e) == '1'",
    ),
    "a counter": (
        "def f(x): return x.most_common(1), x + x",
        "from collections import Counter\nassert f(Counter('aab'))[1]['z'] == 0",
    ),
    "an order": (
        "from collections import OrderedDict\ndef f(x): return OrderedDict(x)",
        "import collections\nd = collections.OrderedDict([(2, 1), (1, 2)])\n"
        "assert f([(1, 2), (2, 1)]) != d == f([(2, 1), (1, 2)])",
    ),
    "halves of a character": (
        "def f(x): return x[0], x",
        "x = '\\ud83d\\ude00'\nassert len(f(x)[1]) == 2 and f(x) == (x[0], x)",
    ),
    "deep tuples": (f"{DEEP}\ndef f(x): return x == tuples(250) and x", "f(f(tuples(250)))"),
    "deep lists": (f"{DEEP}\ndef f(x): return x == lists(390) and x", "f(f(lists(390)))"),
    "deep dicts": (f"{DEEP}\ndef f(x): return x == dicts(190) and x", "f(f(dicts(190)))"),
}


@pytest.mark.parametrize("name", AS_IN_ONE_PROCESS)
def test_values_and_errors_cross_as_they_are(pool: Pool, name: str) -> None:
    code, test = AS_IN_ONE_PROCESS[name]
    (verdict,) = pool.judge([Program("a", code, Script("f", test, setup=DEEP))])
    assert verdict.passed, verdict
    assert verdict.form == "values"


def test_a_value_too_deep_to_cross_is_the_limit_that_it_meets(pool: Pool) -> None:
    for kind, depth in (("lists", 500), ("tuples", 500), ("dicts", 250)):
        code = f"{DEEP}\ndef f(): return {kind}({depth})"
        (verdict,) = pool.judge([Program("a", code, Script("f", "f()"))])
        assert (verdict.status, verdict.reason) == ("failed", "value_limit"), (kind, verdict)


def test_a_value_that_a_test_nests_too_deep_is_the_limit_that_it_meets(pool: Pool) -> None:
    code = f"{DEEP}\ndef f(x): return lists(400)"
    (verdict,) = pool.judge([Program("a", code, Script("f", "f([f(1)])"))])
    assert verdict.reason == "value_limit"


def test_zones_of_time_can_be_read(pool: Pool) -> None:
    if not Path("/usr/share/zoneinfo/Europe/Paris").exists():
        pytest.skip("this machine has no zones of time")
    code = "import zoneinfo\ndef f(x): return str(zoneinfo.ZoneInfo(x))"
    test = "assert f('Europe/Paris') == 'Europe/Paris'"
    (verdict,) = pool.judge([Program("a", code, Script("f", test))])
    assert verdict.passed, verdict


def test_an_object_of_the_program_is_as_true_as_it_says(pool: Pool) -> None:
    code = "def f(x): return x.keys()"
    test = "assert f({1: 2}) and not f({})"
    (verdict,) = pool.judge([Program("a", code, Script("f", test))])
    assert (verdict.passed, verdict.form) == (True, "objects")


def test_an_object_is_the_same_each_time_and_the_result_says_that_objects_were_used(
    pool: Pool,
) -> None:
    code = "import enum\nclass Color(enum.Enum): RED = 1\ndef f(x): return Color(x)"
    (verdict,) = pool.judge([Program("a", code, Script("f", "assert f(1) is f(1)"))])
    assert (verdict.passed, verdict.form) == (True, "objects")


def test_classes_of_the_program_are_used_through_proxies_and_the_result_says_so(pool: Pool) -> None:
    test = "n = Node(1)\nn.left = Node(2)\nassert f(n) == 3\nassert n.left.value == 2\n"
    test += "assert list(f.walk(n)) == [1, 2]\nassert not n == n.left"
    code = """
class Node:
    def __init__(self, value): self.value, self.left = value, None
    def __eq__(self, other): return True
def f(n): return n.value + n.left.value
def walk(n):
    yield n.value
    yield n.left.value
f.walk = walk
"""
    (verdict,) = pool.judge([Program("a", code, Script("f", test))])
    assert verdict.passed, verdict
    assert verdict.form == "objects"


def test_a_function_of_the_program_beside_the_entry_point_makes_the_form_weaker(
    pool: Pool,
) -> None:
    code = "def f(x): return x\ndef is_right(y): return True"
    (verdict,) = pool.judge([Program("a", code, Script("f", "assert is_right(f(1))"))])
    assert (verdict.passed, verdict.form) == (True, "objects")


@pytest.mark.parametrize("test", ["assert f(1) == 1, f(1)", "{}[f(1)]"])
@pytest.mark.parametrize(
    ("answer", "said"), [("10 ** 5000", "cannot be printed"), ("object()", "an object of the")]
)
def test_an_answer_that_cannot_be_printed_is_wrong_and_no_fault(
    pool: Pool, test: str, answer: str, said: str
) -> None:
    (verdict,) = pool.judge([Program("a", f"def f(x): return {answer}", Script("f", test))])
    assert verdict.reason == "wrong"
    assert said in verdict.detail
    assert " at 0x" not in verdict.detail


def test_half_a_character_in_an_error_can_be_stored(pool: Pool) -> None:
    code = "def f(x): raise ValueError('\\ud800')"
    (verdict,) = pool.judge([Program("a", code, TEST)])
    assert verdict.detail.encode() == b"ValueError: \\ud800"


def test_a_worker_keeps_to_one_core_and_the_next_takes_another(tier: str) -> None:
    with Pool(tier, 2) as pool:
        list(pool.judge(mixed(8)))
        workers = [worker for worker in pool._idle.queue if worker]
        cores = [os.sched_getaffinity(worker.process.pid) for worker in workers]
    assert {len(one) for one in cores} == {1}
    if len(cores) == 2 <= len(os.sched_getaffinity(0)):
        assert cores[0] != cores[1]


def test_nothing_is_left_when_the_pool_closes(tier: str) -> None:
    with Pool(tier, 2) as pool:
        list(pool.judge(mixed(8)))
        workers = [worker for worker in pool._idle.queue if worker]
    assert workers
    for worker in workers:
        assert worker.process.poll() is not None
        assert not Path(worker.workplace).exists()


def test_every_reason_of_the_tests_process_is_known() -> None:
    source = Path(judge.__file__).read_text()
    for reason in ("wrong", "exception", "syntax", "memory", "not_permitted", "broken_test"):
        assert f'"{reason}"' in source
        assert reason in REASONS
