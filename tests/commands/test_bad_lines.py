"""Invalid command lines of pgolf.train: the message, exit code 2, nothing on disk, no traceback, within seconds."""

import os
import time
from pathlib import Path

import pytest
from bad_values import PAIRS, SWEEPS, VALUES
from bad_words import FLAGS, GROUPS, HYDRA, NUMBERS, WORDS

from pgolf import train
from pgolf.sweep import launching

MOST_S = 10

LINES = {**{(word,): message for word, message in WORDS.items()}}
LINES |= {
    tuple(line.split()): message
    for table in (FLAGS, HYDRA, GROUPS, NUMBERS, VALUES, PAIRS, SWEEPS)
    for line, message in table.items()
}


@pytest.mark.parametrize("line", LINES, ids=lambda line: ascii(" ".join(line))[1:60])
def test_one_line_names_the_problem(
    line: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PGOLF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(launching, "launch", lambda *_: pytest.fail("it was taken, and would run"))
    began = time.monotonic()
    assert train.main(list(line)) == 2
    assert time.monotonic() - began < MOST_S
    assert os.listdir(tmp_path) == []
    out, message = capsys.readouterr()
    assert out == ""
    lines = message.splitlines()
    assert message.endswith("\n")
    assert len(lines) == LINES[line].count("\n") + 1, message
    assert all(text.isprintable() and len(text) <= 1000 for text in lines)
    assert all(text.startswith(start) for text, start in zip(lines, LINES[line].split("\n"), strict=True)), message
    assert "Error" not in message or "raised while resolving" in message, f"no exception's name: {message}"


def test_there_are_many() -> None:
    assert len(LINES) >= 250
