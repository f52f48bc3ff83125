"""The estimate of the heads study against a plain loop over its windows."""

import math

import numpy as np
import pytest
import torch

from pgolf.config.build import build_eval
from pgolf.errors import OptionError
from pgolf.eval.plain import Plain
from pgolf.eval.plain_and_908 import PlainAnd908
from pgolf.eval.score import Batching, estimate, score
from pgolf.machine.ranks import Ranks
from pgolf.slots import Window
from tiny import CPU, published_config, random_ids, tiny_config, tiny_model

FULL_SET = 62_021_632
SETTINGS = {
    "drop_tail": False,
    "max_targets": None,
    "parts": 8,
    "stride": 64,
    "windows": 4096,
    "published_targets": FULL_SET,
}


class TestPlanAtThePublishedSize:
    mode = build_eval(published_config("pr908"))
    plan = mode.estimate_windows(FULL_SET)

    def test_settings(self):
        assert (self.mode.seq_len, self.mode.parts, self.mode.stride, self.mode.most) == (2048, 8, 64, 4096)

    def test_windows_and_targets(self):
        assert len(self.plan) == 8 * 4096
        assert sum(w.stop - w.scored for w in self.plan) == 2_097_152
        assert all((w.stop - w.start, w.stop - w.scored) == (2048, 64) for w in self.plan)
        assert max(w.stop for w in self.plan) <= FULL_SET

    def test_starts(self):
        firsts = [self.plan[4096 * part].start for part in range(8)]
        assert [first // 2048 for first in firsts] == [0, 3785, 7571, 11356, 15142, 18927, 22713, 26498]
        assert all(first % 2048 == 0 for first in firsts)
        for part, first in enumerate(firsts):
            assert [w.start for w in self.plan[4096 * part : 4096 * (part + 1)]] == [
                first + 64 * k for k in range(4096)
            ]

    def test_it_covers_three_and_a_half_percent(self):
        """8 spans of 264,128 targets: the last 64 of every window, and the earlier ones of the first window."""
        spans = [self.plan[4096 * part + 4095].stop - self.plan[4096 * part].start for part in range(8)]
        assert spans == [64 * 4095 + 2048] * 8 == [264_128] * 8
        assert sum(spans) == 2_113_024
        assert sum(spans) / FULL_SET == pytest.approx(0.034, abs=1e-3)

    def test_the_score_beside_it_is_plain(self):
        plain = Plain(2048, drop_tail=False, max_targets=None, window_tokens=None)
        assert self.mode.name == plain.name
        assert self.mode.windows(200_000) == plain.windows(200_000)


def naive(model, tokens: list[int], sizes: list[int], mode: PlainAnd908) -> tuple[float, float]:
    """(nats per target, bits per byte), one window after another."""
    targets, seq_len = len(tokens) - 1, mode.seq_len
    nats, count, size = 0.0, 0, 0
    for part in range(mode.parts):
        position, end = (
            targets // seq_len * part // mode.parts * seq_len,
            targets // seq_len * (part + 1) // mode.parts * seq_len,
        )
        done = 0
        while position < end and position + seq_len <= targets and done < mode.most:
            ids = torch.tensor([tokens[position : position + seq_len]])
            targets_BT = torch.tensor([tokens[position + 1 : position + seq_len + 1]])
            nats += mode.stride * float(model(ids, targets_BT).double().mean())
            size += sum(sizes[position + seq_len - mode.stride : position + seq_len])
            count += mode.stride
            position, done = position + mode.stride, done + 1
    return nats / count, nats / math.log(2) / size


@pytest.mark.parametrize(
    ("tokens", "changes"),
    [
        (400, {"parts": 3, "stride": 4, "windows": 7, "published_targets": 300}),
        (400, {"parts": 8, "stride": 16, "windows": 2, "published_targets": 300}),
        (101, {"parts": 1, "stride": 1, "windows": 1000, "published_targets": 50}),
        (97, {"parts": 2, "stride": 5, "windows": 1000, "published_targets": 50}),
        (40, {"parts": 8, "stride": 4, "windows": 3, "published_targets": 10}),  # fewer whole windows than parts
        (17, {"parts": 2, "stride": 4, "windows": 3, "published_targets": 10}),
    ],
    ids=str,
)
@pytest.mark.parametrize("batch_tokens", [16, 100])
@torch.no_grad()
def test_equals_a_plain_loop(tokens, changes, batch_tokens):
    model, mode = tiny_model(tiny_config()).eval(), PlainAnd908(16, **{**SETTINGS, **changes})
    ids = random_ids(1, tokens, seed=3)[0]
    sizes = np.random.default_rng(5).integers(0, 6, tokens - 1)
    windows = mode.estimate_windows(tokens - 1)
    batching = Batching(CPU, batch_tokens, Ranks())
    result = estimate(model, ids.numpy().astype(np.uint16), sizes, windows, batching)
    assert result == pytest.approx(naive(model, ids.tolist(), sizes.tolist(), mode), rel=1e-5)


@torch.no_grad()
def test_it_is_not_a_sliding_score():
    """A window's mean is taken for its end, so the early targets with little context count as much as the late ones."""
    model = tiny_model(tiny_config()).eval()
    ids, sizes = random_ids(1, 400, seed=3)[0], np.full(399, 2)
    mode = PlainAnd908(16, **{**SETTINGS, "parts": 1, "stride": 1, "windows": 1000, "published_targets": 10})
    batching = Batching(CPU, 64, Ranks())
    tokens = ids.numpy().astype(np.uint16)
    nats, _ = estimate(model, tokens, sizes, mode.estimate_windows(399), batching)
    ends = [Window(w.start, w.stop - 1, w.stop) for w in mode.estimate_windows(399)]
    batch = (
        torch.stack([ids[w.start : w.stop] for w in ends]),
        torch.stack([ids[w.start + 1 : w.stop + 1] for w in ends]),
    )
    assert abs(nats - float(model(*batch)[:, -1].double().mean())) > 1e-3
    assert nats == pytest.approx(float(model(*batch).double().mean()), rel=1e-5)
    assert score(model, tokens, sizes, mode, batching).targets == 399


@pytest.mark.parametrize(("share", "most"), [(1.0, 4096), (2.0, 4096), (0.5, 2048), (0.25, 1024), (1e-6, 1)])
def test_smaller_sets_get_proportionally_fewer_windows(share, most):
    mode = PlainAnd908(16, **{**SETTINGS, "published_targets": 2_000_000, "stride": 1})
    planned = mode.estimate_windows(int(share * 2_000_000))
    assert len(planned) == 8 * most if share > 1e-3 else len(planned) <= 8
    assert len(set(planned)) == len(planned)


def test_a_set_shorter_than_one_window_has_no_estimate():
    assert PlainAnd908(16, **{**SETTINGS, "stride": 4}).estimate_windows(15) == []


@pytest.mark.parametrize(
    "bad", [{"parts": 0}, {"stride": 0}, {"stride": 17}, {"windows": 0}, {"published_targets": 0}, {"max_targets": 0}]
)
def test_settings_that_cannot_be_are_refused(bad):
    with pytest.raises(OptionError, match=next(iter(bad))):
        PlainAnd908(16, **{**SETTINGS, "stride": 4, **bad})
