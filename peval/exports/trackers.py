"""A finished run in experiment trackers: a run for each system, by their own libraries."""

from __future__ import annotations

import os
from pathlib import Path

from peval.exports.systems import finished_at, folder_name, make_folder, scalars, systems
from peval.results import Results
from peval.rundir import RunDir


def tensorboard(rundir: RunDir, results: Results, folder: Path) -> list[Path]:
    """Write an event file for each system; return the files."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    when_s = finished_at(rundir).timestamp()
    written = []
    for system, name in _names(rundir, results).items():
        place = folder / name
        make_folder(place)
        for old in place.glob("events.out.tfevents.*"):
            old.unlink()
        writer = EventFileWriter(str(place))
        for tag, value in scalars(results, system).items():
            summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
            writer.add_event(Event(wall_time=when_s, step=0, summary=summary))
        writer.close()
        written += sorted(place.glob("events.out.tfevents.*"))
    return written


def wandb(rundir: RunDir, results: Results, folder: Path) -> list[Path]:
    """Write an offline run for each system, for ``wandb sync``; return the files."""
    import wandb

    make_folder(folder)
    quiet = wandb.Settings(console="off", silent=True)
    written = []
    for system, name in _names(rundir, results).items():
        run = wandb.init(mode="offline", dir=folder, project="peval", name=name, settings=quiet,
                         config=_facts(rundir, system), reinit="create_new")  # fmt: skip
        place = Path(run.dir).parent
        run.log(scalars(results, system))
        run.finish()
        written += sorted(place.glob("*.wandb"))
    return written


def mlflow(rundir: RunDir, results: Results, folder: Path) -> list[Path]:
    """Log a run for each system; return the store's file, or none if MLFLOW_TRACKING_URI is set."""
    from mlflow.tracking import MlflowClient

    store = folder / "mlflow.db"
    tracking = os.environ.get("MLFLOW_TRACKING_URI")
    if tracking is None:
        make_folder(folder)
    client = MlflowClient(tracking_uri=tracking or f"sqlite:///{store.resolve()}")
    held = client.get_experiment_by_name("peval")
    experiment = held.experiment_id if held else client.create_experiment("peval")
    for system, name in _names(rundir, results).items():
        run_id = client.create_run(experiment, run_name=name).info.run_id
        for key, fact in _facts(rundir, system).items():
            client.log_param(run_id, key, fact)
        for tag, value in scalars(results, system).items():
            client.log_metric(run_id, tag, value)
        client.set_terminated(run_id)
    return [] if tracking else [store]


def _names(rundir: RunDir, results: Results) -> dict[str | None, str]:
    base = rundir.read_manifest()["base"]["name"]
    return {system: folder_name(base, system) for system in systems(results)}


def _facts(rundir: RunDir, system: str | None) -> dict[str, str]:
    manifest = rundir.read_manifest()
    found = {"base": manifest["base"]["name"], "engine": manifest["serving"]["engine"]}
    sha256s = {one["name"]: one["sha256"] for one in manifest["adapters"]}
    return found | ({"adapter": system, "adapter_sha256": sha256s[system]} if system else {})
