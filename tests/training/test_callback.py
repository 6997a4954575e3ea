"""A real training with checkpoints scored beside it, and what can go wrong there."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest
from scripted import ROOT, TOY
from transformers import EarlyStoppingCallback, TrainerCallback
from waiting import comes_true

from peval.errors import RunError, UsageError
from peval.training import PevalCallback, snapshots

sys.path.insert(0, str(Path(__file__).parent))
from toy_training import Slow, arguments, n_descendants, trainer

METRIC = "eval_peval/superni-in-task/rougeL"
OPTIONS: dict[str, Any] = {
    "suite": "superni-in-task", "data_dir": str(TOY / "data"), "limit": 4, "dtype": "float32",
}  # fmt: skip

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("one_thread")]


def scored(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [entry for entry in history if METRIC in entry]


needs_vllm = pytest.mark.skipif(
    not importlib.util.find_spec("vllm"), reason="vLLM is not installed"
)


@pytest.mark.engine
@pytest.mark.timeout(600)
@needs_vllm
def test_checkpoints_are_scored_while_training_goes_on(tmp_path: Path) -> None:
    found = trainer(
        tmp_path, max_steps=40, save_total_limit=1, metric_for_best_model=METRIC,
        greater_is_better=True, load_best_model_at_end=True, eval_strategy="steps", eval_steps=10,
    )  # fmt: skip
    callback = PevalCallback(found, max_waiting=4, **OPTIONS)
    found.add_callback(callback)

    def let_the_first_be_scored() -> None:
        assert callback._scorer is not None
        assert comes_true(lambda: not callback._scorer._replies.empty(), within_s=500.0)

    found.add_callback(Slow(lambda: 0.05, {11: let_the_first_be_scored}))
    found.train()
    entries = scored(found.state.log_history)
    assert [entry["eval_peval/step"] for entry in entries] == [10, 20, 30, 40]
    assert entries[0]["step"] < 40  # it came while training went on
    assert (callback.n_scored, callback.n_skipped, callback.n_engine_starts) == (4, 0, 1)
    best = max(entries, key=lambda entry: entry[METRIC])
    assert found.state.best_metric == best[METRIC]
    assert found.state.best_global_step == best["eval_peval/step"]
    # The trainer kept one checkpoint alone; the best is there nonetheless, and was loaded.
    loaded = Path(found.state.best_model_checkpoint or "")
    assert loaded.name.endswith(f"checkpoint-{found.state.best_global_step}")
    from safetensors.torch import load_file

    held = load_file(loaded / "adapter_model.safetensors")
    mine = found.model.state_dict()
    for name, tensor in held.items():
        assert mine[name.replace(".weight", ".default.weight")].equal(tensor)
    runs = sorted(p.name for p in (tmp_path / "peval").glob("*-checkpoint-*"))
    assert len(runs) == 4
    manifests = [
        json.loads((tmp_path / "peval" / run / "manifest.json").read_text()) for run in runs
    ]
    assert sum(m["sittings"][0]["n_engine_starts"] for m in manifests) == 1
    assert len({m["adapters"][0]["sha256"] for m in manifests}) == 4


@pytest.mark.engine
@pytest.mark.timeout(600)
@needs_vllm
def test_training_survives_the_scorer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = trainer(tmp_path, max_steps=12, save_steps=3)
    callback = PevalCallback(found, **OPTIONS)
    found.add_callback(callback)

    def kill() -> None:
        assert callback.scorer_pid
        os.kill(callback.scorer_pid, signal.SIGKILL)

    found.add_callback(Slow(lambda: 0.3, {5: kill}))
    with caplog.at_level(logging.WARNING, "peval"):
        found.train()
    assert found.state.global_step == 12
    assert any("the scorer died (it ended with status -9)" in text for text in caplog.messages)
    assert callback.scorer_pid is None
    assert not list((tmp_path / "peval" / ".waiting").rglob("*.safetensors"))


class Fake:
    """A scorer's process that is never done."""

    pid = 0

    def __init__(self, options: dict[str, Any], *rest: object) -> None:
        self.options = options
        self.asked: list[int] = []
        self.replies: list[dict[str, Any]] = []

    def ask(self, step: int, path: Path) -> None:
        assert (path / "adapter_model.safetensors").exists()
        self.asked.append(step)

    def reply(self, timeout_s: float = 0.0) -> dict[str, Any] | None:
        return self.replies.pop() if self.replies else None

    is_closed = False

    def close(self) -> None:
        self.is_closed = True


