"""Integer codes with one fp16 scale per row, by named rules: the published int8 and int6 packers and what lies between.

For a row w of a matrix, with L = 2^(bits-1) - 1 levels on each side:

    clip  = the clip_percentile-th percentile of |w| (linear interpolation; 100 is the absolute maximum)
    scale = max(clip, absmax_floor) / L
    code  = round(clamp(w, -clip, clip) / scale), half to even;   the packed model runs with code * fp16(scale)

Sources: openai/parameter-golf, train_gpt.py (int8; absmax_floor 1, so that a row with |w| < 1 has the fixed step 1/127)
and its pull request #215 (int6). We differ where fp16 cannot hold a scale: there it saturates, above and below. Codes
take a byte each whatever the bits: the entropy coder behind them does the packing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from pgolf.errors import OptionError, require
from pgolf.quant.container import check_codec
from pgolf.quant.encoding import FLOAT_BYTES, dequantize, encode_values, finite_fp32, round_values, straight_through
from pgolf.slots import Encoded

# R rows, C columns of a tensor laid out for coding.

MIN_SCALE = 2.0**-24  # the smallest positive fp16
MAX_SCALE = 65504.0  # the largest finite fp16


@dataclass(frozen=True)
class Rule:
    """How the tensors under some names are coded.

    names: prefixes of parameter names that end at a dot, or whole names; bits: 2 to 8; clip_percentile: in (0, 100];
    absmax_floor: the scale is never below absmax_floor/L (0: never below the smallest fp16); round_with: the scale that
    codes are made with, fp16 (the one they are read with: the error of an unclipped weight is at most scale/2) or fp32
    (as the baseline does).
    """

    names: tuple[str, ...]
    bits: int
    clip_percentile: float
    absmax_floor: float
    round_with: str

    @classmethod
    def parse(cls, key: str, given: Any) -> Rule:
        """Check one entry of `rules`; OptionError names it as `key.<setting>`."""
        wanted = [field.name for field in fields(cls)]
        require(isinstance(given, Mapping), key, given, f"give the keys {', '.join(wanted)}")
        for name in given:
            require(
                name in wanted,
                f"{key}.{name}",
                given[name],
                f"there is no such setting; a rule has {', '.join(wanted)}",
            )
        for name in wanted:
            require(name in given, f"{key}.{name}", None, f"a rule has the settings {', '.join(wanted)}")
        rule = cls(_names(f"{key}.names", given["names"]), *(given[name] for name in wanted[1:]))
        require(len(rule.names) > 0, f"{key}.names", given["names"], "name at least one prefix of parameter names")
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
        """fp32 rows -> int8 codes [R, C] and fp16 scales [R]. Rows beyond fp16's range saturate."""
        top = 2 ** (self.bits - 1) - 1
        clip_R = _abs_percentile(w_RC, self.clip_percentile)
        exact_R = (clip_R.clamp(min=self.absmax_floor) / top).clamp(MIN_SCALE, MAX_SCALE)
        scales_R = exact_R.to(torch.float16)
        if self.round_with == "fp16":
            # Among the few subnormal fp16 values the nearest may be too small for the row's largest weight: then take
            # the next.
            short_R = scales_R.float() * (top + 0.5) < clip_R.clamp(max=top * MAX_SCALE)
            scales_R = (scales_R.view(torch.int16) + short_R.to(torch.int16)).view(torch.float16)
            exact_R = scales_R.float()
        if self.clip_percentile < 100:
            w_RC = torch.minimum(torch.maximum(w_RC, -clip_R[:, None]), clip_R[:, None])
        return (w_RC / exact_R[:, None]).round_().clamp_(-top, top).to(torch.int8), scales_R


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _names(key: str, given: Any) -> tuple[str, ...]:
    is_list = isinstance(given, Sequence) and not isinstance(given, str)
    require(is_list and all(isinstance(name, str) and name for name in given), key, given, "give a list of names")
    return tuple(given)


