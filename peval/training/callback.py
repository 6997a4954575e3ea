"""The callback: checkpoints go to a scorer beside the training, numbers come back into its log."""

from __future__ import annotations

import fcntl
import logging
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Literal

from accelerate.utils.memory import clear_device_cache
from transformers import TrainerCallback

from peval.api import job_of
from peval.bases import load_base
from peval.errors import RunError, UsageError
from peval.training import snapshots
from peval.training.remote import Message, ScorerProcess

logger = logging.getLogger(__name__)


class PevalCallback(TrainerCallback):  # type: ignore[misc]
    """Scores the checkpoints of a `Trainer` in a live engine while training goes on.

    Numbers come back as ``eval_peval/TASK/METRIC`` (``eval/peval/...`` in W&B and TensorBoard)
    through the trainer's own log, at the step where they arrive; ``eval_peval/step`` says of
    which checkpoint. With ``metric_for_best_model`` set to one of them, the best checkpoint is the
    one that was scored best, and `EarlyStoppingCallback` counts scored checkpoints.

    Parameters
    ----------
    trainer
        The trainer that the callback is added to.
    suite, **options
        As in `peval.Scorer`. ``base`` is the model's own if left out.
    out
        The folder of the runs; "peval" in the trainer's output folder if left out.
    when
        "during": while training goes on. For one device that cannot hold both: "pause", where
        training waits at each save until the checkpoint is scored, by an engine that starts and
        ends there (the base is asked once nonetheless); "end", where an engine starts once after
        the last step.
    every_n_steps
        Save, and so score, every so many steps; None scores whenever the trainer saves.
    max_waiting
        How many checkpoints may wait, beside the one that is being scored. When more come, the
        oldest that waits is skipped, and the log says so.
    last_wait_s
        How long the end of training, or a pause, waits for numbers.
    environment
        Set for the scorer's process: ``{"CUDA_VISIBLE_DEVICES": "1"}`` gives it a device.
    command
        The Python that runs the scorer, this one if left out. ``("ssh", "host", "python")`` scores
        on another machine, which has to see the same files under the same paths (and takes its
        environment from there).

    Notes
    -----
    Under torchrun only the first process scores. As the others do not know the numbers, these are
    logged there, and steer neither the best checkpoint nor early stopping.

    Examples
    --------
    >>> trainer.add_callback(PevalCallback(trainer, suite="superni"))  # doctest: +SKIP
    """

    def __init__(
        self,
        trainer: Any,
        suite: str | Sequence[str] = (),
        *,
        out: str | Path | None = None,
        when: Literal["during", "pause", "end"] = "during",
        every_n_steps: int | None = None,
        max_waiting: int | None = None,
        last_wait_s: float = 1800.0,
        environment: Mapping[str, str] | None = None,
        command: Sequence[str] = (),
        **options: Any,
    ) -> None:
        if when not in ("during", "pause", "end"):
            raise UsageError(f"PevalCallback: when={when!r}; give 'during', 'pause' or 'end'")
        room = {"max_adapters", "max_lora_rank", "target_modules"}
        if trainer.args.process_index == 0:
            job_of(None, (), suite, {k: v for k, v in options.items() if k not in {*room, "base"}})
        self._trainer = trainer
        self._out = Path(out) if out else Path(trainer.args.output_dir) / "peval"
        # Adapters are called after the folder that holds them.
        self._copies = self._out / ".waiting" / Path(trainer.args.output_dir).resolve().name
        self._when, self._every_n_steps = when, every_n_steps
        self._max_waiting = max_waiting or (8 if when == "end" else 1)
        self._last_wait_s = last_wait_s
        self._environment, self._command = dict(environment or {}), tuple(command)
        self._options = {**options, "suite": suite, "out": str(self._out.resolve())}
        self._waiting: dict[int, Path] = {}
        self._asked: tuple[int, Path] | None = None
        self._scorer: ScorerProcess | None = None
        self._is_off = False
        self._lock: IO[str] | None = None
        self.n_engine_starts = self.n_scored = self.n_skipped = 0

    @property
    def scorer_pid(self) -> int | None:
        """Process id of the scorer, while there is one."""
        return self._scorer.pid if self._scorer else None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Check the base, take the folder and start the scorer."""
        # Last of all: early stopping must not count evaluations that bring no new number of ours.
        handler = self._trainer.callback_handler
        handler.callbacks = [*(one for one in handler.callbacks if one is not self), self]
        self._is_off = not state.is_world_process_zero
        if self._is_off:
            return
        self._options["base"] = _base_of(kwargs["model"], self._options.get("base"))
        self._out.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(self._out)
        if args.world_size > 1 and _metric(args):
            logger.warning("peval: several processes train; its numbers are logged, no more")
        if self._when == "during":
            self._start()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take numbers that have come; never wait."""
        self._take(args, state, control)
        if self._every_n_steps and state.global_step % self._every_n_steps == 0:
            control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Keep the new checkpoint for the scorer."""
        if self._is_off:
            return
        checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        try:
            self._waiting[state.global_step] = snapshots.take(checkpoint, self._copies)
        except OSError as error:
            self._skip(checkpoint.name, f"{error.strerror}: {error.filename}")
        is_free = self._when == "during" and self._asked is None
        while len(self._waiting) > self._max_waiting + is_free:
            step = min(self._waiting)
            snapshots.drop(self._waiting.pop(step))
            self._skip(f"checkpoint-{step}", "newer ones came before the scorer was free")
        if self._when == "during":
            self._take(args, state, control)
        if self._when == "pause" or state.global_step >= state.max_steps:
            self._drain(args, state, control)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take the last numbers before the trainer loads the best checkpoint."""
        if control.should_training_stop and not control.should_save:
            self._drain(args, state, control)

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: dict[str, float], **kwargs: Any
    ) -> None:
        """Show the trainer, which asks for its metric of the best model, that there is no news."""
        name = _metric(args)
        if name and name not in metrics:
            worst = -math.inf if args.greater_is_better else math.inf
            metrics[name] = worst if state.best_metric is None else state.best_metric

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take the last numbers and let the scorer go."""
        self._drain(args, state, control)
        self._close()

    def _start(self) -> None:
        log = self._out / "scorer.log"
        options = {**self._options, "stops_between": self._when == "pause"}
        try:
            self._scorer = ScorerProcess(options, log, self._environment, self._command)
        except UsageError:
            self._close()
            raise

    def _take(self, args: Any, state: Any, control: Any, timeout_s: float = 0.0) -> None:
        """Deliver what the scorer has to say, and give it the next checkpoint."""
        if self._scorer is None:
            return
        try:
            while reply := self._scorer.reply(timeout_s):
                self._deliver(reply, args, state, control)
                timeout_s = 0.0
        except BrokenPipeError as error:
            logger.warning(
                "peval: the scorer died (%s); training goes on, nothing more is scored (log: %s)",
                error, self._out / "scorer.log",
            )  # fmt: skip
            self._close()
            self._is_off = True
            return
        if self._asked is None and self._waiting:
            step = min(self._waiting)
            self._asked = step, self._waiting.pop(step)
            self._scorer.ask(*self._asked)

    def _deliver(self, reply: Message, args: Any, state: Any, control: Any) -> None:
        assert self._asked is not None
        (step, copy), self._asked = self._asked, None
        if "error" in reply:
            snapshots.drop(copy)
            self._skip(f"checkpoint-{step}", reply["error"])
            return
        self.n_scored += 1
        self.n_engine_starts = reply["n_engine_starts"]
        metrics = {f"eval_{name}": value for name, value in reply["metrics"].items()}
        metrics["eval_peval/step"] = step
        self._trainer.log(dict(metrics))
        best = args.world_size == 1 and self._steer(metrics, copy, args, state, control)
        if not best:
            snapshots.drop(copy)

    def _steer(
        self, metrics: dict[str, float], copy: Path, args: Any, state: Any, control: Any
    ) -> bool:
        """Let early stopping see the numbers; tell whether this checkpoint is the best."""
        name = _metric(args)
        if name is None:
            return False
        if name not in metrics:
            logger.warning("peval: no metric %s; there are %s", name, ", ".join(metrics))
            return False
        self._trainer.callback_handler.on_evaluate(args, state, control, metrics)
        value, held = metrics[name], state.best_metric
        if held is not None and not (value > held if args.greater_is_better else value < held):
            return False
        step = int(metrics["eval_peval/step"])
        checkpoint = Path(args.output_dir) / f"checkpoint-{step}"
        for other in self._copies.glob("best-*"):
            snapshots.drop(other)
        best = copy.rename(copy.with_name(f"best-{copy.name}"))
        state.best_metric, state.best_global_step = value, step
        state.best_model_checkpoint = str(checkpoint if checkpoint.exists() else best)
        return True

    def _drain(self, args: Any, state: Any, control: Any) -> None:
        """Wait for all that is being scored or waits, within bounds."""
        if self._when != "during" and self._waiting and not self._is_off:
            clear_device_cache(garbage_collection=True)  # what torch keeps, an engine cannot have
            if self._scorer is None:
                self._start()
        deadline_s = time.monotonic() + self._last_wait_s
        while self._scorer and (self._asked or self._waiting):
            if (left_s := deadline_s - time.monotonic()) <= 0:
                logger.warning("peval: %g s passed, the last checkpoints are not scored",
                               self._last_wait_s)  # fmt: skip
                self._stop()
                return
            self._take(args, state, control, min(left_s, 1.0))

    def _skip(self, name: str, why: str) -> None:
        self.n_skipped += 1
        logger.warning("peval: %s is not scored: %s", name, why)

    def _stop(self) -> None:
        """End the scorer, and forget what it has not scored."""
        if self._scorer is not None:
            self._scorer.close()
            self._scorer = None
        for copy in [*self._waiting.values(), *([self._asked[1]] if self._asked else [])]:
            snapshots.drop(copy)
        self._waiting, self._asked = {}, None

    def _close(self) -> None:
        self._stop()
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def _metric(args: Any) -> str | None:
    """Return the log's name of the metric of the best model, where that is one of ours."""
    name = args.metric_for_best_model or ""
    name = name if name.startswith("eval_") else f"eval_{name}"
    return name if name.startswith("eval_peval/") else None


def _base_of(model: Any, wanted: str | None) -> str:
    """Return the base that is being trained; UsageError if another was named."""
    configs = getattr(model, "peft_config", None)
    if not configs:
        raise UsageError("PevalCallback: the trainer's model is no PEFT model; give it an adapter")
    trained = str(next(iter(configs.values())).base_model_name_or_path)
    if wanted is None or wanted == trained:
        return trained
    if load_base(wanted).sha256 != load_base(trained).sha256:
        raise UsageError(
            f"PevalCallback: base={wanted!r} is not what is trained, {trained!r}; leave it out"
        )
    return wanted


def _locked(out: Path) -> IO[str]:
    """Take a folder for this process alone."""
    lock = (out / ".lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise RunError(f"{out}: another callback scores into it; give each its own out=") from None
    return lock
