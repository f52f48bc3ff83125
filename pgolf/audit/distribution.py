"""Each position has a distribution over the whole vocabulary."""

import torch
from torch import Tensor

from pgolf.audit.probe import Probe, Refused, Tally
from pgolf.audit.report import Check, Verdict
from pgolf.audit.tolerance import Change, sum_tolerance

RULE = "distribution"
SHAPE = "one finite log-probability for each entry of the vocabulary"
SHAPE_LIMITS = "minus infinity, an entry of probability zero, is allowed"


def fault_of_shape(logp: Tensor, ids_BT: Tensor, vocab_size: int) -> str:
    """What is wrong with the shape, type or values of a result; an empty text if nothing is."""
    expected = (*ids_BT.shape, vocab_size)
    if not logp.is_floating_point() or tuple(logp.shape) != expected:
        return f"ids {list(ids_BT.shape)} give {logp.dtype} {list(logp.shape)}; expected floating {list(expected)}"
    wrong = logp.isnan() | logp.isposinf()
    if bool(wrong.any()):
        row, position, entry = (int(i) for i in wrong.nonzero()[0])
        return f"row {row}, position {position}, entry {entry} is {float(logp[row, position, entry])}"
    return ""


def shape(probe: Probe, inputs: list[Tensor], vocab_size: int) -> Check:
    """The check of shapes and values on some inputs [B, T]. The function may refuse some inputs, but not the first."""
    seen = []
    for n, ids in enumerate(inputs):
        try:
            fault = fault_of_shape(probe(ids), ids, vocab_size)
        except Refused:
            if n == 0:
                raise
            continue
        if fault:
            return Check(RULE, SHAPE, Verdict.FAIL, fault, SHAPE_LIMITS)
        seen.append(str(list(ids.shape)))
    return Check(RULE, SHAPE, Verdict.PASS, f"ids {', '.join(seen)}", SHAPE_LIMITS)


def sums(probe: Probe, ids_BT: Tensor, label: str, tally: Tally) -> None:
    """log(sum_v exp(logp_v)) must be 0 at every position, within a tolerance that is derived and printed."""
    logp = probe(ids_BT)
    tolerance = sum_tolerance(logp)
    off_BT = torch.logsumexp(logp.double(), -1).abs().nan_to_num(nan=float("inf"), posinf=float("inf"))
    row, position = (int(i) for i in torch.unravel_index(off_BT.argmax(), off_BT.shape))
    largest = float(off_BT[row, position])
    total = float(torch.logsumexp(logp[row, position].double(), -1).exp())
    where = f"{label}, length {ids_BT.size(1)}: probabilities sum to {total:.6g} instead of 1"
    tally.template = "{where} at position {position} of row {row}, which is {size:.3g} nats off"
    tally.comparisons += off_BT.numel() - 1
    tally.add(Change(largest, row, position), tolerance.nats, where, sum=total if total < float("inf") else None)
    tally.notes = [f"tolerance {tolerance.nats:.1e} nats: {tolerance.text}"]
