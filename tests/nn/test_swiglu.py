"""SwiGLU against its formula in float64, and at the size of the squared-ReLU layer."""

import torch

from pgolf.nn.mlp.relu2 import Relu2
from pgolf.nn.mlp.swiglu import SwiGLU
from tiny import redraw, tiny_dims


def test_formula_and_the_limit_of_an_open_gate():
    mlp, x = SwiGLU(tiny_dims(), 0).double(), torch.randn(2, 5, 32, dtype=torch.float64)
    redraw(mlp, 1)
    gate = x @ mlp.gate.weight.T
    expected = (gate / (1 + torch.exp(-gate)) * (x @ mlp.fc.weight.T)) @ mlp.proj.weight.T
    torch.testing.assert_close(mlp(x), expected, rtol=1e-12, atol=1e-12)
    with torch.no_grad():  # the silu of a large number is that number
        mlp.gate.weight.copy_(x[0, 0].expand_as(mlp.gate.weight) * 1e3)
        open_gate = 1e3 * x[0, 0].square().sum() * (x[0, 0] @ mlp.fc.weight.T)
        torch.testing.assert_close(mlp(x)[0, 0], open_gate @ mlp.proj.weight.T, rtol=1e-12, atol=1e-12)


def test_it_has_the_weights_of_the_squared_relu_layer_up_to_one_row():
    for hidden in (64, 65, 66, 1024):
        dims = tiny_dims(mlp_hidden=hidden)
        counts = [sum(p.numel() for p in make(dims, 0).parameters()) for make in (SwiGLU, Relu2)]
        assert abs(counts[0] - counts[1]) <= dims.width
