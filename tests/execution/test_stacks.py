"""Every published stack, from its name to its record, right and with the faults of its published run."""

import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock

from pgolf import train
from pgolf.audit import Verdict
from pgolf.execution.artifact import unpack
from pgolf.execution.auditing import scores, training
from pgolf.execution.auditing.whole import audit_run
from pgolf.quant.container import read_container
from run_folders import events, records
from tiny import DEFECTS, STACKS

RUNS = {
    **{stack: () for stack in STACKS},
    **{f"{stack} as published": (f"defects={stack}",) for stack in DEFECTS},
    "pr908 but for QAT at evaluation": ("defects=pr908", "defects.qat_at_eval=false"),
}
UNTRAINED = [training.OWNED, training.MOVED]
FLAGGED = {  # checks that fail; those of the other runs all pass
    "pr1481 as published": UNTRAINED,
    "pr470 as published": [training.AVERAGE],
    "pr908 as published": [scores.FAKE_OFF, scores.ESTIMATE, *UNTRAINED],
    "pr908 but for QAT at evaluation": [scores.ESTIMATE, *UNTRAINED],
}
STRIDE = {"pr215": ["eval.stride=8"], "pr908": ["eval.stride=8"]}


class Runs:
    """Folder and record of each run by its label, made when first asked for, once for all test processes."""

    def __init__(self, workshop: Path, tiny: list[str]):
        self.root, self.tiny = workshop / "stacks", tiny

    def __getitem__(self, label: str) -> tuple[Path, dict[str, Any]]:
        stack, out = label.split()[0], self.root / label.replace(" ", "-")
        out.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{out}.lock"), pytest.MonkeyPatch.context() as patch:
            if not list(records(out)):
                options = [
                    f"stack={stack}",
                    "scale=cpu",
                    *self.tiny,
                    *STRIDE.get(stack, []),
                    *RUNS[label],
                ]
                patch.chdir(out)
                patch.setattr(sys, "argv", ["pgolf.train", *options, f"paths.out={out}"])
                assert train.main() == 0, label
            (found,) = records(out)
        return found


@pytest.fixture
def done(workshop: Path, tiny: list[str]) -> Runs:
    return Runs(workshop, tiny)


