"""After training: score, average, pack, load the packed file into a fresh model, score that; and the record's measured fields."""

import math
import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pgolf.account import Account
from pgolf.artifact import CAP_BYTES, pack, unpack
from pgolf.build import build_fake, build_quantizer
from pgolf.data.loaded import LoadedCorpus
from pgolf.data.stream import TokenStream
from pgolf.evaluation import Evaluation
from pgolf.loop import Trace
from pgolf.nn.gpt import GPT
from pgolf.parallel import Ranks
from pgolf.results import RECORD
from pgolf.roles import named_tensors
from pgolf.runlog import RunLog
from pgolf.score import Score
from pgolf.trained import TrainedModel

ARTIFACT = "artifact.pgolf"
ERROR = "error.txt"


@dataclass(frozen=True)
class Finish:
    """What a trained and packed run measured."""

    live: Score
    averaged_bpb: float | None
    packed: Score
    estimate_908: tuple[float, float] | None
    model_bytes: int
    pack_s: float
    eval_s: float


def finish_run(
    config: Mapping[str, Any],
    folder: Path,
    model: GPT,
    trained: TrainedModel,
    corpus: LoadedCorpus,
    evaluation: Evaluation,
    ranks: Ranks,
    log: RunLog,
) -> Finish:
    """Score the live model, then its average where there is one, pack that, and score what the file alone gives."""
    device = torch.device(config["device"])
    log.say("scoring the live model")
    began = time.perf_counter()
    live = evaluation(model)
    eval_s = time.perf_counter() - began
    averaged = None
    if trained.average is not None:
        log.say("scoring the averaged model")
        load_average(model, trained.average)
        averaged = evaluation(model)
    path, quantizer = folder / ARTIFACT, build_quantizer(config)
    log.say("packing")
    began = time.perf_counter()
    if ranks.is_first:
        pack(model, config["model"], corpus.corpus.tokenizer, quantizer, path)
    ranks.sum_(torch.zeros(1, device=device))  # the others wait for the file
    pack_s = time.perf_counter() - began
    log.say("scoring the packed file")
    fake = build_fake(config, quantizer) if config["defects"]["qat_at_eval"] and trained.trace.qat_from_step is not None else None
    fresh = unpack(path, device).model
    packed = evaluation(fresh, fake)
    averaged_bpb = None if averaged is None else averaged.bpb
    times = {"eval_s": round(eval_s, 3), "pack_s": round(pack_s, 3)}
    log.event("final", val_bpb_live=live.bpb, val_bpb_averaged=averaged_bpb, val_bpb=packed.bpb, **times)
    return Finish(live, averaged_bpb, packed, evaluation.estimate(fresh, fake), path.stat().st_size, pack_s, eval_s)


@torch.no_grad()
def load_average(model: GPT, average: Mapping[str, torch.Tensor]) -> None:
    """Put averaged weights in place of the live ones; a frozen tensor has no average and keeps its bytes."""
    tensors = named_tensors(model)
    for name, average_of in average.items():
        tensors[name].copy_(average_of)


def peak_memory_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def fields_of(
    config: Mapping[str, Any],
    costs: Account,
    corpus: LoadedCorpus,
    stream: TokenStream,
    trace: Trace,
    finish: Finish,
    code: Mapping[str, Any],
) -> dict[str, Any]:
    """The measured part of the flat record. code: its fields."""
    section = config["train"]
    tokens = trace.steps * section["batch_tokens"]
    total_bytes = finish.model_bytes + code["code_bytes"]
    unscored = [] if math.isfinite(finish.packed.bpb) else ["the packed score is not finite"]
    return {
        **code,
        "data_sha": corpus.data_sha,
        "val_text_sha": corpus.val_text_sha,
        "tokenizer_sha": corpus.tokenizer_sha,
        "device": torch.cuda.get_device_name() if config["device"] == "cuda" else "cpu",
        "params.total": costs.total,
        "params.trained": costs.trained,
        "params.frozen": costs.frozen,
        **{f"params.{slot.removeprefix('model.')}": count for slot, count in costs.by_slot.items()},
        "steps": trace.steps,
        "qat_from_step": trace.qat_from_step,
        "tokens": tokens,
        "epochs": stream.epochs(trace.steps),
        "train_s": trace.train_s,
        "step_ms_median": trace.step_ms_median,
        "tokens_per_s": tokens / trace.train_s,
        "pack_s": finish.pack_s,
        "eval_s": finish.eval_s,
        "peak_mem_bytes": peak_memory_bytes(torch.device(config["device"])),
        "val_bpb_live": finish.live.bpb,
        "val_bpb_averaged": finish.averaged_bpb,
        "val_bpb": finish.packed.bpb,
        "val_nats": finish.packed.nats,
        "val_targets": finish.packed.targets,
        "val_bytes": finish.packed.bytes,
        "val_raw_bytes": corpus.corpus.raw_val_bytes,
        "eval_mode": finish.packed.mode,
        **dict(zip(("val_nats_published_908", "val_bpb_published_908"), finish.estimate_908 or (), strict=False)),
        "quant_gap_bpb": finish.packed.bpb - (finish.live.bpb if finish.averaged_bpb is None else finish.averaged_bpb),
        "model_bytes": finish.model_bytes,
        "total_bytes": total_bytes,
        "cap_bytes": CAP_BYTES,
        "under_cap": total_bytes <= CAP_BYTES,
        "flops_per_token": costs.flops_per_token,
        **{f"budget.{key}": section[key] for key in ("steps", "tokens", "seconds", "batch_tokens", "seq_len")},
        "warnings": trace.warnings + unscored,
    }


def shown(value: float | None, form: str = ".4f") -> str:
    """A number of a record, which holds null for one that was not finite."""
    return "not finite" if value is None else format(value, form)


def summary(record: Mapping[str, Any], folder: Path) -> str:
    """A run in a few lines."""
    if record["status"] != "ok":
        return f"{record['status']}: {record['error']}\n  traceback: {folder / ERROR}"
    cap = "under" if record["under_cap"] else "OVER"
    return "\n".join(
        [
            f"val bpb   {shown(record['val_bpb'])} from the packed file, {shown(record['val_bpb_live'])} live"
            f"  ({record['val_targets']:,} targets, {record['eval_mode']})",
            f"bytes     {record['total_bytes']:,} = {record['model_bytes']:,} model + {record['code_bytes']:,} code, "
            f"{cap} the cap of {record['cap_bytes']:,}",
            f"training  {record['steps']:,} steps, {record['tokens']:,} tokens in {record['train_s']:.1f} s, "
            f"{shown(record['tokens_per_s'], ',.0f')} tokens/s",
            f"record    {folder / RECORD}",
        ]
    )


def one_line(record: Mapping[str, Any]) -> str:
    """A run in a line."""
    if record["status"] != "ok":
        return f"{record['status']}: {record['error']}"
    return f"val_bpb {shown(record['val_bpb'])}, {record['total_bytes']:,} bytes, {record['train_s']:.1f} s of training"
