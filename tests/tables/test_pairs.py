"""Pairs of two arms, and the noise of a study, from records."""

import json
import math
from pathlib import Path

import pytest

from made_records import cell_folder, describe, failed, put, record, study_of
from pgolf.errors import PgolfError
from pgolf.records.rows import Row, collect
from pgolf.tables.pairs import noise_of_rows, pairs_of, rows_of_arm

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
    with pytest.raises(PgolfError, match="--noise-from: has no arm with two different scores"):
        noise_of_rows(rows, set(fingerprints.values()))
