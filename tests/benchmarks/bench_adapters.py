"""Eight adapters, 50 prompts each: one `peval score` against a loop that starts vLLM for each.

Wall time of whole commands, start-up and all, once vLLM's caches on disk are filled. The loop's
script only generates; peval also vets, stores, scores and reports. The loop runs twice: "plain"
trusts vLLM's defaults, as people write it; "tuned" has the engine arguments and environment that
peval chooses, the fastest start we know.

Usage: python tests/benchmarks/bench_adapters.py [--base PATH --adapter PATH ...] [--adapters N]
"""

import argparse
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from peval.engines.vllm_backend import engine_arguments
from peval.job import Job
from peval.machine import known_rate
from peval.prepare import Setup, prepare

ROOT = Path(__file__).resolve().parents[2]
TOY = ROOT / "tests" / "toy"
N_PROMPTS = 50
LEGAL_RANKS = (16, 32, 64, 128, 256, 320, 512)

GENERATE = """
import json, os, sys, time
asked = json.loads(sys.argv[1])
if asked["tuned"]:
    from peval.engines.vllm_backend import prepare_platform
    from peval.engines.worker import _OFFLINE
    os.environ.update(_OFFLINE, OMP_WAIT_POLICY="PASSIVE")
    prepare_platform()
from vllm import LLM, SamplingParams
from vllm.lora.request import LoRARequest
if __name__ == "__main__":
    llm = LLM(**asked["arguments"])
    prompts = [json.loads(line)["input"] for line in open(asked["prompts"])]
    start = time.perf_counter()
    answers = llm.generate(
        prompts,
        SamplingParams(temperature=0, max_tokens=asked["max_tokens"]),
        lora_request=LoRARequest("adapter", 1, asked["adapter"]),
    )
    assert len(answers) == len(prompts)
    print("\\ngenerated in", time.perf_counter() - start)
"""


def make_prompts(path: Path) -> None:
    """Write 50 prompts as a JSONL file, from all toy tasks in turn."""
    tasks = [json.loads(file.read_text()) for file in sorted((TOY / "data" / "tasks").glob("*"))]
    asked = [(task, task["Instances"][number]) for number in range(9) for task in tasks]
    rows = [
        {
            "input": f"{task['Definition'][0]}\n\nInput: {instance['input']}\nOutput: ",
            "targets": instance["output"],
        }
        for task, instance in asked[:N_PROMPTS]
    ]
    path.write_text("\n".join(map(json.dumps, rows)))


def make_adapters(sources: Sequence[Path], n_adapters: int, folder: Path) -> list[Path]:
    """Copy adapters in turn; from the second turn on, their weights are scaled a little."""
    from safetensors.torch import load_file, save_file

    made = []
    for number in range(n_adapters):
        turn, index = divmod(number, len(sources))
        made.append(folder / f"{sources[index].name}-turn{turn}")
        shutil.copytree(sources[index], made[-1])
        weights = made[-1] / "adapter_model.safetensors"
        tensors = {name: t * (1 + turn / 8) for name, t in load_file(weights).items()}
        save_file(tensors, weights, metadata={"format": "pt"})
    return made


def timed(command: Sequence[str], log: Path) -> float:
    """Return the wall seconds of a command; where it fails, end with its last words."""
    start = time.perf_counter()
    with log.open("wb") as file:
        status = subprocess.call(command, stdout=file, stderr=subprocess.STDOUT, cwd=ROOT)
    if status:
        sys.exit(f"status {status}:\n{log.read_text(errors='replace')[-3000:]}")
    return time.perf_counter() - start


def time_peval(setup: Setup, scratch: Path) -> tuple[float, float]:
    """Return the wall seconds of one `peval score` and those from engine to first answer."""
    job = setup.job
    command = [sys.executable, "-m", "peval.cli", "score", "--no-base", "--base", str(job.base)]
    command += ["--adapter", *job.adapters, "--task", *job.tasks, "--out", str(scratch / "run")]
    command += ["--proof", "off"]  # the loops prove nothing
    wall_s = timed(command, scratch / "peval.log")
    rate = known_rate(setup.base.sha256, setup.serving.engine)
    return wall_s, rate.start_s if rate else 0.0