class Prompt(Fake):
    """A scorer's process that answers at once; checkpoints get worse and worse."""

    started: ClassVar[list[Prompt]] = []

    def __init__(self, options: dict[str, Any], *rest: object) -> None:
        super().__init__(options)
        self.started.append(self)

    def ask(self, step: int, path: Path) -> None:
        super().ask(step, path)
        name = METRIC.removeprefix("eval_")
        found = {"metrics": {name: 1 / step}, "n_engine_starts": 1, "step": step}
        self.replies.append(found)


@pytest.fixture
def prompt(monkeypatch: pytest.MonkeyPatch) -> list[Prompt]:
    monkeypatch.setattr("peval.training.callback.ScorerProcess", Prompt)
    monkeypatch.setattr(Prompt, "started", [])
    return Prompt.started


def test_at_the_end_the_last_checkpoints_are_scored(tmp_path: Path, prompt: list[Prompt]) -> None:
    found = trainer(
        tmp_path, max_steps=6, save_steps=1, metric_for_best_model=METRIC,
        load_best_model_at_end=True, eval_strategy="steps", eval_steps=1,
    )  # fmt: skip
    callback = PevalCallback(found, when="end", max_waiting=4, **OPTIONS)
    found.add_callback(callback)
    n_started: list[int] = []
    look = {step: lambda: n_started.append(len(prompt)) for step in range(1, 7)}
    found.add_callback(Slow(lambda: 0.0, look))
    found.train()
    assert n_started == [0] * 6  # one device: no engine beside the training
    (scorer,) = prompt
    assert scorer.asked == [3, 4, 5, 6]
    assert (callback.n_scored, callback.n_skipped) == (4, 2)
    assert found.state.best_global_step == 3
    assert str(found.state.best_model_checkpoint).endswith("checkpoint-3")
    assert [entry["eval_peval/step"] for entry in scored(found.state.log_history)] == [3, 4, 5, 6]


def test_the_readmes_callback_scores(
    tmp_path: Path, prompt: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / "README.md").read_text()
    (block,) = re.findall(r"```python\n(from peval.training.*?)```", text, re.DOTALL)
    found: dict[str, Any] = {}
    exec(compile(block, "README.md", "exec"), found)
    monkeypatch.chdir(ROOT)
    mine = trainer(tmp_path, max_steps=2, save_steps=1)
    found["scored_while_training"](mine)
    assert [entry["eval_peval/step"] for entry in scored(mine.state.log_history)] == [1, 2]
    # The guide's lines are the same call.
    call = re.compile(
        r"trainer\.add_callback\(PevalCallback\(trainer, suite=\"superni\", data_dir="
    )
    assert call.search(block)
    assert call.search((ROOT / "docs" / "training.md").read_text())


def test_the_scorer_gets_a_device_of_its_own(tmp_path: Path) -> None:
    found = trainer(tmp_path / "run", max_steps=2, save_steps=2)
    seen = tmp_path / "seen"
    script = tmp_path / "there.sh"
    script.write_text(f'echo "$CUDA_VISIBLE_DEVICES" > {seen}\n{ELSEWHERE}')
    found.add_callback(PevalCallback(
        found, command=("bash", str(script)), environment={"CUDA_VISIBLE_DEVICES": "1"}, **OPTIONS
    ))  # fmt: skip
    found.train()
    assert seen.read_text() == "1\n"
    assert os.environ.get("CUDA_VISIBLE_DEVICES") != "1"


