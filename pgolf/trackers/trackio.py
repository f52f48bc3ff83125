"""Trackio: a database in a folder of this machine, which `trackio show` draws. Nothing is sent anywhere."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pgolf.records.record import ARTIFACT
from pgolf.slots import TrackedRun
from pgolf.trackers.limits import Limited, numbers


class Trackio(Limited):
    """A run of a Trackio project, with the study as its group.

    folder: of the database, which all runs share. project: as Trackio has it. artifact: also store the packed model.
    Trackio has no tags: the arm is in the run's configuration, and begins its name.
    """

    package, extra = "trackio", "trackio"

    def __init__(self, *, folder: str, project: str, artifact: bool, most_share: float, most_wait_s: float):
        super().__init__(most_share=most_share, most_wait_s=most_wait_s)
        self.folder, self.project, self.artifact = folder, project, artifact

    def start(self, run: TrackedRun) -> Mapping[str, int]:
        os.environ["TRACKIO_DIR"] = str(Path(self.folder).expanduser().absolute())
        for remote in ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL", "TRACKIO_WEBHOOK_URL"):
            os.environ.pop(remote, None)
        os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
        import trackio
        from trackio.sqlite_storage import SQLiteStorage

        self.told = run
        self.run = trackio.init(
            self.project,
            name=run.name,  # Trackio finds a run to resume by its name
            group=run.study,
            config={**run.config, **run.labels},
            resume="allow",
            embed=False,
            auto_log_cpu=False,
            auto_log_gpu=False,
        )
        known: dict[str, int] = {}
        for row in SQLiteStorage.get_logs(self.project, run.name):
            known.update(dict.fromkeys((key for key in row if key not in ("step", "timestamp")), int(row["step"])))
        return known

    def log(self, points: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        for step, values in points:
            self.run.log(dict(values), step=step)

    def finish(self, record: Mapping[str, Any]) -> None:
        if found := numbers(record):
            self.run.log({**found, "record/status": record["status"]}, step=int(record["steps"]))
            if self.artifact:
                import trackio

                packed = trackio.Artifact(f"packed-{self.told.id}", type="model")
                packed.add_file(str(self.told.folder / ARTIFACT))
                self.run.log_artifact(packed)
        self.run.finish()
