"""The functions with a gradient by formula are those that autograd derives, and are used where they should be."""

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from pgolf.nn import fused, primitives
from pgolf.nn.primitives import normed_rotation, rms_norm, rotary_angles, softcap_nll, squared_relu

CPU = torch.device("cpu")


def numbers(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=generator, dtype=torch.float64) * scale).requires_grad_()


def angles(time: int, dims: int) -> tuple[Tensor, Tensor]:
    cos, sin = rotary_angles(time, dims, 100.0, CPU)
    return cos.double(), sin.double()


def fused_steps(value: Tensor) -> set[str]:
    """Names of the functions of pgolf.nn.fused in the last two steps of a computation."""
    last = value.grad_fn
    assert last is not None
    names = {f"{type(step).__name__}" for step in (last, *(step for step, _ in last.next_functions if step))}
    return names & {f"{name}Backward" for name in ("RmsNorm", "NormedRotation", "SquaredRelu", "SoftcapNll")}


CASES = {
    "rms_norm": (rms_norm, (numbers(2, 3, 5),)),
    "rms_norm of zeros": (rms_norm, (numbers(2, 5, scale=0.0),)),
    "squared_relu": (squared_relu, (numbers(4, 7),)),
    "normed_rotation": (lambda x, gain: normed_rotation(x, angles(3, 4), gain), (numbers(2, 3, 2, 4), numbers(2))),
    "of a part": (lambda x, gain: normed_rotation(x, angles(3, 2), gain), (numbers(2, 3, 2, 5), numbers(2))),
    "without gain": (lambda x: normed_rotation(x, angles(3, 4)), (numbers(2, 3, 2, 4),)),
    "softcap_nll": (lambda z: softcap_nll(z, torch.tensor([[0, 4, 2], [3, 3, 1]]), 3.0), (numbers(2, 3, 5, scale=5),)),
}


@pytest.mark.parametrize("case", CASES)
def test_value_and_gradient_are_those_of_autograd(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    function, inputs = CASES[case]
    value = function(*inputs)
    assert fused_steps(value)
    weights = torch.linspace(0.5, 2, value.numel(), dtype=torch.float64).view_as(value)
    gradients = torch.autograd.grad((value * weights).sum(), inputs)
    assert "zeros" in case or gradcheck(function, inputs)  # no finite step is small enough at zero
    monkeypatch.setattr(primitives, "use_fused", lambda _: False)
    plain = function(*inputs)
    assert not fused_steps(plain)
    torch.testing.assert_close(value, plain.double(), rtol=1e-6, atol=1e-6)  # the plain softcap is in fp32
    expected = torch.autograd.grad((plain * weights).sum(), inputs)
    torch.testing.assert_close(gradients, expected, rtol=1e-6, atol=1e-6)


def test_rows_beyond_one_part_of_the_cache_and_logits_at_the_cap() -> None:
    z = torch.cat([numbers(fused.ROWS, 7), numbers(fused.ROWS + 3, 7, seed=1, scale=1e4)]).detach().requires_grad_()
    targets = torch.arange(len(z)) % 7
    t = torch.tanh(z / 30)
    expected = -torch.log_softmax(30 * t, -1)[torch.arange(len(z)), targets]
    nll = softcap_nll(z, targets, 30.0)
    torch.testing.assert_close(nll, expected)
    torch.testing.assert_close(torch.autograd.grad(nll.sum(), z), torch.autograd.grad(expected.sum(), z))


def test_the_plain_forms_stay_for_other_types_and_for_compilation() -> None:
    assert fused.use_fused(torch.zeros(1))
    assert not fused.use_fused(torch.zeros(1, dtype=torch.bfloat16))
    assert fused.use_fused(torch.zeros(1, device="meta")), "the estimate of memory counts what a CPU does"
