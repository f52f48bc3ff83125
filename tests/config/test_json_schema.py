"""The JSON Schema accepts every file in conf/, and refuses mistakes that an editor should mark."""

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from pgolf.config import json_schema
from pgolf.config.folders import conf_dir

FILES = sorted(path for path in conf_dir().rglob("*.yaml") if path.parent.name != "sweeper")
PACKAGES = {"optim/algorithm": "optim.roles.matrix", "model/trunk": "model"}


@lru_cache(maxsize=64)
def validator(package: str) -> Draft202012Validator:
    schema = json_schema.json_schema(package)
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def package_of(path: Path) -> str:
    group = path.parent.relative_to(conf_dir()).as_posix()
    named = re.search(r"^# @package (\S+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    package = named[1] if named else PACKAGES.get(group, "" if group == "." else group.replace("/", "."))
    return "" if package == "_global_" else package


def problems(package: str, content: Any) -> list[str]:
    return [error.json_path for error in validator(package).iter_errors(content)]


@pytest.mark.parametrize(
    "group", sorted({path.parent for path in FILES}), ids=lambda p: p.relative_to(conf_dir()).as_posix()
)
def test_every_file_of_the_configuration_is_valid(group: Path) -> None:
    for path in sorted(group.glob("*.yaml")):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert problems(package_of(path), content or {}) == [], path


@pytest.mark.parametrize(
    ("package", "text", "where"),
    [
        ("", "train: {stpes: 100}", "$.train"),
        ("", "train: {steps: many}", "$.train.steps"),
        ("", "train: {steps: -1}", "$.train.steps"),
        ("", "model: {head: {rnak: 8}}", "$.model.head"),
        ("", "model: {side_inputs: {one: {rnak: 8}}}", "$.model.side_inputs.one"),
        ("", "optim: {roles: {matrix: {lr: fast}}}", "$.optim.roles.matrix.lr"),
        ("", "study: {families: {one: {title: t, baseline: A}}}", "$.study.families.one"),
        (
            "",
            "study: {claims: [{text: t, note: n, tests: [{family: one, kind: worse, arm: A}]}]}",
            "$.study.claims[0].tests[0]",
        ),
        ("", "study: {probe: {trials: 3, seeds: [0], targets: 9, sampler: best}}", "$.study.probe.sampler"),
        ("", "modle: {}", "$"),
        ("model.head", "{rnak: 8}", "$"),
        ("model.head", "{rank: wide}", "$.rank"),
        ("train", "{log_every: 1.5}", "$.log_every"),
    ],
)
def test_a_mistake_is_marked_where_it_stands(package: str, text: str, where: str) -> None:
    assert where in problems(package, yaml.safe_load(text))


def test_interpolations_and_good_values_are_accepted() -> None:
    good = "{train: {steps: '${oc.env:N}', threads: 2, tokens: null}, study: {probe: {}}, model: {head: {rank: 8}}}"
    assert problems("", yaml.safe_load(good)) == []


def test_the_command_prints_one_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert json_schema.main(["train"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["properties"]["steps"]["description"]
    assert json_schema.main(["trian"]) == 2
    assert "PACKAGE: no such section (trian). Did you mean train?" in capsys.readouterr().err
