"""What can go wrong, as a tree.

::

    PevalError                  one line: what, where, what to do; exit code 2
    |-- UsageError              flags or arguments that contradict each other
    |-- AdapterError            an adapter directory that cannot be evaluated
    |-- BaseModelError          a base model that is missing or unreadable
    |-- TaskError               an unknown or malformed task, suite or profile
    |-- DataError               benchmark data that is missing, empty or malformed
    |-- EngineError             an engine that cannot start or stopped for good
    |-- JudgeError              a judge that is malformed, or cannot be asked
    |-- SandboxError            model-written code that may not or cannot be run here
    `-- RunError                a run directory that cannot be used

Anything else that reaches the terminal is a bug and shows its traceback.
"""


class PevalError(Exception):
    """An error that a person can mend; its message is one line."""


class UsageError(PevalError):
    """Flags or arguments contradict each other."""


class AdapterError(PevalError):
    """An adapter directory cannot be evaluated."""


class BaseModelError(PevalError):
    """A base model is missing or unreadable."""


class TaskError(PevalError):
    """A task, suite or profile is unknown or malformed."""


class DataError(PevalError):
    """Benchmark data is missing, empty or malformed."""


class EngineError(PevalError):
    """An engine cannot start, or stopped for good."""


class JudgeError(PevalError):
    """A judge is malformed, or cannot be asked."""


class SandboxError(PevalError):
    """Model-written code may not or cannot be run on this machine."""


class RunError(PevalError):
    """A run directory cannot be used."""
