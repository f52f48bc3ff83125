"""The configuration of a run folder is valid plain data, or it is refused before anything is built."""

import os
from pathlib import Path
from typing import Any

import pytest

from pgolf import rerun
from pgolf.config.auto import decide_auto
from pgolf.config.compose import save
from pgolf.config.identity import fingerprint
from pgolf.config.saved import load_saved, problems_of_saved, save_run
from pgolf.config.schema import PathsConfig, plain_config
from pgolf.errors import ConfigError, DamagedFile
from pgolf.sweep import worker
from tiny import composed_config

RUN = {
    "study": "adhoc",
    "arm": "default",
    "fingerprint": "0123456789abcdef",
    "overrides": ["data.shuffle_seed=${seed}"],
    "choices.data": "docs",
}


@pytest.fixture(scope="module")
def good() -> dict[str, Any]:
    config = plain_config(decide_auto(composed_config(), in_sweep=False))
    return {**config, "study": {"name": "adhoc", "arm": None}, "run": RUN}


def folder_of(tmp_path: Path, config: dict[str, Any]) -> Path:
    save(config, tmp_path / "config.yaml")
    return tmp_path


def test_a_saved_configuration_is_read_unchanged(good: dict[str, Any], tmp_path: Path) -> None:
    saved = load_saved(folder_of(tmp_path, good))
    assert {**plain_config(saved.config), "run": saved.identity} == good
    assert load_saved(tmp_path, PathsConfig("x", "y")).config.paths == PathsConfig("x", "y")
    save_run(saved.config, saved.identity, tmp_path)
    assert load_saved(tmp_path) == saved


def test_a_folder_from_before_spectra_is_read_and_has_the_fingerprint_of_a_run_without_them(
    good: dict[str, Any], tmp_path: Path
) -> None:
    without = changed(good, "train", {key: value for key, value in good["train"].items() if key != "spectra_every"})
    assert load_saved(folder_of(tmp_path, without)).config.train.spectra_every == 0
    assert fingerprint(without) == fingerprint(good)
    assert fingerprint(changed(good, "train.spectra_every", 20)) != fingerprint(good)


def changed(config: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with another value at a dotted path."""
    key, _, rest = path.partition(".")
    node = {**config}
    if key == "run" and rest.startswith("choices."):
        node[key] = {**node[key], rest: value}
    else:
        node[key] = changed(node.get(key, {}), rest, value) if rest else value
    return node


def test_a_class_of_another_package_is_to_be_named(good: dict[str, Any], tmp_path: Path) -> None:
    own = changed(changed(good, "model.head._target_", "mine.heads.Own"), "data._target_", "mine.corpora.Own")
    with pytest.raises(DamagedFile) as refusal:
        load_saved(folder_of(tmp_path, own))
    assert str(refusal.value) == (
        f"{tmp_path}/config.yaml: is not a run's configuration: data._target_: cannot be used (mine.corpora.Own). No "
        "YAML file of conf/data names this class; model.head._target_: cannot be used (mine.heads.Own). No YAML file "
        "of conf/model/head names this class. Name config groups of your own with "
        "hydra.searchpath=[pkg://PACKAGE.conf] or [file:///FOLDER]"
    )


HOSTILE = {
    "eval": {"_target_": "os.makedirs", "_partial_": False, "name": "made_by_a_config"},
    "eval._target_": "os.makedirs",
    "quant._target_": "subprocess.Popen",
    "data._target_": "pgolf.eval.plain.Plain",
    "optim.roles.head._target_": "os.system",
    "optim.schedule._target_": "builtins.eval",
    "model.head._target_": "pgolf.nn.mlp.relu2.Relu2",
    "model.head": "${oc.create:{_target_:os.makedirs}}",
    "model.embedding.init_std": "${oc.env:HOME}",
    "model.layers": "${oc.decode:3}",
    "seed": [1],
    "train.steps": "many",
    "train.threads": "auto",
    "launch.nproc": 1.5,
    "optim.frozen": {"model.head": True},
    "paths.out": 3,
    "study.name": None,
    "run": None,
    "run.arm": ["x"],
    "run.fingerprint": "../../etc",
    "run.val_bpb": 0.1,
    "run.choices.data": {"a": 1},
    "hydra": {"run": {"dir": "x"}},
    "train.from": 7,
}


@pytest.mark.parametrize("path", HOSTILE)
def test_an_untrusted_file_is_refused_and_runs_nothing(
    path: str, good: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    with pytest.raises(DamagedFile, match=r"config\.yaml: is not a run's configuration"):
        load_saved(folder_of(tmp_path / "run", changed(good, path, HOSTILE[path])))
    assert os.listdir(tmp_path) == ["run"]


@pytest.mark.parametrize("config", [None, [], "text", 3, {}, {"run": RUN}])
def test_other_data_than_a_configuration_is_refused(config: Any) -> None:
    assert problems_of_saved(config)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.yaml: cannot be read"):
        load_saved(tmp_path)


def test_a_changed_file_is_read_again(good: dict[str, Any], tmp_path: Path) -> None:
    load_saved(folder_of(tmp_path, good))
    assert load_saved(folder_of(tmp_path, changed(good, "seed", 123456))).config.seed == 123456


def test_a_model_beyond_this_machines_memory_is_refused_with_the_estimate(
    good: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    huge = {**good["model"], "width": 16384, "layers": 48, "mlp_hidden": 65536}
    run = folder_of(tmp_path, {**good, "model": huge})
    for command in (rerun, worker):
        assert command.main([str(run)]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert "model: weights, gradients and optimizer states take at least" in line
        assert "width 16384, 48 layers" in line
    assert os.listdir(run) == ["config.yaml"]


@pytest.mark.parametrize("ranks", ["1000", "99999999999999999999"])
def test_more_ranks_than_cores_are_refused(
    ranks: str, good: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert worker.main([str(folder_of(tmp_path, good)), "--ranks", ranks]) == 2
    first, *_ = capsys.readouterr().err.strip().splitlines()  # a second line may report the memory
    assert first.startswith("--ranks: this machine has")
    assert os.listdir(tmp_path) == ["config.yaml"]
