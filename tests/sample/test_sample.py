"""Text from packed models: the same for the same seed, of every head and depth, from the model's own probabilities."""

import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pgolf.sample.__main__ as sample_command
from pgolf.config.build import build_quantizer
from pgolf.data.prepare.bpe import train_bpe
from pgolf.errors import ArtifactError, ConfigError, DataError
from pgolf.execution.artifact import Artifact, pack
from pgolf.records.record import ARTIFACT
from pgolf.sample.artifact import PackedModel, open_artifact
from pgolf.sample.generate import draw
from tiny import tiny_config, tiny_model, variants

TEXT = "the quick brown fox jumps over the lazy dog while the other foxes sleep in the warm grass of the garden"
VOCAB = 290
SIZES = (f"model.vocab_size={VOCAB}", "train.seq_len=16")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.model"
    path.write_bytes(train_bpe([TEXT], VOCAB, "text"))
    return path


def model_of(tokenizer: Path, *overrides: str) -> PackedModel:
    """A tiny model with redrawn weights, as if it had been read from a packed file."""
    config = tiny_config(*SIZES, *overrides)
    sha = hashlib.sha256(tokenizer.read_bytes()).hexdigest()
    return PackedModel(Artifact(tiny_model(config).eval(), config.model, sha, 1, 1), tokenizer)


@pytest.fixture(scope="module")
def model(tokenizer: Path) -> PackedModel:
    return model_of(tokenizer)