def _abs_percentile(w_RC: Tensor, percentile: float) -> Tensor:
    """Percentile of |w| in each row, interpolated and rounded as torch.quantile does (fp32 ranks), from the few largest
    values only.
    """
    if percentile == 100:
        return torch.linalg.vector_norm(w_RC, math.inf, dim=1)
    below, weight = _rank(percentile, w_RC.shape[1])
    top_RK = w_RC.abs().topk(w_RC.shape[1] - below, dim=1).values
    return torch.lerp(top_RK[:, -1], top_RK[:, max(top_RK.shape[1] - 2, 0)], weight)


def _rank(percentile: float, columns: int) -> tuple[int, float]:
    """The sorted position just below a percentile and how far it lies towards the next one."""
    rank = _fp32(_fp32(percentile / 100) * (columns - 1))
    return int(rank), rank - int(rank)


def _fp32(x: float) -> float:
    """x rounded to fp32, without a tensor: torch.compile can follow it."""
    mantissa, exponent = math.frexp(x)
    return math.ldexp(round(math.ldexp(mantissa, 24)), exponent - 24)


class Rowwise:
    """Large tensors as integer codes, by rule; small ones as floats.

    A tensor is *control* when a component of its dotted name is in `control_names` or it has fewer than
    `control_below_ndim` dimensions. In order: a control tensor of at most `keep_control_numel` elements is kept as
    `control_dtype`; any tensor of at most `keep_float_numel` elements as `small_dtype` (`control_dtype` if control);
    the rest is coded by the rule with the longest matching name, a matrix with a scale per row, any other shape with
    one scale in all.

    rules: mapping of a free label to the settings of `Rule`. Bad settings raise OptionError.
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
        self.codec, self.level = codec, level
        self.keep_float_numel, self.keep_control_numel = keep_float_numel, keep_control_numel
        self.small_dtype, self.control_dtype = small_dtype, control_dtype
        self.control_names, self.control_below_ndim = (
            frozenset(_names("control_names", control_names)),
            control_below_ndim,
        )
        self.rule_of: dict[str, Rule] = {}
        for label, given in rules.items():
            rule = Rule.parse(f"rules.{label}", given)
            for name in rule.names:
                require(
                    name not in self.rule_of,
                    f"rules.{label}.names",
                    name,
                    "another rule, or this one, has that name already",
                )
                self.rule_of[name] = rule

    def plan(self, name: str, shape: tuple[int, ...]) -> str | Rule:
        """What becomes of a float tensor: the float type it is kept in, or the rule that codes it."""
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
            f"no rule has a name that begins {name}; a rule with names: [{parts[0]}] would match",
        )

    def encode(self, name: str, tensor: Tensor) -> Encoded:
        """Pack one tensor, on the CPU. Raises ArtifactError if it holds NaN or infinity."""
        shape = tuple(tensor.shape)
        plan = self.plan(name, shape) if tensor.is_floating_point() else self.small_dtype
        if isinstance(plan, str):
            return encode_values(name, tensor, plan)
        codes_RC, scales_R = plan.code(_rows(finite_fp32(name, tensor)))
        return Encoded("int", plan.bits, shape, {"codes": codes_RC.numpy(), "scales": scales_R.numpy()})

    def fake(self, name: str, tensor: Tensor) -> Tensor:
        """decode(encode(tensor)) bit for bit, fp32, on the tensor's device, with the gradient of `tensor` passed
        straight through.
        """
        plan = self.plan(name, tuple(tensor.shape))
        with torch.no_grad():
            if isinstance(plan, str):
                decoded = round_values(tensor, plan).float()
            else:
                decoded = dequantize(*plan.code(_rows(tensor.detach()))).reshape(tensor.shape)
        return straight_through(tensor, decoded)

    def payload_bytes(self, name: str, shape: tuple[int, ...]) -> int:
        """Array bytes of a float tensor of this shape, before compression: no data is touched."""
        plan, numel = self.plan(name, shape), math.prod(shape)
        if isinstance(plan, str):
            return FLOAT_BYTES[plan] * numel
        return numel + 2 * (shape[0] if len(shape) == 2 else 1)


def _rows(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.ndim == 2 else tensor.float().reshape(1, -1)
