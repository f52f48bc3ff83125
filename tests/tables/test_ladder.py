"""Ladders of families: gaps and slopes from records, refusals, and speedups in compute and time."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import scipy.stats

from made_records import describe, plan, put, record
from pgolf.pages.aggregation import StudyResults, aggregate
from pgolf.pages.figures.gallery import gallery, looks_of
from pgolf.pages.figures.ladder import panels
from pgolf.pages.headline import headline
from pgolf.pages.html.first_screen import first_screen
from pgolf.pages.ladder import ratio_text
from pgolf.study.description import Claim, ClaimTest, LadderPlan, write_study
from pgolf.study.published import OVER_LADDER, ladders_of
from pgolf.tables.ladder import Ladder, effective, shared_name
from pgolf.tables.scaling import Speedup
from pgolf.tables.stats import one_sample
from pgolf.tables.text import Section, interval

STEPS = (100, 200, 400, 800)
FLOPS = {"tied": 1_000_000, "mos": 1_100_000}
GAIN = 1.2  # of compute, true
SEEDS = (1, 2, 3)


def law(steps: float) -> float:
    return 1.2 + (steps / 400) ** -0.35


def noise(seed: int, steps: int, arm: str) -> float:
    """Noise of a run, of sd about 0.001, the same every time."""
    return 0.001 * math.sin(7.0 * seed + steps + 3 * len(arm))


def score(arm: str, steps: int, seed: int) -> float:
    return law(GAIN * steps if arm == "mos" else steps) + noise(seed, steps, arm)


def name(arm: str, steps: int) -> str:
    return f"S{steps}_{arm}"


def climb(
    folder: Path, *, rungs: tuple[int, ...] = STEPS, change: Mapping[str, Mapping[str, Any]] = {}, **other: Any
) -> Path:
    """A study whose families have longer and longer runs. change: further fields of a record, by its arm."""
    study = folder / "heads"
    for steps in rungs:
        for arm in ("tied", "mos"):
            for seed in SEEDS:
                fields = {"budget__steps": steps, "flops_per_token": FLOPS[arm], **change.get(name(arm, steps), {})}
                put(study, record(name(arm, steps), seed, score(arm, steps, seed), **fields))
    plan(study, [name(arm, steps) for steps in rungs for arm in ("tied", "mos")], SEEDS)
    families = {f"steps{steps}": (name("tied", steps), name("mos", steps)) for steps in rungs}
    ladders = (LadderPlan("longer runs", other.pop("over", "tokens"), tuple(families)),)
    tests = tuple(ClaimTest(family, "better", arms[1:]) for family, arms in families.items())
    describe(study, families, ladders=ladders, claims=(Claim("mos is better", "", tests),), **other)
    return study


def ladder_of(results: StudyResults) -> Ladder:
    assert results.study is not None
    (found,) = ladders_of(results.study, results.report)
    return found


def section(results: StudyResults, beginning: str) -> Section:
    (found,) = [part for part in results.sections if part.heading.startswith(beginning)]
    return found


def test_gaps_and_their_slope_are_within_seeds(tmp_path: Path) -> None:
    results = aggregate(climb(tmp_path))
    found = ladder_of(results)
    assert [one.x for one in found.rungs] == [4096 * steps for steps in STEPS]
    (only,) = found.climbs
    assert (only.name, only.seeds, only.notes) == ("mos", SEEDS, ())
    tests = [table.rows[1].comparison.test for table in results.report.families]  # type: ignore[union-attr]
    assert list(only.gaps) == tests
    slopes = [
        scipy.stats.linregress(range(4), [score("mos", x, seed) - score("tied", x, seed) for x in STEPS]).slope
        for seed in SEEDS
    ]
    assert only.slope.difference == pytest.approx(sum(slopes) / 3)
    assert only.slope.p == pytest.approx(float(scipy.stats.ttest_1samp(slopes, 0).pvalue))
    assert only.direction == "rises", "the gap of a faster arm shrinks towards L_inf"
    for table in results.report.families:
        assert table.rows[1].extra[OVER_LADDER] == "rises with tokens", "the main table"
        verdict = next(v for v in results.verdicts if v.test.family == table.family.name)
        assert verdict.numbers[0].endswith("(for this budget and size; its gap rises with tokens)")
    grid = section(results, "Ladder over tokens: longer runs").grid
    assert grid is not None
    assert grid.columns[1:5] == tuple(f"{4096 * x:,} tokens" for x in STEPS)
    assert grid.rows[0][0] == "mos"
    assert grid.rows[0][-1] == "rises"


def test_a_true_gain_of_compute_is_found_on_every_rung(tmp_path: Path) -> None:
    found = ladder_of(aggregate(climb(tmp_path)))
    numbers = effective(found, {})
    assert numbers.refusal == ""
    assert [law.alpha for law in numbers.laws.values()] == pytest.approx([0.35] * 3, abs=0.1)
    (speeds,) = numbers.speeds
    assert speeds.times is None
    for one in speeds.compute:
        assert one.ratio == pytest.approx(GAIN * FLOPS["tied"] / FLOPS["mos"], rel=0.02)
        assert one.bounds is not None
    assert [one.note for one in speeds.compute] == ["", "", "", "extrapolated in 3 of 3 seeds"]


def test_the_picture_has_every_gap_with_its_interval(tmp_path: Path) -> None:
    results = aggregate(climb(tmp_path))
    (only,) = ladder_of(results).climbs
    picture = panels(results, looks_of(results))["longer runs"]
    (ax,) = picture.figure.axes
    (line,) = [line for line in ax.lines if len(line.get_xdata()) == len(STEPS)]
    assert list(line.get_ydata()) == pytest.approx([gap.difference for gap in only.gaps])
    assert list(line.get_xdata()) == pytest.approx([4096 * steps for steps in STEPS])
    (bars,) = [part for part in ax.collections if len(part.get_paths()) == len(STEPS)]
    ends = [path.vertices[:, 1] for path in bars.get_paths()]
    assert [tuple(pair) for pair in ends] == [(pytest.approx(gap.low), pytest.approx(gap.high)) for gap in only.gaps]
    assert "mos" in [text.get_text() for text in picture.figure.texts], "the name beside the end of its line"
    assert f"{4096 * STEPS[0]:,} {interval(only.gaps[0])}" in picture.description


def test_the_first_screen_has_the_slope_and_the_picture(tmp_path: Path) -> None:
    results = aggregate(climb(tmp_path))
    (only,) = ladder_of(results).climbs
    (trend,) = headline(results).trends
    change = "Longer runs: change of the gap to the baseline per doubling of tokens, bpb"
    assert trend == f"{change}: mos {interval(only.slope)} (rises)."
    screen, rest = first_screen(results, gallery(results))
    assert trend in screen
    assert "longer runs: gap to the baseline by tokens" in screen
    assert "ladders" not in [exhibit.name for exhibit in rest], "it has one picture, shown above"


def test_a_ladder_with_an_explored_family_says_so(tmp_path: Path) -> None:
    study = aggregate(climb(tmp_path, rungs=STEPS[:3])).study
    assert study is not None
    *earlier, last = study.families
    write_study(tmp_path / "heads", replace(study, families=(*earlier, replace(last, explored=True))))
    results = aggregate(tmp_path / "heads")
    assert ladder_of(results).title == "longer runs (explored afterwards)"
    (trend,) = headline(results).trends
    assert trend.startswith("Longer runs (explored afterwards): ")


def test_step_times_beside_the_rows_give_the_speedup_in_time(tmp_path: Path) -> None:
    study = climb(tmp_path)
    models = [{"name": f"study=heads arm=heads/S200_{arm}", "tokens_per_step": 4096} for arm in ("tied", "mos")]
    times = {"median": 1.3, "low": 1.25, "high": 1.35}
    (study / "bench.json").write_text(json.dumps({"models": models, "step_time_ratio": times}))
    results = aggregate(study)
    (speeds,) = effective(ladder_of(results), results.step_ratios).speeds
    assert speeds.times is not None
    for compute, time in zip(speeds.compute, speeds.times, strict=True):
        assert compute.ratio is not None
        assert time.ratio == pytest.approx(compute.ratio * FLOPS["mos"] / FLOPS["tied"] / 1.3), (
            "tokens by time per token"
        )
    grid = section(results, "Effective speedup").grid
    assert grid is not None
    assert grid.columns[4:6] == ("speedup in compute", "in time")


def test_three_rungs_determine_the_law_exactly(tmp_path: Path) -> None:
    results = aggregate(climb(tmp_path, rungs=STEPS[:3]))
    lines = section(results, "Law of the baseline").lines
    assert "determine the three constants exactly" in lines[0]
    two = aggregate(climb(tmp_path / "two", rungs=STEPS[:2]))
    assert "a law needs 3 or more rungs, and there are 2" in section(two, "Effective speedup").lines[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({name("tied", 200): {"budget__steps": 100}}, "tokens do not increase between steps100 (409,600) and steps200"),
        ({name("tied", 400): {"params__total": 2000}}, "the baselines have different numbers of parameters"),
        ({name("tied", 400): {"val_text_sha": "e" * 64}}, "the baselines of steps400 and steps200 cannot be compared"),
    ],
)
def test_what_is_not_a_ladder_is_refused_with_a_reason(change: Mapping[str, Any], said: str, tmp_path: Path) -> None:
    results = aggregate(climb(tmp_path, change=change))
    assert ladder_of(results).refusal.startswith(said)
    assert section(results, "Ladder over tokens").lines[0].startswith(f"There is no ladder: {said}")
    assert not [part for part in results.sections if part.heading.startswith("Effective speedup")]


def test_seeds_that_are_not_on_every_rung_are_left_out(tmp_path: Path) -> None:
    study = climb(tmp_path)
    for path in study.glob("S800_mos/seed3*/result.json"):
        path.unlink()
    (only,) = ladder_of(aggregate(study)).climbs
    assert only.seeds == (1, 2)
    assert only.notes[0] == "seed 3 not on every rung, and not in the slope"
    assert "S800_mos has 2 of the 3 seeds" in only.notes[1]
    for path in study.glob("S800_mos/seed2*/result.json"):
        path.unlink()
    (only,) = ladder_of(aggregate(study)).climbs
    assert (only.slope.difference, only.slope.reason) == (None, "1 seed is common to all rungs")


def test_a_family_without_scores_is_left_out(tmp_path: Path) -> None:
    study = climb(tmp_path)
    for path in study.glob("S400_tied/seed*/result.json"):
        path.unlink()
    found = ladder_of(aggregate(study))
    assert [one.table.family.name for one in found.rungs] == ["steps100", "steps200", "steps800"]
    assert found.notes == ("steps400 is left out: its baseline has no score",)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"flops_per_token": None}, "records of the baseline do not have the FLOPs of all their training"),
        ({"from__fingerprint": "a" * 16}, "records of the baseline do not have the FLOPs of all their training"),
        ({"flops_per_token": 500_000}, "FLOPs do not increase from rung to rung"),
    ],
)
def test_without_flops_that_increase_there_is_no_law(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    results = aggregate(climb(tmp_path, change={name("tied", 400): change}))
    assert said in section(results, "Effective speedup").lines[0]


def test_a_speedup_is_written_with_its_interval_or_the_reason() -> None:
    assert ratio_text(Speedup(one_sample([0.0, 0.1, 0.2]))) == "1.11 [0.86, 1.42]"
    assert ratio_text(Speedup(one_sample([0.1]))) == "1.11 (no test with one seed)"
    assert ratio_text(Speedup(one_sample([0.0, 2.0]))) == "2.72 [0.00, above 1,000]"
    assert ratio_text(Speedup(None, "above the ladder in 1 of 2 seeds")) == "none"


def test_a_ladder_over_parameters_has_gaps_and_no_law(tmp_path: Path) -> None:
    sizes = {name(arm, x): {"params__total": 10 * x} for x in STEPS for arm in FLOPS}
    results = aggregate(climb(tmp_path, change=sizes, over="parameters"))
    assert [one.x for one in ladder_of(results).rungs] == [10 * x for x in STEPS]
    assert not [part for part in results.sections if part.heading.startswith(("Effective", "Law"))]


@pytest.mark.parametrize(
    ("labels", "shared"),
    [
        (("S86_mos", "S176_mos"), "mos"),
        (("mos_k4_S86", "mos_k4_S171"), "mos_k4"),
        (("a", "b"), "a to b"),
        (("S86_mos_k4", "S171_mos_k4"), "mos_k4"),
    ],
)
def test_an_arm_has_one_name_on_all_rungs(labels: tuple[str, ...], shared: str) -> None:
    assert shared_name(labels) == shared
