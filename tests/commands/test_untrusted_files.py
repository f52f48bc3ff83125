"""Damaged and hostile files of every kind, with every command that reads them: refused or read, but never executed."""

import importlib.util
import itertools
import json
import os
import random
import sys
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from pgolf import evaluate, rerun, train
from pgolf.inspect import __main__ as inspect_command
from pgolf.sweep import worker

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    return load("fuzz")


@pytest.fixture(scope="module")
def world(fuzz: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, here = tmp_path_factory.mktemp("world"), Path.cwd()
    try:
        fuzz.make_world(root, seeds=(1,))
    finally:
        os.chdir(here)
    return root


def test_damaged_files_are_refused_or_read_and_nothing_else(fuzz: ModuleType, world: Path) -> None:
    counts, faults = fuzz.fuzz(world, cases=300, seed=15)
    assert faults == []
    assert {kind for kind, _ in counts} == set(fuzz.cases_of(world, "m"))
    assert sum(number for (_, outcome), number in counts.items() if outcome == "refused") > 100


def hostile(content: bytes, kind: str, marker: str, mutations: ModuleType) -> list[bytes]:
    """Copies of a valid file with code at each of its keys that would create the folder `marker` if executed."""
    texts: list[bytes] = []
    if kind in ("record", "plan", "study", "manifest"):
        sound = json.loads(content)
        values = mutations.payloads(marker)
        keys = list(sound)[:: max(1, len(sound) // 20)]
        texts += [json.dumps({**sound, key: values[number % len(values)]}).encode() for number, key in enumerate(keys)]
    elif kind == "configuration":
        sound = yaml.safe_load(content)
        places = [(key, None) for key in sound] + [
            ("model", "head"),
            ("optim", "schedule"),
            ("run", "overrides"),
            ("quant", "_target_"),
        ]
        for value, (section, key) in zip(itertools.cycle(mutations.payloads(marker)), places * 2, strict=False):
            texts.append(
                yaml.safe_dump({**sound, section: value if key is None else {**sound[section], key: value}}).encode()
            )
        texts.append(content + f"more: !!python/object/apply:os.makedirs ['{marker}']\n".encode())
    else:
        damage = {"artifact": mutations.artifact_damage, "checkpoint": mutations.state_damage}[kind](marker)
        texts += [damage(content, random.Random(seed)) for seed in range(60)]
    return texts


@pytest.mark.parametrize("kind", ["record", "plan", "study", "manifest", "configuration", "artifact", "checkpoint"])
def test_no_entry_point_runs_what_a_file_names(
    kind: str, fuzz: ModuleType, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    marker, mutations = tmp_path / "made_by_a_file", sys.modules["mutations"]
    case = fuzz.cases_of(world, str(marker))[kind]
    content = case.path.read_bytes()
    readers = [reader for name, reader in case.readers.items() if name not in ("report", "evaluate")]
    try:
        for text in hostile(content, kind, str(marker), mutations):
            case.path.write_bytes(text)
            for reader in readers:
                with suppress(fuzz.PgolfError):
                    reader()
            assert not marker.exists(), text[:300]
    finally:
        case.path.write_bytes(content)


COMMANDS: dict[str, Any] = {
    "rerun": lambda run, root: rerun.main([str(run)]),
    "worker": lambda run, root: worker.main([str(run)]),
    "inspect": lambda run, root: inspect_command.main([str(run)]),
    "train.from": lambda run, root: train.main(
        [f"train.from={run}", "seed=1", "quant=none", f"paths.cache={root}/cache"]
    ),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_run_folder_that_names_another_class_is_refused_by_the_commands_that_would_build_it(
    command: str,
    fuzz: ModuleType,
    world: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    run = fuzz.run_folders(world)[0]
    path, content = run / "config.yaml", (run / "config.yaml").read_bytes()
    try:
        for name in ("os.makedirs", "subprocess.Popen", "pgolf.nn.head.tied.Tied"):
            config = yaml.safe_load(content) | {
                "eval": {"_target_": name, "_partial_": True, "name": "made_by_a_config"}
            }
            path.write_text(yaml.safe_dump(config))
            before = sorted(run.rglob("*"))
            assert COMMANDS[command](run, world) == 2
            assert sorted(run.rglob("*")) == before
            (line,) = capsys.readouterr().err.strip().splitlines()
            assert "eval._target_: cannot be used" in line
            assert os.listdir(tmp_path) == []
    finally:
        path.write_bytes(content)


def test_an_interpolation_in_a_packed_file_is_refused(
    fuzz: ModuleType, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pgolf.quant.container import read_container, write_container

    marker = tmp_path / "made_by_a_packed_file"
    header, encoded = read_container(fuzz.run_folders(world)[0] / "artifact.pgolf")
    for value in ("${oc.create:{_target_:os.makedirs,_args_:['%s']}}" % marker, "${oc.env:HOME}", "${oc.decode:1}"):  # noqa: UP031
        header["model"]["embedding"]["init_std"] = value
        write_container(tmp_path / "bad.pgolf", header, encoded, "zlib", 6)
        assert evaluate.main([str(tmp_path / "bad.pgolf")]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert "model.embedding.init_std: needs a number" in line
        assert not marker.exists()


@pytest.mark.parametrize(
    ("key", "value"), [("kv_heads", -1), ("vocab_size", 2**63), ("mlp_hidden", -32), ("init_std", -0.005)]
)
def test_a_packed_file_with_an_impossible_number_is_refused(
    key: str, value: Any, fuzz: ModuleType, world: Path, tmp_path: Path
) -> None:
    from pgolf.quant.container import read_container, write_container

    header, encoded = read_container(fuzz.run_folders(world)[0] / "artifact.pgolf")
    node = header["model"]["embedding"] if key == "init_std" else header["model"]
    node[key] = value
    write_container(tmp_path / "bad.pgolf", header, encoded, "zlib", 6)
    with pytest.raises(fuzz.PgolfError, match="describes a model that cannot be built"):
        fuzz.unpack(tmp_path / "bad.pgolf", fuzz.torch.device("cpu"))