@pytest.mark.parametrize("label", RUNS)
def test_the_record_tells_live_averaged_and_packed_apart(done, label):
    folder, record = done[label]
    stack = label.split()[0]
    assert (record["status"], record["steps"], record["choices.stack"]) == ("ok", 24, stack)
    live, averaged, packed = (record[key] for key in ("val_bpb_live", "val_bpb_averaged", "val_bpb"))
    assert (averaged is not None) == (stack in ("pr470", "pr908"))
    numbers = [live, packed] if averaged is None else [live, averaged, packed]
    assert all(0 < number < 9 for number in numbers)
    assert len(set(numbers)) == len(numbers)
    assert record["quant_gap_bpb"] == packed - (live if averaged is None else averaged)
    (last,) = events(folder, "final")
    assert [last[key] for key in ("val_bpb_live", "val_bpb_averaged", "val_bpb")] == [live, averaged, packed]
    assert math.isclose(packed, record["val_nats"] / math.log(2) * record["val_targets"] / record["val_bytes"])
    assert record["val_targets"] == (3000 // 32 * 32 if stack in ("baseline", "pr1481", "pr470") else 3000)


@pytest.mark.parametrize("label", RUNS)
def test_the_published_estimate_stands_beside_the_score_of_the_heads_study_alone(done, label):
    _, record = done[label]
    keys = {key for key in record if key.endswith("_published_908")}
    if not label.startswith("pr908"):
        assert keys == set()
        return
    assert keys == {"val_nats_published_908", "val_bpb_published_908"}
    assert 0 < record["val_bpb_published_908"] < 9
    assert record["val_bpb_published_908"] != record["val_bpb"]
    assert record["eval_mode"] == "plain32-first3000"


@pytest.mark.parametrize("label", RUNS)
def test_it_learns(done, label):
    folder, _ = done[label]
    lines = events(folder, "train")
    assert lines[-1]["train_nats"] < lines[0]["train_nats"] - 0.2
    assert lines[0]["lr_scale"] == 1.0


@pytest.mark.parametrize(
    ("label", "share"), [("pr1481 as published", "embedding"), ("pr908 as published", "side_inputs")]
)
def test_frozen_counts_stand_in_the_record(done, label, share):
    _, record = done[label]
    assert 0 < record["params.frozen"] < record["params.total"]
    assert record["params.trained"] + record["params.frozen"] == record["params.total"]
    assert record["params.frozen"] <= record[f"params.{share}"]


@pytest.mark.parametrize("label", ["baseline", "pr215", "pr1481", "pr470", "pr470 as published", "pr908"])
def test_nothing_is_frozen_elsewhere(done, label):
    assert done[label][1]["params.frozen"] == 0


@pytest.mark.parametrize("stack", DEFECTS)
def test_the_faults_change_the_score(done, stack):
    right, wrong = done[stack][1], done[f"{stack} as published"][1]
    assert right["val_bpb_live"] != wrong["val_bpb_live"]
    assert right["val_bpb"] != wrong["val_bpb"]


def test_fake_quantization_left_on_changes_the_packed_score_alone(done):
    (one, with_it), (other, without) = done["pr908 as published"], done["pr908 but for QAT at evaluation"]
    assert (one / "artifact.pgolf").read_bytes() == (other / "artifact.pgolf").read_bytes()
    for key in ("val_bpb_live", "val_bpb_averaged", "qat_from_step"):
        assert with_it[key] == without[key]
    for key in ("val_bpb", "val_nats", "val_bpb_published_908"):
        assert with_it[key] != without[key], key


@pytest.mark.parametrize(
    ("label", "first"), [("pr908", 22), ("pr908 as published", 22), ("pr470", None), ("baseline", None)]
)
def test_the_record_says_when_fake_quantization_began(done, label, first):
    """24 steps, a warmdown of 19: (24 - 22) / 19 is the first scale below 0.15."""
    assert done[label][1]["qat_from_step"] == first


@pytest.mark.parametrize("label", RUNS)
def test_the_file_alone_rebuilds_the_stack(done, label):
    folder, record = done[label]
    model = unpack(folder / "artifact.pgolf", torch.device("cpu")).model
    assert sum(p.numel() for p in model.parameters()) == record["params.total"]
    assert (model.smear is not None) == label.startswith("pr908")
    assert sorted(model.side_inputs) == {
        "pr470": ["bigram_embed"],
        "pr908": ["bigram_residual", "value_embedding"],
    }.get(label.split()[0], [])
    rounded = ("baseline as published", "pr1481 as published", "pr470 as published")
    assert model.trunk.rope_bf16_frequencies == (label in rounded)
    assert model.trunk.rope_bf16_positions == (label == "baseline as published")
    header, _ = read_container(folder / "artifact.pgolf")  # a later option is stored only where it is used
    assert ("rope_bf16_positions" in header["model"]) == (label == "baseline as published")


@pytest.mark.parametrize("label", RUNS)
def test_the_audit_flags_the_faults_of_the_published_run_and_nothing_else(
    done, label, workshop, monkeypatch, audited_here
):
    monkeypatch.setenv("PGOLF_CACHE", str(workshop / "cache"))
    report = audit_run(done[label][0])
    assert [check.name for check in report.failed] == FLAGGED.get(label, []), str(report)
    assert [check.rule for check in report.of(Verdict.NOT_CHECKED)] == ["documents"], str(report)
    untrained = {
        "pr1481 as published": "model.embedding.projection.weight",
        "pr908 as published": "model.side_inputs.value_embedding.table.weight",
    }
    if label in untrained:
        assert all(untrained[label] in check.evidence for check in report.failed if check.rule == "training")
