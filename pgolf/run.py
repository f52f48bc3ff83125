"""One run, from a resolved configuration to its record: train, score, pack, load the packed file into a fresh model, score that."""

import math
import resource
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pgolf.account import Account, account
from pgolf.artifact import CAP_BYTES, pack, unpack
from pgolf.build import (
    Trained,
    build_budget,
    build_data,
    build_eval,
    build_model,
    build_optimizers,
    build_quantizer,
    build_schedule,
    start_weights,
)
from pgolf.data.loaded import LoadedCorpus, load_corpus
from pgolf.data.stream import TokenStream
from pgolf.errors import DivergedError, PgolfError
from pgolf.loop import Job, LoopSettings, Trace, autocast, train
from pgolf.nn.gpt import GPT
from pgolf.parallel import Ranks, joined_ranks
from pgolf.provenance import code_state, git_state, loaded_code, versions
from pgolf.results import RECORD, write_record
from pgolf.roles import named_tensors
from pgolf.runlog import RunLog
from pgolf.score import Score, planned_windows, score

ARTIFACT = "artifact.pgolf"
ERROR = "error.txt"


@dataclass(frozen=True)
class Finish:
    """What a trained and packed run measured."""

    live: Score
    packed: Score
    model_bytes: int
    pack_s: float
    eval_s: float