def test_a_pause_scores_each_checkpoint_when_it_is_saved(
    tmp_path: Path, prompt: list[Prompt]
) -> None:
    """One device: training waits while an engine comes and goes, so numbers are never late."""
    found = trainer(
        tmp_path, max_steps=6, save_steps=2, metric_for_best_model=METRIC,
        load_best_model_at_end=True, eval_strategy="steps", eval_steps=2,
    )  # fmt: skip
    callback = PevalCallback(found, when="pause", **OPTIONS)
    found.add_callback(callback)
    found.train()
    (scorer,) = prompt
    assert scorer.asked == [2, 4, 6]
    assert scorer.options["stops_between"] is True
    assert scorer.is_closed
    entries = scored(found.state.log_history)
    assert [(e["step"], e["eval_peval/step"]) for e in entries] == [(2, 2), (4, 4), (6, 6)]
    assert found.state.best_global_step == 2


@pytest.mark.engine
@pytest.mark.timeout(600)
@needs_vllm
@pytest.mark.skipif(os.environ.get("PEVAL_SLOW") != "1", reason="slow: set PEVAL_SLOW=1")
def test_vllm_comes_and_goes_in_pauses(tmp_path: Path) -> None:
    found = trainer(tmp_path, max_steps=4, save_steps=2)
    callback = PevalCallback(found, when="pause", **OPTIONS)
    found.add_callback(callback)
    n_processes: list[int] = []
    count = lambda: n_processes.append(n_descendants(callback.scorer_pid))  # noqa: E731
    found.add_callback(Slow(lambda: 0.0, {3: count, 4: count}))
    found.train()
    entries = scored(found.state.log_history)
    assert [(e["step"], e["eval_peval/step"]) for e in entries] == [(2, 2), (4, 4)]
    assert (callback.n_engine_starts, callback.n_scored) == (2, 2)
    assert n_processes == [0, 0]  # no engine while training goes on
    manifests = sorted((tmp_path / "peval").glob("*-checkpoint-*/manifest.json"))
    first, second = (json.loads(p.read_text())["sittings"][0]["n_answered"] for p in manifests)
    assert first == 2 * second  # the base is asked once


