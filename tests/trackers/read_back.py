"""`python read_back.py TRACKER FOLDER`: what a tracking library has of the runs below a folder, as JSON.

points: [metric, step, value] of each point that the library returns, one list per run. The reader is a process of its
own: these libraries warn while they are imported, and warnings are errors in the tests.
"""

import json
import os
import struct
import sys
from pathlib import Path
from typing import Any

BLOCK, HEADER = 32768, 7  # of the LevelDB log in which W&B writes protocol buffers


def tensorboard(folder: Path) -> list[dict[str, Any]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata

    found = []
    for path in sorted(folder.rglob("tensorboard")):
        events = EventAccumulator(str(path), size_guidance={"scalars": 0})
        events.Reload()
        points = [[key, e.step, e.value] for key in events.Tags()["scalars"] for e in events.Scalars(key)]
        content = events.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
        hparams = metadata.parse_session_start_info_plugin_data(content).hparams
        params = {key: value.string_value or value.number_value for key, value in hparams.items()}
        curve = [p for p in points if not p[0].startswith("record/")]
        record = {p[0].removeprefix("record/"): p[2] for p in points if p[0].startswith("record/")}
        found.append({"points": curve, "params": params, "record": record, "arm": params["arm"]})
    return found


def wandb_records(path: Path) -> Any:
    """The protocol buffers in a .wandb file."""
    from wandb.proto import wandb_internal_pb2 as pb

    content, at, parts = path.read_bytes(), HEADER, b""
    while at + HEADER <= len(content):
        if BLOCK - at % BLOCK < HEADER:  # the padding at the end of a block
            at += BLOCK - at % BLOCK
            continue
        _, size, kind = struct.unpack_from("<IHB", content, at)
        parts += content[at + HEADER : at + HEADER + size]
        at += HEADER + size
        if kind in (1, 4):  # whole, or the last part
            record = pb.Record()
            record.ParseFromString(parts)
            parts = b""
            yield record


def wandb(folder: Path) -> list[dict[str, Any]]:
    runs: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.rglob("*.wandb")):
        run: dict[str, Any] = {"points": [], "params": {}, "record": {}}
        for record in wandb_records(path):
            if record.HasField("history"):
                items = {"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in record.history.item}
                step = record.history.step.num
                run["points"] += [[k, step, v] for k, v in items.items() if not k.startswith("_")]
            if record.HasField("run"):
                run["params"] |= {i.key: json.loads(i.value_json) for i in record.run.config.update}
                run |= {"arm": record.run.tags[0], "group": record.run.run_group, "id": record.run.run_id}
            if record.HasField("summary"):
                items = {"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in record.summary.update}
                run["record"] |= {k.removeprefix("record/"): v for k, v in items.items() if k.startswith("record/")}
            if record.HasField("exit"):
                run["exit"] = record.exit.exit_code
        key = run.pop("id")
        assert key not in runs, "two folders of one run"
        runs[key] = run
    return list(runs.values())


def trackio(folder: Path) -> list[dict[str, Any]]:
    os.environ["TRACKIO_DIR"] = str(next(folder.rglob("pgolf.db")).parent)
    import trackio
    from trackio.sqlite_storage import SQLiteStorage

    found = []
    for run in trackio.Api().runs("pgolf"):
        rows = SQLiteStorage.get_logs("pgolf", run_id=run.id)
        points = [[k, row["step"], v] for row in rows for k, v in row.items() if k not in ("step", "timestamp")]
        record = {k.removeprefix("record/"): v for k, _, v in points if k.startswith("record/")}
        curve = [p for p in points if not p[0].startswith("record/")]
        params = run.config or {}
        found.append({"points": curve, "params": params, "record": record, "arm": params["arm"]})
        found[-1]["group"] = params["_Group"]
    return found


def mlflow(folder: Path) -> list[dict[str, Any]]:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{next(folder.rglob('mlflow.db'))}")
    (experiment,) = client.search_experiments(filter_string="name = 'pgolf'")
    found = []
    for run in client.search_runs([experiment.experiment_id]):
        keys = sorted(run.data.metrics)
        points = [[k, m.step, m.value] for k in keys for m in client.get_metric_history(run.info.run_id, k)]
        record = json.loads(Path(client.download_artifacts(run.info.run_id, "record.json")).read_text())
        curve = [p for p in points if not p[0].startswith("record/")]
        found.append({"points": curve, "params": run.data.params, "record": record, "arm": run.data.tags["arm"]})
        found[-1] |= {"group": run.data.tags["study"], "status": run.info.status}
    return found


if __name__ == "__main__":
    reader = {"tensorboard": tensorboard, "wandb": wandb, "trackio": trackio, "mlflow": mlflow}[sys.argv[1]]
    print("\n" + json.dumps(reader(Path(sys.argv[2]).absolute())))