class Evaluation:
    """Scores models on one corpus in one mode."""

    def __init__(self, config: Mapping[str, Any], corpus: LoadedCorpus, ranks: Ranks):
        self.mode, self.corpus, self.ranks = build_eval(config), corpus, ranks
        self.device, self.bf16 = torch.device(config["device"]), config["train"]["precision"] == "bf16"
        self.batch_tokens = max(config["train"]["batch_tokens"] // config["train"]["micro_batches"], config["model"]["seq_len"])
        planned_windows(self.mode, len(corpus.val_tokens) - 1)  # before training, not after
        self.bytes_N1 = corpus.byte_table.bytes_per_target(corpus.val_tokens)

    def __call__(self, model: GPT) -> Score:
        def nll(ids: Tensor, targets: Tensor) -> Tensor:
            with autocast(self.device, self.bf16):
                return model(ids, targets)

        model.eval()
        found = score(
            nll, self.corpus.val_tokens, self.bytes_N1, self.mode, device=self.device, batch_tokens=self.batch_tokens, ranks=self.ranks
        )
        model.train()
        return found


def execute(config: Mapping[str, Any], folder: Path, identity: Mapping[str, Any]) -> dict[str, Any]:
    """Run in this process (one rank of it under torchrun) and leave the record.

    config: resolved, no `auto` left. identity: study, arm, overrides, fingerprint and choices, as they stand in the record.
    Whatever goes wrong is recorded, with the traceback in error.txt, and not raised; KeyboardInterrupt is recorded and raised.
    """
    torch.set_num_threads(config["train"]["threads"])
    torch.use_deterministic_algorithms(config["device"] == "cpu")
    device = torch.device(config["device"])
    with joined_ranks(device) as ranks:
        if device.type == "cuda":
            torch.cuda.set_device(ranks.rank)
        start = {"status": "failed", "error": None, **identity, "seed": config["seed"], **git_state(), **versions()}
        with RunLog(folder, is_first=ranks.is_first) as log:
            try:
                record = {**start, **measure(config, folder, ranks, log), "status": "ok"}
            except KeyboardInterrupt:
                finish_badly(folder, {**start, "status": "interrupted", "error": "stopped by the user"}, ranks)
                raise
            except DivergedError as error:
                record = finish_badly(folder, {**start, "status": "diverged", "error": str(error)}, ranks)
            except Exception as error:
                told = str(error) if isinstance(error, PgolfError) else f"{type(error).__name__}: {error}"
                record = finish_badly(folder, {**start, "error": told}, ranks)
            else:
                if ranks.is_first:
                    write_record(folder, record)
            log.say(summary(record, folder))
    return record


def finish_badly(folder: Path, record: dict[str, Any], ranks: Ranks) -> dict[str, Any]:
    """Keep the traceback of the exception at hand and write the record."""
    code_sha, code_bytes = code_state(files := loaded_code())
    record |= {"code_sha": code_sha, "code_bytes": code_bytes, "code_files": files}
    (folder / (ERROR if ranks.is_first else f"error-rank{ranks.rank}.txt")).write_text(traceback.format_exc(), encoding="utf-8")
    if ranks.is_first:
        write_record(folder, record)
    return record


def measure(config: Mapping[str, Any], folder: Path, ranks: Ranks, log: RunLog) -> dict[str, Any]:
    """Train, score, pack and score again; the record's measured fields."""
    began = time.perf_counter()
    device = torch.device(config["device"])
    corpus = load_corpus(build_data(config).prepare())
    stream = make_stream(config, corpus)
    model = build_model(config["model"])
    costs = account(config)
    start_weights(model, config["model"], config["seed"], device)
    trained = build_optimizers(model, config["optim"], ranks)
    evaluation = Evaluation(config, corpus, ranks)
    log.say(
        f"{costs.total:,} parameters ({costs.frozen:,} frozen), {corpus.corpus.name}: {stream.corpus_tokens:,} training and "
        f"{len(corpus.val_tokens):,} validation tokens, {config['device']}, {config['train']['threads']} threads"
    )
    log.event("start", parameters=costs.total, prepare_s=round(time.perf_counter() - began, 3))
    job = make_job(config, model, trained, stream, corpus, evaluation)
    trace = train(job, loop_settings(config), ranks, log)
    finish = finish_run(config, folder, model, corpus, evaluation, ranks, log)
    return fields_of(config, costs, corpus, stream, trace, finish)


def make_stream(config: Mapping[str, Any], corpus: LoadedCorpus) -> TokenStream:
    train_section = config["train"]
    return TokenStream(
        corpus.train,
        batch_tokens=train_section["batch_tokens"],
        seq_len=train_section["seq_len"],
        micro_batches=train_section["micro_batches"],
        shuffle_seed=corpus.corpus.shuffle_seed,
    )


def make_job(
    config: Mapping[str, Any], model: GPT, trained: Trained, stream: TokenStream, corpus: LoadedCorpus, evaluation: Evaluation
) -> Job:
    tensors = named_tensors(model)
    budget = build_budget(config["train"])
    return Job(
        model=torch.compile(model, dynamic=False) if config["train"]["compile"] == "on" else model,  # type: ignore[arg-type]
        trained={name: tensors[name] for names in trained.names.values() for name in names},
        optimizers=list(trained.optimizers.values()),
        schedule=build_schedule(config["optim"], budget),
        stream=stream,
        budget=budget,
        bytes_of=lambda x, y: int(corpus.byte_table.pair_bytes(x.numpy(), y.numpy()).sum()),
        validate=lambda: evaluation(model).bpb,
    )


def loop_settings(config: Mapping[str, Any]) -> LoopSettings:
    section = config["train"]
    return LoopSettings(
        device=torch.device(config["device"]),
        micro_batches=section["micro_batches"],
        batch_tokens=section["batch_tokens"],
        grad_clip_norm=config["optim"]["grad_clip_norm"],
        log_every=section["log_every"],
        val_every=section["val_every"],
        priming_steps=section["priming_steps"],
        bf16=section["precision"] == "bf16",
    )


def finish_run(
    config: Mapping[str, Any], folder: Path, model: GPT, corpus: LoadedCorpus, evaluation: Evaluation, ranks: Ranks, log: RunLog
) -> Finish:
    """Score the live model, pack it, and score what the file alone gives."""
    device = torch.device(config["device"])
    log.say("scoring the live model")
    began = time.perf_counter()
    live = evaluation(model)
    eval_s = time.perf_counter() - began
    path = folder / ARTIFACT
    log.say("packing")
    began = time.perf_counter()
    if ranks.is_first:
        pack(model, config["model"], corpus.corpus.tokenizer, build_quantizer(config), path)
    ranks.sum_(torch.zeros(1, device=device))  # the others wait for the file
    pack_s = time.perf_counter() - began
    log.say("scoring the packed file")
    packed = evaluation(unpack(path, device).model)
    log.event("final", val_bpb_live=live.bpb, val_bpb=packed.bpb, eval_s=round(eval_s, 3), pack_s=round(pack_s, 3))
    return Finish(live, packed, path.stat().st_size, pack_s, eval_s)


def peak_memory_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def fields_of(
    config: Mapping[str, Any], costs: Account, corpus: LoadedCorpus, stream: TokenStream, trace: Trace, finish: Finish
) -> dict[str, Any]:
    """The measured part of the flat record."""
    files = loaded_code()
    code_sha, code_bytes = code_state(files)
    section = config["train"]
    tokens = trace.steps * section["batch_tokens"]
    total_bytes = finish.model_bytes + code_bytes
    unscored = [] if math.isfinite(finish.packed.bpb) else ["the packed score is not finite"]
    return {
        "code_sha": code_sha,
        "code_files": files,
        "data_sha": corpus.data_sha,
        "val_text_sha": corpus.val_text_sha,
        "device": torch.cuda.get_device_name() if config["device"] == "cuda" else "cpu",
        "threads": section["threads"],
        "precision": section["precision"],
        "compile": section["compile"],
        "nproc": config["launch"]["nproc"],
        "params.total": costs.total,
        "params.trained": costs.trained,
        "params.frozen": costs.frozen,
        **{f"params.{slot.removeprefix('model.')}": count for slot, count in costs.by_slot.items()},
        "steps": trace.steps,
        "tokens": tokens,
        "epochs": stream.epochs(trace.steps),
        "train_s": trace.train_s,
        "step_ms_median": trace.step_ms_median,
        "tokens_per_s": tokens / trace.train_s,
        "pack_s": finish.pack_s,
        "eval_s": finish.eval_s,
        "peak_mem_bytes": peak_memory_bytes(torch.device(config["device"])),
        "val_bpb_live": finish.live.bpb,
        "val_bpb_averaged": None,
        "val_bpb": finish.packed.bpb,
        "val_nats": finish.packed.nats,
        "val_targets": finish.packed.targets,
        "val_bytes": finish.packed.bytes,
        "val_raw_bytes": corpus.corpus.raw_val_bytes,
        "eval_mode": finish.packed.mode,
        "quant_gap_bpb": finish.packed.bpb - finish.live.bpb,
        "model_bytes": finish.model_bytes,
        "code_bytes": code_bytes,
        "total_bytes": total_bytes,
        "cap_bytes": CAP_BYTES,
        "under_cap": total_bytes <= CAP_BYTES,
        "flops_per_token": costs.flops_per_token,
        **{f"budget.{key}": section[key] for key in ("steps", "tokens", "seconds", "batch_tokens", "seq_len")},
        "warnings": trace.warnings + unscored,
    }


def summary(record: Mapping[str, Any], folder: Path) -> str:
    """A run in a few lines."""
    if record["status"] != "ok":
        return f"{record['status']}: {record['error']}\n  traceback: {folder / ERROR}"
    cap = "under" if record["under_cap"] else "OVER"
    return "\n".join(
        [
            f"val bpb   {record['val_bpb']:.4f} from the packed file, {record['val_bpb_live']:.4f} live"
            f"  ({record['val_targets']:,} targets, {record['eval_mode']})",
            f"bytes     {record['total_bytes']:,} = {record['model_bytes']:,} model + {record['code_bytes']:,} code, "
            f"{cap} the cap of {record['cap_bytes']:,}",
            f"training  {record['steps']:,} steps, {record['tokens']:,} tokens in {record['train_s']:.1f} s, "
            f"{record['tokens_per_s']:,.0f} tokens/s",
            f"record    {folder / RECORD}",
        ]
    )
