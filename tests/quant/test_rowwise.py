"""Row-wise codes: the formula, its error bound, extreme rows, which rule a tensor gets, refused settings."""

import math

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgolf.errors import OptionError
from pgolf.quant.container import read_container, write_container
from pgolf.quant.encoding import decode
from pgolf.quant.rowwise import Rowwise, Rule

QUICK = settings(max_examples=100, deadline=None, database=None, suppress_health_check=list(HealthCheck))
RULE = {"names": ["model"], "bits": 8, "clip_percentile": 100, "absmax_floor": 0.0, "round_with": "fp16"}
SETTINGS = {
    "codec": "zlib",
    "level": 9,
    "keep_float_numel": 0,
    "keep_control_numel": 0,
    "small_dtype": "fp16",
    "control_dtype": "fp32",
    "control_names": ["gains", "q_gain"],
    "control_below_ndim": 2,
    "unfloored_vectors": False,
    "rules": {"rest": RULE},
}


def rowwise(**changes) -> Rowwise:
    """A quantizer with changed settings. Settings of a rule apply to its only rule."""
    rule = {key: changes.pop(key) for key in list(changes) if key in RULE}
    return Rowwise(**(SETTINGS | {"rules": {"rest": RULE | rule}} | changes))


def coded(tensor: torch.Tensor, **changes) -> tuple[np.ndarray, np.ndarray, torch.Tensor]:
    encoded = rowwise(**changes).encode("model.w", tensor)
    return encoded.arrays["codes"], encoded.arrays["scales"].astype(np.float64), decode(encoded)


@st.composite
def matrices(draw):
    """Rows of any size that fp32 holds: ordinary, zero, subnormal, huge, with outliers."""
    rows, cols = draw(st.integers(1, 6)), draw(st.integers(1, 40))
    rng = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    sizes = draw(
        st.lists(
            st.sampled_from([0.0, 1e-44, 1e-30, 1e-9, 6e-8, 1e-6, 1e-5, 1e-3, 0.1, 1.0, 30.0, 1e4, 1e6]),
            min_size=rows,
            max_size=rows,
        )
    )
    return torch.randn(rows, cols, generator=rng) * torch.tensor(sizes)[:, None]


@given(w=matrices(), bits=st.integers(2, 8))
@QUICK
def test_no_weight_is_off_by_more_than_half_a_scale(w, bits):
    codes, scales, back = coded(w, bits=bits)
    top = 2 ** (bits - 1) - 1
    assert np.abs(codes.astype(int)).max() <= top
    assert (scales > 0).all()
    reach = scales[:, None] * top  # beyond it only where fp16 holds no larger scale
    clipped = np.clip(w.double().numpy(), -reach - scales[:, None] / 2, reach + scales[:, None] / 2)
    if scales.max() < 65504:
        assert np.array_equal(clipped, w.double().numpy())
    assert (np.abs(back.double().numpy() - clipped) <= scales[:, None] / 2 * (1 + 1e-6)).all()


@given(
    w=matrices(),
    bits=st.integers(2, 8),
    percentile=st.sampled_from([50.0, 99.0, 99.99984, 100]),
    floor=st.sampled_from([0.0, 1e-3, 1.0]),
)
@settings(QUICK, max_examples=60)
def test_published_rounding_is_bounded_by_clip_and_scale(w, bits, percentile, floor):
    codes, scales, back = coded(w, bits=bits, round_with="fp32", clip_percentile=percentile, absmax_floor=floor)
    top = 2 ** (bits - 1) - 1
    assert torch.isfinite(back).all()
    rounded_scale = top * (scales * 2**-11 + 2**-25)  # codes are made with the fp32 scale and read with the fp16 one
    assert (back.abs() <= w.abs() + torch.tensor(scales / 2 + rounded_scale)[:, None] * (1 + 1e-6)).all()
    assert (scales >= np.float16(floor / top).astype(np.float64)).all()
    assert (np.sign(codes) * np.sign(w.numpy()) >= 0).all()


