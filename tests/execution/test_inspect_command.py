"""`python -m pgolf.inspect` on a run and a packed file: its parts, pictures, and what is refused or left out."""

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from audits_here import ON_PURPOSE, change, copy_of
from pgolf import report
from pgolf.inspect import __main__ as inspect_command
from run_folders import events

MainOf = Callable[..., tuple[int, str, str]]
ROTATING = ("model/mlp=pre_rotation", "model.mlp.pairs=4")
RECORDED = ("train.spectra_every=12", "model/q_proj=low_rank", "model/depth=plain", *ROTATING)


@pytest.fixture
def recorded(runs: Callable[..., Path]) -> Path:
    """A run with low-rank queries and spectra; change only copies of it."""
    return runs(*RECORDED)


def test_a_run_has_every_part(recorded: Path, main_of: MainOf) -> None:
    code, out, err = main_of(inspect_command, str(recorded), "--draws", "5")
    assert (code, err) == (0, "")
    assert "the last weights of training, in float32" in out
    assert "lowest of 5 random" in out
    assert "Q: 32x12x32 has 20 zeros; the product formed in float32 has " in out
    assert max(map(len, out.splitlines())) <= 120
    assert "kept: no Legendre fit: 5 coefficients need 6 layers or more, and the model has 2" in out
    assert "scored: 3,000 validation targets, plain32-first3000" in out
    (line,) = (line for line in out.splitlines() if line.startswith("effective rank by step"))
    assert line.split()[-3:] == ["0", "12", "24"]
    (at,) = (i for i, line in enumerate(out.splitlines()) if line.startswith("pre-rotation, degrees"))
    assert [line.split()[:2] for line in out.splitlines()[at + 1 : at + 3]] == [["layer", "0"], ["layer", "1"]]
    assert "left out" not in out


def test_the_json_is_of_the_recorded_weights_and_the_recorded_score(recorded: Path, main_of: MainOf) -> None:
    code, out, _ = main_of(inspect_command, str(recorded), "--draws", "3", "--json")
    assert code == 0
    found = json.loads(out)
    record = json.loads((recorded / "result.json").read_text())
    assert found["depth"]["bpb"] == pytest.approx(record["val_bpb_live"], rel=1e-6)
    assert found["depth"]["change_bpb"] == [x - found["depth"]["bpb"] for x in found["depth"]["skipped_bpb"]]
    last = {event["matrix"]: event for event in events(recorded, "spectra") if event["step"] == 24}
    assert [matrix["name"] for matrix in found["matrices"]] == sorted(last, key=list(last).index)
    for matrix in found["matrices"]:
        for name, measure in matrix["measures"].items():
            assert measure["value"] == pytest.approx(last[matrix["name"]][name], rel=1e-6), (matrix["name"], name)
    queries = found["matrices"][0]
    assert (queries["sizes"], queries["structural_rank"], len(queries["singular_values"])) == ([32, 12, 32], 12, 12)
    assert queries["condition_over_full_size"]["forced"]
    assert [head["sizes"] for head in queries["heads"]] == [[16, 12, 32]] * 2
    assert [one["layer"] for one in found["pre_rotation"]] == [0, 1]
    for one in found["pre_rotation"]:
        assert 0 < one["rms_degrees"] < one["largest_degrees"]
        assert one["scrambled"]["rms_degrees"] > 0
        assert 1 < one["angle_effective_rank"]["value"] <= 4
        assert one["map_effective_rank"]["value"] == pytest.approx(
            last[f"model.mlp.{one['layer']}.angle.weight"]["effective_rank"], rel=1e-6
        )
    assert found["left_out"] == {}


