"""What each command does: call the library, print, return the exit code."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from peval.errors import UsageError

if TYPE_CHECKING:
    from peval.judge_job import Judging
    from peval.prediction_job import PredictionJob

EXIT_ERROR = 2
EXIT_PARTIAL = 3
EXIT_GATE = {"pass": 0, "fail": 1, "undecided": 3}


def _given(arguments: argparse.Namespace, names: Iterable[str]) -> dict[str, Any]:
    """Return what was said under these names; lists as tuples, as jobs hold them."""
    found = {name: getattr(arguments, name, None) for name in names}
    return {
        name: tuple(one) if isinstance(one, list) else one
        for name, one in found.items()
        if one is not None
    }


def _judging(arguments: argparse.Namespace, run: str) -> Judging:
    from peval.judge_job import Judging

    return Judging(**_given(arguments, Judging.__dataclass_fields__) | {"run": run})


def judge(arguments: argparse.Namespace) -> int:
    """Run ``peval judge``."""
    from peval import judge_estimate, judge_run, progress
    from peval.report.terminal import summary

    job = _judging(arguments, arguments.run)
    if arguments.dry_run:
        found = judge_estimate.estimate(job)
        _print_json(found) if arguments.json else print(judge_estimate.estimate_text(found))
        return 0
    results = judge_run.judge(job, progress.for_stream(sys.stderr))
    if arguments.json:
        _print_json(results.to_dict())
    else:
        from peval.report.judged import terminal

        print(summary(results), terminal(results), sep="\n\n")
    return 0 if judge_run.is_complete(job, results) else EXIT_PARTIAL


def judge_check(arguments: argparse.Namespace) -> int:
    """Run ``peval judge-check``."""
    from peval import judge_check, progress

    out = judge_check.place_of(arguments.judge, arguments.model, arguments.out)
    found = judge_check.checked(_judging(arguments, str(out)), progress.for_stream(sys.stderr))
    _print_json(found) if arguments.json else print(judge_check.text(found))
    return 0 if not found["n_pending"] else EXIT_PARTIAL


def canaries(arguments: argparse.Namespace) -> int:
    """Run ``peval canaries make``."""
    from pathlib import Path

    from peval.canaries import REPEATS, SPACE, Plan, make_canaries

    plan = Plan(n=arguments.n, repeats=tuple(arguments.repeats or REPEATS),
                space=arguments.space or SPACE, form=arguments.form,
                seed=arguments.seed)  # fmt: skip
    train, out = Path(arguments.train_data), Path(arguments.out)
    n_lines = make_canaries(train, out, Path(arguments.canaries), plan)
    found = {"n_lines": n_lines, "train_data": arguments.out, "canaries": arguments.canaries}
    said = (
        f"{n_lines:,} lines put in: train on {arguments.out}, then score with "
        f"--train-data {arguments.out} --canaries {arguments.canaries}"
    )
    _print_json(found) if arguments.json else print(said)
    return 0


def _as_typed() -> list[str]:
    from pathlib import Path

    return [Path(sys.argv[0]).name, *sys.argv[1:]]


def score(arguments: argparse.Namespace) -> int:
    """Run ``peval score``."""
    from peval.bridges.lm_eval_tasks import SETTINGS as LM_EVAL_SETTINGS
    from peval.datasets.memorization import OPTIONS as MEMORIZATION_OPTIONS
    from peval.job import Job
    from peval.prepare import prepare

    options = _given(arguments, Job.__dataclass_fields__)
    options["memorization"] = _given(arguments, MEMORIZATION_OPTIONS)
    options["margins"] = margins(arguments.margins)
    options["lm_eval"] = _given(arguments, LM_EVAL_SETTINGS)
    if arguments.gen_kwargs:
        from peval.bridges.lm_eval_tasks import generation_settings

        options["lm_eval"]["gen_kwargs"] = generation_settings(arguments.gen_kwargs)
    setup = prepare(Job(**options, engine_options=engine_options(arguments.engine_args)))
    if arguments.dry_run:
        from peval import outline

        found = outline.outline(setup)
        _print_json(found) if arguments.json else print(outline.text(found))
        return 0
    from peval import progress
    from peval.execute import score_job
    from peval.report.terminal import summary

    results = score_job(setup, progress.for_stream(sys.stderr), _as_typed())
    if arguments.json:
        _print_json(results.to_dict())
    else:
        print(summary(results))
        print(f"\nreport: {setup.rundir.report}")
    return 0 if results.complete else EXIT_PARTIAL


def tasks(arguments: argparse.Namespace) -> int:
    """Run ``peval tasks``."""
    from peval import listing

    found = listing.one(arguments.name) if arguments.name else listing.everything()
    _print_json(found) if arguments.json else print(listing.text(found))
    return 0


def inspect(arguments: argparse.Namespace) -> int:
    """Run ``peval inspect``."""
    from peval import inspection

    paths = inspection.paths(arguments.adapter)
    if arguments.allow_pickle:
        inspection.convert_pickles(paths)
    found = [
        inspection.inspect(path, arguments.base, arguments.allow_base_mismatch) for path in paths
    ]
    _print_json(found) if arguments.json else print("\n\n".join(map(inspection.text, found)))
    return 0


def report(arguments: argparse.Namespace) -> int:
    """Run ``peval report``."""
    from peval.api import load, report

    path = report(arguments.run, arguments.form)
    _print_json(load(arguments.run).to_dict()) if arguments.json else print(path)
    return 0


def rescore(arguments: argparse.Namespace) -> int:
    """Run ``peval rescore``."""
    from pathlib import Path

    from peval.conclude import conclude
    from peval.predictions import import_predictions
    from peval.report.terminal import summary
    from peval.rundir import RunDir

    if bool(arguments.run) == bool(arguments.predictions):
        raise UsageError("give a run, or --predictions FILE with --task NAME")
    if arguments.run:
        rundir = RunDir(Path(arguments.run))
    else:
        rundir = import_predictions(_prediction_job(arguments))
    results = conclude(rundir)
    if arguments.json:
        _print_json(results.to_dict())
    else:
        print(summary(results))
        print(f"\nreport: {rundir.report}")
    return 0 if results.complete else EXIT_PARTIAL


def _prediction_job(arguments: argparse.Namespace) -> PredictionJob:
    from peval.prediction_job import PredictionJob

    if not arguments.task:
        raise UsageError("--predictions needs --task, which they are for (see `peval tasks`)")
    options = _given(arguments, PredictionJob.__dataclass_fields__)
    options["lm_eval"] = _given(arguments, ("include_path", "allow_task_code"))
    return PredictionJob(**options)


def sandbox_check(arguments: argparse.Namespace) -> int:
    """Run ``peval sandbox-check``."""
    from peval.sandbox import check

    found = check.checked(every=arguments.all)
    _print_json(found) if arguments.json else print(check.text(found))
    return 0 if found["tier"] else EXIT_ERROR


def compare(arguments: argparse.Namespace) -> int:
    """Run ``peval compare``."""
    from peval.api import compare
    from peval.decide.text import compared_text

    found = compare(*arguments.runs, against=arguments.against, adjust=arguments.adjust,
                    common_items=arguments.common_items, ignore=arguments.ignore)  # fmt: skip
    _print_json(found.to_dict()) if arguments.json else print(compared_text(found))
    return 0 if found.complete else EXIT_PARTIAL


def gate(arguments: argparse.Namespace) -> int:
    """Run ``peval gate``."""
    from pathlib import Path

    from peval.api import gate
    from peval.decide.junit import junit
    from peval.decide.text import gate_text
    from peval.rundir import write_text

    found = gate(arguments.run, arguments.rules)
    if arguments.junit:
        write_text(Path(arguments.junit), junit(found))
    _print_json(found.to_dict()) if arguments.json else print(gate_text(found))
    return EXIT_GATE[found.verdict]


def export(arguments: argparse.Namespace) -> int:
    """Run ``peval export``."""
    from peval.exports import export

    named = dict(text.partition("=")[::2] for text in arguments.benchmarks)
    found = [str(path) for path in export(arguments.run, arguments.form, arguments.out, named)]
    _print_json({"files": found}) if arguments.json else print("\n".join(found) or "logged")
    return 0


def card(arguments: argparse.Namespace) -> int:
    """Run ``peval card``."""
    from peval.exports.card import card

    path = str(card(arguments.adapter, arguments.run))
    _print_json({"files": [path]}) if arguments.json else print(path)
    return 0


def doctor(arguments: argparse.Namespace) -> int:
    """Run ``peval doctor``."""
    from peval import doctor

    checks = doctor.examine(arguments.data_dir)
    _print_json(checks) if arguments.json else print(doctor.text(checks))
    return 0


def engine_options(pairs: Sequence[str]) -> dict[str, object]:
    """Read ``KEY=VALUE`` pairs; values are numbers, true, false, null, JSON, or else text."""
    options = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"--engine-arg {pair}: expected KEY=VALUE")
        options[key.replace("-", "_")] = _value(value)
    return options


def margins(stated: Sequence[str]) -> dict[str, float]:
    """Read ``TASK=LOSS`` and ``LOSS``; the latter, under "", is for every other task."""
    found = {}
    for text in stated:
        task, _, loss = text.rpartition("=")
        try:
            found[task] = float(loss)
        except ValueError:
            raise UsageError(f"--margin {text}: expected [TASK=]LOSS, as 0.02") from None
    return found


def _value(text: str) -> object:
    try:
        return json.loads(text.lower() if text in ("True", "False") else text)
    except ValueError:
        return text


def _print_json(content: object) -> None:
    print(json.dumps(content, indent=1, ensure_ascii=False))


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "judge": judge,
    "judge-check": judge_check,
    "canaries": canaries,
    "score": score,
    "tasks": tasks,
    "inspect": inspect,
    "report": report,
    "rescore": rescore,
    "sandbox-check": sandbox_check,
    "compare": compare,
    "gate": gate,
    "export": export,
    "card": card,
    "doctor": doctor,
}
