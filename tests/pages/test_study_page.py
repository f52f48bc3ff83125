"""A study's description, the verdicts on its claims, and its further sections, from synthetic records."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean

import pytest
from scipy import stats as scipy_stats

from made_records import fingerprint_of, plan, put, record
from pgolf.errors import PgolfError
from pgolf.pages.aggregation import aggregate, write_tables
from pgolf.pages.html.document import document
from pgolf.pages.study import as_published, bytes_saved, scores_by_phase, scores_by_stage
from pgolf.records.plan import PlannedRun, Sweep, add_to_plan
from pgolf.records.rows import ROWS
from pgolf.study.description import Claim, ClaimTest, FamilyPlan, Study, read_study, study_from, write_study
from pgolf.study.tradeoff import against_the_line, interpolate_bytes, line_rows
from pgolf.study.verdicts import FAILS, HOLDS, SMALL, UNDECIDED, UNTESTABLE
from pgolf.tables.curves import Curve
from pgolf.tables.stats import one_sample, welch
from pgolf.tables.text import interval

BASE, WORSE, SAME, NOISY = (2.000, 2.004, 2.002), (2.100, 2.104, 2.103), (2.0015, 2.0025, 2.0035), (1.98, 2.06, 2.01)


def study(*claims: Claim, **more: object) -> Study:
    family = FamilyPlan("all", "every arm", "base", ("base", "worse", "same", "noisy"))
    result = Study(
        "heads",
        "Does it matter?",
        "nowhere",
        "cpu",
        "welch",
        0.01,
        (family,),
        {"worse": {"val_bpb": 2.2}},
        "one_sample",
        claims,
    )
    return replace(result, **more)  # type: ignore[arg-type]


def claim(kind: str, *arms: str) -> Claim:
    return Claim(f"{kind} {' '.join(arms)}", "a note", (ClaimTest("all", kind, arms),))


def folder_of(tmp_path: Path, result: Study) -> Path:
    folder = tmp_path / "heads"
    for arm, scores in {"base": BASE, "worse": WORSE, "same": SAME, "noisy": NOISY}.items():
        for seed, bpb in enumerate(scores, 1):
            put(folder, record(arm, seed, bpb) | {"study": "heads", "choices.scale": result.scale})
    plan(folder, ["base", "worse", "same", "noisy"], (1, 2, 3))
    write_study(folder, result)
    return folder


@pytest.mark.parametrize(
    ("result", "verdict"),
    [
        (claim("worse", "worse"), HOLDS),
        (claim("better", "worse"), FAILS),
        (claim("worse", "same"), SMALL),  # its interval is within the smallest effect
        (claim("worse", "noisy"), UNDECIDED),
        (claim("worse", "worse", "noisy"), UNDECIDED),
        (claim("worse", "worse", "same"), SMALL),
        (claim("no_better", "worse"), HOLDS),
        (claim("no_better", "same"), HOLDS),
        (claim("no_better", "noisy"), UNDECIDED),
        (claim("order", "base", "same", "worse"), HOLDS),
        (claim("order", "worse", "same", "base"), FAILS),
        (claim("untestable"), UNTESTABLE),
    ],
)
def test_a_claim_is_judged_by_its_rule(result: Claim, verdict: str, tmp_path: Path) -> None:
    (found,) = aggregate(folder_of(tmp_path, study(result))).verdicts
    assert found.verdict == verdict, found.numbers
    assert bool(found.numbers) is (verdict != UNTESTABLE)


@pytest.mark.parametrize(
    ("kind", "value", "verdict", "why"),
    [
        ("published_is", 2.21, HOLDS, "val_bpb, published: worse 2.2"),
        ("published_is", 2.3, FAILS, "val_bpb, published: worse 2.2"),
        ("published_saves", 0.19, HOLDS, "val_bpb saved, published: worse 0.2"),
        ("published_saves", 0.12, FAILS, "val_bpb saved, published: worse 0.2"),
        ("published_at_most", 2.2, HOLDS, "0 of 1 above 2.2"),
        ("published_at_most", 2.1, FAILS, "1 of 1 above 2.1: worse 2.2"),
    ],
)
def test_published_rows_answer_a_claim_of_arithmetic(
    kind: str, value: float, verdict: str, why: str, tmp_path: Path
) -> None:
    result = Claim("a claim", "", (ClaimTest("all", kind, ("worse",), "val_bpb", value),))
    published = {"base": {"val_bpb": 2.4}, "worse": {"val_bpb": 2.2}}
    write_study(tmp_path, study(result, published=published))
    put(tmp_path, record("base", 1, 2.0) | {"study": tmp_path.name})
    (found,) = aggregate(tmp_path).verdicts
    assert (found.verdict, "; ".join(found.numbers)) == (verdict, why), "whatever has been run"
    for incomplete in ({"worse": {"val_bpb": 2.2}}, {"base": {"val_bpb": 2.4}, "worse": {}}):
        if kind == "published_saves" or not incomplete["worse"]:
            with pytest.raises(ValueError, match="have no val_bpb"):
                study_from(asdict(study(result, published=incomplete)))


def test_a_family_added_afterwards_explores(tmp_path: Path) -> None:
    family = FamilyPlan("all", "every arm", "base", ("base", "worse", "same", "noisy"), explored=True)
    result = aggregate(folder_of(tmp_path, study(claim("worse", "worse"), families=(family,))))
    assert [v.label for v in result.verdicts] == ["holds (explored afterwards)"]
    assert any(
        "holds (explored afterwards)" in row
        for row in (result.sections[-1].grid.rows if result.sections[-1].grid else ())
    )


def test_flipping_an_arm_turns_its_verdict(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, study(claim("worse", "worse")))
    for seed, bpb in enumerate(WORSE, 1):
        put(folder, record("worse", seed, 4.0 - bpb) | {"study": "heads"})
    (found,) = aggregate(folder).verdicts
    assert found.verdict == FAILS


def test_the_latest_sweep_speaks_for_an_arm_and_what_none_plans_says_nothing(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, study(claim("worse", "worse")))
    for seed, bpb in enumerate((1.8, 1.804, 1.803), 1):
        put(folder, record("worse", seed, bpb) | {"study": "heads", "fingerprint": "b" * 16})
    found = aggregate(folder)
    assert found.verdicts[0].verdict == HOLDS, "the better one is not planned"
    assert any("not in the current sweep plan" in warning for warning in found.report.warnings)


def test_two_seeds_give_no_verdict(tmp_path: Path) -> None:
    result = study(claim("worse", "worse"), claim("order", "base", "same", "worse"))
    folder = folder_of(tmp_path, result)
    for record_of_3 in folder.glob("worse/seed3*/result.json"):
        record_of_3.unlink()
    for verdict in aggregate(folder).verdicts:
        assert verdict.verdict == UNDECIDED
        assert "worse has 2 of the 3 seeds that a verdict needs" in verdict.numbers[0]


def test_an_order_needs_scores_that_can_be_compared(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, study(claim("order", "base", "same", "worse")))
    for path in folder.glob("worse/seed*/result.json"):
        path.write_text(path.read_text().replace(json.loads(path.read_text())["eval_mode"], "sliding"))
    (verdict,) = aggregate(folder).verdicts
    assert verdict.verdict == UNDECIDED
    assert "worse cannot be compared" in verdict.numbers[0]


def test_holm_counts_the_arms_of_the_family_that_were_not_run(tmp_path: Path) -> None:
    family = FamilyPlan("all", "every arm", "base", ("base", "worse", "same", "noisy", "absent", "another"))
    whole = aggregate(folder_of(tmp_path / "a", study(families=(family,)))).report.families[0]
    part = aggregate(folder_of(tmp_path / "b", study())).report.families[0]
    more, fewer = (next(row.holm_p for row in table.rows if row.label == "worse") for table in (whole, part))
    assert more == pytest.approx(fewer * 5 / 3)


def curve(arm: str, seed: int, shift: float) -> Curve:
    steps, scales = (10, 20, 30, 40), (1.0, 1.0, 0.5, 0.0)
    live = tuple(3.0 - step / 40 + shift for step in steps)
    ones = (1.0,) * 4
    return Curve("heads", arm, seed, fingerprint_of(arm), steps, steps, ones, ones, steps, live, scales)


def test_scores_by_phase_of_the_schedule(tmp_path: Path) -> None:
    result = aggregate(folder_of(tmp_path, study()))
    curves = [curve(arm, seed, seed / 10) for arm in ("base", "worse") for seed in (1, 2, 3)]
    (section,) = scores_by_phase(result.report.families[0], curves)
    assert section.grid.columns == ("arm", "constant rate", "falling rate", "zero rate")
    assert section.grid.rows[0] == ("base", "2.7000 at 20", "2.4500 at 30 (-0.2500)", "2.2000 at 40 (-0.2500)")
    assert scores_by_phase(result.report.families[0], [replace(c, train_lr_scale=()) for c in curves]) == []


def test_live_scores_have_a_difference_of_their_own(tmp_path: Path) -> None:
    """Averaging and packing can reverse an order: here the arm that is worse when packed is better live."""
    folder = folder_of(tmp_path, study())
    for path in folder.glob("*/seed*/result.json"):
        record = json.loads(path.read_text())
        record["val_bpb_live"] = record["val_bpb"] - (0.5 if path.parts[-3] == "worse" else 0.0)
        path.write_text(json.dumps(record))
    texts = {row[0]: row[2] for row in scores_by_stage(aggregate(folder).report.families[0]).grid.rows}
    assert texts["base"] == ""
    assert texts["worse"] == interval(welch([bpb - 0.5 for bpb in WORSE], BASE))
    assert texts["same"] == interval(welch(SAME, BASE))


def test_each_sweep_is_held_against_its_own_baseline(tmp_path: Path) -> None:
    """The same arms planned again at another setting, where all score one bit better: no difference is to the first
    sweep's baseline.
    """
    folder, cells = folder_of(tmp_path, study()), []
    for arm, scores in {"base": BASE, "worse": WORSE}.items():
        for seed, bpb in enumerate(scores, 1):
            size = 300_000 if arm == "base" else 330_000
            result = record(arm, seed, bpb - 1, model_bytes=200_000, total_bytes=size, val_bpb_live=bpb - 1)
            result |= {"study": "heads", "fingerprint": arm[0] * 16, "choices.scale": "cpu"}
            cells.append(PlannedRun("heads", arm, seed, result["fingerprint"], f"{arm}/seed{seed}-{arm[0] * 8}"))
            put(folder, result)
    add_to_plan(folder, Sweep(("again",), 1.0, "c0de", False, tuple(cells)))
    result = aggregate(folder)
    assert (
        "arms with several configurations; claims use that of the latest sweep: base, worse" in result.report.warnings
    )
    (table,) = result.report.families
    again = next(row for row in table.rows if row.group.fingerprint == "w" * 16)
    live = {row[0]: row[2] for row in scores_by_stage(table).grid.rows}
    assert live[again.label] == interval(welch([bpb - 1 for bpb in WORSE], [bpb - 1 for bpb in BASE]))
    (section,) = bytes_saved(table, 0.01)
    assert {row[0]: row[3] for row in section.grid.rows}[again.label] == "+10.0%"
    (constant,) = [row for row in as_published(table).grid.rows if row[0] == again.label]
    assert constant[1] == f"t = {one_sample([b - 1 for b in WORSE], fmean(BASE) - 1).t:.2f}, df 2"


def test_bytes_are_saved_at_an_equal_score_only_within_the_smallest_effect(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, study())
    for path in folder.glob("same/seed*/result.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"total_bytes": 450_000, "model_bytes": 350_000}))
    (section,) = bytes_saved(aggregate(folder).report.families[0], 0.01)
    texts = {row[0]: (*row[2:5], row[6]) for row in section.grid.rows}
    assert texts["same"] == ("-50,000", "-10.0%", "-12.5%", "equal within 0.01"), "of 500,000 bytes 100,000 are code"
    assert texts["worse"] == ("+0", "+0.0%", "+0.0%", "worse")
    assert texts["noisy"][-1] == "undecided"


@pytest.mark.parametrize(
    ("bpb", "size"),
    [(2.0, 200.0), (2.1, 150.0), (2.2, 100.0), (1.9, 300.0), (1.95, 250.0), (1.899, None), (2.201, None)],
)
def test_bytes_on_a_line_leave_out_what_another_point_beats(bpb: float, size: float | None) -> None:
    line = [(200.0, 2.0), (100.0, 2.2), (300.0, 1.9), (300.0, 1.9), (250.0, 2.1), (120.0, 2.3)]
    assert interpolate_bytes(line, bpb) == (None if size is None else pytest.approx(size))


def test_bytes_saved_are_told_seed_by_seed(tmp_path: Path) -> None:
    """The line goes from `worse`, 400,000 bytes, to `base`, 500,000; `noisy` lies between them, `same` beats both in a
    seed.
    """
    folder, between = folder_of(tmp_path, study()), (2.05, 2.06, 2.03)
    for arm, size in {"worse": 400_000, "noisy": 420_000}.items():
        for seed, path in enumerate(sorted(folder.glob(f"{arm}/seed*/result.json"))):
            found = json.loads(path.read_text()) | {"total_bytes": size, "model_bytes": size - 100_000}
            bpb = between[seed] if arm == "noisy" else found["val_bpb"]
            path.write_text(
                json.dumps(found | {"val_bpb": bpb, "val_nats": found["val_nats"] * bpb / found["val_bpb"]})
            )
    table = aggregate(folder).report.families[0]
    section, equal = against_the_line(table, ("base", "worse"))
    texts = {row[0]: row[2:] for row in section.grid.rows}
    costs = [
        400_000 + 100_000 * (worse - bpb) / (worse - base)
        for base, worse, bpb in zip(BASE, WORSE, between, strict=True)
    ]
    saved = [cost - 420_000 for cost in costs]
    test = one_sample(saved)
    assert test.low is not None
    assert texts["noisy"][:2] == ("420,000", f"{fmean(costs):,.0f}")
    assert texts["noisy"][2] == f"{fmean(saved):+,.0f} [{test.low:+,.0f}, {test.high:+,.0f}]"
    assert texts["noisy"][3] == f"{100 * fmean(saved) / fmean(costs):+.1f}%"
    assert texts["noisy"][4] == f"{100 * fmean(saved) / (fmean(costs) - 100_000):+.1f}%", "the model alone"
    assert texts["same"] == ("500,000", "", "its score is beyond the ends of the line", "", "")
    assert [row[1] for row in section.grid.rows] == ["3", "3"]
    assert equal.grid is not None
    on_the_line = [worse + (base - worse) * 0.2 for base, worse in zip(BASE, WORSE, strict=True)]
    difference = one_sample([bpb - at for bpb, at in zip(between, on_the_line, strict=True)])
    assert equal.grid.rows[-1] == (
        *("noisy", "3", "420,000", f"{fmean(between):.4f}", f"{fmean(on_the_line):.4f}"),
        interval(difference),
    )
    assert equal.grid.rows[0][-1] == interval(one_sample([x - y for x, y in zip(SAME, BASE, strict=True)])), (
        "at its end"
    )
    assert against_the_line(table, ()) == []
    (section,) = against_the_line(table, ("base", "absent"))
    assert section.grid is None
    assert "absent has no score" in section.lines[0]


def test_a_configuration_that_no_sweep_plans_is_no_part_of_the_line(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, study())
    for seed in (1, 2, 3):
        stale = record("worse", seed, 1.0) | {
            "study": "heads",
            "choices.scale": "cpu",
            "fingerprint": "f" * 16,
            "total_bytes": 9_000_000,
        }
        put(folder, stale)
    table = aggregate(folder).report.families[0]
    assert len([row for row in table.rows if row.group.arm == "worse"]) == 2
    through, why_not = line_rows(table, ("base", "worse"))
    assert why_not == []
    assert [row.group.fingerprint for row in through] == [fingerprint_of("base"), fingerprint_of("worse")]


def test_a_claim_about_what_was_not_run_is_undecided(tmp_path: Path) -> None:
    family = FamilyPlan("all", "every arm", "base", ("base", "worse", "same", "noisy", "absent"))
    (found,) = aggregate(folder_of(tmp_path, study(claim("worse", "absent"), families=(family,)))).verdicts
    assert (found.verdict, found.numbers) == (UNDECIDED, ("absent has no score",))


def test_the_page_has_every_part(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, study(claim("worse", "worse")))
    result = aggregate(folder)
    assert write_tables(result, folder) == []
    text = (folder / "table.md").read_text()
    for part in (
        "Does it matter?",
        "published bpb",
        "2.2000",
        "verdict",
        "equal within 0.01",
        "Published claims",
        "as published",
    ):
        assert part in text
    want = scipy_stats.ttest_1samp(WORSE, sum(BASE) / 3, alternative="greater")
    assert f"t = {want.statistic:.2f}, df 2" in text
    assert "measured - published" not in text, "only at the published scale"
    published = aggregate(folder_of(tmp_path, study(scale="published")))
    row = next(row for row in published.report.families[0].rows if row.label == "worse")
    assert row.extra["measured - published"].startswith("-0.09")


def test_claims_of_ones_own_are_not_called_published(tmp_path: Path) -> None:
    own = replace(study(claim("worse", "worse")), source="", published={}, published_test="")
    folder = folder_of(tmp_path, own)
    write_tables(aggregate(folder), folder)
    text = (folder / "table.md").read_text()
    assert "## Claims" in text
    assert "| claim | family | verdict | numbers | note |" in text
    assert "ublished" not in text.partition("## Claims")[2]
    assert "threshold" not in text
    assert "ublished claims" not in document(aggregate(folder), [])


def test_rows_beside_their_study_are_read_alike(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, study(claim("worse", "worse")))
    write_tables(aggregate(folder), folder)
    kept = tmp_path / "results"
    kept.mkdir()
    (kept / "heads.jsonl").write_bytes((folder / ROWS).read_bytes())
    (kept / "heads.study.json").write_bytes((folder / "study.json").read_bytes())
    again = aggregate(kept / "heads.jsonl")
    assert again.verdicts == aggregate(folder).verdicts
    assert again.study == aggregate(folder).study


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test": "guess"}, "test guess is not one of"),
        ({"published": {"other": {}}}, "published values of other"),
        ({"published_test": "z"}, "published_test z"),
    ],
)
def test_a_description_that_contradicts_itself(change: dict[str, object], message: str, tmp_path: Path) -> None:
    write_study(tmp_path, study(**change))
    with pytest.raises(PgolfError, match=message):
        read_study(tmp_path)


def test_a_damaged_description_is_named(tmp_path: Path) -> None:
    write_study(tmp_path, study())
    sound = json.loads((tmp_path / "study.json").read_text())
    without = {key: value for key, value in sound.items() if key != "families"}
    for result, message in (
        ("{", "not JSON"),
        ([], "schema is None"),
        (without, "families is missing"),
        ({**sound, "families": {}}, "families needs a list"),
        ({**sound, "smallest_effect_bpb": 1e300}, "smallest_effect_bpb needs a number from"),
        ({**sound, "colour": 1}, "colour is not a field"),
    ):
        (tmp_path / "study.json").write_text(result if isinstance(result, str) else json.dumps(result))
        with pytest.raises(PgolfError, match=rf"study\.json: .*{message}"):
            read_study(tmp_path)
    assert read_study(tmp_path / "elsewhere") is None
    with pytest.raises(ValueError, match="question is missing"):
        study_from({"name": "x"})
