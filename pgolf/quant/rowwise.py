"""Integer codes with one fp16 scale per row, by named rules. Covers the published int8 and int6 packers.

For a row w of a matrix, with L = 2^(bits-1) - 1 levels on each side:

    clip  = the clip_percentile-th percentile of |w| (linear interpolation; 100 is the absolute maximum)
    scale = max(clip, absmax_floor) / L
    code  = round(clamp(w, -clip, clip) / scale), half to even;   the packed model runs with code * fp16(scale)

A tensor that is not a matrix is one row. With `unfloored_vectors` its scale is clip / L in fp32, or 1 if clip is zero.

Sources: openai/parameter-golf, train_gpt.py (int8; absmax_floor 1, so that a row with |w| < 1 has the fixed step 1/127)
and its pull request #215 (int6). Deviation: a scale outside the range of fp16 saturates, above and below. Each code
takes one byte, whatever its bits: the compressor removes the unused ones.

Shapes: R rows, C columns of a tensor laid out for coding.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from pgolf.errors import OptionError, require
from pgolf.quant.codecs import check_codec
from pgolf.quant.encoding import FLOAT_BYTES, dequantize, encode_values, finite_fp32, round_values, straight_through
from pgolf.slots import Encoded

MIN_SCALE = 2.0**-24  # the smallest positive fp16
MAX_SCALE = 65504.0  # the largest finite fp16


@dataclass(frozen=True)
class Rule:
    """How the tensors under some names are coded.

    names: whole parameter names, or prefixes of them that end before a dot. bits: 2 to 8. clip_percentile: in (0, 100].
    absmax_floor: the scale is at least absmax_floor / L; with 0, at least the smallest fp16. round_with: the scale that
    codes are computed with. `fp16` is the scale that they are decoded with, so the error of an unclipped weight is at
    most scale / 2. `fp32` is the baseline's choice.
    """

    names: tuple[str, ...]
    bits: int
    clip_percentile: float
    absmax_floor: float
    round_with: str

    @classmethod
    def parse(cls, key: str, value: Any) -> Rule:
        """One checked entry of `rules`. Raises OptionError, which names the setting as `key.<setting>`."""
        settings = [field.name for field in fields(cls)]
        listing = ", ".join(settings)
        require(isinstance(value, Mapping), key, value, f"give the keys {listing}")
        for name in value:
            require(name in settings, f"{key}.{name}", value[name], f"this setting is unknown; a rule has {listing}")
        for name in settings:
            require(name in value, f"{key}.{name}", None, f"a rule has the settings {listing}")
        rule = cls(_names(f"{key}.names", value["names"]), *(value[name] for name in settings[1:]))
        require(len(rule.names) > 0, f"{key}.names", value["names"], "name at least one prefix of parameter names")
        require(type(rule.bits) is int and 2 <= rule.bits <= 8, f"{key}.bits", rule.bits, "give an integer from 2 to 8")
        percentile, floor = rule.clip_percentile, rule.absmax_floor
        require(
            _is_number(percentile) and 0 < percentile <= 100,
            f"{key}.clip_percentile",
            percentile,
            "give a number above 0, at most 100",
        )
        require(
            _is_number(floor) and 0 <= floor < math.inf, f"{key}.absmax_floor", floor, "give 0 or a positive number"
        )
        require(rule.round_with in ("fp16", "fp32"), f"{key}.round_with", rule.round_with, "give fp16 or fp32")
        return rule

    def code(self, w_RC: Tensor) -> tuple[Tensor, Tensor]:
        """int8 codes [R, C] and fp16 scales [R] of fp32 weights [R, C]. Scales outside the range of fp16 saturate."""
        top = 2 ** (self.bits - 1) - 1
        clip_R = _abs_percentile(w_RC, self.clip_percentile)
        exact_R = (clip_R.clamp(min=self.absmax_floor) / top).clamp(MIN_SCALE, MAX_SCALE)
        scales_R = exact_R.to(torch.float16)
        if self.round_with == "fp16":
            # Subnormal fp16 values are far apart: the nearest may be too small for the row's largest weight. Then the
            # next larger one is used.
            short_R = scales_R.float() * (top + 0.5) < clip_R.clamp(max=top * MAX_SCALE)
            scales_R = (scales_R.view(torch.int16) + short_R.to(torch.int16)).view(torch.float16)
            exact_R = scales_R.float()
        if self.clip_percentile < 100:
            w_RC = torch.minimum(torch.maximum(w_RC, -clip_R[:, None]), clip_R[:, None])
        return (w_RC / exact_R[:, None]).round_().clamp_(-top, top).to(torch.int8), scales_R

    def code_unfloored(self, w_RC: Tensor) -> tuple[Tensor, Tensor]:
        """int8 codes [R, C] and fp32 scales [R] = clip / L, or 1 where that is zero, of fp32 weights [R, C]."""
        top = 2 ** (self.bits - 1) - 1
        clip_R = _abs_percentile(w_RC, self.clip_percentile)
        scales_R = clip_R / top
        scales_R = torch.where(scales_R > 0, scales_R, torch.ones_like(scales_R))
        w_RC = torch.minimum(torch.maximum(w_RC, -clip_R[:, None]), clip_R[:, None])
        return (w_RC / scales_R[:, None]).round_().clamp_(-top, top).to(torch.int8), scales_R


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _names(key: str, value: Any) -> tuple[str, ...]:
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    require(is_list and all(isinstance(name, str) and name for name in value), key, value, "give a list of names")
    return tuple(value)


def _abs_percentile(w_RC: Tensor, percentile: float) -> Tensor:
    """Percentile of |w| per row, [R]: equal to torch.quantile (fp32 ranks), from the few largest values only."""
    if percentile == 100:
        return torch.linalg.vector_norm(w_RC, math.inf, dim=1)
    below, weight = _rank(percentile, w_RC.shape[1])
    top_RK = w_RC.abs().topk(w_RC.shape[1] - below, dim=1).values
    return torch.lerp(top_RK[:, -1], top_RK[:, max(top_RK.shape[1] - 2, 0)], weight)


def _rank(percentile: float, columns: int) -> tuple[int, float]:
    """The sorted position just below a percentile, and the percentile's distance from it, as a fraction of one step."""
    rank = _fp32(_fp32(percentile / 100) * (columns - 1))
    return int(rank), rank - int(rank)