def time_loop(setup: Setup, tuned: bool, scratch: Path) -> tuple[float, float]:
    """Return the wall seconds of one vLLM per adapter, and those outside `generate`."""
    script, log = scratch / "generate.py", scratch / "loop.log"
    script.write_text(GENERATE)
    walls, generated = [], []
    for adapter in setup.job.adapters:
        asked = json.dumps(loop_settings(setup, adapter, tuned))
        walls.append(timed([sys.executable, str(script), asked], log))
        said = log.read_text(errors="replace").rpartition("generated in ")[2]
        generated.append(float(said.split()[0]))
    return sum(walls), sum(walls) - sum(generated)


def loop_settings(setup: Setup, adapter: str, tuned: bool) -> dict[str, Any]:
    """Return what the loop's script is told about one adapter."""
    (mine,) = [a for a in setup.adapters if str(a.path) == str(Path(adapter).resolve())]
    rank = next(legal for legal in LEGAL_RANKS if legal >= mine.rank)
    arguments = {"model": str(setup.base.path), "enable_lora": True, "max_lora_rank": rank}
    if tuned:
        job = Job(base=setup.job.base, adapters=(adapter,), tasks=setup.job.tasks, engine="vllm")
        on_cpu = shutil.which("nvidia-smi") is None
        arguments = engine_arguments(prepare(job).spec(), on_cpu, known=[])
    (task,) = setup.tasks
    return {
        "tuned": tuned,
        "arguments": arguments,
        "prompts": setup.job.tasks[0],
        "max_tokens": task.profile.decoding.max_tokens,
        "adapter": adapter,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", default=str(TOY / "base"))
    parser.add_argument("--adapter", nargs="+", type=Path, help="default: the toy's six")
    parser.add_argument("--adapters", type=int, default=8, metavar="N", help="how many to score")
    given = parser.parse_args()
    sources = given.adapter or sorted((TOY / "adapters").iterdir())
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder).resolve()
        os.environ["XDG_CACHE_HOME"] = folder
        # Without it, vLLM's defaults want nearly all memory of a CPU machine and may not start.
        os.environ["VLLM_CPU_KVCACHE_SPACE"] = "1"
        prompts = scratch / "prompts.jsonl"
        make_prompts(prompts)
        adapters = make_adapters(sources, given.adapters, scratch)
        job = Job(base=given.base, adapters=tuple(map(str, adapters)), tasks=(str(prompts),),
                  engine="vllm", with_base=False, out=str(scratch / "run"))  # fmt: skip
        setup = prepare(job)
        first = dataclasses.replace(setup, job=dataclasses.replace(job, adapters=job.adapters[:1]))
        for tuned in (False, True):  # fills vLLM's caches on disk
            time_loop(first, tuned, scratch)
        show(setup, scratch)


def show(setup: Setup, scratch: Path) -> None:
    """Time the three ways and print a line for each."""
    print(f"{len(setup.adapters)} adapters, {N_PROMPTS} prompts each, no base; whole commands")
    ours_s = 0.0
    for name, measure in {
        "one peval score": lambda: time_peval(setup, scratch),
        "loop, plain": lambda: time_loop(setup, False, scratch),
        "loop, tuned": lambda: time_loop(setup, True, scratch),
    }.items():
        wall_s, start_s = measure()
        ours_s = ours_s or wall_s
        print(
            f"{name:16} {wall_s:7.1f} s, {start_s / wall_s:4.0%} of it vLLM's start; "
            f"{wall_s / ours_s:5.2f} times peval's",
            flush=True,
        )
    print("the aim is at least 8 times for 8 adapters")


if __name__ == "__main__":
    main()
