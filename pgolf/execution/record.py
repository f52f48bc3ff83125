"""The measured fields of a run's record, and the lines that a finished run prints."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from pgolf.execution.account import Account
from pgolf.execution.artifact import CAP_BYTES
from pgolf.execution.context import RunContext
from pgolf.execution.finish import ERROR, Finish
from pgolf.machine.usage import peak_memory_bytes
from pgolf.records.record import RECORD
from pgolf.training.pace import Trace


def measured_fields(
    context: RunContext, costs: Account, trace: Trace, finish: Finish, code: Mapping[str, Any]
) -> dict[str, Any]:
    """The measured fields of a record. code: the fields about the source files, from `code_fields`."""
    config, corpus, train = context.config, context.corpus, context.config.train
    tokens = trace.steps * train.batch_tokens
    total_bytes = finish.model_bytes + code["code_bytes"]
    unscored = [] if math.isfinite(finish.packed.bpb) else ["the packed score is not finite"]
    return {
        **code,
        "data_sha": corpus.data_sha,
        "val_text_sha": corpus.val_text_sha,
        "tokenizer_sha": corpus.tokenizer_sha,
        "device": torch.cuda.get_device_name() if config.device == "cuda" else config.device,
        **costs.parameter_fields(),
        "steps": trace.steps,
        "qat_from_step": trace.qat_from_step,
        "tokens": tokens,
        "epochs": context.stream.epochs(trace.steps),
        "train_s": trace.train_s,
        "priming_s": trace.priming_s,
        "step_ms_median": trace.step_ms_median,
        "tokens_per_s": tokens / trace.train_s,
        "pack_s": finish.pack_s,
        "eval_s": finish.eval_s,
        "eval_packed_s": finish.eval_packed_s,
        "peak_mem_bytes": peak_memory_bytes(context.device),
        "val_bpb_live": finish.live.bpb,
        "val_bpb_averaged": finish.averaged_bpb,
        "val_bpb": finish.packed.bpb,
        "val_nats": finish.packed.nats,
        "val_targets": finish.packed.targets,
        "val_bytes": finish.packed.bytes,
        "val_raw_bytes": corpus.corpus.raw_val_bytes,
        "eval_mode": finish.packed.mode,
        **finish.documents,
        **finish.extra,
        "quant_gap_bpb": finish.packed.bpb - (finish.live.bpb if finish.averaged_bpb is None else finish.averaged_bpb),
        "model_bytes": finish.model_bytes,
        "entropy_bytes": finish.entropy_bytes,
        "total_bytes": total_bytes,
        "cap_bytes": CAP_BYTES,
        "under_cap": total_bytes <= CAP_BYTES,
        "flops_per_token": costs.flops_per_token,
        **{f"budget.{key}": getattr(train, key) for key in ("steps", "tokens", "seconds", "batch_tokens", "seq_len")},
        "warnings": trace.warnings + unscored,
    }


def decimal(value: float | None, form: str = ".4f") -> str:
    """A number of a record as text. None, which replaces a number that is not finite, is `not finite`."""
    return "not finite" if value is None else format(value, form)


def summary(record: Mapping[str, Any], folder: Path) -> str:
    """A finished run in a few lines, from its record."""
    if record["status"] != "ok":
        return f"{record['status']}: {record['error']}\n  traceback: {folder / ERROR}"
    cap = "under" if record["under_cap"] else "OVER"
    return "\n".join(
        [
            f"val bpb   {decimal(record['val_bpb'])} from the packed file, {decimal(record['val_bpb_live'])} live"
            f"  ({record['val_targets']:,} targets, {record['eval_mode']})",
            f"bytes     {record['total_bytes']:,} = {record['model_bytes']:,} model + {record['code_bytes']:,} code, "
            f"{cap} the cap of {record['cap_bytes']:,}",
            f"training  {record['steps']:,} steps, {record['tokens']:,} tokens in {record['train_s']:.1f} s, "
            f"{decimal(record['tokens_per_s'], ',.0f')} tokens/s",
            f"record    {folder / RECORD}",
        ]
    )


def one_line(record: Mapping[str, Any]) -> str:
    """A finished run in one line, from its record."""
    if record["status"] != "ok":
        return f"{record['status']}: {record['error']}"
    return (
        f"val_bpb {decimal(record['val_bpb'])}, {record['total_bytes']:,} bytes, {record['train_s']:.1f} s of training"
    )
