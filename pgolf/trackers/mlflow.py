"""MLflow: a SQLite database in a folder of this machine, or a tracking server.

MLflow's store of plain files is not used: the library refuses it since version 3.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pgolf.machine.locks import locked
from pgolf.records.record import ARTIFACT
from pgolf.slots import TrackedRun
from pgolf.trackers.limits import Limited, numbers, shortened

RECORD_FILE = "record.json"  # not the name of a run's record, so that no command takes its folder for a run
ID = "pgolf.id"  # the tag by which a resumed run is found
LONGEST_PARAM, LONGEST_TAG = 6000, 5000  # characters that MLflow stores
MOST_METRICS, MOST_PARAMS = 1000, 100  # per call
STATUS = {"ok": "FINISHED", "interrupted": "KILLED"}


class MLflow(Limited):
    """A run of an MLflow experiment, with study, arm, seed and fingerprint as tags, and the record as a file.

    folder: of the database and the files of all runs. uri: of a tracking server or another database instead; null for
    the folder. experiment: as MLflow has it. artifact: also store the packed model.
    """

    package, extra = "mlflow", "mlflow"

    def __init__(
        self,
        *,
        folder: str,
        uri: str | None,
        experiment: str,
        artifact: bool,
        most_share: float,
        most_wait_s: float,
    ):
        super().__init__(most_share=most_share, most_wait_s=most_wait_s)
        self.folder, self.uri, self.experiment, self.artifact = folder, uri, experiment, artifact

    def start(self, run: TrackedRun) -> Mapping[str, int]:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient

        self.told, where = run, None
        if self.uri is None:
            folder = Path(self.folder).expanduser().absolute()
            folder.mkdir(parents=True, exist_ok=True)
            where = (folder / "artifacts").as_uri()
            with locked(folder / ".lock"):  # two runs that start at once would both make the tables
                self.client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
                experiment = self.experiment_id(where)
        else:
            self.client = MlflowClient(self.uri)
            experiment = self.experiment_id(where)
        found = self.client.search_runs([experiment], f"tags.`{ID}` = '{run.id}'")
        if found:
            self.id = found[0].info.run_id
            self.client.update_run(self.id, status="RUNNING")
            return {key: self.client.get_metric_history(self.id, key)[-1].step for key in found[0].data.metrics}
        tags = {ID: run.id, **{key: str(value) for key, value in run.labels.items()}}
        self.id = self.client.create_run(experiment, run_name=run.name, tags=tags).info.run_id
        self.send_config()
        return {}

    def experiment_id(self, where: str | None) -> str:
        """The id of the experiment, which is made if it is missing. where: the URI of its files; None: the server's."""
        found = self.client.get_experiment_by_name(self.experiment)
        return str(found.experiment_id if found else self.client.create_experiment(self.experiment, where))

    def send_config(self) -> None:
        """The configuration as parameters."""
        from mlflow.entities import Param

        params = [Param(key, shortened(str(value), LONGEST_PARAM)) for key, value in self.told.config.items()]
        for some in chunks(params, MOST_PARAMS):
            self.client.log_batch(self.id, params=some)

    def log(self, points: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        from mlflow.entities import Metric

        now_ms = int(time.time() * 1000)
        metrics = [Metric(key, value, now_ms, step) for step, values in points for key, value in values.items()]
        for some in chunks(metrics, MOST_METRICS):
            self.client.log_batch(self.id, metrics=some)

    def finish(self, record: Mapping[str, Any]) -> None:
        if found := numbers(record):
            self.log([(int(record["steps"]), found)])
        if record.get("error"):
            self.client.set_tag(self.id, "error", shortened(str(record["error"]), LONGEST_TAG))
        self.client.log_text(self.id, json.dumps(dict(record), indent=1), RECORD_FILE)
        if self.artifact and record["status"] == "ok":
            self.client.log_artifact(self.id, str(self.told.folder / ARTIFACT))
        self.client.set_terminated(self.id, STATUS.get(record["status"], "FAILED"))


def chunks(items: Sequence[Any], most: int) -> Iterator[Sequence[Any]]:
    """The items in order, at most so many at a time."""
    for first in range(0, len(items), most):
        yield items[first : first + most]
