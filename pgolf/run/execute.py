"""One run, from a resolved configuration to its record: train, score, pack, load the packed file into a fresh model,
score that.
"""

import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from pgolf.config.build import (
    OptimizersByRole,
    build_averaging,
    build_budget,
    build_data,
    build_evaluation,
    build_fake,
    build_model,
    build_optimizers,
    build_quantizer,
    build_schedule,
    start_weights,
)
from pgolf.data.loaded import LoadedCorpus, load_corpus
from pgolf.data.stream import TokenStream
from pgolf.errors import DivergedError, PgolfError
from pgolf.eval.evaluator import Evaluation
from pgolf.machine import files
from pgolf.machine.interrupts import interruptible
from pgolf.machine.locks import locked
from pgolf.machine.ranks import Ranks, joined_ranks
from pgolf.machine.signals import StopRequest
from pgolf.nn.gpt import GPT
from pgolf.nn.naming import named_tensors
from pgolf.optim.averaging import Averaging, NoAveraging
from pgolf.optim.roles import chosen_roles
from pgolf.quant.fake import FakeQuantized
from pgolf.records.record import STATE, write_record
from pgolf.run.account import account
from pgolf.run.finish import ERROR, finish_run
from pgolf.run.provenance import CodeSums, code_fields, code_sums, loaded_code, record_head
from pgolf.run.record import fields_of, summary
from pgolf.run.trained import TrainedModel, keep_trained, take_trained
from pgolf.training.checkpoint import FOLDER, Checkpoints
from pgolf.training.defects import Bf16Masters
from pgolf.training.loop import Job, LoopSettings, train
from pgolf.training.runlog import RunLog

WRITING = ".writing.lock"
# What must be unchanged for a run to go on from its checkpoint.
KEY = ("fingerprint", "seed", "code_files", "versions.torch")


def execute(config: Mapping[str, Any], folder: Path, identity: Mapping[str, Any]) -> dict[str, Any]:
    """Run in this process (one rank of it under torchrun) and leave the record; where the folder holds a checkpoint, go
    on from it.

    config: resolved, no `auto` left. identity: study, arm, overrides, fingerprint and choices, as they stand in the
    record. Whatever goes wrong is recorded, with the traceback in error.txt, and not raised; KeyboardInterrupt is
    recorded and raised. Raises OSError where the folder cannot be written.
    """
    torch.set_num_threads(config["train"]["threads"])
    torch.use_deterministic_algorithms(config["device"] == "cpu")
    device, code = torch.device(config["device"]), code_sums(loaded_code())
    with (
        interruptible(),
        joined_ranks(device) as ranks,
        writer_of(folder, ranks),
        RunLog(folder, is_first=ranks.is_first) as log,
    ):
        if device.type == "cuda":
            torch.cuda.set_device(ranks.rank)
        head = {"status": "failed", "error": None, **record_head(config, identity), **code_fields(code)}
        try:
            record = {**head, **measure(config, folder, ranks, log, head, code), "status": "ok"}
        except KeyboardInterrupt:
            record_failure(folder, {**head, "status": "interrupted", "error": "stopped by the user"}, ranks)
            raise
        except DivergedError as error:
            record = record_failure(folder, {**head, "status": "diverged", "error": str(error)}, ranks)
        except (Exception, SystemExit) as error:
            record = record_failure(folder, {**head, "error": describe_error(error, folder)}, ranks)
        else:
            if ranks.is_first:
                write_record(folder, record)
                (folder / STATE).unlink(missing_ok=True)
        log.say(summary(record, folder))
    return record


@contextmanager
def writer_of(folder: Path, ranks: Ranks) -> Iterator[None]:
    """One process writes in a run folder; a second one waits. What a killed one left half-written is removed."""
    if not ranks.is_first:
        yield
        return
    with locked(folder / WRITING):
        for place in (folder, folder / FOLDER):
            files.remove_partials(place)
        yield


def describe_error(error: BaseException, folder: Path) -> str:
    """An exception in a line: ours as they are, those of the file system by file and reason. folder: where the error
    names no file.
    """
    if isinstance(error, OSError) and error.strerror:
        return files.describe_os_error(error, folder)
    return str(error) if isinstance(error, PgolfError) else f"{type(error).__name__}: {error}"


def record_failure(folder: Path, record: dict[str, Any], ranks: Ranks) -> dict[str, Any]:
    """Keep the traceback of the exception at hand and write the record."""
    with suppress(OSError):  # the record says as much, and is tried next
        files.write_lines(
            folder / (ERROR if ranks.is_first else f"error-rank{ranks.rank}.txt"), [traceback.format_exc()]
        )
    if ranks.is_first:
        write_record(folder, record)
    return record


