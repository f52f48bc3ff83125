"""The baseline's limit of 65,536 elements for coding a tensor, at other widths than the published one."""

import pytest

from pgolf.config.build import build_model, build_quantizer
from pgolf.nn.naming import named_tensors
from pgolf.quant.rowwise import Rule
from tiny import STACKS, cpu_config, published_config


def coded(config) -> dict[str, int]:
    """Names and dimensions of the tensors that the packer codes; the others are kept in float."""
    quantizer, tensors = build_quantizer(config), named_tensors(build_model(config.model))
    return {name: p.ndim for name, p in tensors.items() if isinstance(quantizer.plan(name, tuple(p.shape)), Rule)}


def test_the_limit_follows_the_width_unless_the_defect_is_on():
    """At width 64, the trainer keeps 25 matrices in fp16 that it would code at its own width, and codes none."""
    narrow, fixed = (cpu_config("baseline", "model.width=64", f"defects={name}") for name in ("none", "baseline"))
    assert (len(coded(narrow)), len(coded(fixed))) == (25, 0)
    published = published_config("baseline", "defects=baseline")
    assert {**published.quant, "unfloored_vectors": False} == published_config("baseline").quant
    assert len(coded(published)) == 55


@pytest.mark.parametrize("stack", STACKS)
def test_no_stack_codes_a_tensor_that_is_not_a_matrix(stack):
    """Such a tensor would have a scale of its own kind in the trainer, which pgolf does not repeat."""
    assert set(coded(published_config(stack)).values()) == {2}
    assert set(coded(cpu_config(stack)).values()) == {2}
