"""What the callback costs a training: step times with it against without, in alternation.

The trainer has one core for itself and the scorer, with its engine, another, as they would have a
device each. Each training runs for the same time, long enough for the engine to come up and score
several checkpoints; runs alternate, so that whatever else the machine does hits both. A step counts
from its beginning to that of the next, so saving and the callback's own work are in it.

Wall time is only worth something where nothing else runs: the scorer drives other programs to the
trainer's core. CPU time is that of the trainer's process, all threads. The callback's own time is
what the trainer spends inside it, links of checkpoints included: what it costs on any machine.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from statistics import mean as mean_of
from statistics import median as median_of
from typing import Any

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[2]), str(HERE.parents[1]), str(HERE.parents[1] / "training")]

from scripted import TOY  # noqa: E402
from toy_training import trainer  # noqa: E402
from transformers import TrainerCallback  # noqa: E402

from peval.training import PevalCallback, remote  # noqa: E402

N_ROUNDS, TRAIN_S, SAVE_EVERY, BATCH = 2, 40.0, 50, 8


class Clock(TrainerCallback):  # type: ignore[misc]
    """Takes the time of each step, and ends the training when its time is over."""

    def __init__(self) -> None:
        self.wall_s: list[float] = []
        self.cpu_s: list[float] = []

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.wall_s.append(time.perf_counter())
        self.cpu_s.append(time.process_time())

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if time.perf_counter() - self.wall_s[0] > TRAIN_S:
            control.should_training_stop = True


def steps_ms(begun_s: list[float]) -> list[float]:
    """Return each step's time, but the first ten's."""
    return [1000 * (b - a) for a, b in pairwise(begun_s[10:])]


class Timed(PevalCallback):
    """Takes the time that the trainer spends in the callback."""

    spent_s = 0.0

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        begun_s = time.perf_counter()
        super().on_step_end(*args, **kwargs)
        self.spent_s += time.perf_counter() - begun_s

    def on_save(self, *args: Any, **kwargs: Any) -> None:
        begun_s = time.perf_counter()
        super().on_save(*args, **kwargs)
        self.spent_s += time.perf_counter() - begun_s


def main() -> None:
    """Run the rounds; print a line for each training, and the ratios."""
    import torch

    mine, *others = sorted(os.sched_getaffinity(0))
    if not others:
        sys.exit("needs two cores")
    os.sched_setaffinity(0, {mine})
    torch.set_num_threads(1)
    _pin_scorer(others[-1])
    found: dict[bool, list[tuple[list[float], list[float]]]] = {True: [], False: []}
    for number in range(N_ROUNDS):
        for with_callback in (number % 2 == 0, number % 2 == 1):
            found[with_callback].append(_train(with_callback))
    for which, kind in enumerate(("wall", "CPU")):
        ms = {k: [t for pair in pairs for t in pair[which]] for k, pairs in found.items()}
        mean, median = (how(ms[True]) / how(ms[False]) for how in (mean_of, median_of))
        print(f"{kind} time with the callback / without: {mean:.3f} of means, "
              f"{median:.3f} of medians; the aim is at most 1.1")  # fmt: skip


def _train(with_callback: bool) -> tuple[list[float], list[float]]:
    with tempfile.TemporaryDirectory() as place:
        one = trainer(Path(place), max_steps=1_000_000, save_steps=SAVE_EVERY, save_total_limit=2,
                      logging_strategy="no", per_device_train_batch_size=BATCH)  # fmt: skip
        clock = Clock()
        one.add_callback(clock)
        told = "without"
        if with_callback:
            callback = Timed(
                one, suite="superni-in-task", data_dir=str(TOY / "data"), limit=4,
                dtype="float32", last_wait_s=1.0,
            )  # fmt: skip
            one.add_callback(callback)
        one.train()
        if with_callback:
            own_ms = 1000 * callback.spent_s / len(clock.wall_s)
            told = (f"with ({own_ms:.3f} ms in it), {callback.n_scored} scored, "
                    f"{callback.n_skipped} skipped")  # fmt: skip
        wall_ms, cpu_ms = steps_ms(clock.wall_s), steps_ms(clock.cpu_s)
        print(f"{len(wall_ms):5} steps, wall {mean_of(wall_ms):5.1f} ms (median "
              f"{median_of(wall_ms):5.1f}), CPU {mean_of(cpu_ms):5.1f} ms (median "
              f"{median_of(cpu_ms):5.1f}), {told}", flush=True)  # fmt: skip
        return wall_ms, cpu_ms


def _pin_scorer(core: int) -> None:
    """Give the scorer's process another core than this one's."""
    popen = remote.subprocess.Popen

    def pinned(*args: Any, **kwargs: Any) -> Any:
        return popen(*args, preexec_fn=lambda: os.sched_setaffinity(0, {core}), **kwargs)

    remote.subprocess.Popen = pinned  # type: ignore[misc,assignment]


if __name__ == "__main__":
    main()