def test_saved_pictures_are_in_the_report(recorded: Path, main_of: MainOf, tmp_path: Path) -> None:
    run = copy_of(recorded, tmp_path)
    for words in ([], ["truncate"]):
        assert main_of(inspect_command, *words, str(run), "--save", "--targets", "200")[0] == 0
    code, _, err = main_of(report, str(run))
    assert (code, err) == (0, "")
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "Inside the weights" in page
    for title in ("Q, 32x12x32: singular values", "Effective rank during training", "cut to a rank"):
        assert title in page
    code, _, err = main_of(inspect_command, str(recorded / "artifact.pgolf"), "--save", "--draws", "3")
    assert code == 2
    assert "--save: writes into a run folder" in err


def test_averaged_weights_are_those_that_are_packed_and_frozen_ones_are_live(
    runs: Callable[..., Path], main_of: MainOf
) -> None:
    folder = runs(*ON_PURPOSE)
    record = json.loads((folder / "result.json").read_text())
    for weights, field in (("auto", "val_bpb_averaged"), ("live", "val_bpb_live")):
        code, out, _ = main_of(inspect_command, str(folder), "--draws", "3", "--json", "--weights", weights)
        found = json.loads(out)
        assert (code, found["weights"]) == (0, "averaged" if weights == "auto" else "live")
        assert found["depth"]["bpb"] == pytest.approx(record[field], rel=1e-6)


def test_a_packed_file_alone_has_its_spectra(recorded: Path, main_of: MainOf) -> None:
    code, out, _ = main_of(inspect_command, str(recorded / "artifact.pgolf"), "--draws", "3", "--heads")
    assert code == 0
    assert "which are rounded" in out
    assert "layer 1 head 1" in out
    assert "left out: depth: a packed file names no corpus. Give the run folder" in out


def test_published_numbers_stand_beside_random_products(main_of: MainOf) -> None:
    """A participation ratio of 109 is that of any product of these sizes; an effective rank of 114 is not."""
    words = ["random", "512x192x512", "--draws", "4", "--ranks", "128", "192", "--values"]
    words += ["effective_rank=114", "participation_ratio=109.4", "condition_number=1e8"]
    code, out, _ = main_of(inspect_command, *words)
    assert code == 0
    assert "published effective rank 114: outside the range of the random ones" in out
    assert "published participation ratio 109.4: as of a random matrix" in out
    assert "is forced: a product 512x192x512 has 320 singular values of zero. In float32 the formed product" in out
    assert re.search(r"published condition number 1.0e\+08: outside .* over the structural rank .*; forced, if", out)
    found = json.loads(main_of(inspect_command, *words, "--json")[1])
    assert [value["outside"] for value in found["values"]] == [True, False, True]
    assert found["random"]["effective_rank"] == pytest.approx([172, 172], abs=1)
    assert [each["rank"] for each in found["energy"]] == [128, 192]
    assert [each["random_low"] for each in found["energy"]] == pytest.approx([0.924, 1], abs=0.002)
    assert found["energy"][1]["random_low"] == pytest.approx(1, abs=1e-12)
    assert found["forced_zeros"] == 320
    assert len(found["float32_conditions"]) == 3
    assert min(found["float32_conditions"]) > 1e7


def test_a_condition_number_that_no_factors_force_is_not_called_forced(main_of: MainOf) -> None:
    """A square matrix, an inner size that is no bottleneck, a product too large to form, and a value in reach."""
    for sizes, is_forced in (("12x12", False), ("12x30x20", False), ("1025x4x9", True), ("12x3x9", True)):
        words = ["random", sizes, "--draws", "3", "--values"]
        far = main_of(inspect_command, *words, "condition_number=1e9")[1]
        assert ("forced" in far, "In float32" in far) == (is_forced, is_forced and sizes == "12x3x9")
        near = main_of(inspect_command, *words, "condition_number=1e4")[1]
        assert "; forced, if" not in near