@pytest.mark.parametrize("round_with", ["fp16", "fp32"])
@pytest.mark.parametrize("bits", [2, 6, 8])
def test_rows_that_fp16_cannot_scale_stay_finite(bits, round_with):
    sizes = torch.tensor([0.0, 1e-45, 1e-38, 1e-20, 1e8, 1e30, 3e38])
    w = torch.linspace(-1, 1, 50)[None] * sizes[:, None]
    _, _, back = coded(w, bits=bits, round_with=round_with)
    top = 2 ** (bits - 1) - 1
    assert torch.isfinite(back).all()
    assert torch.equal(back[:4], torch.zeros(4, 50)), "far below the smallest scale: zero"
    assert (back.abs() <= w.abs().clamp(max=65504.0 * top) + 65504.0 / 2).all(), "far above the largest: saturated"
    assert back[6].max() == 65504.0 * top


def test_the_largest_weight_of_a_row_uses_the_last_code():
    w = torch.tensor([[0.3, -0.1, 0.0], [-1e-3, 5e-4, 2.5e-4]])
    codes, _, _ = coded(w, bits=6)
    assert codes.tolist() == [[31, -10, 0], [-31, 16, 8]]


def published(
    w: torch.Tensor, bits: int, percentile: float, floor: bool, fp16_first: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """The formulas of the published packers, written independently with torch.quantile."""
    top = 2 ** (bits - 1) - 1
    clip = torch.quantile(w.abs(), percentile / 100, dim=1)
    scale = torch.clamp(clip / top, min=1 / top if floor else 0)
    if fp16_first:
        scale = scale.half().float()
    clipped = torch.maximum(torch.minimum(w, clip[:, None]), -clip[:, None])
    return torch.clamp(torch.round(clipped / scale[:, None]), -top, top).to(torch.int8), scale.half()


@pytest.mark.parametrize("size", [0.01, 0.4, 2.0])
@pytest.mark.parametrize(
    ("bits", "percentile", "fp16_first"), [(8, 99.99984, False), (6, 100, True), (6, 99.99984, False), (8, 90.0, False)]
)
def test_codes_and_scales_equal_the_published_formulas(size, bits, percentile, fp16_first):
    for seed, shape in enumerate([(64, 512), (16, 1024), (512, 3), (5, 1)]):
        w = torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * size
        round_with = "fp16" if fp16_first else "fp32"
        codes, scales, _ = coded(w, bits=bits, clip_percentile=percentile, absmax_floor=1.0, round_with=round_with)
        expected_codes, expected_scales = published(w, bits, percentile, True, fp16_first)
        assert np.array_equal(scales, expected_scales.double().numpy())
        assert np.array_equal(codes, expected_codes.numpy())


def test_the_published_floor_is_a_fixed_step_for_small_rows():
    codes, scales, _ = coded(torch.full((3, 4), 0.1), absmax_floor=1.0, round_with="fp32")
    assert scales.tolist() == [float(np.float16(1 / 127))] * 3
    assert set(codes.flatten().tolist()) == {13}


@given(seed=st.integers(0, 2**32 - 1), cols=st.integers(1, 600), percentile=st.floats(0.01, 100))
@QUICK
def test_the_clip_is_the_interpolated_percentile(seed, cols, percentile):
    w = torch.randn(3, cols, generator=torch.Generator().manual_seed(seed))
    _, scales, _ = coded(w, clip_percentile=percentile)
    expected = np.percentile(w.abs().double().numpy(), percentile, axis=1) / 127
    assert np.allclose(scales, expected, rtol=2e-3, atol=2**-24)


@pytest.mark.parametrize("cols", [1, 2, 3, 512, 1536, 5120, 100_000])
@pytest.mark.parametrize("percentile", [1e-3, 50, 99.9, 99.99984])
def test_the_rank_is_rounded_to_fp32_as_torch_quantile_does(cols, percentile):
    ramp = torch.arange(cols, dtype=torch.float32)[None]
    clip = torch.quantile(ramp, percentile / 100, dim=1)
    _, scales, _ = coded(ramp, clip_percentile=percentile, round_with="fp32", bits=2)
    assert scales.tolist() == [float(clip.clamp(2**-24, 65504).half())]


def test_a_matrix_has_a_scale_per_row_and_any_other_shape_one():
    quant = rowwise(control_below_ndim=0)
    for shape, scales in (((3, 5), 3), ((2, 3, 5), 1), ((7,), 1), ((), 1)):
        encoded = quant.encode("model.w", torch.ones(shape))
        assert encoded.arrays["scales"].shape == (scales,)
        assert encoded.arrays["codes"].shape == (scales, math.prod(shape) // scales)
        assert decode(encoded).shape == shape


RULES = {
    "rest": RULE,
    "blocks": RULE | {"names": ["model.mlp", "model.q_proj"], "bits": 6},
    "edges": RULE | {"names": ["model.mlp.0", "model.mlp.10"], "bits": 7},
    "one": RULE | {"names": ["model.mlp.0.fc.weight"], "bits": 5},
}


@pytest.mark.parametrize("size", [0.0, 1e-44, 1e-9, 1e-3, 1e6])
def test_an_unfloored_vector_has_the_published_scale(size, tmp_path):
    """clip = quantile of |w|, scale = clip / 127 in fp32, or 1 for a zero vector; matrices keep floor and fp16."""
    quantizer = rowwise(
        unfloored_vectors=True,
        clip_percentile=99.99984,
        absmax_floor=1.0,
        round_with="fp32",
        control_below_ndim=0,
    )
    w = size * torch.randn(3000, generator=torch.Generator().manual_seed(2))
    clip = torch.quantile(w.abs(), 99.99984 / 100)
    scale = clip / 127 if clip / 127 > 0 else torch.tensor(1.0)
    codes = (w.clamp(-clip, clip) / scale).round().clamp(-127, 127)
    encoded = quantizer.encode("model.w", w)
    assert encoded.arrays["scales"].dtype == np.float32
    assert torch.equal(decode(encoded), codes * scale)
    assert torch.equal(quantizer.fake("model.w", w), codes * scale)
    write_container(tmp_path / "w", {}, {"model.w": encoded}, "zlib", 9)
    assert torch.equal(decode(read_container(tmp_path / "w")[1]["model.w"]), codes * scale)
    assert quantizer.payload_bytes("model.w", (3000,)) == sum(a.nbytes for a in encoded.arrays.values()) == 3004
    floored = rowwise(absmax_floor=1.0, round_with="fp32", control_below_ndim=0).encode("model.w", w)
    assert floored.arrays["scales"][0] >= np.float16(1 / 127)
    assert quantizer.encode("model.w", w[None]).arrays["scales"].dtype == np.float16


@pytest.mark.parametrize(
    ("name", "bits"),
    [
        ("model.mlp.3.fc.weight", 6),
        ("model.mlp.0.proj.weight", 7),
        ("model.mlp.0.fc.weight", 5),
        ("model.mlp.1.fc.weight", 6),
        ("model.mlp.10.fc.weight", 7),
        ("model.mlp.100.fc.weight", 6),
        ("model.mlps.0.weight", 8),
        ("model.q_proj", 6),
        ("model.table.weight", 8),
    ],
)
def test_the_longest_name_wins_and_ends_at_a_dot(name, bits):
    assert Rowwise(**(SETTINGS | {"rules": RULES})).plan(name, (100, 100)).bits == bits


def test_a_tensor_that_no_rule_names_is_an_error():
    quant = Rowwise(**(SETTINGS | {"rules": {"blocks": RULES["blocks"]}}))
    with pytest.raises(OptionError, match=r"model\.head\.up\.weight"):
        quant.encode("model.head.up.weight", torch.ones(4, 4))


@pytest.mark.parametrize(
    ("name", "shape", "plan"),
    [
        ("model.gains.3.resid_mix", (2, 100), "fp32"),
        ("model.gains.3.resid_mix", (2, 200), "code"),
        ("model.attention.0.q_gain", (8,), "fp32"),
        ("model.head.bias", (150,), "fp32"),
        ("model.head.up.weight", (10, 10), "fp16"),
        ("model.head.up.weight", (10, 11), "code"),
        ("model.mygains.weight", (10, 11), "code"),
    ],
)
def test_what_stays_float(name, shape, plan):
    actual = rowwise(keep_float_numel=100, keep_control_numel=300).plan(name, shape)
    assert (actual if isinstance(actual, str) else "code") == plan


def test_a_control_tensor_below_either_size_stays_float():
    assert rowwise(keep_float_numel=100, keep_control_numel=0).plan("model.gains.0.resid_mix", (2, 50)) == "fp32"


def test_only_names_decide_when_dimensions_do_not():
    quant = rowwise(keep_float_numel=100, control_below_ndim=0)
    assert [quant.plan("model.lambdas", (11,)), quant.plan("model.attention.0.q_gain", (8,))] == ["fp16", "fp32"]


def test_kept_fp16_saturates():
    quant = rowwise(keep_float_numel=10)
    assert decode(quant.encode("model.w", torch.tensor([[1e9, -1e9, 0.1]]))).tolist() == [
        [65504.0, -65504.0, float(np.float16(0.1))]
    ]


def test_a_rule_is_a_value():
    assert Rule.parse("rules.rest", RULE) == Rule(("model",), 8, 100, 0.0, "fp16")


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"codec": "xz"}, "codec"), ({"codec": None}, "codec"), ({"level": 10}, "level"), ({"level": "9"}, "level"),
        ({"codec": "zstd", "level": 0}, "level"), ({"codec": "zstd", "level": 23}, "level"), ({"codec": "none"}, "level"),
        ({"keep_float_numel": -1}, "keep_float_numel"), ({"keep_float_numel": 1.5}, "keep_float_numel"),
        ({"unfloored_vectors": 1}, "unfloored_vectors"),
        ({"keep_control_numel": -1}, "keep_control_numel"), ({"control_below_ndim": True}, "control_below_ndim"),
        ({"small_dtype": "bf16"}, "small_dtype"), ({"control_dtype": None}, "control_dtype"),
        ({"control_names": "gains"}, "control_names"), ({"control_names": [1]}, "control_names"),
        ({"bits": 1}, "rules.rest.bits"), ({"bits": 9}, "rules.rest.bits"), ({"bits": 6.0}, "rules.rest.bits"),
        ({"bits": True}, "rules.rest.bits"),
        ({"clip_percentile": 0}, "rules.rest.clip_percentile"), ({"clip_percentile": 100.1}, "rules.rest.clip_percentile"),
        ({"clip_percentile": float("nan")}, "rules.rest.clip_percentile"), ({"absmax_floor": -1.0}, "rules.rest.absmax_floor"),
        ({"absmax_floor": float("inf")}, "rules.rest.absmax_floor"), ({"round_with": "bf16"}, "rules.rest.round_with"),
        ({"names": []}, "rules.rest.names"), ({"names": "model"}, "rules.rest.names"), ({"names": [""]}, "rules.rest.names"),
        ({"names": ["model", "model"]}, "rules.rest.names"), ({"rules": {}}, "rules"), ({"rules": None}, "rules"),
        ({"rules": {"a": None}}, "rules.a"), ({"rules": {"a": RULE | {"bit": 6}}}, "rules.a.bit"),
        ({"rules": {"a": {key: RULE[key] for key in RULE if key != "bits"}}}, "rules.a.bits"),
        ({"rules": {"a": RULE, "b": RULE}}, "rules.b.names"),
    ],
)  # fmt: skip
def test_refused_settings_are_named(changes, key):
    with pytest.raises(OptionError) as caught:
        rowwise(**changes)
    assert caught.value.key == key
    assert caught.value.remedy
