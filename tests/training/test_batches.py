"""Micro-batches are those of the stream, prepared ahead or not, and each is fetched once."""

import pytest
import torch

from pgolf.training.batches import Batches
from tiny import CPU, tiny_config, tiny_stream

STREAM = tiny_stream(tiny_config())


class Counted:
    def __init__(self):
        self.fetched = []

    def micro_batch(self, step, index):
        self.fetched.append((step, index))
        return STREAM.micro_batch(step, index)


@pytest.mark.parametrize("ahead", [False, True])
def test_batches_are_those_of_the_stream(ahead):
    stream = Counted()
    batches = Batches(stream, lambda x, y: int(y.sum()), CPU)
    assert not batches.ahead, "a CPU has nothing to copy"
    batches.ahead = ahead
    places = [(step, index) for step in range(3) for index in range(2)]
    for place, following in zip(places, [*places[1:], (3, 0)], strict=True):
        batch = batches.take(*place)
        assert place in stream.fetched
        assert following not in stream.fetched
        batches.prepare(*following)
        assert (following in stream.fetched) == ahead
        x, y = STREAM.micro_batch(*place)
        assert torch.equal(batch.x_BT, x)
        assert torch.equal(batch.y_BT, y)
        assert batch.target_bytes == int(y.sum())
    assert sorted(stream.fetched) == [*places, (3, 0)][: len(places) + ahead]


def test_another_batch_than_the_prepared_one_is_fetched():
    """Priming repeats the first step; a run that resumes begins elsewhere."""
    batches = Batches(STREAM, lambda x, y: y.numel(), CPU)
    batches.ahead = True
    batches.prepare(1, 0)
    assert torch.equal(batches.take(0, 0).x_BT, STREAM.micro_batch(0, 0)[0])
    assert batches.prepared == {}
