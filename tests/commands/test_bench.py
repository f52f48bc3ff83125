"""The benchmark takes real steps of both models, in turn."""

import numpy as np
import pytest

from pgolf.bench import bench, main, ratio, results_text


def test_two_models_take_turns(tiny: list[str]) -> None:
    results = bench(tiny, ["model/q_proj=low_rank"], steps=3)
    first, second = results["models"]
    assert first["parameters"] > second["parameters"]
    assert first["steps"] == second["steps"] == 3
    assert first["packed_bytes"] > second["packed_bytes"]
    assert first["tokens_per_s"] == pytest.approx(256 / first["step_ms_median"] * 1000)
    found = results["step_time_ratio"]
    assert found["median"] > 0
    assert found["low"] is None, "three steps give no interval"
    assert "second / first step time" in results_text(results)


def test_the_ratio_is_of_pairs() -> None:
    assert ratio([2.0, 20.0, 200.0], [1.0, 10.0, 100.0]) == (2.0, None, None), "three pairs give no interval"
    times = np.random.default_rng(0).lognormal(size=200)
    assert ratio(list(2 * times), list(times)) == pytest.approx((2.0, 2.0, 2.0))


def test_the_interval_knows_that_neighbouring_pairs_are_alike() -> None:
    """Ratios that drift together: their median is told less exactly than by as many independent ones."""
    rng, widths = np.random.default_rng(1), {}
    for name, phi in (("independent", 0.0), ("alike", 0.8)):
        found = []
        for _ in range(20):
            noise = rng.normal(size=100)
            for at in range(1, 100):
                noise[at] = phi * noise[at - 1] + (1 - phi**2) ** 0.5 * noise[at]
            _, low, high = ratio(list(1 + noise / 100), [1.0] * 100)
            found.append(high - low)
        widths[name] = float(np.mean(found))
    assert widths["alike"] > 1.5 * widths["independent"]


def test_mistakes_are_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for argv, said in (
        (["--steps", "0"], "--steps: must be from 1 to 1,000,000 (0)"),
        (["model/head=moss"], "Did you mean mos?"),
    ):
        monkeypatch.setattr("sys.argv", ["pgolf.bench", *argv])
        assert main() == 2
        assert said in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", ["pgolf.bench", "study=shared_weights"])
    assert main() == 2
    assert "This selects 6 configurations" in capsys.readouterr().err
