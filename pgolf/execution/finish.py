"""The steps after training: score, average, pack, load the packed file into a new model, and score that model."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pgolf.config.build import build_fake, build_quantizer
from pgolf.eval.score import Score
from pgolf.execution.artifact import pack, unpack
from pgolf.execution.context import RunContext
from pgolf.execution.trained import TrainedModel
from pgolf.nn.gpt import GPT
from pgolf.nn.naming import named_tensors
from pgolf.records.documents import document_fields, write_documents
from pgolf.records.record import ARTIFACT
from pgolf.training.runlog import RunLog

ERROR = "error.txt"


@dataclass(frozen=True)
class Finish:
    """Measurements after training. Times are in seconds.

    averaged_bpb: None without an average. packed: the score of the packed file. extra: further results of the
    evaluation, by name of their field in the record. documents: the fields about documents.bin. entropy_bytes: the
    order-0 bound of the packed tensors. eval_s: of the live model, eval_packed_s: of the packed file.
    """

    live: Score
    averaged_bpb: float | None
    packed: Score
    extra: Mapping[str, float]
    documents: Mapping[str, Any]
    model_bytes: int
    entropy_bytes: int
    pack_s: float
    eval_s: float
    eval_packed_s: float


def finish_run(context: RunContext, model: GPT, trained: TrainedModel, folder: Path, log: RunLog) -> Finish:
    """Score the live model, load and score the average if there is one, pack the model, and score the packed file.

    The model has the averaged weights afterwards. Raises OSError, PgolfError.
    """
    config, evaluation = context.config, context.evaluation
    log.say("scoring the live model")
    began = time.perf_counter()
    live = evaluation(model)
    eval_s = time.perf_counter() - began
    averaged_bpb = None
    if trained.average is not None:
        log.say("scoring the averaged model")
        load_average(model, trained.average)
        averaged_bpb = evaluation(model).bpb
    path, quantizer = folder / ARTIFACT, build_quantizer(config)
    log.say("packing")
    began = time.perf_counter()
    if context.ranks.is_first:
        pack(model, config.model, context.corpus.corpus.tokenizer, quantizer, path)
    context.ranks.wait()  # for the file
    pack_s = time.perf_counter() - began
    log.say("scoring the packed file")
    fake_at_eval = config.defects.qat_at_eval and trained.trace.qat_from_step is not None
    fake = build_fake(config, quantizer) if fake_at_eval else None
    artifact = unpack(path, context.device)
    fresh = artifact.model
    began = time.perf_counter()
    packed = evaluation(fresh, fake)
    eval_packed_s = time.perf_counter() - began
    times = {"eval_s": round(eval_s, 3), "pack_s": round(pack_s, 3)}
    log.event("final", val_bpb_live=live.bpb, val_bpb_averaged=averaged_bpb, val_bpb=packed.bpb, **times)
    extra, sizes = evaluation.extra(fresh, fake), (artifact.file_bytes, artifact.entropy_bytes)
    documents = keep_documents(context, packed, folder)
    return Finish(live, averaged_bpb, packed, extra, documents, *sizes, pack_s, eval_s, eval_packed_s)


def keep_documents(context: RunContext, score: Score, folder: Path) -> dict[str, Any]:
    """Write the score by document. Returns the fields about it; none for a score that is not finite. Raises OSError."""
    scores = context.evaluation.documents(score)
    if scores is None:
        return {}
    if context.ranks.is_first:
        write_documents(folder, scores)
    return document_fields(scores)


@torch.no_grad()
def load_average(model: GPT, average: Mapping[str, torch.Tensor]) -> None:
    """Replace the live weights of a model by their averages. A frozen tensor has no average and keeps its values."""
    tensors = named_tensors(model)
    for name, mean in average.items():
        tensors[name].copy_(mean)