def test_queries_are_cut_from_the_recorded_score_on(runs: Callable[..., Path], main_of: MainOf, tmp_path: Path) -> None:
    folder = runs("model/depth=plain")
    record = json.loads((folder / "result.json").read_text())
    words = ["truncate", str(folder), "--batches", "2"]
    code, out, _ = main_of(inspect_command, *words, "--ranks", "32", "2", "--json")
    assert code == 0
    found = json.loads(out)
    assert (found["rank"], [cut["rank"] for cut in found["cuts"]]) == (32, [2, 2, 32, 32])
    assert found["bpb"] == pytest.approx(record["val_bpb_live"], rel=1e-6)
    assert [cut["bpb"] for cut in found["cuts"][2:]] == pytest.approx([found["bpb"]] * 2, rel=1e-5)
    assert found["cuts"][0]["bpb"] != pytest.approx(found["bpb"], rel=1e-5)
    code, out, _ = main_of(inspect_command, *words, "--targets", "500", "--figures", str(tmp_path))
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[3:11]] == ["4", "8", "12", "16", "20", "24", "28", "32"]
    assert "scored: 500 validation targets" in out
    assert sorted(path.stem for path in tmp_path.glob("*.png")) == ["truncation-energy", "truncation-rank"]
    for name in ("truncation-energy", "truncation-rank"):
        assert ElementTree.parse(tmp_path / f"{name}.svg").getroot().tag == "{http://www.w3.org/2000/svg}svg"


def test_ranks_of_a_run_are_printed_with_the_override_and_saved(
    runs: Callable[..., Path], main_of: MainOf, tmp_path: Path
) -> None:
    """The default budget is that of the default low rank; by weight the ranks differ from those by activation."""
    run = copy_of(runs("model/depth=plain"), tmp_path)
    words = ["ranks", str(run), "--batches", "1", "--targets", "500"]
    found = json.loads(main_of(inspect_command, *words, "--score", "--json")[1])
    full, uniform = 2 * 32 * 32, 2 * 12 * 64
    assert (found["uniform_rank"], sum(found["ranks"])) == (12, 24)
    assert found["parameters_of"] == {"ranks": uniform, "uniform_rank": uniform, "full": full}
    assert found["override"] == f"model/q_proj=adaptive 'model.q_proj.ranks={found['ranks']}'".replace(", ", ",")
    cut = found["cut_without_training"]
    assert cut["scored"] == "500 validation targets, plain32-first500"
    assert len({cut["uncut"], cut["ranks"], cut["uniform_rank"]}) == 3
    assert sum(block["kept"] for block in found["blocks"]) >= sum(b["kept_at_uniform_rank"] for b in found["blocks"])
    code, out, _ = main_of(inspect_command, *words, "--by", "weight", "--energy", "0.95", "--save")
    assert code == 0
    (ranks,) = re.findall(r"'model\.q_proj\.ranks=\[(\d+),(\d+)\]'", out)
    assert all(int(rank) > own for rank, own in zip(ranks, found["ranks"], strict=True))
    assert "have as many parameters as full Q, or more" in out
    assert f"""ranks=${{energy_ranks:"{run}",0.95,weight}}'""" in out
    saved = json.loads((run / "query_spectra.json").read_text())
    assert saved == found["spectra"]


