"""What the callback costs a training: step times with it against without, in alternation.

The trainer has one core for itself and the scorer, with its engine, another, as they would have a
device each. Each training runs for the same time, long enough for the engine to come up and score
several checkpoints; runs alternate, so that whatever else the machine does hits both. A step counts
from its beginning to that of the next, so saving and the callback's own work are in it.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[2]), str(HERE.parents[1]), str(HERE.parents[1] / "training")]

from scripted import TOY  # noqa: E402
from toy_training import trainer  # noqa: E402
from transformers import TrainerCallback  # noqa: E402

from peval.training import PevalCallback, remote  # noqa: E402

N_ROUNDS, TRAIN_S, SAVE_EVERY, BATCH = 2, 35.0, 50, 64


class Clock(TrainerCallback):  # type: ignore[misc]
    """Takes the time of each step, and ends the training when its time is over."""

    def __init__(self) -> None:
        self.begun_s: list[float] = []

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.begun_s.append(time.perf_counter())

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if time.perf_counter() - self.begun_s[0] > TRAIN_S:
            control.should_training_stop = True

    @property
    def steps_ms(self) -> list[float]:
        """Each step's time, but the first ten's."""
        times = self.begun_s[10:]
        return [1000 * (b - a) for a, b in pairwise(times)]


def main() -> None:
    """Run the rounds; print a line for each training, and the ratios."""
    import torch

    mine, *others = sorted(os.sched_getaffinity(0))
    if not others:
        sys.exit("needs two cores")
    os.sched_setaffinity(0, {mine})
    torch.set_num_threads(1)
    _pin_scorer(others[-1])
    found: dict[bool, list[float]] = {True: [], False: []}
    for number in range(N_ROUNDS):
        for with_callback in (number % 2 == 0, number % 2 == 1):
            found[with_callback] += _train(with_callback)
    mean, median = (
        how(found[True]) / how(found[False]) for how in (statistics.mean, statistics.median)
    )
    print(f"with the callback / without: {mean:.3f} of means, {median:.3f} of medians; "
          "the aim is at most 1.1")  # fmt: skip


def _train(with_callback: bool) -> list[float]:
    with tempfile.TemporaryDirectory() as place:
        one = trainer(Path(place), max_steps=1_000_000, save_steps=SAVE_EVERY, save_total_limit=2,
                      per_device_train_batch_size=BATCH)  # fmt: skip
        clock = Clock()
        one.add_callback(clock)
        told = "without"
        if with_callback:
            callback = PevalCallback(
                one, suite="superni-in-task", data_dir=str(TOY / "data"), limit=4,
                dtype="float32", last_wait_s=1.0,
            )  # fmt: skip
            one.add_callback(callback)
        one.train()
        if with_callback:
            told = f"with, {callback.n_scored} scored, {callback.n_skipped} skipped"
        ms = clock.steps_ms
        print(f"{len(ms):5} steps, mean {statistics.mean(ms):5.1f} ms, "
              f"median {statistics.median(ms):5.1f} ms  {told}", flush=True)  # fmt: skip
        return ms


def _pin_scorer(core: int) -> None:
    """Give the scorer's process another core than this one's."""
    popen = remote.subprocess.Popen

    def pinned(*args: Any, **kwargs: Any) -> Any:
        return popen(*args, preexec_fn=lambda: os.sched_setaffinity(0, {core}), **kwargs)

    remote.subprocess.Popen = pinned  # type: ignore[misc,assignment]


if __name__ == "__main__":
    main()