def measure(
    config: Mapping[str, Any], folder: Path, ranks: Ranks, log: RunLog, head: Mapping[str, Any], code: CodeSums
) -> dict[str, Any]:
    """Train or take trained weights, score, pack and score again; the record's measured fields."""
    began = time.perf_counter()
    corpus = load_corpus(build_data(config).prepare())
    stream = make_stream(config, corpus)
    model = build_model(config["model"])
    costs = account(config)
    evaluation = build_evaluation(config, corpus, ranks)
    with StopRequest() as stop:
        key = {**{name: head[name] for name in KEY}, "data_sha": corpus.data_sha}
        device = torch.device(config["device"])
        keeper = Checkpoints(folder, key, log, ranks, stop, device, every_s=config["launch"]["checkpoint_s"])
        if keeper.step is None:
            log.say(
                f"{costs.total:,} parameters ({costs.frozen:,} frozen), {corpus.corpus.name}: "
                f"{stream.corpus_tokens:,} training and "
                f"{len(corpus.val_tokens):,} validation tokens, {config['device']}, {config['train']['threads']} "
                "threads"
            )
            log.event("start", parameters=costs.total, prepare_s=round(time.perf_counter() - began, 3))
        else:
            log.say(f"continued from the checkpoint at step {keeper.step}")
            log.event("continued", step=keeper.step)
        if config["train"]["from"] is None:
            trained = train_model(config, model, corpus, stream, evaluation, ranks, log, keeper)
        else:
            trained = take_trained(Path(config["train"]["from"]), model, device)
    if ranks.is_first and config["launch"]["keep_weights"] and config["train"]["from"] is None:
        trained = keep_trained(folder, model, trained)
    finish = finish_run(config, folder, model, trained, corpus, evaluation, ranks, log)
    sources = {*loaded_code(), *trained.code_files}
    whole = code_fields({**code_sums(sources), **code})  # what was loaded at the start is what ran
    return {**fields_of(config, costs, corpus, stream, trained.trace, finish, whole), **trained.origin}


def train_model(
    config: Mapping[str, Any],
    model: GPT,
    corpus: LoadedCorpus,
    stream: TokenStream,
    evaluation: Evaluation,
    ranks: Ranks,
    log: RunLog,
    keeper: Checkpoints,
) -> TrainedModel:
    """Initial weights, optimizers and the loop; the model holds the trained weights afterwards."""
    start_weights(model, config["model"], config["seed"], torch.device(config["device"]))
    optimizers, averaging = build_optimizers(model, config, ranks), build_averaging(config["optim"])
    job = make_job(config, model, optimizers, averaging, stream, corpus, evaluation)
    trace = train(job, loop_settings(config), ranks, log, keeper)
    trace.warnings += keeper.warnings
    average = averaging.average()
    if average is None and not isinstance(averaging, NoAveraging):
        trace.warnings.append("optim.averaging took no snapshot: the live weights were packed")
    return TrainedModel(trace, average)


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
    trained: OptimizersByRole,
    averaging: Averaging,
    stream: TokenStream,
    corpus: LoadedCorpus,
    evaluation: Evaluation,
) -> Job:
    tensors, roles = named_tensors(model), chosen_roles(model, config["optim"]["role_of"])
    budget, defects = build_budget(config["train"]), config["defects"]
    optimizers = list(trained.optimizers.values())
    learned = {name: tensors[name] for names in trained.names.values() for name in names}
    tables = [p for name, p in learned.items() if roles[name] == "embedding"]
    return Job(
        model=torch.compile(model, dynamic=False) if config["train"]["compile"] == "on" else model,  # type: ignore[arg-type]
        trainable=learned,
        optimizers=optimizers,
        schedule=build_schedule(config["optim"], budget),
        stream=stream,
        budget=budget,
        bytes_of=lambda x, y: int(corpus.byte_table.pair_bytes(x.numpy(), y.numpy()).sum()),
        validate=lambda: evaluation(model).bpb,
        averaging=averaging,
        quantized=FakeQuantized(model, build_fake(config, build_quantizer(config))),
        frozen_with_gradients=[tensors[name] for name in sorted(trained.frozen)]
        if defects["keep_frozen_gradients"]
        else [],
        masters=Bf16Masters(tables, optimizers) if defects["bf16_embedding"] else None,
    )


def loop_settings(config: Mapping[str, Any]) -> LoopSettings:
    section = config["train"]
    # Compilation stays outside the clock.
    return LoopSettings(
        device=torch.device(config["device"]),
        micro_batches=section["micro_batches"],
        batch_tokens=section["batch_tokens"],
        grad_clip_norm=config["optim"]["grad_clip_norm"],
        log_every=section["log_every"],
        val_every=section["val_every"],
        priming_steps=max(section["priming_steps"], 1 if section["compile"] == "on" else 0),
        bf16=section["precision"] == "bf16",
        qat_below=section["qat_below"],
    )
