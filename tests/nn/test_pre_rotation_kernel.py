"""The Triton kernel of pre-rotation against the eager form in float64, in Triton's interpreter, and compiled for a GPU.

`make test-triton` runs these tests. Without Triton, and outside its interpreter, they are skipped.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pgolf.config.auto import machine_shortages
from pgolf.execution.provenance import loaded_code
from pgolf.nn.pair_rotation import IMPLEMENTATIONS, angles, turned
from tiny import tiny_config

interpreted = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None or os.environ.get("TRITON_INTERPRET") != "1",
    reason="not in Triton's interpreter; make test-triton",
)
# B, T, D, P, M: one token; a partial tile of everything; more tokens than a tile; every dim in a pair; large tiles
SHAPES = [(1, 1, 2, 1, 1), (2, 5, 33, 5, 17), (3, 23, 96, 32, 40), (1, 40, 130, 65, 9), (2, 33, 300, 7, 3)]
ROOT = Path(__file__).parents[2]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def inputs(shape: tuple[int, ...], angle: str) -> tuple[list[Tensor], Tensor]:
    """x, A or angles, and W; and the gradient of the output."""
    batch, time, width, pairs, outputs = shape
    source = normal(pairs, width, seed=1) * width**-0.5 if angle == "content" else normal(pairs, seed=1)
    weight = normal(outputs, width, seed=2)
    return [normal(batch, time, width), source, weight], normal(batch, time, outputs, seed=3)


def results(form: str, tensors: list[Tensor], g: Tensor, *, bf16: bool = False) -> list[Tensor]:
    """The output of a form and the gradients of its three inputs, in float64."""
    leaves = [t.clone().requires_grad_() for t in tensors]
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        z = IMPLEMENTATIONS[form](*leaves)
    return [t.detach().double() for t in (z, *torch.autograd.grad(z, leaves, g.to(z.dtype)))]


def error(found: Tensor, expected: Tensor) -> float:
    """The distance relative to the norm of what is expected."""
    return float((found - expected).norm() / expected.norm())


@interpreted
@pytest.mark.parametrize("angle", ["content", "constant"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_output_and_gradients_are_those_of_the_eager_form(shape: tuple[int, ...], angle: str) -> None:
    tensors, g = inputs(shape, angle)
    expected = results("eager", tensors, g)
    for found, wanted in zip(results("triton", tensors, g), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-11, atol=1e-11)
    for bf16, tolerance in ((False, 2e-6), (True, 1e-2)):
        single = [t.float() for t in tensors]
        for form in ("eager", "triton"):
            errors = [error(*pair) for pair in zip(results(form, single, g, bf16=bf16), expected, strict=True)]
            assert max(errors) < tolerance, (form, bf16, errors)


@interpreted
@pytest.mark.parametrize("angle", ["content", "constant"])
def test_the_gradient_is_that_of_finite_differences(angle: str) -> None:
    from pgolf.nn.pre_rotation_op import rotated

    (x, source, _), _ = inputs((1, 3, 9, 4, 1), angle)
    assert torch.autograd.gradcheck(
        lambda *tensors: rotated(*tensors, torch.float64), (x.requires_grad_(), source.requires_grad_())
    )


@interpreted
def test_angles_of_zero_change_no_bit_and_no_tokens_are_no_error() -> None:
    from pgolf.nn.pre_rotation_op import rotated

    x = normal(2, 3, 20).float()
    for source in (torch.zeros(7, 20), torch.zeros(7)):
        assert torch.equal(rotated(x, source, torch.float32), x)
        empty = torch.zeros(0, 3, 20).requires_grad_()
        y = rotated(empty, source.requires_grad_(), torch.float32)
        assert y.shape == (0, 3, 20)
        assert not torch.autograd.grad(y.sum(), source)[0].any()


@interpreted
def test_large_angles_under_autocast_are_those_of_fp32() -> None:
    """Of angles of 300 rad, bf16 would keep one radian."""
    from pgolf.nn.pre_rotation_op import rotated

    x, source = normal(2, 9, 32).float(), (normal(8, 32, seed=1) * 50).float()
    with torch.autocast("cpu", torch.bfloat16):
        y = rotated(x, source, torch.bfloat16)
    theta = angles(x, source).double()
    assert theta.abs().max() > 300
    expected = turned(x[..., :16].double(), theta.cos(), theta.sin())
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y[..., :16].double(), expected, rtol=2**-7, atol=1e-3)


@interpreted
def test_traced_under_autocast_the_gradient_of_the_map_stays_in_fp32() -> None:
    """torch.compile traces both passes under the autocast of the forward pass, where a product would be in bf16."""
    tensors, g = inputs((1, 9, 40, 5, 7), "content")
    single = [t.float() for t in tensors]
    expected = results("triton", single, g, bf16=True)
    leaves = [t.clone().requires_grad_() for t in single]
    with torch.autocast("cpu", torch.bfloat16):
        z = torch.compile(IMPLEMENTATIONS["triton"], backend="aot_eager", fullgraph=True)(*leaves)
    found = [t.detach().double() for t in (z, *torch.autograd.grad(z, leaves, g.to(z.dtype)))]
    assert max(error(*pair) for pair in zip(found, expected, strict=True)) < 1e-6


@interpreted
def test_tensors_that_are_not_contiguous() -> None:
    (x, source, weight), g = inputs((2, 5, 12, 3, 4), "content")
    tensors = [x.transpose(0, 1), source.T.contiguous().T, weight]
    found, expected = (results(form, tensors, g.transpose(0, 1)) for form in ("triton", "eager"))
    for pair in zip(found, expected, strict=True):
        torch.testing.assert_close(*pair, rtol=1e-11, atol=1e-11)


@interpreted
def test_a_checked_configuration_has_loaded_the_kernel_whose_bytes_count_as_code() -> None:
    config = tiny_config("model/mlp=pre_rotation", "model.mlp.implementation=triton")
    assert machine_shortages(config) == []
    assert {"nn/pre_rotation_kernel.py", "nn/pre_rotation_op.py"} <= set(loaded_code())


@interpreted
def test_a_cpu_without_the_interpreter_is_refused_in_words() -> None:
    code = (
        "import torch; from pgolf.errors import PgolfError; from pgolf.nn.pair_rotation import triton\n"
        "try: triton(torch.ones(1, 2, 4), torch.zeros(1, 4), torch.ones(3, 4))\n"
        "except PgolfError as error: print(error)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment)
    assert said.stdout.startswith("model.mlp.implementation: cannot be used (triton); the device is cpu: choose")


@interpreted
def test_the_kernels_compile_for_a_gpu(tmp_path: Path) -> None:
    """The interpreter accepts code that the compiler refuses. No GPU is needed to compile."""
    words = [sys.executable, "-W", "ignore", "benchmarks/pre_rotation.py", "--compile-for", "80", "--cases", "1"]
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    said = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert said.returncode == 0, said.stderr
    lines = said.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [["sm_80", "forward"], ["sm_80", "backward"]]
    for line in lines:
        figures = dict(part.split() for part in line.split(": ")[1].split(", "))
        assert int(figures["shared"].replace(",", "")) < 48 * 1024, line  # any GPU has that much
        assert int(figures["spilled"].replace(",", "")) < 256, line
