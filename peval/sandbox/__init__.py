r"""Verdicts on programs that nobody trusts, computed where those programs never run.

::

    Pool -> Worker ===> supervisor (fork server; holds no program and no test)
               \           |-- program's process: loads the code, answers calls with values
                \==jobs===>`-- tests' process: runs the tests, decodes the values, reports

Only plain values cross, through `inside.codec`. Both processes are confined before anything
untrusted reaches them, in one of two tiers: namespaces (with Landlock where there is any) or
Landlock alone; seccomp and limits in both. `canaries.strongest` attacks each tier before it is
used. `suites` turns the benchmarks' problems into checks.
"""
