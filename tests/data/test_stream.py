"""The training stream: the published order, the shuffle, and properties of both."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgolf.data.stream import TokenStream
from pgolf.errors import DataError, OptionError


def _shards(sizes: list[int]) -> list[np.ndarray]:
    """Shards with token values 0, 1, 2, ... over all of them, so that a value is its own position."""
    ends = np.cumsum(sizes)
    return [np.arange(end - size, end, dtype=np.uint16) for size, end in zip(sizes, ends, strict=True)]


SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=5)


@settings(deadline=None)
@given(sizes=SIZES, rows=st.integers(1, 3), seq_len=st.integers(1, 6), micro=st.integers(1, 4), steps=st.integers(1, 8))
def test_published_order_is_a_walk_in_spans(sizes: list[int], rows: int, seq_len: int, micro: int, steps: int) -> None:
    total, local = sum(sizes), rows * seq_len
    if total < local + 1:
        sizes = [*sizes, local + 1]
        total += local + 1
    stream = TokenStream(
        _shards(sizes), batch_tokens=local * micro, seq_len=seq_len, micro_batches=micro, shuffle_seed=None
    )
    walk = itertools.cycle(range(total))
    for step, index in itertools.product(range(steps), range(micro)):
        span = [next(walk) for _ in range(local + 1)]
        x, y = stream.micro_batch(step, index)
        assert x.shape == y.shape == (rows, seq_len)
        assert x.dtype == y.dtype
        assert x.flatten().tolist() == span[:-1]
        assert y.flatten().tolist() == span[1:]
    assert stream.tokens_per_step == (local + 1) * micro
    assert stream.epochs(steps) == pytest.approx(steps * (local + 1) * micro / total)


@settings(deadline=None)
@given(
    sizes=SIZES, seq_len=st.integers(1, 6), rows=st.integers(1, 3), micro=st.integers(1, 3), seed=st.integers(-3, 2**63)
)
def test_a_shuffled_epoch_trains_each_transition_once(
    sizes: list[int], seq_len: int, rows: int, micro: int, seed: int
) -> None:
    sizes = [*sizes, seq_len + 1]
    windows = (sum(sizes) - 1) // seq_len
    stream = TokenStream(
        _shards(sizes), batch_tokens=rows * micro * seq_len, seq_len=seq_len, micro_batches=micro, shuffle_seed=seed
    )
    dealt: list[int] = []
    for number in range(-(-2 * windows // rows)):
        x, y = stream.micro_batch(*divmod(number, micro))
        assert (y == x + 1).all()
        dealt += x[:, 0].tolist()
    every = [window * seq_len for window in range(windows)]
    assert sorted(dealt[:windows]) == every
    assert sorted(dealt[windows : 2 * windows]) == every
    assert stream.epochs(windows) == pytest.approx(rows * micro)


def test_any_step_can_be_asked_for_first() -> None:
    def fresh() -> TokenStream:
        return TokenStream(_shards([50, 61]), batch_tokens=24, seq_len=4, micro_batches=2, shuffle_seed=3)

    stream = fresh()
    in_order = [stream.micro_batch(step, index)[0].tolist() for step in range(20) for index in range(2)]
    for place in (39, 0, 17, 4, 38):
        assert fresh().micro_batch(*divmod(place, 2))[0].tolist() == in_order[place]
        assert stream.micro_batch(*divmod(place, 2))[0].tolist() == in_order[place]


def test_seeds_and_epochs_give_different_orders() -> None:
    def order(seed: int, step: int) -> list[int]:
        stream = TokenStream(_shards([801]), batch_tokens=800, seq_len=8, micro_batches=1, shuffle_seed=seed)
        return stream.micro_batch(step, 0)[0][:, 0].tolist()

    orders = [order(1, 0), order(1, 1), order(2, 0), order(-1, 0)]
    assert len({tuple(each) for each in orders}) == 4
    assert all(sorted(each) == sorted(orders[0]) for each in orders)


def test_accumulation_and_world_size_see_the_same_tokens() -> None:
    """Eight micro-batches of one process are those of eight ranks: index k * world + r."""
    whole = TokenStream(_shards([500]), batch_tokens=64, seq_len=4, micro_batches=8, shuffle_seed=None)
    chunk = [whole.micro_batch(1, index)[0].flatten().tolist() for index in range(8)]
    start = 8 * 9  # a step consumes 8 spans of 8 + 1 tokens
    assert chunk == [list(range(start + 9 * rank, start + 9 * rank + 8)) for rank in range(8)]


@pytest.mark.parametrize("seed", [None, 1])
def test_a_corpus_that_is_too_short(seed: int | None) -> None:
    with pytest.raises(
        DataError, match=r"8 training tokens are fewer than one (span|window) of 9\. Use a larger corpus"
    ):
        TokenStream(_shards([5, 3]), batch_tokens=8, seq_len=8, micro_batches=1, shuffle_seed=seed)
    with pytest.raises(DataError, match="0 training tokens"):
        TokenStream([], batch_tokens=8, seq_len=8, micro_batches=1, shuffle_seed=seed)


@pytest.mark.parametrize("batch_tokens", [0, 7, 12])
def test_a_batch_that_does_not_divide(batch_tokens: int) -> None:
    with pytest.raises(OptionError, match="give a multiple of micro_batches x seq_len = 2 x 4 tokens"):
        TokenStream(_shards([50]), batch_tokens=batch_tokens, seq_len=4, micro_batches=2, shuffle_seed=None)
