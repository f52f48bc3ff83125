"""A corpus or tokenizer that does not match the configuration is refused before a sweep starts anything."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from pgolf import train
from pgolf.data.prepare.bpe import train_bpe
from pgolf.data.shards import write_shard
from pgolf.data.tokenizer import encode_documents, tokenizer_from

WORDS = [f"the {number} stone walks under {number * 7} heavy clouds" for number in range(300)]
SWEEP = ["--multirun", "seed=1,2", "data=shards", "data.vocab_size=300", "train.steps=1", "paths.out=out"]


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    model = train_bpe(WORDS, 300, "words")
    tokens = np.concatenate(encode_documents(tokenizer_from(model, "words"), WORDS))
    (tmp_path / "t.model").write_bytes(model)
    write_shard(tmp_path / "train.bin", tokens)
    write_shard(tmp_path / "val.bin", tokens[:500])
    return tmp_path


@pytest.mark.parametrize(
    ("name", "content", "more", "message"),
    [
        (
            "",
            b"",
            ["data.vocab_size=299"],
            "data.vocab_size: cannot be used (299); t.model has 300 pieces; set data.vocab_size=300",
        ),
        ("t.model", b"nonsense", [], "t.model: not a SentencePiece model (8 bytes)"),
        ("train.bin", b"0" * 2000, [], "train.bin: not a token shard"),
        ("train.bin", np.array([1, 5, 300]), [], "train.bin: token 2 is 300, outside a vocabulary of 300"),
        ("val.bin", np.array([1, 3, 290]), [], "validation: 1 of 3 tokens are the unknown piece"),
    ],
)
def test_nothing_is_started(
    name: str,
    content: bytes | np.ndarray,
    more: list[str],
    message: str,
    shards: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(shards)
    if isinstance(content, np.ndarray):
        write_shard(Path(name), content)
    elif name:
        Path(name).write_bytes(content)
    given = ["data.train_glob=train.bin", "data.val_glob=val.bin", "data.tokenizer=t.model", "paths.cache=cache", *more]
    monkeypatch.setattr(sys, "argv", ["pgolf.train", *SWEEP, *given])
    assert train.main() == 2
    err = capsys.readouterr().err
    assert message in err
    assert len(err.splitlines()) == 1
    assert not os.path.exists("out")
