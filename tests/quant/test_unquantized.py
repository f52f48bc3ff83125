"""No quantization: lossless in fp32, rounded in fp16."""

import pytest
import torch

from pgolf.errors import OptionError
from pgolf.quant.encoding import decode
from pgolf.quant.unquantized import Unquantized


@pytest.mark.parametrize("size", [1e-40, 1.0, 1e30])
def test_fp32_is_lossless(size):
    w = torch.randn(30, 20, generator=torch.Generator().manual_seed(1)) * size
    assert torch.equal(decode(Unquantized(codec="none", level=0, dtype="fp32").encode("model.w", w)), w)


def test_fp16_rounds_and_saturates():
    quant = Unquantized(codec="zlib", level=1, dtype="fp16")
    w = torch.tensor([0.1, 1e9])
    assert torch.equal(decode(quant.encode("model.w", w)), torch.tensor([0.1, 65504.0]).half().float())
    assert quant.payload_bytes("model.w", (3, 5)) == 30


@pytest.mark.parametrize(
    ("changes", "key"), [({"dtype": "bf16"}, "dtype"), ({"codec": "gzip"}, "codec"), ({"level": -1}, "level")]
)
def test_refused_settings_are_named(changes, key):
    with pytest.raises(OptionError) as caught:
        Unquantized(**({"codec": "zlib", "level": 9, "dtype": "fp32"} | changes))
    assert caught.value.key == key
