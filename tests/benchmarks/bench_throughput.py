"""What peval costs over raw vLLM: `LLM.generate` and peval answer the same requests in turn.

Both have the same engine arguments and environment, are up and warm, forget their prefix cache
before each round, and see the base and all adapters mixed in peval's order. Raw is timed from the
call to its return; peval from the first look at its store until every answer is on disk. Each
lives in a process of its own and is idle while the other works; they take turns at going first.

Usage: python tests/benchmarks/bench_throughput.py [--base PATH --adapter PATH ...] [--limit N]
"""

import argparse
import contextlib
import dataclasses
import io
import multiprocessing
import os
import shutil
import statistics
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from peval.engines import SupervisedEngine
from peval.job import Job
from peval.prepare import Setup, prepare
from peval.progress import Lines
from peval.run import answer, plan_requests, planned
from peval.rundir import RunDir
from peval.store import Store
from peval.types import EngineSpec, Request

ROOT = Path(__file__).resolve().parents[2]
TOY = ROOT / "tests" / "toy"
ON_CPU = shutil.which("nvidia-smi") is None
# Two engines share the device, and their caches should be alike.
ROOM = {"kv_cache_memory_bytes": 1 << 30} if ON_CPU else {"gpu_memory_utilization": 0.45}
N_WARM_UP = 64
FORGET = "forget"
WORKER = (
    *(sys.executable, "-P", "-c"),
    f"import sys; sys.path.insert(0, {str(Path(__file__).resolve().parent)!r}); "
    "from bench_throughput import worker_that_forgets; worker_that_forgets()",
)

Answers = dict[str, tuple[int, ...]]


def worker_that_forgets() -> None:
    """peval's worker; one special request empties its prefix cache."""
    from peval.engines import vllm_backend, worker

    submit = vllm_backend.VllmBackend.submit

    def forget_and_submit(self: vllm_backend.VllmBackend, request: Request) -> None:
        if request.key == FORGET:
            self._engine.reset_prefix_cache()
        submit(self, request)

    vllm_backend.VllmBackend.submit = forget_and_submit
    worker.main()


def serve_raw(parent: Connection, log: Path, spec: EngineSpec, requests: list[Request]) -> None:
    """Answer all requests with `LLM.generate` each time the parent asks."""
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    llm, loras, eos = start_raw(spec)
    generate(llm, loras, eos, warm_up(requests))
    parent.send("ready")
    with contextlib.suppress(EOFError):
        while parent.recv():
            llm.reset_prefix_cache()
            parent.send(generate(llm, loras, eos, requests))


def start_raw(spec: EngineSpec):
    """Return an LLM in the environment of peval's worker, with every adapter loaded."""
    from peval.adapters.own_tokenizer import end_ids
    from peval.engines.vllm_backend import engine_arguments, prepare_platform
    from peval.engines.worker import _OFFLINE

    os.environ.update(_OFFLINE)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    on_cpu = prepare_platform()
    from vllm import LLM
    from vllm.lora.request import LoRARequest

    llm = LLM(**engine_arguments(spec, on_cpu, list(spec.options)))
    loras = {
        adapter.name: LoRARequest(adapter.sha256, number, str(adapter.path))
        for number, adapter in enumerate(spec.adapters, start=1)
    }
    for lora in loras.values():
        llm.llm_engine.add_lora(lora)
    return llm, loras, tuple(end_ids(spec.base.path) or ())


def generate(llm, loras, eos, requests: list[Request]) -> tuple[float, Answers]:
    """Return the seconds that one call takes, and its answers."""
    from peval.engines.vllm_backend import _sampling

    prompts = [{"prompt_token_ids": list(request.prompt_token_ids)} for request in requests]
    sampling = [_sampling(request.decoding, eos) for request in requests]
    asked_of = [loras.get(request.adapter) for request in requests]
    start = time.perf_counter()
    outputs = llm.generate(prompts, sampling, lora_request=asked_of, use_tqdm=False)
    seconds = time.perf_counter() - start
    ids = (tuple(output.outputs[0].token_ids) for output in outputs)
    return seconds, dict(zip((request.key for request in requests), ids, strict=True))


