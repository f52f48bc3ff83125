"""Gaps against tokens, from curves: their intervals, their slope and the mark of a gap that moves."""

import math
from pathlib import Path
from statistics import fmean

import pytest
import scipy.stats

from made_records import describe, fingerprint_of, study_of
from pgolf.pages.aggregation import aggregate
from pgolf.records.rows import row_lines
from pgolf.study.description import Claim, ClaimTest
from pgolf.study.published import MOVING
from pgolf.tables.curves import Curve, curve_lines
from pgolf.tables.drift import Drift, drifts, spaced
from pgolf.tables.stats import one_sample

STEPS = (10, 20, 40, 80)
GAPS = {"up": (-0.03, -0.02, -0.01, 0.0), "flat": (0.02, 0.02, 0.02, 0.02)}
NOISE = {1: (0.001, 0.0, -0.001, 0.001), 2: (0.0, 0.002, 0.0, -0.001), 3: (-0.001, -0.001, 0.002, 0.0)}
SCORES = {"base": [2.0, 2.001, 2.002], "up": [2.0001, 2.0011, 2.0021], "flat": [2.02, 2.021, 2.022]}


def curve(arm: str, seed: int) -> Curve:
    gaps = GAPS.get(arm, (0.0,) * 4)
    noise = NOISE[seed] if arm in GAPS else (0.0,) * 4
    live = tuple(3 - math.log2(step) / 10 + gap + x for step, gap, x in zip(STEPS, gaps, noise, strict=True))
    ones = (1.0,) * 4
    return Curve(
        "heads", arm, seed, fingerprint_of(arm), STEPS, tuple(4096 * s for s in STEPS), ones, ones, STEPS, live
    )


def test_gaps_have_intervals_and_a_slope_per_doubling(tmp_path: Path) -> None:
    folder = study_of(tmp_path, SCORES)
    curves = {("heads", fingerprint_of(arm), seed): curve(arm, seed) for arm in SCORES for seed in NOISE}
    found = drifts(aggregate(folder).report.families[0], curves)
    assert list(found) == ["up", "flat"]
    up = found["up"]
    assert up.tokens == tuple(4096 * step for step in STEPS)
    values = [GAPS["up"][1] + NOISE[seed][1] for seed in NOISE]
    assert (up.gaps[1].low, up.gaps[1].high) == pytest.approx((one_sample(values).low, one_sample(values).high))
    slopes = [
        scipy.stats.linregress([0, 1, 2, 3], [g + x for g, x in zip(GAPS["up"], NOISE[s], strict=True)]).slope
        for s in NOISE
    ]
    assert up.slope.difference == pytest.approx(fmean(slopes))
    assert up.slope.p == pytest.approx(float(scipy.stats.ttest_1samp(slopes, 0).pvalue))
    assert (up.direction, found["flat"].direction) == ("rises", "")
    assert Drift(up.tokens, up.gaps, one_sample([-x for x in slopes])).direction == "falls"


def test_a_verdict_says_that_its_gap_moves(tmp_path: Path) -> None:
    folder = study_of(tmp_path, SCORES)
    describe(
        folder, {"heads": tuple(SCORES)}, claims=[Claim("up is worse", "", (ClaimTest("heads", "worse", ("up",)),))]
    )
    aggregate(folder)
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(row_lines(aggregate(folder).collected.rows)))
    (tmp_path / "rows.study.json").write_bytes((folder / "study.json").read_bytes())
    (tmp_path / "rows.curves.jsonl").write_text("".join(curve_lines([curve(arm, s) for arm in SCORES for s in NOISE])))
    result = aggregate(rows)
    extra = {row.label: row.extra.get(MOVING) for row in result.report.families[0].rows}
    assert extra == {"base": None, "up": "rises", "flat": ""}
    assert result.verdicts[0].numbers[0].endswith("equal within 0.01 (its gap rises during training)")
    (section,) = [s for s in result.sections if s.heading == "heads: gap during training"]
    assert section.grid is not None
    assert section.grid.columns[1:3] == ("40,960 tokens", "81,920 tokens")


def test_few_points_are_shown_of_many() -> None:
    assert spaced(tuple(range(1, 4))) == (1, 2, 3)
    assert spaced(tuple(2**i for i in range(9))) == (1, 4, 16, 64, 256)


def test_without_common_points_there_is_no_drift(tmp_path: Path) -> None:
    table = aggregate(study_of(tmp_path, SCORES)).report.families[0]
    assert drifts(table, {}) == {}
    only = {("heads", fingerprint_of(arm), 1): curve(arm, 1) for arm in SCORES}
    assert drifts(table, only) == {}
