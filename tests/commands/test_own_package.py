"""The wheel outside the checkout, with variants of a package of the user: one real sweep, and what is refused."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pgolf import evaluate, rerun
from pgolf.config.folders import CONFIG_DIR
from pgolf.records.rows import collect
from pgolf.sample import __main__ as sample
from run_folders import TINY

ROOT = Path(__file__).resolve().parents[2]
OWN = ROOT / "examples" / "own_package"
SEARCH = "hydra.searchpath=[pkg://own_package.conf]"
Main = Callable[..., tuple[int, str, str]]


def done(*command: str, cwd: Path, **environment: str) -> str:
    """The output of a process that must succeed."""
    result = subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, timeout=600, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """(the folder of one run of the example study, its record): both packages installed from their wheels."""
    home = tmp_path_factory.mktemp("elsewhere")
    for source in (ROOT, OWN):
        done(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(home / "dist"), cwd=source)
    wheels = sorted(map(str, (home / "dist").glob("*.whl")))
    options = ["--quiet", "--no-deps", "--no-index", "--no-compile", "--target", str(home / "site")]
    done(sys.executable, "-m", "pip", "install", *options, *wheels, cwd=home)
    words = ["study=own_bias", "arm=own_bias/with", "seed=1", *TINY, "train.steps=2", "eval.max_targets=300"]
    said = done(
        *(str(home / "site" / "bin" / "pgolf"), "train", SEARCH, *words, "paths.cache=cache"),
        cwd=home,
        PYTHONPATH=str(home / "site"),
        **{CONFIG_DIR: ""},
    )
    assert "1 run in multirun/own_bias: 0 already run, 1 to run" in said
    (row,) = collect(home / "multirun" / "own_bias").rows
    return home / "multirun" / "own_bias" / str(row["folder"]), dict(row)


def test_a_wheel_trains_a_head_on_a_text_of_another_package(finished: tuple[Path, dict[str, Any]]) -> None:
    folder, record = finished
    assert record["status"] == "ok"
    assert (record["config.model.head._target_"], record["choices.data"]) == ("own_package.heads.Biased", "own_sums")
    assert record["git_sha"] is None, "the code is not that of the checkout"
    names = {line.rpartition(" ")[0] for line in record["code_files"]}
    assert {"own_package:heads.py", "own_package:corpora.py", "nn/gpt.py"} <= names
    assert (folder / "artifact.pgolf").is_file()


def test_its_files_are_read_only_where_the_command_line_names_the_package(
    finished: tuple[Path, dict[str, Any]], main_of: Main, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, record = finished
    monkeypatch.chdir(folder.parents[3])
    monkeypatch.syspath_prepend(OWN)
    monkeypatch.setenv(CONFIG_DIR, "")  # what hydra.searchpath sets is undone after the test
    words = [str(folder / "artifact.pgolf"), "eval.max_targets=300", "paths.cache=cache", "train.threads=1"]
    refused = "model.head._target_: cannot be used (own_package.heads.Biased). No YAML file of conf/model/head names"
    for module, arguments in ((evaluate, words), (rerun, [str(folder)])):
        code, _, said = main_of(module, *arguments)
        assert (code, refused in said) == (2, True), said
        assert SEARCH.replace("own_package", "PACKAGE") in said, "the remedy"
    assert "own_package" not in sys.modules
    code, said, error = main_of(evaluate, *words, "data=own_sums", "--json", SEARCH)
    assert code == 0, error
    assert json.loads(said)["val_bpb"] == pytest.approx(record["val_bpb"], rel=1e-9)
    monkeypatch.setenv("PGOLF_CACHE", "cache")
    code, said, error = main_of(sample, words[0], "1", "--tokens", "2", SEARCH)
    assert code == 0, error
