"""Untrusted checkpoints, weights and metrics: valid files, with valid hashes, but with invalid content."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from pgolf.errors import PgolfError
from pgolf.execution.trained import weights_sha
from pgolf.records.progress import progress_of
from pgolf.training.checkpoint import AVERAGED, FOLDER, PARTS, WEIGHTS, read_state, save_weights, state_bytes

KEY = {"seed": 1, "fingerprint": "0" * 16, "versions.torch": "2", "data_sha": "0" * 64, "code_files": ["run.py 0"]}
SOUND: dict[str, Any] = {"key": KEY, "trace": {"steps": 3}, "offsets": {"metrics.jsonl": 5}, **dict.fromkeys(PARTS)}


def left(tmp_path: Path, state: dict[str, Any]) -> dict[str, Any] | None:
    (tmp_path / FOLDER).mkdir(exist_ok=True)
    (tmp_path / FOLDER / "state.pt").write_bytes(state_bytes(state))
    return read_state(tmp_path)


def test_a_valid_state_is_read(tmp_path: Path) -> None:
    assert left(tmp_path, SOUND) == SOUND


@pytest.mark.parametrize(
    "change",
    [
        *(
            {"key": {**KEY, name: value}}
            for name, value in (("versions.torch", None), ("code_files", 5), ("seed", "1"), ("data_sha", 7))
        ),
        {"key": {name: value for name, value in KEY.items() if name != "versions.torch"}},
        {"trace": {"steps": 10**30}},
        {"trace": {"steps": -1}},
        {"offsets": {"metrics.jsonl": True}},
        {"offsets": {"metrics.jsonl": 10**30}},
        {"trace": None},
    ],
)
def test_an_invalid_state_is_ignored(change: dict[str, Any], tmp_path: Path) -> None:
    assert left(tmp_path, {**SOUND, **change}) is None


@pytest.mark.parametrize("part", PARTS)
def test_a_state_without_a_part_is_ignored(part: str, tmp_path: Path) -> None:
    assert left(tmp_path, {name: value for name, value in SOUND.items() if name != part}) is None


def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "metrics.jsonl")
    assert progress_of(tmp_path) is None
    save_weights(tmp_path, WEIGHTS, {"w": torch.zeros(2)})
    os.mkfifo(tmp_path / AVERAGED)
    with pytest.raises(PgolfError, match="it is not a regular file"):
        weights_sha(tmp_path)
