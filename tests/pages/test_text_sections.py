"""The uncertainty of the text in tables: which interval covers what, with one checkpoint and with several trainings."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from made_records import plan, put, record
from pgolf.pages import texts
from pgolf.pages.aggregation import aggregate, write_tables
from pgolf.records.documents import DOCUMENTS, KEPT, DocumentScores, document_fields, write_documents
from pgolf.tables.stats import paired, welch
from pgolf.tables.text import Section, interval
from pgolf.tables.texts import document_test

SIZES = np.random.default_rng(0).integers(200, 3000, 40)
SEEDS = (1, 2, 3)


def put_documents(study: Path, arm: str, seed: int, bpb: float, **other: Any) -> DocumentScores:
    """A run whose documents have about this score."""
    draw = np.random.default_rng((seed, len(arm)))
    nats = (bpb + draw.normal(0, 0.02, 40)) * SIZES * math.log(2)
    scores = DocumentScores(nats, SIZES, False, True)
    score = float(nats.sum() / (math.log(2) * SIZES.sum()))
    fields = {**record(arm, seed, score, val_bytes=int(SIZES.sum()), **other), **document_fields(scores)}
    write_documents(put(study, fields).parent, scores)
    return scores


def studied(tmp_path: Path, gap: float = -0.1, **other: Any) -> tuple[Path, dict[str, list[DocumentScores]]]:
    study = tmp_path / "heads"
    scores = {
        arm: [put_documents(study, arm, seed, bpb, **more) for seed in SEEDS]
        for arm, bpb, more in (("tied", 2.0, {}), ("mos", 2.0 + gap, other))
    }
    plan(study, list(scores), SEEDS)
    return study, scores


def section_of(source: Path) -> tuple[list[Section], tuple[str, ...]]:
    result = aggregate(source)
    found = [s for s in result.sections if s.heading.endswith("uncertainty of the text")]
    return found, result.report.warnings


def bounds(text: str) -> str:
    return text.partition(" ")[2]


def test_each_interval_stands_under_what_it_covers(tmp_path: Path) -> None:
    study, scores = studied(tmp_path)
    ((section,), warnings) = section_of(study)
    assert warnings == ()
    assert section.grid is not None
    assert section.grid.columns[3:6] == ("covers seeds", "covers documents", "covers seeds and documents")
    ((label, count, difference, seeds, documents, both, note),) = section.grid.rows
    bpb = {arm: [float(s.nats.sum() / (math.log(2) * SIZES.sum())) for s in of] for arm, of in scores.items()}
    means = {arm: DocumentScores(sum(s.nats for s in of) / 3, SIZES, False, True) for arm, of in scores.items()}  # type: ignore[arg-type]
    by_seeds, by_documents = welch(bpb["mos"], bpb["tied"]), document_test(means["mos"], means["tied"])
    assert (label, count, note) == ("mos", "40 (1 in part)", "")
    assert (f"{difference} {seeds}", documents) == (interval(by_seeds), bounds(interval(by_documents)))
    low, high = (float(x) for x in both.strip("[]").split(", "))
    half = max(float(text.strip("[]").split(", ")[1]) - float(difference) for text in (seeds, documents))
    assert low < float(difference) - half
    assert high > float(difference) + half


def test_one_checkpoint_gets_an_interval_over_documents_in_several_modes(tmp_path: Path) -> None:
    study = tmp_path / "heads"
    parent = {"from.fingerprint": "f" * 16, "from.weights_sha": "w"}
    base = put_documents(study, "plain", 1, 2.0, **parent)
    arm = put_documents(study, "slide", 1, 1.9, eval_mode="sliding", **parent)
    other = put_documents(study, "alone", 1, 1.9, eval_mode="sliding", **{"from.fingerprint": "e" * 16})
    plan(study, ["plain", "slide", "alone"], [1])
    ((section,), _) = section_of(study)
    assert section.grid is not None
    ((label, _, difference, seeds, documents, both, note),) = section.grid.rows
    assert label == "slide", "another checkpoint in another mode is not compared"
    assert "one seed" in seeds
    assert "one seed" in both
    assert f"{difference} {documents}" == interval(document_test(arm, base))
    assert note == "shares the baseline's checkpoints"
    assert other.nats is not None


def test_with_several_seeds_one_checkpoint_is_paired(tmp_path: Path) -> None:
    parent = {"from.fingerprint": "f" * 16}
    study = tmp_path / "heads"
    scores = [
        [put_documents(study, arm, seed, bpb, eval_mode=arm, **parent) for seed in SEEDS]
        for arm, bpb in (("plain", 2.0), ("sliding", 1.9))
    ]
    plan(study, ["plain", "sliding"], SEEDS)
    ((section,), _) = section_of(study)
    assert section.grid is not None
    bpb = [[float(s.nats.sum() / (math.log(2) * SIZES.sum())) for s in of] for of in scores]
    assert section.grid.rows[0][3] == bounds(interval(paired(bpb[1], bpb[0])))


def test_a_damaged_file_is_a_warning_and_rows_alone_have_no_section(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, _ = studied(tmp_path)
    (path,) = study.glob(f"mos/seed2-*/{DOCUMENTS}")
    path.write_bytes(path.read_bytes()[:-1])
    sections, warnings = section_of(study)
    assert sections == []
    (line,) = [text for text in warnings if DOCUMENTS in text]
    assert str(path) in line
    assert "is not the file that the record names" in line
    assert path.read_bytes()
    for each in study.rglob(DOCUMENTS):
        each.unlink()
    rows = tmp_path / "rows.jsonl"
    result = aggregate(study)
    write_tables(result, rows)
    assert section_of(rows) == ([], ())
    monkeypatch.setattr(texts, "MOST_DOCUMENTS", 100)
    _, warnings = section_of(study)
    assert any("at most 100 are read" in text for text in warnings)


def test_rows_keep_their_intervals_with_the_file_of_documents(tmp_path: Path) -> None:
    study, _ = studied(tmp_path)
    results, target = aggregate(study), tmp_path / "copy" / "heads.jsonl"
    write_tables(results, target)
    assert section_of(target) == ([], ())
    write_tables(results, target, with_documents=True)
    assert section_of(target) == section_of(study)
    again = tmp_path / "again" / "heads.jsonl"
    write_tables(aggregate(target), again, with_documents=True)
    kept, copied = (path.with_name(f"heads.{KEPT}") for path in (target, again))
    assert copied.read_bytes() == kept.read_bytes()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace("cGdvbGZ", "AAAAAAA", 1), "is not the file that the record names by its hash"),
        (lambda text: text.replace('"content"', '"contents"', 1), "damaged lines are left out: line 1"),
        (lambda text: text.replace('"content": "', '"content": "?', 1), "damaged lines are left out: line 1"),
        (lambda text: "[]\n" + text, "damaged lines are left out: line 1"),
        (lambda text: text[:-9], "damaged lines are left out: line 6"),
    ],
)
def test_a_damaged_line_is_named(change: Callable[[str], str], said: str, tmp_path: Path) -> None:
    study, _ = studied(tmp_path)
    target = tmp_path / "copy" / "heads.jsonl"
    write_tables(aggregate(study), target, with_documents=True)
    kept = target.with_name(f"heads.{KEPT}")
    kept.write_text(change(kept.read_text()))
    _, warnings = section_of(target)
    assert any(said in warning for warning in warnings), warnings
