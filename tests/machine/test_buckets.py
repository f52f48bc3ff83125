"""Gradients averaged in buckets: two gloo ranks, each a thread of this process."""

import threading
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from pgolf.machine.ranks import Buckets, Ranks, bucketed


def on_two_ranks(work) -> list:
    """What work(ranks) returns on two ranks that share a store."""
    store, results = dist.HashStore(), [None, None]

    def rank(number: int) -> None:
        group = dist.ProcessGroupGloo(store, number, 2, timedelta(seconds=30))
        try:
            results[number] = work(Ranks(number, 2, group))
        except Exception as error:
            results[number] = error

    threads = [threading.Thread(target=rank, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, Exception):
            raise result
    return results


def network() -> tuple[nn.Module, nn.Parameter]:
    """Three layers, the middle one used twice, and a weight that the loss does not use. Equal for all threads."""
    layers = nn.ModuleList([nn.Linear(6, 5), nn.Linear(5, 5), nn.Linear(5, 3)])
    for number, p in enumerate(layers.parameters()):
        p.data = torch.randn(p.shape, generator=torch.Generator().manual_seed(number))
    return layers, nn.Parameter(torch.ones(4))


def loss_of(layers: nn.Module, x: Tensor) -> Tensor:
    first, middle, last = layers
    return last(middle(middle(first(x)).tanh()).tanh()).square().mean()


def batch(rank: int, number: int) -> Tensor:
    return torch.randn(7, 6, generator=torch.Generator().manual_seed(10 * rank + number))


def own_gradients(rank: int) -> list[Tensor | None]:
    layers, unused = network()
    for number in range(2):
        loss_of(layers, batch(rank, number)).backward()
    return [p.grad for p in (*layers.parameters(), unused)]


@pytest.mark.parametrize("bucket_bytes", [1, 150, 10**6])
def test_buckets_give_the_mean_of_one_all_reduce(bucket_bytes: int) -> None:
    """With two ranks the sum has one order: the same bits, whatever the size of the buckets."""

    def gradients(ranks: Ranks) -> list[Tensor]:
        layers, unused = network()
        parameters = [*layers.parameters(), unused]
        loss_of(layers, batch(ranks.rank, 0)).backward()  # an earlier micro-batch, which is not sent
        loss = loss_of(layers, batch(ranks.rank, 1))
        with ranks.mean_gradients(parameters, bucket_bytes):
            loss.backward()
        return [p.grad for p in parameters]

    pairs = zip(own_gradients(0), own_gradients(1), strict=True)
    want = [torch.zeros(4) if a is None or b is None else (a + b) / 2 for a, b in pairs]
    for result in on_two_ranks(gradients):
        assert all(torch.equal(a, b) for a, b in zip(result, want, strict=True))


def test_buckets_are_sent_before_the_pass_has_ended() -> None:
    """When the gradient of the first layer is complete, those of the last layer have been sent."""

    def sent_before_the_first_layer(ranks: Ranks) -> int:
        layers, _ = network()
        reduction, counts = Buckets(ranks, list(layers.parameters()), 1), []
        for p in layers.parameters():
            p.register_post_accumulate_grad_hook(reduction.accumulated)
        layers[0].weight.register_post_accumulate_grad_hook(lambda p: counts.append(len(reduction.sent)))
        loss_of(layers, batch(ranks.rank, 0)).backward()
        reduction.finish()
        return counts[0]

    assert all(count >= 4 for count in on_two_ranks(sent_before_the_first_layer))


def test_the_hooks_are_removed_after_an_error() -> None:
    def hooks_left(ranks: Ranks) -> int:
        p = nn.Parameter(torch.ones(2))
        with pytest.raises(ZeroDivisionError), ranks.mean_gradients([p]):
            raise ZeroDivisionError
        return len(p._post_accumulate_grad_hooks or {})

    assert on_two_ranks(hooks_left) == [0, 0]


def test_flags_and_clocks_are_those_of_the_largest() -> None:
    assert on_two_ranks(lambda ranks: ranks.max(float(ranks.rank))) == [1.0, 1.0]
    assert Ranks().max(0.25) == 0.25


def test_a_bucket_has_one_type_and_a_limit() -> None:
    wide, narrow = (torch.zeros(8, dtype=dtype) for dtype in (torch.float32, torch.bfloat16))
    empty, large = torch.zeros(0), torch.zeros(100)
    buckets = bucketed([wide, wide, narrow, large, empty, wide], 64)
    assert [[t.nbytes for t in bucket] for bucket in buckets] == [[32, 0], [400], [32, 32], [16]]
