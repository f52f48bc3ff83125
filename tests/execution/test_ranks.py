"""Two gloo ranks give what one rank with accumulation gives."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from pgolf.execution.artifact import unpack
from pgolf.machine.limits import cores
from pgolf.records.documents import read_documents
from run_folders import events, records

Train = Callable[[list[str]], int]


@pytest.mark.skipif(cores() < 2, reason="needs two CPU cores")
def test_two_ranks_equal_one(train_here: Train, tiny: list[str], tmp_path: Path) -> None:
    short = [*tiny, "quant=none", "train.steps=5", "train.log_every=1", "model/head=untied"]
    assert train_here([*short, f"paths.out={tmp_path / '1'}"]) == 0
    assert train_here([*short, f"paths.out={tmp_path / '2'}", "launch.nproc=2"]) == 0, (
        "its ranks are processes of their own"
    )
    ((one, first),), ((two, second),) = records(tmp_path / "1"), records(tmp_path / "2")
    assert (first["nproc"], second["nproc"]) == (1, 2)
    assert first["fingerprint"] == second["fingerprint"]
    for a, b in zip(events(one, "train"), events(two, "train"), strict=True):
        assert math.isclose(a["train_nats"], b["train_nats"], rel_tol=1e-5)
    states = [unpack(folder / "artifact.pgolf", torch.device("cpu")).model.state_dict() for folder in (one, two)]
    for name, tensor in states[0].items():
        torch.testing.assert_close(tensor, states[1][name], rtol=1e-4, atol=1e-5)
    assert second["val_targets"] == first["val_targets"]
    assert math.isclose(first["val_bpb"], second["val_bpb"], rel_tol=1e-4)
    documents = [read_documents(folder, record) for folder, record in ((one, first), (two, second))]
    assert all(scores is not None for scores in documents), "they add up to the score of all ranks"
    np.testing.assert_allclose(documents[1].nats, documents[0].nats, rtol=1e-4)  # type: ignore[union-attr]
