"""TensorBoard: event files in the run folder.

They are written by the package `tensorboard` itself. The writer of torch would do the same, but needs that package too
and takes six times as long to import.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from pgolf.slots import TrackedRun
from pgolf.trackers.limits import Limited, numbers

FOLDER = "tensorboard"
SCORE = "record/val_bpb"


class TensorBoard(Limited):
    """Event files in RUN_FOLDER/tensorboard, which this class owns.

    A resumed run writes them anew, from its metrics. So a step is never there twice.
    """

    package, extra = "tensorboard", "tensorboard"

    def start(self, run: TrackedRun) -> Mapping[str, int]:
        from tensorboard.plugins.hparams import summary_v2
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        folder = run.folder / FOLDER
        for earlier in folder.glob("events.out.tfevents.*"):
            earlier.unlink()
        self.writer = EventFileWriter(str(folder))
        values = {key: value if isinstance(value, int | float) else str(value) for key, value in run.config.items()}
        shown = summary_v2.Metric(SCORE, display_name="val_bpb")
        self.write(summary_v2.hparams_config_pb(hparams=[], metrics=[shown]), 0)
        self.write(summary_v2.hparams_pb({**values, **run.labels}, trial_id=run.id), 0)
        return {}

    def write(self, summary: Any, step: int) -> None:
        """One event. summary: a protocol buffer of TensorBoard."""
        from tensorboard.compat.proto.event_pb2 import Event

        self.writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))

    def log(self, points: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        for step, values in points:
            self.write(Summary(value=[Summary.Value(tag=k, simple_value=v) for k, v in values.items()]), step)
        self.writer.flush()

    def finish(self, record: Mapping[str, Any]) -> None:
        if found := numbers(record):
            self.log([(int(record["steps"]), found)])
        self.writer.close()
