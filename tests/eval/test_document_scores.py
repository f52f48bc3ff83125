"""A score by document: in every mode, the documents add up to the score, and cut documents are marked."""

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pgolf.config.build import build_evaluation
from pgolf.data.shards import read_shard
from pgolf.data.tokenizer import ByteTable, load_tokenizer_of_size
from pgolf.eval.documents import document_scores
from pgolf.eval.score import Score
from pgolf.machine.ranks import Ranks
from pgolf.records.documents import DocumentScores, contradiction, document_fields
from tiny import random_ids, stems, tiny_config, tiny_model

BOS = 1
TOKENS = random_ids(1, 201, seed=11)[0].clamp(min=BOS + 1).numpy().astype(np.uint16)
TOKENS[[0, 23, 24, 51, 120, 200]] = BOS  # the last token begins a document without targets
STARTS = [0, 23, 24, 51, 120]
SIZES = np.random.default_rng(3).integers(0, 6, 200)


def evaluation_of(*overrides: str, tokens: np.ndarray = TOKENS, sizes: np.ndarray = SIZES):
    table = SimpleNamespace(bytes_per_target=lambda _: sizes)
    corpus = SimpleNamespace(val_tokens=tokens, byte_table=table, document_start=BOS)
    config = tiny_config(*overrides)
    return build_evaluation(config, corpus, Ranks()), tiny_model(config)  # type: ignore[arg-type]


def record_of(score: Score, scores: DocumentScores):
    return {
        "val_nats": score.nats,
        "val_targets": score.targets,
        "val_bytes": score.bytes,
        **document_fields(scores),
    }


@pytest.mark.parametrize("stem", stems("eval"))
def test_in_every_mode_the_documents_add_up_to_the_score(stem: str) -> None:
    evaluation, model = evaluation_of(f"eval={stem}", "eval.max_targets=140", "train.seq_len=64")
    score = evaluation(model)
    scores = evaluation.documents(score)
    assert contradiction(scores, record_of(score, scores)) is None
    assert len(scores.nats) == 5
    assert (scores.first_is_cut, scores.last_is_cut) == (False, True)
    expected = [np.nansum(part) for part in np.split(score.nats_per_target, STARTS[1:])]
    np.testing.assert_allclose(scores.nats, expected, rtol=1e-12)
    end = 140 if score.targets == 140 else 128  # whole windows of 64 targets alone
    assert scores.sizes.tolist() == [
        int(part.sum()) for part in np.split(SIZES[:end], [s for s in STARTS[1:] if s < end])
    ]


def by_document(scored: list[int], starts: list[int], *, whole: bool = True) -> DocumentScores:
    """One nat and two bytes for each scored one of ten targets."""
    nats = np.full(10, np.nan)
    nats[scored] = 1.0
    found = document_scores(
        Score(float(len(scored)), len(scored), 2 * len(scored), "", nats), starts, np.full(10, 2), whole=whole
    )
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("scored", "starts", "whole", "nats", "cut"),
    [
        (range(10), [0, 4, 6], True, [4, 2, 4], (False, False)),
        (range(10), [0, 4, 6], False, [4, 2, 4], (True, False)),
        (range(10), [0, 4, 10], True, [4, 6], (False, False)),
        (range(6), [0, 4, 6], True, [4, 2], (False, False)),
        (range(5), [0, 4, 6], True, [4, 1], (False, True)),
        (range(3), [0, 4, 6], False, [3], (True, True)),
        ([0, 2, 3, 7], [0, 4, 6], True, [3, 0, 1], (True, True)),
        (range(10), [0], False, [10], (True, False)),
    ],
)
def test_only_what_is_scored_counts(scored, starts, whole, nats, cut) -> None:
    found = by_document(list(scored), starts, whole=whole)
    assert found.nats.tolist() == nats
    assert found.sizes.tolist() == [2 * n for n in nats]
    assert (found.first_is_cut, found.last_is_cut) == cut


def test_a_score_that_is_not_finite_has_no_documents() -> None:
    assert document_scores(Score(np.nan, 1, 1, "", np.array([np.nan])), [0], np.array([1]), whole=True) is None


def test_a_text_without_document_starts_is_one_document() -> None:
    evaluation, model = evaluation_of("eval=plain", tokens=TOKENS.clip(BOS + 1))
    scores = evaluation.documents(evaluation(model))
    assert len(scores.nats) == 1
    assert scores.first_is_cut


def test_the_documents_of_real_text_add_up_to_the_score() -> None:
    default = Path(__file__).resolve().parents[3] / "shared" / "data"
    folder = Path(os.environ.get("PGOLF_SHARED_DATA", default))
    shard = folder / "english_sp1024" / "english_val_000000.bin"
    if not shard.is_file():
        pytest.skip(f"no English shards in {folder}; set PGOLF_SHARED_DATA to the folder that has them")
    tokens = np.array(read_shard(shard))
    tokenizer = load_tokenizer_of_size(folder / "fineweb_1024_bpe.model", 1024)
    sizes = ByteTable.of(tokenizer).bytes_per_target(tokens)
    assert tokenizer.bos_id() == BOS
    evaluation, model = evaluation_of(
        "model.vocab_size=1024", "eval=plain", "train.seq_len=64", "eval.max_targets=50000", tokens=tokens, sizes=sizes
    )
    with torch.inference_mode():
        score = evaluation(model)
    scores = evaluation.documents(score)
    assert contradiction(scores, record_of(score, scores)) is None
    assert len(scores.nats) == int((tokens[:50_000] == BOS).sum()) == 26
    assert scores.last_is_cut
    assert scores.sizes.sum() == score.bytes == 122_349
