"""The start of residual mixing: halfway to a Legendre series over depth, and the fit of such a series."""

import pytest
import torch
from numpy.polynomial.legendre import legval

from pgolf.config.build import build_model
from pgolf.config.checks import model_problems
from pgolf.errors import ConfigError, OptionError
from pgolf.nn.resid_mix import fit, starts
from tiny import random_ids, tiny_config, tiny_model

KEEP, FIRST = [0.5, -1.0, 2.0, 0.25, -0.125], [-1.0, 0.5, 3.0, 0.0, 1.0]
LEGENDRE = ("model.resid_mix_init=legendre", f"model.resid_mix_legendre_keep={KEEP}".replace(" ", ""))
LEGENDRE += (f"model.resid_mix_legendre_first={FIRST}".replace(" ", ""),)


def series(c: list[float], t: float) -> float:
    p = (1, t, (3 * t**2 - 1) / 2, (5 * t**3 - 3 * t) / 2, (35 * t**4 - 30 * t**2 + 3) / 8)
    return sum(coefficient * polynomial for coefficient, polynomial in zip(c, p, strict=True))


@pytest.mark.parametrize("layers", [2, 5])
def test_a_block_starts_halfway_to_its_target(layers):
    model = tiny_model(tiny_config(*LEGENDRE, f"model.layers={layers}"), seed=None)
    for layer, gains in enumerate(model.gains):
        t = 2 * layer / (layers - 1) - 1
        start = [(1 + series(KEEP, t)) / 2, (0 + series(FIRST, t)) / 2]
        torch.testing.assert_close(gains.resid_mix, torch.tensor(start)[:, None].expand(2, 32))
        assert bool((gains.attn_scale == 1).all())


def test_the_series_of_the_standard_start_is_the_standard_start():
    assert starts("legendre", [1.0, 0, 0, 0, 0], [0.0] * 5, 4) == starts("standard", KEEP, FIRST, 4) == [(1.0, 0.0)] * 4


def test_without_mixing_the_model_is_that_of_the_standard_start():
    standard, without = (tiny_model(tiny_config(f"model.resid_mix_init={c}")) for c in ("standard", "none"))
    assert not any("resid_mix" in name for name, _ in without.named_parameters())
    ids = random_ids(2, 9)
    with torch.no_grad():
        for gains in standard.gains:
            gains.reset_parameters()
        for gains in without.gains:
            gains.reset_parameters()
        assert torch.equal(standard.hidden(ids), without.hidden(ids))


def test_the_fit_finds_the_coefficients_of_a_series():
    assert fit([float(legval(2 * i / 8 - 1, KEEP)) for i in range(9)]) == pytest.approx(KEEP, abs=1e-12)
    with pytest.raises(OptionError, match="layers: cannot be 5; fit 6 or more blocks"):
        fit([1.0, 2.0, 3.0, 4.0, 5.0])


def test_a_start_that_cannot_be_used_is_refused():
    with pytest.raises(ConfigError, match=r"model\.resid_mix_init: cannot be used \(legendre\); choose none"):
        build_model(tiny_config("model/depth=attn_res", *LEGENDRE).model)
    section = tiny_config().model
    section.resid_mix_init, section.resid_mix_legendre_keep = "legender", []
    assert list(model_problems(section)) == [
        "model.resid_mix_init: no such start (legender). Did you mean legendre? Choose standard, legendre, none",
        "model.resid_mix_legendre_keep: must hold 1 to 16 coefficients ([])",
    ]
