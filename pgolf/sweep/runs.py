"""A run of a command: its checked configuration, identity and folder. It can be converted to text for a job."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pgolf.config.resolvers import planned_steps
from pgolf.config.schema import Config, plain_config, typed_config
from pgolf.records.plan import PlannedRun


@dataclass(frozen=True)
class Run:
    """One configuration with one seed. config: every `auto` decided. identity: as `identify`. label: for messages.
    limits: scores in bpb by step, at which a search stops the run.
    """

    config: Config
    identity: Mapping[str, Any]
    folder: Path
    label: str
    limits: Mapping[int, float] = field(default_factory=dict)

    @property
    def plan_folder(self) -> Path:
        """The folder of the study, which contains the sweep plan."""
        return Path(self.config.paths.out).expanduser() / str(self.identity["study"])

    def entry(self) -> PlannedRun:
        """The entry of the run in the sweep plan."""
        inside = self.folder.relative_to(self.plan_folder).as_posix()
        identity = self.identity
        train, seed = self.config.train, self.config.seed
        tokens = None if (steps := planned_steps(train)) is None else steps * train.batch_tokens
        return PlannedRun(identity["study"], identity["arm"], seed, identity["fingerprint"], inside, tokens)

    def to_json(self) -> str:
        """The whole run as one line of JSON."""
        return json.dumps(
            [plain_config(self.config), dict(self.identity), str(self.folder), self.label, list(self.limits.items())]
        )

    @staticmethod
    def from_json(text: str) -> "Run":
        """The inverse of `to_json`."""
        config, identity, folder, label, limits = json.loads(text)
        return Run(typed_config(config), identity, Path(folder), label, dict(map(tuple, limits)))
