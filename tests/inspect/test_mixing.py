"""Legendre fits of residual mixing by depth."""

import numpy as np
import pytest
import torch

from pgolf.inspect.mixing import FEWEST_LAYERS, ORDER, legendre_fit, mixing


def test_a_polynomial_of_order_four_is_found_exactly() -> None:
    layers, c = 9, [1.0, -0.5, 2.0, 0.25, -4.0]
    t = 2 * np.arange(layers) / (layers - 1) - 1
    p = [np.ones(layers), t, (3 * t**2 - 1) / 2, (5 * t**3 - 3 * t) / 2, (35 * t**4 - 30 * t**2 + 3) / 8]
    fit = legendre_fit(sum(a * b for a, b in zip(c, p, strict=True)))
    assert fit.coefficients == pytest.approx(c, abs=1e-12)
    assert (fit.r2, fit.adjusted_r2, fit.leave_one_out_r2) == pytest.approx((1, 1, 1))


def test_half_of_white_noise_at_nine_layers_is_explained_and_the_corrections_see_it() -> None:
    generator = np.random.default_rng(0)
    fits = [legendre_fit(generator.standard_normal(9)) for _ in range(1000)]
    assert fits[0].r2_of_noise == 0.5
    assert np.mean([fit.r2 for fit in fits]) == pytest.approx(0.5, abs=0.02)
    assert np.mean([fit.adjusted_r2 for fit in fits]) == pytest.approx(0, abs=0.04)
    assert np.mean([fit.leave_one_out_r2 for fit in fits]) < -1


def test_leaving_one_out_is_fitting_the_others() -> None:
    y = np.random.default_rng(1).standard_normal(11)
    t = 2 * np.arange(11) / 10 - 1
    misses = []
    for left_out in range(11):
        rest = np.arange(11) != left_out
        c = np.polynomial.polynomial.polyfit(t[rest], y[rest], ORDER)
        misses.append(y[left_out] - np.polynomial.polynomial.polyval(t[left_out], c))
    expected = 1 - np.square(misses).sum() / np.square(y - y.mean()).sum()
    assert legendre_fit(y).leave_one_out_r2 == pytest.approx(expected)


def test_too_few_layers_and_constant_gains_have_no_fit() -> None:
    def gains(layers: int) -> list[torch.Tensor]:
        return [torch.stack([torch.full((6,), 1.5), torch.arange(6.0) + layer]) for layer in range(layers)]

    kept, first = mixing(gains(FEWEST_LAYERS - 1), starts_as_polynomial=False)
    assert (kept.fit, first.fit) == (None, None)
    assert kept.refusal == "5 coefficients need 6 layers or more, and the model has 5"
    assert first.means == pytest.approx([2.5, 3.5, 4.5, 5.5, 6.5])
    assert first.sds == pytest.approx([np.arange(6).std()] * 5)
    kept, first = mixing(gains(FEWEST_LAYERS), starts_as_polynomial=False)
    assert kept.fit is not None
    assert (kept.fit.r2, kept.fit.adjusted_r2, kept.fit.leave_one_out_r2) == (None, None, None)
    assert first.fit is not None
    assert first.fit.r2 == pytest.approx(1)