def test_what_needs_a_corpus_is_left_out_without_one(
    recorded: Path, main_of: MainOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGOLF_CACHE", str(tmp_path / "empty"))
    code, out, _ = main_of(inspect_command, str(recorded), "--draws", "3")
    assert code == 0
    lines = [line for line in out.splitlines() if line.startswith("left out")]
    for line, part in zip(lines, ("depth", "pre-rotation"), strict=True):
        assert line.startswith(f"left out: {part}: the corpus cannot be opened: ")
    code, out, err = main_of(inspect_command, "truncate", str(recorded))
    assert (code, out) == (2, "")
    assert "cannot be scored: the corpus cannot be opened: " in err
    assert "the files that config.yaml names are not opened. Give --open-corpus" in err
    assert "Prepare it with" in main_of(inspect_command, "truncate", str(recorded), "--open-corpus")[2]
    code, out, err = main_of(inspect_command, "ranks", str(recorded))
    assert (code, out) == (2, "")
    assert "has no activations: the corpus cannot be opened: " in err
    words = ["ranks", str(recorded), "--by", "weight"]
    assert "--score: " in main_of(inspect_command, *words, "--score")[2]
    code, out, _ = main_of(inspect_command, *words, "--parameters", "512")
    assert "Q of this run is a product through rank 12: no rank above it can be chosen" in out
    (ranks,) = re.findall(r"'model\.q_proj\.ranks=\[(\d+),(\d+)\]'", out)
    assert sum(map(int, ranks)) == 8
    assert not (tmp_path / "empty").exists()


def spoil(file: Path, name: str, value: float) -> None:
    """Fill one tensor of a file of kept weights."""
    weights = load_file(file)
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    weights[name].fill_(value)
    save_file(weights, file, metadata=metadata)


def test_what_cannot_be_inspected_is_refused_in_one_line(recorded: Path, main_of: MainOf, tmp_path: Path) -> None:
    (tmp_path / "text.pgolf").write_text("no model")
    (tmp_path / "empty").mkdir()
    bare, damaged, other = (copy_of(recorded, tmp_path / name) for name in ("bare", "damaged", "other"))
    for name in ("artifact.pgolf", "checkpoint/weights.safetensors"):
        (bare / name).unlink()
    weights = damaged / "checkpoint" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    config = (other / "config.yaml").read_text()
    (other / "config.yaml").write_text(config.replace("rank: 12", "rank: 11"))
    infinite = copy_of(recorded, tmp_path / "infinite")
    spoil(infinite / "checkpoint" / "weights.safetensors", "model.gains.0.resid_mix", torch.inf)
    overflowing = copy_of(recorded, tmp_path / "overflowing")
    spoil(overflowing / "checkpoint" / "weights.safetensors", "model.attention.0.out.weight", 3e38)
    change(damaged / "result.json", steps=24)
    for words, message in (
        ([tmp_path / "gone"], "gone: does not exist"),
        (["/dev/null"], "/dev/null: is neither a folder nor a regular file"),
        (
            [infinite],
            "weights.safetensors: model.gains.0.resid_mix has values that are not finite. Inspect another",
        ),
        ([tmp_path / "empty"], "config.yaml: cannot be read"),
        ([tmp_path / "text.pgolf"], "is not a pgolf artifact"),
        ([recorded / "artifact.pgolf", "--weights", "live"], "--weights: a packed file has no live weights"),
        ([recorded, "--weights", "averaged"], "--weights: "),
        ([recorded, "--draws", "2"], "--draws: must be from 3 to 10,000 (2)"),
        (["truncate", overflowing], ": has a score that is not finite (nan). Inspect another run"),
        (["truncate", recorded, "--ranks", "13"], "--ranks: cannot cut to rank 13. Choose from 1 to 12"),
        (["truncate", recorded, "--ranks", "0"], "--ranks: cannot cut to rank 0"),
        (["truncate", recorded / "artifact.pgolf"], "cannot be scored: a packed file names no corpus"),
        ([recorded, "--figures", recorded / "config.yaml"], "config.yaml). Choose another folder"),
        (["ranks", recorded, "--energy", "0"], "--energy: cannot be 0.0; choose above 0 and at most 1"),
        (["ranks", recorded, "--parameters", "9"], "--parameters: cannot be 9; choose 128 or more"),
        ([bare], "has neither trained weights (checkpoint/weights.safetensors) nor artifact.pgolf"),
        ([damaged], "weights.safetensors: is not a file of weights"),
        ([other], "does not contain the weights of the model in its config.yaml"),
    ):
        code, out, err = main_of(inspect_command, *map(str, words))
        assert (code, out) == (2, ""), words
        (line,) = err.splitlines()
        assert message in line
