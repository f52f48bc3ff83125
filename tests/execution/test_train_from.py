"""`train.from`: one trained run, packed and scored in several ways."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pgolf import train
from pgolf.execution.trained import weights_sha
from pgolf.records.documents import read_documents
from pgolf.records.validation import record_problem
from run_folders import records

Train = Callable[[list[str]], int]


@pytest.fixture(scope="module")
def parents(tmp_path_factory: pytest.TempPathFactory, tiny: list[str]) -> Path:
    """The folder of an arm with two seeds, trained with an average and packed with settings that follow the width."""
    root = tmp_path_factory.mktemp("parents")
    argv = [
        "model/head=factorized",
        "optim/averaging=ema",
        "quant=int6_zstd_published",
        "train.qat_below=0.5",
        *tiny,
    ]
    argv += ["model.head.rank=8", "data.shuffle_seed=${seed}"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for seed in (1, 2):
            patch.setattr(sys, "argv", ["pgolf.train", f"seed={seed}", *argv])
            assert train.main() == 0
    (arm,) = (root / "multirun" / "adhoc").glob("averaging=*")
    return arm


def test_packings_of_one_training_are_paired(train_here: Train, parents: Path, tmp_path: Path, tiny: list[str]) -> None:
    cache = next(text for text in tiny if text.startswith("paths.cache="))
    trained = {record["seed"]: record for _, record in records(parents)}
    for seed in (1, 2):
        for more in ([], ["quant=none"], ["quant=int8_zlib", "quant.rules.rest.bits=4"]):
            assert train_here([f"train.from={parents}", f"seed={seed}", "train.threads=1", cache, *more]) == 0
    found = [record for _, record in records(tmp_path)]
    assert len(found) == 6
    assert [record_problem(record) for record in found] == [None] * 6, "a fresh record contradicts itself nowhere"
    assert all(read_documents(folder, record) is not None for folder, record in records(tmp_path))
    assert {(r["seed"], r["val_bpb_live"], r["val_bpb_averaged"]) for r in found} == {
        (seed, r["val_bpb_live"], r["val_bpb_averaged"]) for seed, r in trained.items()
    }
    for record in found:
        parent = trained[record["seed"]]
        assert record["from.fingerprint"] == parent["fingerprint"]
        assert record["steps"] == parent["steps"]
        same = record["config.quant.codec"] == parent["config.quant.codec"] and "from" in str(record["overrides"])
        if record["choices.quant"] == "int8_zlib" and len(record["overrides"]) == 4:
            assert same
            assert record["val_bpb"] == parent["val_bpb"], "the parent's own packing, interpolated at its own width"
            assert record["model_bytes"] == parent["model_bytes"]
            assert set(record["code_files"]) >= set(parent["code_files"]), "the code that trained the weights counts"
    assert len({(r["fingerprint"], r["seed"]) for r in found}) == 6
    assert len({r["fingerprint"] for r in found}) == 3, "one fingerprint for an arm's seeds, whose shuffles differ"
    none = [r for r in found if r["choices.quant"] == "none"]
    assert all(r["val_bpb"] == r["val_bpb_averaged"] for r in none)


def refusal(train_here: Train, capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert train_here(list(argv)) == 2
    return capsys.readouterr().err


def test_what_the_parent_decides_is_refused(
    train_here: Train, parents: Path, capsys: pytest.CaptureFixture[str], tiny: list[str]
) -> None:
    cache = next(text for text in tiny if text.startswith("paths.cache="))
    said = refusal(
        train_here, capsys, f"train.from={parents}", "model/head=mos", "train.steps=5", "optim.roles.head.lr=1.0", cache
    )
    assert "model/head: is decided by the run at train.from" in said
    assert "train.steps:" in said
    assert "optim.roles.head.lr:" in said
    said = refusal(train_here, capsys, f"train.from={parents}", "quant.level=3", "eval.max_targets=9", cache)
    assert "quant.level: needs a choice of its group too. Choose one, as in quant=NAME quant.level=..." in said
    assert "eval.max_targets: needs a choice of its group too" in said
    said = refusal(train_here, capsys, f"train.from={parents}", "seed=7", cache)
    assert "has no finished run of seed 7" in said
    assert "seed1-" in said
    assert "has no finished run of seed 1" in refusal(train_here, capsys, "train.from=nowhere", cache)
    (run,) = parents.glob("seed1-*")
    weights = run / "checkpoint" / "weights.safetensors"
    away = weights.rename(weights.with_suffix(".away"))
    try:
        assert "kept no weights" in refusal(train_here, capsys, f"train.from={parents}", cache)
    finally:
        away.rename(weights)


def test_other_weights_at_the_parent_run_the_child_again(
    train_here: Train, parents: Path, capsys: pytest.CaptureFixture[str], tiny: list[str]
) -> None:
    argv = [
        f"train.from={parents}",
        "quant=none",
        "train.threads=1",
        next(text for text in tiny if text.startswith("paths.cache=")),
    ]
    assert train_here(argv) == 0
    assert train_here(argv) == 0
    assert "already run" in capsys.readouterr().out
    (run,) = parents.glob("seed1-*")
    (other,) = parents.glob("seed2-*")
    names = ("checkpoint/weights.safetensors", "checkpoint/averaged.safetensors", "result.json")
    changed = {run / name: (run / name).read_bytes() for name in names}
    for path in changed:
        if path.name != "result.json":
            path.write_bytes((other / path.relative_to(run)).read_bytes())
    try:
        record = json.loads(changed[run / "result.json"])
        (run / "result.json").write_text(json.dumps({**record, "weights_sha": weights_sha(run)}))
        assert train_here(argv) == 0
        assert "again: the weights at train.from changed" in capsys.readouterr().out
        (run / "result.json").write_bytes(changed[run / "result.json"])
        assert train_here([*argv, "launch.rerun=true"]) == 1
        assert "checkpoint: does not contain the weights of its run" in capsys.readouterr().err
    finally:
        for path, content in changed.items():
            path.write_bytes(content)