@pytest.fixture(scope="module")
def packed(tokenizer: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with a packed file."""
    config, folder = tiny_config(*SIZES), tmp_path_factory.mktemp("arm") / "seed1-00000000"
    folder.mkdir()
    pack(tiny_model(config), config.model, tokenizer, build_quantizer(config), folder / ARTIFACT)
    return folder


@pytest.mark.parametrize("choice", [f"model/{slot}={stem}" for slot in ("head", "depth") for stem in variants(slot)])
def test_every_head_and_depth_draws_from_its_own_probabilities(choice: str, tokenizer: Path) -> None:
    """The reported nats of the drawn tokens are those of `nll`, which training uses."""
    model = model_of(tokenizer, choice)
    drawn = model.sample("the fox", tokens=6, temperature=1.0, top_p=1.0, seed=3)
    ids = [*drawn.ids, *([model.tokenizer.bos_id()] if drawn.ended else [])]
    assert drawn == model.sample("the fox", tokens=6, temperature=1.0, top_p=1.0, seed=3)
    assert drawn.text.startswith("the fox")
    assert math.isclose(drawn.nats, model.nll(ids)[drawn.prompt_tokens - 1 :].sum(), rel_tol=1e-4)
    np.testing.assert_allclose(np.exp(model.logp(drawn.ids[:4])).sum(-1), 1, rtol=1e-4)


def test_a_text_longer_than_the_context_goes_on(model: PackedModel) -> None:
    ids = model.encode(TEXT)
    assert len(ids) > model.seq_len
    assert model.sample(TEXT, tokens=1, temperature=0).ids[-1] == model.logp(ids[-model.seq_len :])[-1].argmax()
    long = model.sample("", tokens=3 * model.seq_len, temperature=1.0, seed=2)
    assert long.ended or len(long.ids) == 1 + 3 * model.seq_len
    assert len(long.ids) > 2 * model.seq_len


def test_seeds_differ_and_temperature_0_has_none(model: PackedModel) -> None:
    assert len({model.generate("the", tokens=12, temperature=1.0, seed=seed) for seed in range(3)}) == 3
    assert len({model.generate("the", tokens=12, temperature=0, seed=seed) for seed in range(2)}) == 1


def test_top_p_draws_among_the_fewest_tokens_that_reach_it() -> None:
    logp = torch.tensor([0.1, 0.4, 0.2, 0.3]).log()
    generator = torch.Generator().manual_seed(1)

    def shares(temperature: float, top_p: float) -> list[float]:
        counts = np.bincount([draw(logp, temperature, top_p, generator) for _ in range(1000)], minlength=4)
        return (counts / 1000).tolist()

    assert shares(1.0, 1.0) == pytest.approx([0.1, 0.4, 0.2, 0.3], abs=0.08)
    assert shares(1.0, 0.6) == pytest.approx([0, 4 / 7, 0, 3 / 7], abs=0.08)
    squares = np.array([0.1, 0.4, 0.2, 0.3]) ** 2
    assert shares(0.5, 1.0) == pytest.approx((squares / squares.sum()).tolist(), abs=0.08)
    assert shares(1.0, 0.01) == [0, 1, 0, 0]


def test_drawing_bos_ends_the_document(model: PackedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgolf.sample.generate.draw", lambda *_: model.tokenizer.bos_id())
    ended = model.sample("the", tokens=5)
    assert (ended.text, ended.ended, len(ended.ids)) == ("the", True, ended.prompt_tokens)


def test_a_text_has_the_score_of_its_targets(model: PackedModel) -> None:
    short = TEXT[:12]
    ids = model.encode(short)
    score = model.score(short)
    by_logp = -model.logp(ids[:-1])[range(len(ids) - 1), ids[1:]]
    np.testing.assert_allclose(model.nll(ids), by_logp, rtol=1e-4, atol=1e-4)
    assert score.bytes == len(short)
    assert score.bpb == pytest.approx(by_logp.sum() / math.log(2) / len(short), rel=1e-4)
    assert model.score(np.array(ids)) == score
    long = model.nll(model.encode(TEXT))
    assert len(long) == len(model.encode(TEXT)) - 1 > model.seq_len
    np.testing.assert_allclose(long[: model.seq_len], model.nll(model.encode(TEXT)[: model.seq_len + 1]), rtol=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.nll([1]), r"ids: are not a list of 2 or more whole numbers"),
        (lambda m: m.nll([1, 2.5]), r"ids: are not a list"),
        (lambda m: m.nll("text"), r"ids: are not a list"),
        (lambda m: m.nll([[1, 2]]), r"ids: are not a list"),
        (lambda m: m.nll([[1], [2, 3]]), r"ids: are not a list"),
        (lambda m: m.nll([1, VOCAB]), rf"ids: {VOCAB} is outside the vocabulary. Give ids from 0 to {VOCAB - 1}"),
        (lambda m: m.logp([1] * 17), r"ids: are 17, more than the context. Give at most 16"),
        (lambda m: m.score(""), r"text: has nothing to score \(''\)\. Give one with at least one token"),
        (lambda m: m.generate("\ud800"), r"text: is not Unicode text"),
    ],
)
def test_bad_texts_and_ids_are_named(call: Callable[[PackedModel], object], message: str, model: PackedModel) -> None:
    with pytest.raises(DataError, match=message):
        call(model)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tokens": "many"}, r"tokens: needs a whole number \('many'\)"),
        ({"tokens": 2.5, "seed": True}, r"tokens: needs a whole number \(2\.5\)\nseed: needs a whole number \(True\)"),
        ({"top_p": None}, r"top_p: needs a number \(None\)"),
    ],
)
def test_values_of_another_type_are_refused(arguments: dict[str, Any], message: str, model: PackedModel) -> None:
    with pytest.raises(ConfigError, match=message):
        model.generate(**arguments)


def test_a_character_without_a_piece_is_named(model: PackedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tokenizer without byte fallback has such characters."""

    class NoBytes:
        def __init__(self, whole: object) -> None:
            self.whole = whole

        def __getattr__(self, name: str) -> object:
            return getattr(self.whole, name)

        def encode(self, text: str) -> list[int]:
            return [3 if ord(c) > 127 else ord(c) for c in text]

    monkeypatch.setitem(model.__dict__, "tokenizer", NoBytes(model.tokenizer))
    with pytest.raises(DataError, match=r"no piece for \('é'\). Leave them out"):
        model.generate("café")


def test_bad_settings_are_all_named(model: PackedModel) -> None:
    with pytest.raises(ConfigError) as caught:
        model.generate("the", tokens=0, temperature=-1, top_p=0, seed=-1)
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["tokens", "temperature", "top_p", "seed"]


def test_the_command_writes_the_same_text_as_the_function(
    packed: Path, tokenizer: Path, main_of: Callable[..., tuple[int, str, str]]
) -> None:
    words = ("the fox", "--tokens", "8", "--seed", "5", "--tokenizer", str(tokenizer))
    code, said, _ = main_of(sample_command, str(packed / ARTIFACT), *words, "--json")
    found = json.loads(said)
    whole = open_artifact(packed, tokenizer=tokenizer).sample("the fox", tokens=8, seed=5)
    assert (code, found["text"], found["ids"]) == (0, whole.text, list(whole.ids))
    code, said, _ = main_of(sample_command, str(packed), *words)
    assert code == 0
    assert said.rstrip("\n").isprintable() or "\n" in said
    code, _, said = main_of(sample_command, str(packed), "--top-p", "3", "--tokens", "0")
    assert (code, [line.split(":")[0] for line in said.splitlines()]) == (2, ["--tokens", "--top-p"])


def test_a_tokenizer_is_found_by_its_hash_alone(
    packed: Path, tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGOLF_CACHE", str(tmp_path))
    with pytest.raises(DataError, match=r"tokenizer: the tokenizer of this model \(sha256 .{12}\) is not in the cache"):
        open_artifact(packed).generate("the")
    entry = tmp_path / "text-0000"
    entry.mkdir()
    (entry / "tokenizer.model").write_bytes(tokenizer.read_bytes())
    sha = hashlib.sha256(tokenizer.read_bytes()).hexdigest()
    files = {"tokenizer.model": {"bytes": tokenizer.stat().st_size, "sha256": sha}}
    manifest = {"schema": 1, "name": "text", "key": {}, "files": files, "facts": {}}
    (entry / "manifest.json").write_text(json.dumps(manifest))
    assert open_artifact(packed).generate("the", tokens=2).startswith("the")
    other = tmp_path / "other.model"
    other.write_bytes(train_bpe([TEXT[::-1]], VOCAB, "text"))
    (entry / "tokenizer.model").write_bytes(other.read_bytes())  # the manifest still has the hash of the model's
    with pytest.raises(DataError, match="is another tokenizer"):
        open_artifact(packed).generate("the")
    with pytest.raises(DataError, match=r"other.model is another tokenizer .* Give its .model file with tokenizer"):
        open_artifact(packed, tokenizer=other).generate("the")
    assert open_artifact(packed, tokenizer=other).nll([1, 5, 6]).shape == (2,), "ids need no tokenizer"


def test_a_folder_names_its_packed_file(packed: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=rf"is a folder without {ARTIFACT}. Give one of a run, such as .*seed1"):
        open_artifact(packed.parent)
    with pytest.raises(ArtifactError, match=r"Give a packed file, or a run folder that has one"):
        open_artifact(tmp_path)
    with pytest.raises(ArtifactError, match="No such file"):
        open_artifact(tmp_path / "gone")