def warm_up(requests: list[Request]) -> list[Request]:
    """Return requests like the measured ones, with other prompts."""
    return [
        dataclasses.replace(
            request, key=f"warm {number}", prompt_token_ids=request.prompt_token_ids[::-1]
        )
        for number, request in enumerate(requests[:N_WARM_UP])
    ]


def answer_with_peval(setup: Setup, engine: SupervisedEngine, out: Path) -> tuple[float, Answers]:
    """Return the seconds from the plan to the last stored answer, and the stored answers."""
    setup = dataclasses.replace(setup, rundir=RunDir(out))
    setup.rundir.claim(setup.config)
    setup.rundir.write_manifest(setup.manifest(["bench"]))
    with Store(setup.rundir.store) as store:
        requests = planned(setup, store, engine)
        list(engine.complete([dataclasses.replace(requests[0], key=FORGET)]))
        start = time.perf_counter()
        answer(setup, store, [requests], engine, Lines(io.StringIO()))
        seconds = time.perf_counter() - start
        found = store.completions([request.key for request in requests])
    return seconds, {key: completion.token_ids for key, completion in found.items()}


def measure(setup: Setup, n_rounds: int, scratch: Path):
    """Return seconds of raw and peval rounds, taken in turn, and the last answers of both."""
    requests = list({request.key: request for request in plan_requests(setup)[1]}.values())
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    raw = multiprocessing.get_context("spawn").Process(
        target=serve_raw, args=(theirs, scratch / "raw.log", setup.spec(), requests)
    )
    raw.start()
    theirs.close()
    engine = SupervisedEngine(setup.spec(), scratch / "peval.log", command=WORKER)
    try:
        ours.recv()
        list(engine.complete(warm_up(requests)))
        rounds = []
        for number in range(n_rounds):
            turns = {
                "raw": lambda: ours.send(True) or ours.recv(),
                "peval": lambda out=scratch / str(number): answer_with_peval(setup, engine, out),
            }
            order = sorted(turns, reverse=number % 2 == 0)
            found = {name: turns[name]() for name in order}
            rounds.append((found["raw"], found["peval"]))
            print(f"round {number + 1}: " + ", ".join(f"{n} {found[n][0]:.2f} s" for n in order))
    finally:
        engine.close()
        ours.close()
        raw.join()
    return rounds


def show(rounds) -> None:
    """Print speeds, their spread and their ratio."""
    raw_answers, answers = (rounds[-1][who][1] for who in (0, 1))
    n_tokens = sum(map(len, raw_answers.values()))
    n_equal = sum(raw_answers[key] == ids for key, ids in answers.items())
    print(
        f"{len(answers):,} requests and {n_tokens:,} answer tokens a round, {len(rounds)} rounds; "
        f"{n_equal:,} of {len(answers):,} answers are equal"
    )
    for name, who in (("LLM.generate", 0), ("peval", 1)):
        seconds = [pair[who][0] for pair in rounds]
        median = statistics.median(seconds)
        print(
            f"{name:13} median {median:7.2f} s (from {min(seconds):.2f} to {max(seconds):.2f}), "
            f"{n_tokens / median:8,.0f} tokens/s, {len(answers) / median:7,.1f} requests/s"
        )
    ratios = [raw[0] / ours[0] for raw, ours in rounds]
    medians = [statistics.median(pair[who][0] for pair in rounds) for who in (0, 1)]
    print(
        f"peval / raw throughput: {medians[0] / medians[1]:.3f} of medians, "
        f"from {min(ratios):.3f} to {max(ratios):.3f} by round; the aim is at least 0.97"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", help="default: the one that the adapters name")
    parser.add_argument("--adapter", nargs="+", default=[str(TOY / "adapters")])
    parser.add_argument("--limit", type=int, default=8, help="instances of each of 12 tasks")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["XDG_CACHE_HOME"] = scratch
        os.chdir(ROOT)
        job = Job(
            base=given.base,
            adapters=tuple(given.adapter),
            suites=("superni",),
            data_dir=str(TOY / "data"),
            limit=given.limit,
            engine="vllm",
            engine_options=ROOM,
        )
        show(measure(prepare(job), given.rounds, Path(scratch)))


if __name__ == "__main__":
    main()
