"""What docs promise to scripts: keys and types of --json, JSON alone on stdout, plain text for pipes."""

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from json_page import check, documented
from pgolf import bench, evaluate, params, status
from pgolf.audit import __main__ as audit
from pgolf.inspect import __main__ as inspect
from pgolf.sample import __main__ as sample

LISTS = ("status", "params --packed", "audit")
SHORT = ["train.steps=6", "train.val_every=0"]
MainOf = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory, tiny: list[str]) -> Path:
    """The folder of a sweep of two seeds."""
    out = tmp_path_factory.mktemp("scripts")
    words = ["--multirun", "seed=1,2", *tiny, *SHORT, f"paths.out={out}"]
    ended = subprocess.run([sys.executable, "-m", "pgolf.train", *words], cwd=out, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return out / "adhoc"


def test_the_keys_of_json_are_those_of_the_document(
    main_of: MainOf, sweep: Path, tiny: list[str], workshop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGOLF_CACHE", str(workshop / "cache"))  # where sample and audit look for the corpus
    first, second = sorted(path.parent for path in sweep.rglob("result.json"))
    commands: dict[str, tuple[ModuleType, list[str]]] = {
        "status": (status, [str(sweep)]),
        "params": (params, [*tiny, *SHORT]),
        "params --packed": (params, ["--packed", str(first / "artifact.pgolf")]),
        "bench": (bench, [*tiny, *SHORT, "--steps", "2"]),
        "evaluate": (evaluate, [str(first), *tiny, *SHORT]),
        "compare": (importlib.import_module("pgolf.compare"), [str(first), str(second)]),
        "audit": (audit, [str(first)]),
        "inspect": (inspect, [str(first)]),
        "sample": (sample, [str(first), "Once", "--tokens", "2"]),
    }
    assert {*commands, "probe"} == set(documented()), "tests/probe asks for its keys"
    for name, (module, words) in commands.items():
        code, out, err = main_of(module, *words, "--json")
        assert code == 0, (name, err)
        value = json.loads(out, parse_constant=pytest.fail)
        assert isinstance(value, list) == (name in LISTS), name
        check(name, value[0] if name in LISTS else value)
        assert "\x1b" not in out + err, name


@pytest.mark.parametrize("words", ["pgolf.status SWEEP", "pgolf --help"])
def test_a_reader_that_goes_away_gets_no_traceback(sweep: Path, words: str) -> None:
    program = f"{sys.executable} -m {words.replace('SWEEP', str(sweep))} | true; exit ${{PIPESTATUS[0]}}"
    ended = subprocess.run(["bash", "-c", program], capture_output=True, text=True)
    assert ended.returncode in (0, 1)
    assert ended.stderr == ""
