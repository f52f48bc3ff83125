"""Every target once, in the context that the mode promises, summed in float64."""

import math
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pgolf.config.build import build_eval, build_model
from pgolf.errors import OptionError
from pgolf.eval.documents import mode_on
from pgolf.eval.plain import Plain
from pgolf.eval.score import Batching, batches, score
from pgolf.eval.sliding import Sliding
from pgolf.machine.ranks import Ranks
from pgolf.nn.head.tied import Tied
from pgolf.nn.primitives import initialise
from pgolf.slots import Window
from tiny import CPU, random_ids, redraw, stems, tiny_config, tiny_model

SIZES = {"targets": st.integers(1, 400), "seq_len": st.integers(1, 70)}
QUICK = settings(max_examples=150, deadline=None, database=None)


def scored(windows: list[Window]) -> Counter[int]:
    return Counter(i for w in windows for i in range(w.scored, w.stop))


class TestWindows:
    @given(**SIZES)
    @QUICK
    def test_plain_scores_every_target_once(self, targets, seq_len):
        windows = Plain(seq_len, drop_tail=False, max_targets=None, window_tokens=None).windows(targets)
        assert scored(windows) == Counter(range(targets))
        assert all(w.start == w.scored and w.start % seq_len == 0 and 1 <= w.stop - w.start <= seq_len for w in windows)

    @given(**SIZES)
    @QUICK
    def test_drop_tail_leaves_out_the_short_window_alone(self, targets, seq_len):
        windows = Plain(seq_len, drop_tail=True, max_targets=None, window_tokens=None).windows(targets)
        assert scored(windows) == Counter(range(targets - targets % seq_len))
        assert all(w.stop - w.start == seq_len for w in windows)

    @given(**SIZES, stride=st.integers(1, 70))
    @QUICK
    def test_sliding_scores_every_target_once_in_enough_context(self, targets, seq_len, stride):
        stride = min(stride, seq_len)
        windows = Sliding(seq_len, stride=stride, max_targets=None).windows(targets)
        assert scored(windows) == Counter(range(targets))
        assert windows[0] == Window(0, 0, min(seq_len, targets))
        for w in windows[1:]:
            assert w.stop - w.start == seq_len
            assert 1 <= w.stop - w.scored <= stride
            assert w.scored - w.start >= seq_len - stride
        assert all(w.stop - w.scored == stride for w in windows[1:-1])

    @given(**SIZES, limit=st.integers(1, 500), stride=st.integers(1, 70), drop_tail=st.booleans())
    @QUICK
    def test_max_targets_scores_the_first(self, targets, seq_len, limit, stride, drop_tail):
        expected = min(targets, limit)
        plain = Plain(seq_len, drop_tail=drop_tail, max_targets=limit, window_tokens=None).windows(targets)
        assert scored(plain) == Counter(range(expected - expected % seq_len if drop_tail else expected))
        sliding = Sliding(seq_len, stride=min(stride, seq_len), max_targets=limit).windows(targets)
        assert scored(sliding) == Counter(range(expected))

    @given(**SIZES)
    @QUICK
    def test_sliding_by_whole_windows_is_plain_but_for_the_tail(self, targets, seq_len):
        plain = Plain(seq_len, drop_tail=False, max_targets=None, window_tokens=None).windows(targets)
        sliding = Sliding(seq_len, stride=seq_len, max_targets=None).windows(targets)
        assert sliding[:-1] == plain[:-1]
        assert (sliding[-1].scored, sliding[-1].stop) == (plain[-1].scored, plain[-1].stop)

    @given(**SIZES, stride=st.integers(1, 70), batch_tokens=st.integers(1, 300), world=st.integers(1, 4))
    @QUICK
    def test_batches_hold_windows_of_one_shape_and_ranks_share_them_out(
        self, targets, seq_len, stride, batch_tokens, world
    ):
        windows = Sliding(seq_len, stride=min(stride, seq_len), max_targets=None).windows(targets)
        all_batches = batches(windows, batch_tokens)
        assert Counter(w for batch in all_batches for w in batch) == Counter(windows)
        for batch in all_batches:
            assert len({(w.stop - w.start, w.stop - w.scored) for w in batch}) == 1
            assert len(batch) == 1 or sum(w.stop - w.start for w in batch) <= batch_tokens
        dealt = [w for rank in range(world) for batch in all_batches[rank::world] for w in batch]
        assert Counter(dealt) == Counter(windows)

    def test_names_tell_modes_apart(self):
        names = [
            Plain(64, drop_tail=False, max_targets=None, window_tokens=None).name,
            Plain(64, drop_tail=True, max_targets=None, window_tokens=None).name,
            Plain(64, drop_tail=False, max_targets=100, window_tokens=None).name,
            Plain(128, drop_tail=False, max_targets=None, window_tokens=None).name,
            Sliding(64, stride=64, max_targets=None).name,
            Sliding(64, stride=8, max_targets=None).name,
            Sliding(64, stride=8, max_targets=100).name,
        ]
        assert len(set(names)) == len(names)

    @pytest.mark.parametrize("bad", [{"stride": 0}, {"stride": 17}, {"max_targets": 0}])
    def test_sizes_that_cannot_be_are_refused(self, bad):
        with pytest.raises(OptionError, match=next(iter(bad))):
            Sliding(16, **{"stride": 4, "max_targets": None, **bad})
        with pytest.raises(OptionError, match="max_targets"):
            Plain(16, drop_tail=False, max_targets=0, window_tokens=None)