def _fp32(x: float) -> float:
    """x rounded to fp32, without a tensor, so that torch.compile can trace it."""
    mantissa, exponent = math.frexp(x)
    return math.ldexp(round(math.ldexp(mantissa, 24)), exponent - 24)


class Rowwise:
    """Large tensors as integer codes, by rule; small ones as floats.

    A tensor is a *control tensor* if a component of its dotted name is in `control_names`, or if it has fewer than
    `control_below_ndim` dimensions. The first condition that holds decides:

    1. a control tensor of at most `keep_control_numel` elements is stored as `control_dtype`;
    2. a tensor of at most `keep_float_numel` elements is stored as `small_dtype` (`control_dtype` for control tensors);
    3. the rule with the longest matching name codes the tensor: a matrix with one scale per row, other shapes with one
       scale.

    unfloored_vectors: the baseline's treatment of tensors that are not matrices; otherwise they have the floor and an
    fp16 scale as matrices do. rules: any label -> the settings of `Rule`. Invalid settings raise OptionError.
    """

    def __init__(
        self,
        *,
        codec: str,
        level: int,
        keep_float_numel: int,
        keep_control_numel: int,
        small_dtype: str,
        control_dtype: str,
        control_names: Sequence[str],
        control_below_ndim: int,
        unfloored_vectors: bool,
        rules: Mapping[str, Any],
    ):
        check_codec(codec, level)
        counts = {
            "keep_float_numel": keep_float_numel,
            "keep_control_numel": keep_control_numel,
            "control_below_ndim": control_below_ndim,
        }
        for key, count in counts.items():
            require(type(count) is int and count >= 0, key, count, "give an integer, 0 or more")
        for key, dtype in (("small_dtype", small_dtype), ("control_dtype", control_dtype)):
            require(
                isinstance(dtype, str) and dtype in FLOAT_BYTES, key, dtype, f"give one of {', '.join(FLOAT_BYTES)}"
            )
        require(isinstance(rules, Mapping) and len(rules) > 0, "rules", rules, "give at least one rule")
        require(type(unfloored_vectors) is bool, "unfloored_vectors", unfloored_vectors, "choose true or false")
        self.codec, self.level, self.unfloored_vectors = codec, level, unfloored_vectors
        self.keep_float_numel, self.keep_control_numel = keep_float_numel, keep_control_numel
        self.small_dtype, self.control_dtype = small_dtype, control_dtype
        self.control_names, self.control_below_ndim = (
            frozenset(_names("control_names", control_names)),
            control_below_ndim,
        )
        self.rule_of: dict[str, Rule] = {}
        for label, settings in rules.items():
            rule = Rule.parse(f"rules.{label}", settings)
            for name in rule.names:
                require(
                    name not in self.rule_of,
                    f"rules.{label}.names",
                    name,
                    "another rule, or this one, has that name already",
                )
                self.rule_of[name] = rule

    def plan(self, name: str, shape: tuple[int, ...]) -> str | Rule:
        """The float type that a float tensor is stored in, or the rule that codes it."""
        numel = math.prod(shape)
        control = len(shape) < self.control_below_ndim or not self.control_names.isdisjoint(name.split("."))
        if numel <= max(self.keep_float_numel, self.keep_control_numel if control else 0):
            return self.control_dtype if control else self.small_dtype
        parts = name.split(".")
        for length in range(len(parts), 0, -1):
            if rule := self.rule_of.get(".".join(parts[:length])):
                return rule
        raise OptionError(
            "rules",
            sorted(self.rule_of),
            f"no rule matches {name}; a rule with names: [{parts[0]}] would match",
        )

    def encode(self, name: str, tensor: Tensor) -> Encoded:
        """One tensor as arrays on the CPU. Raises ArtifactError if it holds NaN or infinity."""
        shape = tuple(tensor.shape)
        plan = self.plan(name, shape) if tensor.is_floating_point() else self.small_dtype
        if isinstance(plan, str):
            return encode_values(name, tensor, plan)
        codes_RC, scales_R = self.code(plan, finite_fp32(name, tensor))
        return Encoded("int", plan.bits, shape, {"codes": codes_RC.numpy(), "scales": scales_R.numpy()})

    def code(self, rule: Rule, tensor: Tensor) -> tuple[Tensor, Tensor]:
        """int8 codes [R, C] and scales [R] of a tensor by a rule; R is 1 if it is not a matrix."""
        unfloored = self.unfloored_vectors and tensor.ndim != 2
        return (rule.code_unfloored if unfloored else rule.code)(_rows(tensor))

    def fake(self, name: str, tensor: Tensor) -> Tensor:
        """decode(encode(tensor)) bit for bit, in fp32 on the tensor's device, with a straight-through gradient."""
        plan = self.plan(name, tuple(tensor.shape))
        with torch.no_grad():
            if isinstance(plan, str):
                decoded = round_values(tensor, plan).float()
            else:
                decoded = dequantize(*self.code(plan, tensor.detach())).reshape(tensor.shape)
        return straight_through(tensor, decoded)

    def payload_bytes(self, name: str, shape: tuple[int, ...]) -> int:
        """Bytes of all arrays that `encode` makes of a float tensor of this shape, before compression."""
        plan, numel = self.plan(name, shape), math.prod(shape)
        if isinstance(plan, str):
            return FLOAT_BYTES[plan] * numel
        if len(shape) == 2:
            return numel + 2 * shape[0]
        return numel + (4 if self.unfloored_vectors else 2)


def _rows(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.ndim == 2 else tensor.float().reshape(1, -1)
