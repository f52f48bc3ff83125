"""Random matrices beside which measures stand: their distribution, and what lies outside of it."""

import numpy as np
import pytest
import torch

from pgolf.inspect.factored import Factors
from pgolf.inspect.random_reference import compare_all, r_factor, random_values, reference
from pgolf.inspect.spectra import measures


def test_a_product_through_192_has_effective_rank_172() -> None:
    """The figure beside which 89 to 114 used dimensions were published."""
    random = reference((512, 192, 512), 4)
    assert random.numbers("effective_rank").mean() == pytest.approx(172, abs=1)
    assert random.numbers("condition_number").mean() == pytest.approx(7.2, abs=0.7)


def test_the_drawn_triangle_has_the_spectrum_of_a_gaussian_matrix() -> None:
    generator = np.random.default_rng(0)
    drawn = [np.linalg.svd(r_factor(40, 8, generator), compute_uv=False) for _ in range(2000)]
    direct = [np.linalg.svd(generator.standard_normal((40, 8)), compute_uv=False) for _ in range(2000)]
    error = np.std(direct, axis=0) * np.sqrt(2 / 2000)
    assert (np.abs(np.mean(drawn, axis=0) - np.mean(direct, axis=0)) < 4 * error).all()
    np.testing.assert_allclose(np.std(drawn, axis=0), np.std(direct, axis=0), rtol=0.1)


@pytest.mark.parametrize("sizes", [(12, 30), (30, 12), (20, 6, 16), (4, 9, 16)])
def test_random_spectra_have_the_structural_rank(sizes: tuple[int, ...]) -> None:
    values = random_values(sizes, np.random.default_rng(0))
    assert len(values) == min(sizes)
    assert values[-1] > 1e-6


def test_a_random_matrix_is_inside_and_an_orthogonal_one_is_not() -> None:
    random = reference((24, 24))
    generator = torch.Generator().manual_seed(5)
    matrices = [torch.randn(24, 24, generator=generator) for _ in range(100)]
    inside = [compare_all(measures(Factors((m,)).values()), random)["effective_rank"].outside for m in matrices]
    assert sum(inside) <= 15, "5% are expected outside the range of 39 draws"
    found = compare_all(measures(Factors((torch.eye(24),)).values()), random)
    assert found["effective_rank"].outside
    assert found["condition_number"].outside
    assert (found["effective_rank"].sds or 0) > 5
    assert (found["condition_number"].sds or 0) < -3
    assert found["effective_rank"].low == pytest.approx(random.numbers("effective_rank").min())


def test_draws_do_not_depend_on_what_else_is_drawn_or_on_the_scale() -> None:
    first = reference((16, 8), 5).draws
    reference.cache_clear()
    reference((9, 9), 5)
    assert reference((16, 8), 5).draws == first
    assert reference((16, 8), 5, seed=1).draws != first


def test_a_zero_matrix_is_not_compared() -> None:
    found = compare_all(measures(np.zeros(8)), reference((8, 8), 5))
    assert {(each.value, each.sds, each.outside) for each in found.values()} == {(None, None, False)}
