"""Weights & Biases. Offline, which is the default, nothing leaves this machine until `wandb sync` is called."""

import os
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from pgolf.errors import require, suggest
from pgolf.records.record import ARTIFACT
from pgolf.slots import TrackedRun
from pgolf.trackers.limits import Limited, numbers, shortened

MODES = ("offline", "online")
LONGEST_TAG = 64  # characters that W&B accepts


class Wandb(Limited):
    """A run of W&B in RUN_FOLDER/wandb, with the study as its group and the arm as its tag.

    project, entity: as W&B has them; a null entity is the user's own. mode: offline or online. artifact: also send the
    packed model. Offline, a resumed run is written anew from its metrics. Online, W&B says which step it has.
    """

    package, extra = "wandb", "wandb"

    def __init__(
        self, *, project: str, entity: str | None, mode: str, artifact: bool, most_share: float, most_wait_s: float
    ):
        super().__init__(most_share=most_share, most_wait_s=most_wait_s)
        require(mode in MODES, "mode", mode, f"choose {' or '.join(MODES)}.{suggest(mode, MODES)}")
        self.project, self.entity, self.mode, self.artifact = project, entity, mode, artifact

    def start(self, run: TrackedRun) -> Mapping[str, int]:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        if self.mode == "offline":
            for earlier in (run.folder / "wandb").glob(f"offline-run-*-{run.id}"):
                shutil.rmtree(earlier)
        self.told = run
        self.run = wandb.init(
            project=self.project,
            entity=self.entity,
            mode=self.mode,
            id=run.id,
            resume="allow" if self.mode == "online" else None,
            name=run.name,
            group=run.study,
            tags=[shortened(run.arm, LONGEST_TAG)],
            config={**run.config, **run.labels},
            dir=str(run.folder),
            settings=wandb.Settings(
                console="off",
                disable_code=True,
                disable_git=True,
                silent=True,
                x_disable_machine_info=True,
                x_disable_meta=True,
                x_disable_stats=True,
                x_save_requirements=False,
            ),
        )
        last = int(self.run.step) - 1 if self.run.resumed else 0
        return dict.fromkeys(self.run.summary.keys(), last) if last > 0 else {}

    def log(self, points: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        for step, values in points:
            self.run.log(dict(values), step=step)

    def finish(self, record: Mapping[str, Any]) -> None:
        import wandb

        own = {f"record/{k}": v for k, v in record.items() if isinstance(v, str | list) and not k.startswith("config.")}
        self.run.summary.update({**own, **numbers(record)})
        if self.artifact and record["status"] == "ok":
            packed = wandb.Artifact(f"packed-{self.told.id}", type="model")
            packed.add_file(str(self.told.folder / ARTIFACT))
            self.run.log_artifact(packed)
        self.run.finish(exit_code=0 if record["status"] == "ok" else 1)
