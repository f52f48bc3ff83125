"""Pictures: they show the computed numbers for any shape of study. Their SVG is safe, accessible and reproducible."""

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from made_records import curved_study, describe, failed, metrics, put, record, study_of
from pgolf.errors import PgolfError
from pgolf.pages.aggregation import StudyResults, aggregate
from pgolf.pages.figures import forest, points
from pgolf.pages.figures.export import Picture, svg, write_png
from pgolf.pages.figures.gallery import Exhibit, gallery, looks_of
from pgolf.pages.figures.gaps import on_scale
from pgolf.pages.figures.numbers import (
    TRAIN,
    VALIDATION,
    WINDOW,
    Effect,
    Series,
    Sized,
    baseline_seeds,
    cap_of,
    effects,
    gap_series,
    numbered,
    off_scale,
    parts,
    series,
    sizes,
)
from pgolf.pages.figures.style import HUES, VARIABLES, apart, look_of, shorten
from pgolf.pages.published_gaps import published_gaps
from pgolf.study.description import write_study
from pgolf.tables.contrast import Settings
from pgolf.tables.curves import curves_of
from pgolf.tables.drift import drifts
from pgolf.tables.methods import PAIRED

SCORES = {"tied": [2.00, 2.01, 2.03], "mos": [1.90, 1.93, 1.91], "low": [2.02, 2.00, 2.01]}
HOSTILE = ("a$\\frac{b}$", "<script>alert(1)</script>", '"]]>-->&amp;', "模型🙂", "x" * 300, 'url(#no) id="y" #1c2024')
SVG = "{http://www.w3.org/2000/svg}"


def made_of(study: Path) -> StudyResults:
    return aggregate(study, with_curves=True)


def pictures(exhibits: list[Exhibit]) -> dict[str, Picture]:
    return {picture.name: picture for exhibit in exhibits for picture in exhibit.panels.values()}


def whole_study(root: Path) -> Path:
    """Two families, published values, curves."""
    study = curved_study(
        root,
        {**SCORES, **{f"{arm}_frozen": [x + 1 for x in values] for arm, values in SCORES.items()}},
        cap_bytes=600_000,
    )
    frozen = tuple(f"{arm}_frozen" for arm in SCORES)
    describe(
        study,
        {"trained": tuple(SCORES), "frozen": frozen},
        published={arm: {"val_bpb": 1 + i / 10} for i, arm in enumerate(frozen)},
    )
    return study


def test_a_curve_is_the_mean_and_the_range_of_its_seeds(tmp_path: Path) -> None:
    result = made_of(curved_study(tmp_path, SCORES))
    (part,) = parts(result.report.families[0])
    found = {line.label: line for line in series(part, VALIDATION, curves_of(result.curves))}
    assert set(found) == set(SCORES)
    line = found["mos"]
    assert line.seeds == 3
    assert line.tokens == tuple(step * 4096.0 for step in (20, 40, 60, 80, 100)), (
        "the last point is the final live score"
    )
    assert line.mean[-1] == pytest.approx(fmean(SCORES["mos"]) - 0.01)
    assert (line.low[-1], line.high[-1]) == pytest.approx((1.89, 1.92))
    at_20 = [round(x - 0.01 + 2.0 * 0.9**4 + 0.01 * (seed * 20 % 3), 5) for seed, x in enumerate(SCORES["mos"], 1)]
    assert (line.mean[0], line.low[0], line.high[0]) == pytest.approx((fmean(at_20), min(at_20), max(at_20)))


