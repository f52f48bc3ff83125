"""One run, from a resolved configuration to its record: train, score, pack, load the packed file into a fresh model, score that."""

import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from pgolf.account import account
from pgolf.averaging import Averaging
from pgolf.bf16_masters import Bf16Masters
from pgolf.build import (
    Trained,
    build_averaging,
    build_budget,
    build_data,
    build_fake,
    build_model,
    build_optimizers,
    build_quantizer,
    build_schedule,
    start_weights,
)
from pgolf.data.loaded import LoadedCorpus, load_corpus
from pgolf.data.stream import TokenStream
from pgolf.ending import ERROR, fields_of, finish_run, summary
from pgolf.errors import DivergedError, PgolfError
from pgolf.evaluation import Evaluation
from pgolf.fake_quant import FakeQuantized
from pgolf.loop import Job, LoopSettings, train
from pgolf.nn.gpt import GPT
from pgolf.parallel import Ranks, joined_ranks
from pgolf.provenance import code_state, git_state, loaded_code, versions
from pgolf.results import write_record
from pgolf.roles import named_tensors, parameter_roles
from pgolf.runlog import RunLog


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
    trained = build_optimizers(model, config, ranks)
    averaging = build_averaging(config["optim"])
    evaluation = Evaluation(config, corpus, ranks)
    log.say(
        f"{costs.total:,} parameters ({costs.frozen:,} frozen), {corpus.corpus.name}: {stream.corpus_tokens:,} training and "
        f"{len(corpus.val_tokens):,} validation tokens, {config['device']}, {config['train']['threads']} threads"
    )
    log.event("start", parameters=costs.total, prepare_s=round(time.perf_counter() - began, 3))
    job = make_job(config, model, trained, averaging, stream, corpus, evaluation)
    trace = train(job, loop_settings(config), ranks, log)
    finish = finish_run(config, folder, model, averaging, trace, corpus, evaluation, ranks, log)
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
    config: Mapping[str, Any],
    model: GPT,
    trained: Trained,
    averaging: Averaging,
    stream: TokenStream,
    corpus: LoadedCorpus,
    evaluation: Evaluation,
) -> Job:
    tensors, roles = named_tensors(model), parameter_roles(model)
    budget, defects = build_budget(config["train"]), config["defects"]
    optimizers = list(trained.optimizers.values())
    learned = {name: tensors[name] for names in trained.names.values() for name in names}
    tables = [p for name, p in learned.items() if roles[name] == "embedding"]
    return Job(
        model=torch.compile(model, dynamic=False) if config["train"]["compile"] == "on" else model,  # type: ignore[arg-type]
        trained=learned,
        optimizers=optimizers,
        schedule=build_schedule(config["optim"], budget),
        stream=stream,
        budget=budget,
        bytes_of=lambda x, y: int(corpus.byte_table.pair_bytes(x.numpy(), y.numpy()).sum()),
        validate=lambda: evaluation(model).bpb,
        averaging=averaging,
        quantized=FakeQuantized(model, build_fake(config, build_quantizer(config))),
        stale=[tensors[name] for name in sorted(trained.frozen)] if defects["keep_frozen_gradients"] else [],
        masters=Bf16Masters(tables, optimizers) if defects["bf16_embedding"] else None,
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
        priming_steps=max(section["priming_steps"], 1 if section["compile"] == "on" else 0),  # compilation stays outside the clock
        bf16=section["precision"] == "bf16",
        qat_below=section["qat_below"],
    )
