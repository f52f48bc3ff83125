"""Measures of singular values against their formulas, and products of factors against formed ones."""

import math

import numpy as np
import pytest
import torch

from pgolf.inspect.factored import Factors, condition_in_float32, product_values
from pgolf.inspect.spectra import (
    MEASURES,
    Measures,
    energy_by_rank,
    measures,
    numerical_rank,
    singular_values,
)


def gaussian(*sizes: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*sizes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def orthogonal(size: int) -> torch.Tensor:
    return torch.linalg.qr(gaussian(size, size))[0]


@pytest.mark.parametrize("matrix", [torch.eye(20), 1e-30 * orthogonal(20), 1e30 * torch.eye(20)[torch.randperm(20)]])
def test_equal_singular_values_use_every_dimension(matrix: torch.Tensor) -> None:
    found = measures(singular_values(matrix))
    assert [getattr(found, name) for name in MEASURES] == pytest.approx([1, 20, 20, 20, 20, 18, 19, 20], rel=1e-12)


def test_a_matrix_of_rank_one_uses_one() -> None:
    found = measures(singular_values(torch.outer(gaussian(7), gaussian(9, seed=1))))
    assert found.condition_number is None
    assert [getattr(found, name) for name in MEASURES[1:]] == pytest.approx([1] * 7, rel=1e-12)


def test_a_zero_matrix_has_no_measure() -> None:
    assert measures(singular_values(torch.zeros(4, 5))) == Measures(*[None] * len(MEASURES))
    assert numerical_rank(np.zeros(4)) == 0


def test_two_singular_values_give_the_written_formulas() -> None:
    found = measures(singular_values(torch.tensor([[0.0, 3.0], [-4.0, 0.0], [0.0, 0.0]])))

    def entropy(*p: float) -> float:
        return -sum(x * math.log(x) for x in p)

    expected = [4 / 3, 25 / 16, math.exp(entropy(3 / 7, 4 / 7)), math.exp(entropy(9 / 25, 16 / 25))]
    expected += [25**2 / (81 + 256), 2, 2, 2]
    assert [getattr(found, name) for name in MEASURES] == pytest.approx(expected, rel=1e-14)


def test_energy_counts_from_the_largest_and_a_level_is_reached_exactly() -> None:
    values = np.sqrt([90.0, 5.0, 4.0, 1.0])
    assert energy_by_rank(values) == pytest.approx([0.90, 0.95, 0.99, 1.0])
    found = measures(values)
    assert (found.energy_rank_90, found.energy_rank_95, found.energy_rank_99) == (1, 2, 3)


def test_the_numerical_rank_stops_at_the_rounding_of_float32() -> None:
    assert numerical_rank(np.array([2.0, 1e-6, 3e-7, 2e-7, 0.0])) == 3


@pytest.mark.parametrize("sizes", [(40, 7, 30), (7, 12, 30), (30, 12, 7), (12, 12, 12), (5, 40, 6), (9, 1, 4)])
def test_a_product_has_the_values_of_the_formed_matrix(sizes: tuple[int, int, int]) -> None:
    rows, inner, columns = sizes
    left, right = gaussian(rows, inner), gaussian(inner, columns, seed=1)
    formed = np.linalg.svd((left @ right).numpy(), compute_uv=False)
    found, rank = product_values(left, right), min(sizes)
    assert len(found) == rank
    np.testing.assert_allclose(found, formed[:rank], rtol=1e-12, atol=1e-12 * formed[0])
    assert Factors((left, right)).forced_zeros == min(rows, columns) - rank


def test_factors_keep_small_values_that_the_formed_product_loses() -> None:
    """The last singular value is 1e-20 of the first: QR of both factors finds it."""
    scale = torch.diag(torch.tensor([1.0, 1e-10], dtype=torch.float64))
    basis = orthogonal(6)[:, :2]
    found = product_values(basis @ scale, scale @ orthogonal(6)[:2])
    assert found == pytest.approx([1.0, 1e-20], rel=1e-6)


def test_a_condition_number_over_the_full_size_of_a_product_is_rounding() -> None:
    product = Factors((gaussian(64, 24), gaussian(24, 64, seed=1)))
    assert product.sizes == (64, 24, 64)
    assert (product.rank, product.forced_zeros) == (24, 40)
    assert (measures(product.values()).condition_number or 0) < 100
    assert (condition_in_float32(product) or 1e99) > 1e6
    assert product.rows(8, 16).sizes == (8, 24, 64)
    torch.testing.assert_close(product.rows(8, 16).formed(), product.formed()[8:16])