def test_training_points_are_means_of_neighbours(tmp_path: Path) -> None:
    result = made_of(curved_study(tmp_path, {"tied": [2.0]}))
    (curve,) = result.curves
    (part,) = parts(result.report.families[0])
    (line,) = series(part, TRAIN, curves_of(result.curves))
    assert len(curve.train_tokens) > 2 * WINDOW
    assert line.tokens == tuple(map(float, curve.train_tokens))[: -(WINDOW // 2)]
    assert line.mean[0] == curve.train_bpb[0], "the first stands as it is"
    assert line.mean[-1] == pytest.approx(fmean(curve.train_bpb[-WINDOW:])), (
        "the last is a mean of as many as the others"
    )
    assert line.mean[7] == pytest.approx(fmean(curve.train_bpb[7 - WINDOW // 2 : 8 + WINDOW // 2]))


def test_only_counted_seeds_and_common_points_enter_a_curve(tmp_path: Path) -> None:
    study = curved_study(tmp_path, SCORES)
    late = record("mos", 1, 1.9, steps=60, tokens=245_760, budget__steps=60, val_bpb_live=1.85)
    put(study, late)
    metrics(study, late, steps=60)
    put(study, failed("mos", 2))
    result = made_of(study)
    (part,) = parts(result.report.families[0])
    line = next(x for x in series(part, TRAIN, curves_of(result.curves)) if x.label == "mos")
    assert line.seeds == 2
    assert max(line.tokens) <= 60 * 4096


def test_what_is_drawn_is_what_was_computed(tmp_path: Path) -> None:
    result = made_of(whole_study(tmp_path))
    drawn = pictures(gallery(result))
    for number, table in enumerate(result.report.families, 1):
        (part,) = parts(table)
        for kind in (TRAIN, VALIDATION):
            shown = [tuple(map(tuple, line.get_data())) for line in drawn[f"{kind}-{number}"].figure.axes[0].lines]
            assert shown == [(line.tokens, line.mean) for line in series(part, kind, curves_of(result.curves))]
        marks = [
            line.get_xdata()[0]
            for line in drawn[f"differences-{number}"].figure.axes[0].lines
            if len(line.get_xdata()) == 1
        ]
        assert marks == [row.comparison.test.difference for row in table.rows if row.comparison and row.comparison.test]
        bars = [
            tuple(line.get_xdata())
            for line in drawn[f"differences-{number}"].figure.axes[0].lines
            if len(line.get_xdata()) == 2
        ][1:]
        assert bars == [
            (row.comparison.test.low, row.comparison.test.high)
            for row in table.rows
            if row.comparison and row.comparison.test
        ]
        dots = [
            (line.get_xdata()[0], line.get_ydata()[0])
            for line in drawn[f"bytes-{number}"].figure.axes[0].lines
            if len(line.get_xdata()) == 1
        ]
        assert dots == [(row.group.mean("total_bytes"), row.mean_bpb) for row in table.rows]
    gaps = published_gaps(result.report.families[1], result.study)
    assert [gap.published for gap in gaps] == pytest.approx([0.1, 0.2])
    shown = [line.get_data() for line in drawn["published-2"].figure.axes[0].lines if len(line.get_xdata()) == 1]
    assert [(x[0], y[0]) for x, y in shown] == [(gap.published, gap.measured.difference) for gap in gaps]
    assert drawn["published-2"].figure.axes[0].get_xlim() == drawn["published-2"].figure.axes[0].get_ylim()
    assert "published-1" not in drawn, "a family without published values has no such picture"
    assert "published-2" in drawn


@pytest.mark.parametrize(
    "scores",
    [
        {"one": [2.0]},
        {"one": [2.0, 2.1]},
        {"a": [2.0], "b": [1.9]},
        {"a": [2.0, 2.0], "b": [2.0, 2.0]},
        {f"arm{n}": [2 + n / 100, 2.001 + n / 100] for n in range(20)},
        {f"a_rather_long_name_of_arm_number_{n}": [2.0 + n % 3 / 1000] for n in range(20)},
        {"a": [2.0, 2.1], "b": [2.1, 2.0], "c": [2.05, 2.1], "far": [9.0, 9.1]},
        {name: [2.0, 2.1] for name in HOSTILE},
    ],
    ids=["one run", "one arm", "one seed", "no variance", "20 arms", "20 long names", "one far away", "hostile names"],
)
def test_any_shape_draws(scores: dict[str, list[float]], tmp_path: Path) -> None:
    study = tmp_path / "heads"
    for number, (arm, values) in enumerate(scores.items()):
        for seed, bpb in enumerate(values, 1):
            result = record(arm, seed, bpb, steps=100, fingerprint=f"{number:08x}" * 2)
            where = f"arm{number}/seed{seed}-{number:08x}"
            put(study, result, where)
            (study / where / "metrics.jsonl").write_text(
                "".join(
                    f'{{"event": "train", "step": {s}, "tokens": {s * 4096}, "train_bpb": {bpb + 1 / s}, '
                    '"train_nats": 3}\n'
                    for s in (10, 50, 100)
                )
                + f'{{"event": "val", "step": 50, "val_bpb_live": {bpb}}}\nnot json'
            )
    found = made_of(study)
    assert len(found.report.families[0].rows) == len(scores)
    for picture in pictures(gallery(found)).values():
        tree = ElementTree.fromstring(svg(picture))
        assert not list(tree.iter(f"{SVG}script"))
        message = " ".join(text.text or "" for text in tree.iter(f"{SVG}text"))
        assert all(arm in message for arm in scores if len(arm) <= 26) or picture.name.startswith("differences")
        width, height = map(float, tree.attrib["viewBox"].split()[2:])
        assert width == pytest.approx(420)
        assert height < 700


def test_without_scores_curves_or_study_there_is_less_to_draw(tmp_path: Path) -> None:
    study = tmp_path / "heads"
    put(study, failed("tied", 1))
    assert gallery(made_of(study)) == []
    names = [exhibit.name for exhibit in gallery(made_of(study_of(tmp_path / "b", SCORES)))]
    assert names == ["differences", "bytes"]
    assert gallery(made_of(study_of(tmp_path / "c", {"tied": [2.0]})))[0].name == "bytes", (
        "one arm differs from nothing"
    )


def test_an_arm_without_a_difference_says_why(tmp_path: Path) -> None:
    study = study_of(tmp_path, SCORES)
    for seed in (1, 2, 3):
        put(study, record("mos", seed, 1.9, eval_mode="sliding"))
    exhibits = {exhibit.name: exhibit for exhibit in gallery(made_of(study))}
    (picture,) = exhibits["differences"].panels.values()
    assert "mos: none, another evaluation mode" in picture.description
    assert any(text.get_text().startswith(" another evaluation") for text in picture.figure.axes[0].texts)
    assert list(exhibits["bytes"].panels) == ["heads (plain64)", "heads (sliding)"], (
        "scores of two modes never share an axis"
    )


def test_an_arm_keeps_its_look_and_no_two_look_alike(tmp_path: Path) -> None:
    result = made_of(whole_study(tmp_path))
    numbers = {key[1]: number for key, number in numbered(result).items()}
    assert numbers == {"tied": None, "mos": 0, "low": 1, "tied_frozen": None, "mos_frozen": 0, "low_frozen": 1}
    looks = [look_of(number) for number in (None, *range(20))]
    assert len({(look.colour, str(look.dash)) for look in looks}) == len(looks), "lines"
    assert len({(look.colour, look.marker) for look in looks}) == len(looks), "marks"
    drawn = pictures(gallery(result))
    for name in ("validation-1", "differences-1", "bytes-1"):
        colours = {line.get_color() for line in drawn[name].figure.axes[0].lines}
        assert {HUES[0], HUES[1]} <= colours
        assert HUES[2] not in colours


def test_an_arm_has_one_name_in_all_pictures(tmp_path: Path) -> None:
    result = made_of(study_of(tmp_path, {f"{'x' * n}{'long' * 20}{'y' * n}": [2.0, 2.1] for n in range(1, 12)}))
    names = {key: look.name for key, look in looks_of(result).items()}
    assert len(set(names.values())) == 11
    drawn = pictures(gallery(result))
    for name in ("differences-1", "bytes-1"):
        shown = {text.get_text() for text in drawn[name].figure.texts}
        assert set(list(names.values())[1:]) <= shown


def test_the_cap_stands_where_it_squashes_nothing(tmp_path: Path) -> None:
    near = [Sized(("s", arm, arm), arm, size, 2.0, 1.9, 2.1) for arm, size in (("a", 500_000), ("b", 560_000))]
    assert points.shows_cap(near, 600_000)
    assert not points.shows_cap(near, 16_000_000)
    assert not points.shows_cap(near, None)
    assert points.x_limits(near, 16_000_000)[1] < 580_000
    result = made_of(whole_study(tmp_path))
    assert cap_of(parts(result.report.families[0])[0]) == 600_000
    (exhibit,) = (
        e for e in gallery(made_of(study_of(tmp_path / "b", SCORES, cap_bytes=16_000_000))) if e.name == "bytes"
    )
    assert "the cap, 16,000,000 bytes, lies far to the right" in exhibit.caption
    assert len(sizes(parts(result.report.families[0])[0])) == 3


def test_bytes_that_hardly_differ_have_ticks_that_do(tmp_path: Path) -> None:
    study = study_of(tmp_path, SCORES)
    for arm, size in (("tied", 635_671), ("mos", 635_788), ("low", 635_700)):
        for seed, bpb in enumerate(SCORES[arm], 1):
            put(study, record(arm, seed, bpb, total_bytes=size))
    drawn = pictures(gallery(made_of(study)))["bytes-1"].figure.axes[0]
    ticks = [drawn.xaxis.get_major_formatter()(tick) for tick in drawn.get_xticks()]
    assert len(set(ticks)) == len(ticks) > 1


def test_the_line_of_a_family_is_drawn_through_its_arms_alone(tmp_path: Path) -> None:
    study, sizes_of = study_of(tmp_path, SCORES), {"tied": 500_000, "mos": 700_000, "low": 600_000}
    for arm, values in SCORES.items():
        for seed, bpb in enumerate(values, 1):
            put(study, record(arm, seed, bpb, total_bytes=sizes_of[arm]))
    plain = describe(study, {"all": tuple(SCORES)})
    (bare,) = (e for e in gallery(made_of(study)) if e.name == "bytes")
    (family,) = plain.families
    write_study(study, replace(plain, families=(replace(family, line=("mos", "tied")),)))
    (joined,) = (e for e in gallery(made_of(study)) if e.name == "bytes")
    assert ("Dotted" in bare.caption, "Dotted" in joined.caption) == (False, True)
    drawn = [[(float(x), float(y)) for x, y in line.get_xydata()] for line in joined.panels["all"].figure.axes[0].lines]
    assert [(500_000.0, fmean(SCORES["tied"])), (700_000.0, fmean(SCORES["mos"]))] in drawn, "from few bytes to many"
    assert len(drawn) == len(bare.panels["all"].figure.axes[0].lines) + 1


def test_far_worse_arms_stand_at_the_edge() -> None:
    assert off_scale([2.0, 2.1, 2.05, 9.0]) == 9.0
    assert off_scale([2.0, 2.1, 2.05]) is None, "one of three is not an outlier"
    assert off_scale([2.0, 2.1, 2.05, 2.2]) is None
    assert off_scale([1.0, 2.1, 2.05, 2.2]) is None, "a far better arm is the result"
    key = ("s", "a", "f")
    found = [Effect(key, str(x), x, x - 0.01, x + 0.01) for x in (0.01, 0.02, 0.03, 5.0)]
    assert forest.outliers(found) == [False, False, False, True]
    assert forest.limits(found, 0.01)[1] < 0.1
    wide = [Effect(key, "a", 0.01, -3.0, 3.02), Effect(key, "b", 0.02, 0.01, 0.03)]
    low, high = forest.limits(wide, None)
    assert high - low < 0.1, "an interval of two seeds does not squash the others"
    low, high = forest.limits([max(wide, key=lambda e: e.high or 0)], None)
    assert high - low > 0.1, "but is whole where there are no others"


def test_effects_are_the_tables(tmp_path: Path) -> None:
    (table,) = made_of(study_of(tmp_path, SCORES)).report.families
    tests = [row.comparison.test for row in table.rows if row.comparison]
    assert [(e.difference, e.low, e.high) for e in effects(table)] == [
        (t.difference, t.low, t.high) for t in tests if t
    ]
    base = fmean(SCORES["tied"])
    assert effects(table)[0].seeds == pytest.approx([score - base for score in SCORES["mos"]])
    assert baseline_seeds(table) == pytest.approx([score - base for score in SCORES["tied"]])
    (paired,) = aggregate(tmp_path / "heads", settings=Settings(PAIRED)).report.families
    assert effects(paired)[0].seeds == pytest.approx([-0.10, -0.08, -0.12]), "to the same seed of the baseline"
    assert baseline_seeds(paired) == ()


def test_gaps_during_training_are_those_of_the_table(tmp_path: Path) -> None:
    result = made_of(curved_study(tmp_path, SCORES))
    (table,) = result.report.families
    found = {line.label: line for line in gap_series(table, curves_of(result.curves))}
    assert set(found) == {"mos", "low"}
    drift = drifts(table, curves_of(result.curves))["mos"]
    assert found["mos"].tokens == drift.tokens
    assert found["mos"].mean == tuple(gap.difference for gap in drift.gaps)
    assert (found["mos"].low, found["mos"].high) == tuple(zip(*((g.low, g.high) for g in drift.gaps), strict=True))


@pytest.mark.parametrize(("first", "is_shown"), [(0.07, True), (0.005, False)])
def test_an_arm_far_above_the_others_leaves_the_axis_unless_they_have_been_there(first: float, is_shown: bool) -> None:
    gaps = {"far": (0.1, 0.031), "near": (first, -0.003), "nearer": (first, 0.003)}
    lines = [Series(("heads", label, label), label, 3, (1.0, 2.0), of, of, of) for label, of in gaps.items()]
    assert (lines[0] in on_scale(lines, 0.01)) == is_shown


@given(st.lists(st.floats(0, 100, allow_nan=False), min_size=1, max_size=20), st.floats(1, 15))
def test_labels_keep_apart_in_order_and_inside(wanted: list[float], gap: float) -> None:
    found = apart(wanted, gap, 0, 100)
    real = min(gap, 100 / max(1, len(wanted) - 1))
    assert all(-1e-6 <= x <= 100 + 1e-6 for x in found)
    ordered = sorted(zip(wanted, found, strict=True))
    assert sorted(found) == pytest.approx([f for _, f in ordered])
    assert all(b - a >= real - 1e-6 for (_, a), (_, b) in pairwise(ordered))
    if all(b - a >= gap for a, b in pairwise(sorted(wanted))):
        assert found == pytest.approx(wanted), "what has room stays"


def test_short_names_stay_different() -> None:
    assert shorten(["tied", "mos"]) == ["tied", "mos"]
    assert all(len(name) <= 26 for name in shorten(["a" * 90 + "1", "a" * 90 + "2"]))
    alike = shorten(["a" * 40 + "x" + "a" * 40, "a" * 40 + "y" + "a" * 40])
    assert len(set(alike)) == 2
    sweep = [f"model.head={head},optim.roles.head.lr={lr}" for head in ("tied", "mixture_16") for lr in (0.01, 0.001)]
    assert shorten(sweep) == [
        "head=tied,lr=0.01",
        "head=tied,lr=0.001",
        "head=mixture_16,lr=0.01",
        "head=mixture_16,lr=0.001",
    ]
    assert shorten([f"a_very_long_name_that_all_share_{n}" for n in (1, 2)]) == ["…1", "…2"]


def test_svg_follows_its_page_and_is_the_same_each_time(tmp_path: Path) -> None:
    study = whole_study(tmp_path)
    first, again = (pictures(gallery(made_of(study))) for _ in range(2))
    drawn = {name: svg(picture) for name, picture in first.items()}
    assert drawn == {name: svg(picture) for name, picture in again.items()}
    assert drawn == {name: svg(picture) for name, picture in first.items()}, "drawn twice"
    ids = [found for text in drawn.values() for found in re.findall(r'\bid="([^"]*)"', text)]
    assert len(ids) == len(set(ids)), "several pictures share a page"
    for text in drawn.values():
        assert set(re.findall(r'(?:href="|url\()#([^")]*)', text)) <= set(ids)
        bare = re.sub(r"var\(--fig-[a-z0-9-]+, [^)]*\)", "", text)
        assert not [colour for colour in VARIABLES if colour in bare]
        assert text.count("<text") == text.count("font-family: var(--fig-font") > 1
        assert "<style" not in text, "it would be the page's"
        tree = ElementTree.fromstring(text)
        assert tree.attrib["role"] == "img"
        assert [child.tag for child in tree][:2] == [f"{SVG}title", f"{SVG}desc"]
        assert not re.search(r"\b20\d\d-\d\d", text), "no date"


def test_descriptions_hold_the_numbers(tmp_path: Path) -> None:
    drawn = pictures(gallery(made_of(whole_study(tmp_path))))
    assert "mos -0.1000, " in drawn["differences-1"].description
    assert "mos 1.9033 (3 seeds)" in drawn["validation-1"].description
    assert "mos 500,000 bytes, 1.9133" in drawn["bytes-1"].description
    assert "mos_frozen published +0.1000, measured -0.1000" in drawn["published-2"].description


def test_png(tmp_path: Path) -> None:
    drawn = pictures(gallery(made_of(study_of(tmp_path, SCORES))))
    path = write_png(drawn["bytes-1"], tmp_path / "pictures")
    first = path.read_bytes()
    assert first.startswith(b"\x89PNG")
    assert write_png(drawn["bytes-1"], tmp_path / "pictures").read_bytes() == first
    with pytest.raises(PgolfError, match=r"bytes-1\.png: cannot be written .*--png"):
        write_png(drawn["bytes-1"], path)


def test_a_picture_does_not_heed_the_users_matplotlibrc(tmp_path: Path) -> None:
    import matplotlib

    result = made_of(curved_study(tmp_path, SCORES))
    plain = [svg(picture) for picture in pictures(gallery(result)).values()]
    with matplotlib.rc_context(
        {"font.family": "serif", "axes.grid": True, "lines.linewidth": 9, "svg.fonttype": "path"}
    ):
        assert [svg(picture) for picture in pictures(gallery(result)).values()] == plain
        assert matplotlib.rcParams["lines.linewidth"] == 9, "and leaves it as it is"
