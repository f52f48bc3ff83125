"""Pairs of two arms, and the noise of a study, from records."""

import json
import math
from pathlib import Path
from statistics import stdev

import pytest

from made_records import cell_folder, describe, failed, put, record, study_of
from pgolf.errors import PgolfError
from pgolf.records.rows import Row, collect
from pgolf.tables.pairs import noise_of_rows, pairs_of, residual_sd, rows_of_arm

SCORES = {"tied": [1.0, 1.1, 1.2], "mos": [0.9, 1.05, 1.0], "rank": [1.5, 1.7]}


def arm(study: Path, name: str) -> list[Row]:
    return rows_of_arm(study / name)


def test_pairs_are_of_common_seeds(tmp_path: Path) -> None:
    study = study_of(tmp_path, SCORES)
    put(study, failed("mos", 2))
    put(study, record("mos", 7, 1.3))
    pairs = pairs_of(arm(study, "tied"), arm(study, "mos"))
    assert (pairs.seeds, pairs.base, pairs.candidate, pairs.caveats) == ((1, 3), (1.0, 1.2), (0.9, 1.0), ())
    assert pairs_of(arm(study, "tied"), []).seeds == ()


def test_a_run_stands_for_the_seeds_beside_it(tmp_path: Path) -> None:
    study = study_of(tmp_path, SCORES)
    put(study, record("tied", 1, 2.0, fingerprint="9" * 16), "tied/seed1-99999999")
    rows = rows_of_arm(study / cell_folder("tied", 2))
    assert [row["seed"] for row in rows] == [1, 2, 3]
    assert Path(rows[0]["folder"]) == study / cell_folder("tied", 1)
    with pytest.raises(PgolfError, match=r"holds several configurations \(tied 0\w+, tied 99999999\)"):
        arm(study, "tied")


def test_what_is_not_a_pair_is_refused(tmp_path: Path) -> None:
    study = study_of(tmp_path, SCORES)
    put(study, record("other", 1, 1.0, config__data__shuffle_seed=5))
    with pytest.raises(PgolfError, match=r"data\.shuffle_seed: differs between the two at seed 1 \(1, 5\)"):
        pairs_of(arm(study, "tied"), arm(study, "other"))
    put(study, record("elsewhere", 1, 1.0, val_text_sha="0" * 64))
    with pytest.raises(PgolfError, match="another validation text"):
        pairs_of(arm(study, "tied"), arm(study, "elsewhere"))
    put(study, record("longer", 1, 1.0, budget__steps=200))
    assert pairs_of(arm(study, "tied"), arm(study, "longer")).caveats == ("budget: steps 200, baseline 100",)
    (study / cell_folder("rank", 2) / "result.json").write_text(json.dumps({"status": "ok"}))
    with pytest.raises(PgolfError, match=r"seed2-.*result\.json"):
        arm(study, "rank")


def test_the_noise_of_a_study_is_pooled_over_its_other_arms(tmp_path: Path) -> None:
    study = study_of(tmp_path, SCORES)
    describe(study, {"heads": list(SCORES)})
    rows = collect(study).rows
    fingerprints = {row["arm"]: row["fingerprint"] for row in rows}
    noise, arms = noise_of_rows(rows, {fingerprints["mos"]})
    assert arms == 2
    assert noise.df == 3
    assert noise.sd_bpb == pytest.approx(math.sqrt(2 * (0.02 + 0.02) / 3))
    with pytest.raises(PgolfError, match="--noise-from: shows no noise, since it does not have an arm with several"):
        noise_of_rows(rows, set(fingerprints.values()))


def test_noise_by_seed_leaves_out_what_a_seed_does_to_all_arms(tmp_path: Path) -> None:
    """Its square, twice, is the variance of the pairs' differences; an incomplete arm still counts."""
    a, b = [1.0, 1.4, 1.1, 1.9], [1.3, 1.8, 1.35, 2.15]
    noise, arms = noise_of_rows(collect(study_of(tmp_path, {"a": a, "b": b})).rows, set(), by_seed=True)
    assert (arms, noise.df) == (2, 3)
    assert noise.sd_bpb == pytest.approx(stdev(y - x for x, y in zip(a, b, strict=True)))
    assert residual_sd([{1: 1.0, 2: 1.5}, {1: 2.0, 2: 2.5, 3: 7.0}, {9: 4.0}]).df == 1
    assert residual_sd([{1: 1.0, 2: 1.5}, {3: 2.0, 4: 2.6}]).sd is None, "no common seed"
    with pytest.raises(PgolfError, match="it does not have arms with several common seeds"):
        noise_of_rows(collect(study_of(tmp_path / "one", {"a": a})).rows, set(), by_seed=True)
