"""The record of a run is compared with config.yaml: a change of either of them alone is found."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from audits_here import change, change_config
from pgolf.audit import Check, Verdict
from pgolf.execution.auditing import training
from pgolf.execution.auditing.claims import one_configuration_check
from pgolf.execution.auditing.subject import open_subject


def check_of(run: Path) -> Check:
    return one_configuration_check(open_subject(run))


def another_seed(run: Path) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump(config | {"seed": 7}))


def frozen_by_config(run: Path) -> None:
    change_config(run, "defects", frozen=["model.mlp.0"])


def another_choice(run: Path) -> None:
    change_config(run, "run", **{"choices.model/head": "mos"})


def forged(**values: Any) -> Callable[[Path], None]:
    return lambda run: change(run / "result.json", **values)


def forged_counts(run: Path) -> None:
    record = json.loads((run / "result.json").read_text())
    change(run / "result.json", **{"params.trained": record["params.trained"] - 5, "params.frozen": 5})


@pytest.mark.parametrize(
    ("edit", "evidence"),
    [
        (another_seed, ["seed: 1 in result.json, 7 by config.yaml"]),
        (frozen_by_config, ["config.defects.frozen: [] in result.json, ['model.mlp.0'] by config", "params.frozen: 0"]),
        (frozen_by_config, ["fingerprint: ", "computed from config.yaml"]),
        (another_choice, ["choices.model/head: 'tied' in result.json, 'mos' by config.yaml"]),
        (forged(**{"config.optim.roles.head.lr": 9.0}), ["config.optim.roles.head.lr: 9.0 in result.json"]),
        (forged(**{"config.model.depths": 3}), ["config.model.depths: 3 in result.json, missing by config.yaml"]),
        (forged(fingerprint="0" * 16), ["fingerprint: '0000000000000000' in result.json"]),
        (forged_counts, ["params.frozen: 5 in result.json, 0 by config.yaml"]),
    ],
)
def test_a_contradiction_is_named(run: Path, edit: Callable[[Path], None], evidence: list[str]) -> None:
    assert check_of(run).verdict == Verdict.PASS
    edit(run)
    check = check_of(run)
    assert check.verdict == Verdict.FAIL
    assert [text for text in evidence if text not in check.evidence] == []


def test_what_moved_names_the_seed_that_it_trusts(run: Path) -> None:
    subject = open_subject(run)
    assert "from the seed of config.yaml" in training.moved_check(subject, training.Initial(subject)).limits