def test_only_the_first_process_scores(tmp_path: Path, prompt: list[Prompt]) -> None:
    found = trainer(tmp_path, max_steps=2, save_steps=1)
    callback = PevalCallback(found, **OPTIONS)
    found.add_callback(callback)

    class NotFirst(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            state.is_world_process_zero = False

    found.callback_handler.callbacks.insert(0, NotFirst())
    found.train()
    assert prompt == []
    assert not (tmp_path / "peval").exists()


@pytest.mark.engine
@pytest.mark.timeout(600)
@needs_vllm
@pytest.mark.skipif(os.environ.get("PEVAL_SLOW") != "1", reason="slow: set PEVAL_SLOW=1")
def test_two_processes_train_and_one_scores(tmp_path: Path) -> None:
    script = Path(__file__).with_name("under_torchrun.py")
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "tests", script.parent)))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    done = subprocess.run(
        [*torchrun, "--nproc-per-node", "2", str(script), str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, second = (json.loads((tmp_path / f"rank{i}.json").read_text()) for i in range(2))
    assert first == {"steps": [2, 4], "n_scored": 2, "n_starts": 1}
    assert second == {"steps": [], "n_scored": 0, "n_starts": 0}
    assert len(list((tmp_path / "peval").glob("*-checkpoint-*"))) == 2


def test_training_stops_early_when_checkpoints_get_worse(
    tmp_path: Path, prompt: list[Prompt]
) -> None:
    found = trainer(
        tmp_path, max_steps=30, save_steps=2, metric_for_best_model=METRIC,
        greater_is_better=True, load_best_model_at_end=True, eval_strategy="steps", eval_steps=2,
    )  # fmt: skip
    found.add_callback(EarlyStoppingCallback(early_stopping_patience=2))
    found.add_callback(PevalCallback(found, **OPTIONS))
    found.train()
    (scorer,) = prompt
    # The best is the first; two more that are worse end it, once their numbers have come.
    assert scorer.asked[:3] == [2, 4, 6]
    assert 6 <= found.state.global_step < 12
    assert found.state.best_global_step == 2
    assert found.state.best_metric == 0.5


ELSEWHERE = """
echo "Welcome to the other machine."
read options
case $options in *superni-in-task*) ;; *) exit 9;; esac
while read asked; do
  path=$(echo "$asked" | grep -o '/[^"]*')
  test -e "$path/adapter_model.safetensors" || exit 8
  step=$(echo "$asked" | grep -o '[0-9][0-9]*' | head -1)
  echo "{\\"step\\": $step, \\"n_engine_starts\\": 1, \\"metrics\\": {\\"peval/t/m\\": 0.5}}"
done
"""


def test_the_scorer_may_be_started_elsewhere(tmp_path: Path) -> None:
    """In another folder, by another command, which speaks before the scorer does."""
    found = trainer(tmp_path / "run", max_steps=4, save_steps=2)
    script = tmp_path / "there.sh"
    script.write_text(ELSEWHERE)
    callback = PevalCallback(found, command=("env", "-C", "/", "bash", str(script)), **OPTIONS)
    found.add_callback(callback)
    found.train()
    steps = [e["eval_peval/step"] for e in found.state.log_history if "eval_peval/t/m" in e]
    assert steps == [2, 4]
    other = trainer(tmp_path / "other", max_steps=1)
    other.add_callback(PevalCallback(other, command=("no-such-program",), **OPTIONS))
    for _ in range(2):  # a second attempt finds the folder free
        with pytest.raises(UsageError, match="the scorer's no-such-program: No such file"):
            other.train()


def sft_trainer(out: Path, **more: Any) -> Any:
    """Return TRL's trainer of the toy base with its own LoRA."""
    trl = pytest.importorskip("trl", reason="TRL is not installed")
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoTokenizer

    settings = arguments(out, **more).to_dict()
    held = {name: settings[name] for name in (
        "output_dir", "max_steps", "per_device_train_batch_size", "save_strategy", "save_steps",
        "report_to", "use_cpu", "disable_tqdm", "dataloader_pin_memory", "metric_for_best_model",
        "greater_is_better", "eval_strategy", "eval_steps", "load_best_model_at_end",
    )}  # fmt: skip
    rows = Dataset.from_dict({"text": ["the name of a red house", "Ann saw four birds"] * 8})
    return trl.SFTTrainer(
        model=str(TOY / "base"),
        args=trl.SFTConfig(**held, max_length=32, bf16=False, gradient_checkpointing=False),
        train_dataset=rows, eval_dataset=rows,
        processing_class=AutoTokenizer.from_pretrained(TOY / "base"),
        peft_config=LoraConfig(r=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"),
    )  # fmt: skip


BEST = {
    "metric_for_best_model": METRIC, "greater_is_better": True, "load_best_model_at_end": True,
    "eval_strategy": "steps",
}  # fmt: skip


def test_trls_trainer_is_scored_alike(tmp_path: Path, prompt: list[Prompt]) -> None:
    found = sft_trainer(tmp_path, max_steps=6, save_steps=2, eval_steps=2, **BEST)
    callback = PevalCallback(found, max_waiting=4, **OPTIONS)
    found.add_callback(callback)
    found.train()
    assert [entry["eval_peval/step"] for entry in scored(found.state.log_history)] == [2, 4, 6]
    assert (found.state.best_global_step, found.state.best_metric) == (2, 0.5)


@pytest.mark.engine
@pytest.mark.timeout(600)
@needs_vllm
@pytest.mark.skipif(os.environ.get("PEVAL_SLOW") != "1", reason="slow: set PEVAL_SLOW=1")
def test_trls_checkpoints_are_scored_in_vllm(tmp_path: Path) -> None:
    found = sft_trainer(tmp_path, max_steps=12, save_steps=4, eval_steps=4, **BEST)
    callback = PevalCallback(found, max_waiting=4, **OPTIONS)
    found.add_callback(callback)
    found.train()
    entries = scored(found.state.log_history)
    assert [entry["eval_peval/step"] for entry in entries] == [4, 8, 12]
    assert callback.n_engine_starts == 1
    assert found.state.best_metric == max(entry[METRIC] for entry in entries)


def test_what_falls_behind_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("peval.training.callback.ScorerProcess", Fake)
    found = trainer(tmp_path, max_steps=5, save_steps=100)
    callback = PevalCallback(found, every_n_steps=1, last_wait_s=0.1, **OPTIONS)
    found.add_callback(callback)
    found.train()
    skipped = [text for text in caplog.messages if "newer ones came" in text]
    assert [text.split()[1] for text in skipped] == [f"checkpoint-{i}" for i in (2, 3, 4)]
    assert callback.n_skipped == 3
    assert any("0.1 s passed, the last checkpoints are not scored" in t for t in caplog.messages)


def test_a_checkpoint_may_vanish_or_the_disk_be_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("peval.training.callback.ScorerProcess", Fake)

    def full(file: Path, copy: Path) -> None:
        raise OSError(28, "No space left on device", str(copy))

    monkeypatch.setattr(snapshots, "_link", full)
    found = trainer(tmp_path, max_steps=2, save_steps=1)
    found.add_callback(PevalCallback(found, **OPTIONS))
    gone = trainer(tmp_path / "gone", max_steps=1, save_steps=1)

    class Remover(TrainerCallback):
        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            shutil.rmtree(tmp_path / "gone" / "checkpoint-1")

    gone.add_callback(Remover())
    gone.add_callback(PevalCallback(gone, **OPTIONS))
    found.train()
    gone.train()
    said = [text for text in caplog.messages if "is not scored" in text]
    assert [text.split(":")[2].strip() for text in said] == [
        "No space left on device", "No space left on device", "No such file or directory",
    ]  # fmt: skip
    assert not list((tmp_path / "peval" / ".waiting").rglob("*.safetensors"))


def test_another_base_and_a_folder_in_use_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("peval.training.callback.ScorerProcess", Fake)
    other = shutil.copytree(TOY / "base", tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 0.5}))
    first = trainer(tmp_path / "a", max_steps=1)
    first.add_callback(PevalCallback(first, base=str(other), **OPTIONS))
    with pytest.raises(UsageError, match="is not what is trained"):
        first.train()
    second, third = (trainer(tmp_path / name, max_steps=1) for name in "bc")
    for one in (second, third):
        one.add_callback(PevalCallback(one, out=tmp_path / "runs", last_wait_s=0.1, **OPTIONS))
    holder = second.callback_handler.callbacks[-1]
    model = second.model
    holder.on_train_begin(second.args, second.state, second.control, model=model)
    with pytest.raises(RunError, match="another callback scores into it"):
        third.train()
    holder.on_train_end(second.args, second.state, second.control)
    third.train()


def test_options_are_checked_when_the_callback_is_made(tmp_path: Path) -> None:
    found = trainer(tmp_path, max_steps=1)
    with pytest.raises(UsageError, match="no option 'limt'"):
        PevalCallback(found, suite="superni", limt=3)
    with pytest.raises(UsageError, match="give 'during', 'pause' or 'end'"):
        PevalCallback(found, suite="superni", when="later")  # type: ignore[arg-type]