N = 60
TOKENS = random_ids(1, N, seed=11)[0]
BYTES = np.random.default_rng(3).integers(0, 6, N - 1)
MODEL = tiny_model(tiny_config()).double().eval()  # contexts of 16 tokens


def run(mode, *, model=MODEL, tokens=TOKENS, sizes=BYTES, batch_tokens=48):
    return score(model, tokens.numpy().astype(np.uint16), sizes, mode, Batching(CPU, batch_tokens, Ranks()))


@torch.no_grad()
def nats_of(target: int, first_input: int, model=MODEL) -> float:
    """-log p of one target, from the model on its context only."""
    context = TOKENS[first_input : target + 1][None]
    return -float(model.head.logp(model.hidden(context))[0, -1, TOKENS[target + 1]].double())


def plain_context(target: int, seq_len: int) -> int:
    return target - target % seq_len


def sliding_context(target: int, seq_len: int, stride: int, targets: int) -> int:
    if target < seq_len:
        return 0
    ends = min(seq_len + stride * ((target - seq_len) // stride + 1), targets)
    return ends - seq_len


@pytest.mark.parametrize("seq_len", [16, 13, 7, 1, 59, 100])
def test_plain_sums_are_those_of_single_targets(seq_len):
    actual = run(Plain(seq_len, drop_tail=False, max_targets=None, window_tokens=None))
    expected = np.array([nats_of(i, plain_context(i, seq_len)) for i in range(N - 1)])
    np.testing.assert_allclose(actual.nats_per_target, expected, rtol=1e-5, atol=1e-5)
    assert actual.nats_sum == pytest.approx(math.fsum(actual.nats_per_target), rel=1e-12)
    assert (actual.targets, actual.bytes) == (N - 1, int(BYTES.sum()))
    assert actual.nats == actual.nats_sum / (N - 1)
    assert actual.bpb == pytest.approx(expected.sum() / math.log(2) / BYTES.sum(), rel=1e-6)


@pytest.mark.parametrize(("seq_len", "stride"), [(16, 16), (16, 5), (16, 1), (13, 4), (59, 8), (58, 8), (100, 8)])
def test_sliding_sums_are_those_of_single_targets(seq_len, stride):
    actual = run(Sliding(seq_len, stride=stride, max_targets=None))
    expected = np.array([nats_of(i, sliding_context(i, seq_len, stride, N - 1)) for i in range(N - 1)])
    np.testing.assert_allclose(actual.nats_per_target, expected, rtol=1e-5, atol=1e-5)
    assert actual.bpb == pytest.approx(expected.sum() / math.log(2) / BYTES.sum(), rel=1e-6)


def test_context_changes_the_score():
    """The tests above could not tell the modes apart if context did nothing."""
    plain, sliding = (
        run(Plain(16, drop_tail=False, max_targets=None, window_tokens=None)),
        run(Sliding(16, stride=4, max_targets=None)),
    )
    assert np.array_equal(plain.nats_per_target[:16], sliding.nats_per_target[:16])
    assert abs(plain.nats_per_target - sliding.nats_per_target)[16:].max() > 0.1


@pytest.mark.parametrize("stem", ["tied", "mos"])
def test_in_fp32_and_with_another_head(stem):
    model = tiny_model(tiny_config(f"model/head={stem}")).eval()
    actual = run(Sliding(16, stride=5, max_targets=None), model=model)
    expected = [nats_of(i, sliding_context(i, 16, 5, N - 1), model) for i in range(N - 1)]
    np.testing.assert_allclose(actual.nats_per_target, expected, rtol=1e-4, atol=1e-4)


def test_drop_tail_leaves_targets_and_bytes_out():
    whole, cut = (
        run(Plain(16, drop_tail=False, max_targets=None, window_tokens=None)),
        run(Plain(16, drop_tail=True, max_targets=None, window_tokens=None)),
    )
    assert (cut.targets, cut.bytes) == (48, int(BYTES[:48].sum()))
    assert np.isnan(cut.nats_per_target[48:]).all()
    np.testing.assert_allclose(cut.nats_per_target[:48], whole.nats_per_target[:48], rtol=1e-9)
    assert cut.nats_sum == pytest.approx(whole.nats_per_target[:48].sum(), rel=1e-9)


def test_max_targets_counts_the_bytes_of_what_was_scored():
    actual = run(Sliding(16, stride=4, max_targets=21))
    assert (actual.targets, actual.bytes) == (21, int(BYTES[:21].sum()))
    assert np.isnan(actual.nats_per_target[21:]).all()
    assert np.isfinite(actual.nats_per_target[:21]).all()


@pytest.mark.parametrize("batch_tokens", [1, 16, 33, 10_000])
def test_the_batch_does_not_change_the_score(batch_tokens):
    mode = Sliding(16, stride=5, max_targets=None)
    np.testing.assert_allclose(
        run(mode, batch_tokens=batch_tokens).nats_per_target, run(mode).nats_per_target, rtol=1e-6
    )


def test_sums_are_float64():
    """2^24 + 1 is not an fp32 number."""

    def one_each(ids, targets):
        return torch.where(targets == 1, 2.0**24, 1.0).float()

    tokens = torch.zeros(40, dtype=torch.long)
    tokens[7] = 1
    actual = run(
        Plain(16, drop_tail=False, max_targets=None, window_tokens=None),
        model=one_each,
        tokens=tokens,
        sizes=np.ones(39, dtype=np.int64),
    )
    assert actual.nats_sum == 2.0**24 + 38


class CountingHead(Tied):
    """The tied head; it records the number of positions that it computes logits for."""

    def __init__(self, dims, embedding):
        super().__init__(dims, embedding)
        self.positions: list[int] = []

    def scores(self, x_BTD):
        self.positions.append(x_BTD.size(0) * x_BTD.size(1))
        return super().scores(x_BTD)


@pytest.mark.parametrize(
    "mode",
    [
        Sliding(16, stride=3, max_targets=None),
        Sliding(16, stride=16, max_targets=None),
        Plain(16, drop_tail=False, max_targets=None, window_tokens=None),
    ],
    ids=lambda mode: mode.name,
)
def test_logits_are_built_for_scored_positions_only(mode):
    config = tiny_config()
    config.model.head["_target_"] = CountingHead
    model = build_model(config.model)
    initialise(model, 1, CPU)
    redraw(model, 1)
    assert run(mode, model=model).targets == N - 1
    assert sum(model.head.positions) == N - 1


def test_scoring_leaves_no_graph():
    seen = []

    def nll(ids, targets):
        seen.append(MODEL(ids, targets))
        return seen[-1]

    run(Plain(16, drop_tail=False, max_targets=None, window_tokens=None), model=nll)
    assert all(not t.requires_grad for t in seen)


def test_a_mode_that_scores_a_target_twice_is_stopped():
    class Twice(Plain):
        def windows(self, targets):
            return [*super().windows(targets), Window(0, 15, 16)]

    with pytest.raises(AssertionError, match=r"scored.* 2 times"):
        run(Twice(16, drop_tail=False, max_targets=None, window_tokens=None))


@pytest.mark.parametrize("stem", stems("eval"))
def test_every_yaml_scores_every_target_once(stem):
    config = tiny_config(f"eval={stem}", "train.seq_len=64")
    end = 960 if config.eval.get("drop_tail") else 1000
    corpus = SimpleNamespace(val_tokens=np.arange(1001) % 97, document_start=5)
    assert scored(mode_on(build_eval(config), corpus).windows(1000)) == Counter(range(end))


def test_shorter_windows_have_a_name_of_their_own():
    plain = Plain(64, drop_tail=False, max_targets=None, window_tokens=16)
    assert plain.name == Plain(16, drop_tail=False, max_targets=None, window_tokens=None).name == "plain16"
    assert plain.windows(40) == [Window(0, 0, 16), Window(16, 16, 32), Window(32, 32, 40)]
    for tokens in (0, 65):
        with pytest.raises(OptionError, match="window_tokens"):
            Plain(64, drop_tail=False, max_targets=None, window_tokens=tokens)
