"""More arms, runs and points than a page can show: the page says what is left out, and the tables have everything."""

from itertools import pairwise
from pathlib import Path

import pytest

from made_records import study_of
from pgolf.pages.aggregation import aggregate
from pgolf.pages.figures import gallery, numbers
from pgolf.pages.formats import markdown
from pgolf.pages.html import elements, runs
from pgolf.pages.html.document import document
from pgolf.pages.sections import page
from pgolf.pages.study import phases_of
from pgolf.tables.curves import Curve
from pgolf.tables.notices import listed_arms


def test_a_page_of_many_arms_says_what_it_leaves_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (numbers, gallery):
        monkeypatch.setattr(module, "MOST_ARMS", 5)
    monkeypatch.setattr(elements, "MOST_ROWS", 6)
    monkeypatch.setattr(runs, "MOST_RUNS", 7)
    scores = {f"arm{n:02}": [2.5 - n / 50, 2.51 - n / 50] for n in range(12)}
    result = aggregate(study_of(tmp_path, scores))
    exhibits = gallery.gallery(result)
    text = document(result, exhibits)
    assert "The first 6 of 12 rows are shown." in text
    assert "The first 7 of 24 runs are shown." in text
    assert text.count('class="run"') == 7
    assert all(
        "At most 5 arms are drawn: baselines and the best by mean score. The table has all 12." in exhibit.caption
        for exhibit in exhibits
    )
    (part,) = numbers.parts(result.report.families[0])
    assert [row.label for row in part.rows] == ["arm00", "arm08", "arm09", "arm10", "arm11"], (
        "the baseline and the best four"
    )
    assert all(arm in markdown(page(result.report)) for arm in scores)


def test_a_warning_names_so_many_arms_and_counts_the_rest() -> None:
    assert listed_arms([str(n) for n in range(203)]).endswith("199; and 3 more arms, see their notes")
    assert listed_arms(["a", "b"]) == "a; b"


@pytest.mark.parametrize("count", [0, 1, 2, 999, 1000, 1001, 4097, 1_000_000])
def test_thinned_points_are_few_even_and_keep_both_ends(count: int) -> None:
    kept = list(numbers.thinned(count))
    assert len(kept) <= numbers.MOST_POINTS + 1
    assert kept[:1] == [0][:count]
    assert kept[-1:] == [count - 1][:count]
    assert count > numbers.MOST_POINTS or kept == list(range(count))
    spacings = {b - a for a, b in pairwise(kept[:-1])}
    assert len(spacings) <= 1
    assert all(spacing.bit_count() == 1 for spacing in spacings), "curves of unequal lengths have points in common"


def test_a_long_curve_is_drawn_from_full_averages() -> None:
    steps = tuple(range(1, 4001))
    scores = tuple(1 + 1 / step for step in steps)
    curve = Curve("s", "a", 1, "f", steps, steps, scores, scores, (), ())
    shown = dict(numbers.training(curve))
    assert len(shown) <= numbers.MOST_POINTS + 1
    assert shown[401] == pytest.approx(sum(scores[398:403]) / 5), "of the neighbours in the whole curve"
    assert (min(shown), max(shown)) == (1, 3998)
    assert numbers.is_long([curve])


def test_phases_of_a_long_curve_take_no_quadratic_time() -> None:
    steps = tuple(range(1, 40_001))
    scale = tuple(1.0 if step < 20_000 else 1.0 - (step - 20_000) / 20_000 for step in steps)
    scores = tuple(2.0 for _ in steps)
    curve = Curve("s", "a", 1, "f", steps, steps, scores, scores, steps[::10], tuple(2.0 for _ in steps[::10]), scale)
    assert [phase[:2] for phase in phases_of(curve)] == [("constant", 19_991), ("falling", 39_991)]
