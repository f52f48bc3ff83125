"""Executes one run, from a resolved configuration to its record.

The steps are: train, score, pack, load the packed file into a new model, and score that model.
"""

import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pgolf.config.binding import RESERVED
from pgolf.config.build import (
    OptimizersByRole,
    build_averaging,
    build_budget,
    build_fake,
    build_model,
    build_optimizers,
    build_quantizer,
    build_schedule,
    build_tracker,
    start_weights,
)
from pgolf.config.identity import compiled_shape
from pgolf.config.resolvers import planned_steps
from pgolf.config.schema import Config, plain_config
from pgolf.errors import DivergedError, PgolfError, PrunedError
from pgolf.execution.account import Account, account
from pgolf.execution.context import RunContext, open_context
from pgolf.execution.finish import ERROR, finish_run
from pgolf.execution.provenance import CodeHashes, code_fields, code_hashes, loaded_code, record_head
from pgolf.execution.record import measured_fields, summary
from pgolf.execution.trained import TrainedModel, load_trained, save_trained
from pgolf.inspect.recorded import summary_measures
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
from pgolf.records.limits import read_limits
from pgolf.records.record import STATE, write_record
from pgolf.trackers.process import TrackerProcess
from pgolf.training.batches import Batches
from pgolf.training.checkpoint import FOLDER, Checkpoints
from pgolf.training.compiled import compiled, one_compiles
from pgolf.training.defects import Bf16Masters
from pgolf.training.gradient_watch import GradientWatch
from pgolf.training.loop import LoopSettings, Training, train
from pgolf.training.pace import wait_of
from pgolf.training.runlog import RunLog

WRITING = ".writing.lock"
# Fields of a record that must be unchanged for a run to resume from its checkpoint.
KEY = ("fingerprint", "seed", "code_files", "versions.torch")


@dataclass(frozen=True)
class Origin:
    """head: the fields of a record that are known before anything is measured. code: hashes of the source files."""

    head: Mapping[str, Any]
    code: CodeHashes


def execute(config: Config, folder: Path, identity: Mapping[str, Any]) -> dict[str, Any]:
    """Execute a run in this process, which is one rank of it under torchrun. Returns the record, and writes it.

    The run resumes from its checkpoint, if there is one. config: every `auto` decided. identity: study, arm, overrides,
    fingerprint and choices, for the record. Errors are recorded, with the traceback in error.txt, and not raised.
    KeyboardInterrupt is recorded without a traceback, and raised. Raises OSError if the folder cannot be written.
    """
    torch.set_num_threads(config.train.cpu_threads)
    if config.train.compile == "on":
        torch.use_deterministic_algorithms(config.device == "cpu")
    else:  # the same without the import of torch's compiler
        torch.set_deterministic_debug_mode("error" if config.device == "cpu" else "default")
    device, code = torch.device(config.device), code_hashes(loaded_code(plain_config(config)))
    with (
        interruptible(),
        joined_ranks(device) as ranks,
        writer_of(folder, ranks),
        RunLog(folder, is_first=ranks.is_first) as log,
        tracking(config, folder, identity, log) as tracker,
    ):
        if device.type == "cuda":
            torch.cuda.set_device(ranks.rank)
        head = {"status": "failed", "error": None, **record_head(config, identity), **code_fields(code)}
        try:
            record = {**head, **measure(config, folder, ranks, log, tracker, Origin(head, code)), "status": "ok"}
        except KeyboardInterrupt:
            record_failure(folder, {**head, "status": "interrupted", "error": "stopped by the user"}, ranks)
            raise
        except DivergedError as error:
            record = record_failure(folder, {**head, "status": "diverged", "error": str(error)}, ranks)
        except PrunedError as error:
            record = {**head, "status": "pruned", "error": str(error)}
            if ranks.is_first:
                write_record(folder, record)
        except (Exception, SystemExit) as error:
            record = record_failure(folder, {**head, "error": describe_error(error, folder)}, ranks)
        else:
            if ranks.is_first:
                write_record(folder, record)
                (folder / STATE).unlink(missing_ok=True)
        log.say(summary(record, folder))
    return record


def tracking(config: Config, folder: Path, identity: Mapping[str, Any], log: RunLog) -> TrackerProcess:
    """A context that sends the run to its tracker, from the first rank only."""
    tracker = build_tracker(config) if log.is_first else None
    options = {key: value for key, value in config.tracker.items() if key not in RESERVED}
    process = TrackerProcess(tracker, options, folder, identity, config.seed, log.say)
    log.notice = process.notice
    return process


@contextmanager
def writer_of(folder: Path, ranks: Ranks) -> Iterator[None]:
    """A context in which no other process writes to a run folder: a second process waits.

    Partly written files of killed processes are removed at the start. Only the first rank holds the lock.
    """
    if not ranks.is_first:
        yield
        return
    with locked(folder / WRITING):
        for parent in (folder, folder / FOLDER):
            files.remove_partials(parent)
        yield


def describe_error(error: BaseException, folder: Path) -> str:
    """An exception in one line. folder: named if an error of the file system does not name a file."""
    if isinstance(error, OSError) and error.strerror:
        return files.describe_os_error(error, folder)
    return str(error) if isinstance(error, PgolfError) else f"{type(error).__name__}: {error}"


def record_failure(folder: Path, record: dict[str, Any], ranks: Ranks) -> dict[str, Any]:
    """Write the traceback of the current exception and, on the first rank, the record. Returns the record.

    An interruption by the user is no error and leaves no traceback. Raises OSError if the record cannot be written.
    """
    if record["status"] != "interrupted":
        with suppress(OSError):  # the record contains the error too, and is written next
            files.write_lines(
                folder / (ERROR if ranks.is_first else f"error-rank{ranks.rank}.txt"), [traceback.format_exc()]
            )
    if ranks.is_first:
        write_record(folder, record)
    return record


def measure(
    config: Config, folder: Path, ranks: Ranks, log: RunLog, tracker: TrackerProcess, origin: Origin
) -> dict[str, Any]:
    """Train a model, or load trained weights; score it, pack it, and score the packed file.

    Returns the measured fields of the record. Raises PgolfError, OSError, KeyboardInterrupt, and what a component
    raises.
    """
    began = time.perf_counter()
    context = open_context(config, ranks)
    model, costs, parent = build_model(config.model), account(config), config.train.parent
    with StopRequest() as stop:
        key = {**{name: origin.head[name] for name in KEY}, "data_sha": context.corpus.data_sha}
        keeper = Checkpoints(key, log, lambda: stop.asked, ranks, every_s=config.launch.checkpoint_s)
        if keeper.step is None:
            log.say(start_line(context, costs))
            budget = {"steps": planned_steps(config.train), "seconds": config.train.seconds}
            log.event("start", parameters=costs.total, **budget, prepare_s=round(time.perf_counter() - began, 3))
        else:
            log.say(f"continued from the checkpoint at step {keeper.step}")
            log.event("continued", step=keeper.step)
        tracker.start(resumed=keeper.step is not None)
        if parent is None:
            trained = train_model(context, model, log, keeper)
        else:
            trained = load_trained(Path(parent), model, context.device)
    if ranks.is_first and config.launch.keep_weights and parent is None:
        trained = save_trained(folder, model, trained)
    finish = finish_run(context, model, trained, folder, log)
    sources = {*loaded_code(plain_config(config)), *trained.code_files}
    code = code_fields({**code_hashes(sources), **origin.code})  # the hashes taken at the start are valid
    return {**measured_fields(context, costs, trained.trace, finish, code), **trained.origin}


def start_line(context: RunContext, costs: Account) -> str:
    """The first line of a log: model, corpus and machine."""
    corpus, config = context.corpus, context.config
    return (
        f"{costs.total:,} parameters ({costs.frozen:,} frozen), {corpus.corpus.name}: "
        f"{context.stream.corpus_tokens:,} training and {len(corpus.val_tokens):,} validation tokens, "
        f"{config.device}, {config.train.threads} threads"
    )


def train_model(context: RunContext, model: GPT, log: RunLog, keeper: Checkpoints) -> TrainedModel:
    """Draw the initial weights of a model and train it in place. Returns the trace and the average of the weights."""
    config, ranks = context.config, context.ranks
    start_weights(model, config.model, config.seed, context.device)
    optimizers, averaging = build_optimizers(model, config, ranks), build_averaging(config.optim)
    with keeper:
        training = replace(make_training(context, model, optimizers, averaging), limits=read_limits(log.folder))
        trace = train(training, loop_settings(config), ranks, log, keeper)
    trace.warnings += keeper.warnings
    average = averaging.average()
    if average is None and not isinstance(averaging, NoAveraging):
        trace.warnings.append("optim.averaging took no snapshot: the live weights were packed")
    return TrainedModel(trace, average)


def make_training(context: RunContext, model: GPT, optimizers: OptimizersByRole, averaging: Averaging) -> Training:
    """The input of the training loop, from a configuration."""
    config, corpus = context.config, context.corpus
    tensors, roles = named_tensors(model), chosen_roles(model, config.optim.role_of)
    budget, defects = build_budget(config.train), config.defects
    trainable = {name: tensors[name] for names in optimizers.names.values() for name in names}
    embeddings = [p for name, p in trainable.items() if roles[name] == "embedding"]
    frozen = sorted(optimizers.frozen) if defects.keep_frozen_gradients else []
    all_optimizers = list(optimizers.optimizers.values())

    def bytes_of(x_BT: Tensor, y_BT: Tensor) -> int:
        return int(corpus.byte_table.pair_bytes(x_BT.numpy(), y_BT.numpy()).sum())

    return Training(
        model=compiled(model) if config.train.compile == "on" else model,
        priming=one_compiles(compiled_shape(config), Path(config.paths.cache).expanduser())
        if config.train.compile == "on"
        else nullcontext(),
        trainable=trainable,
        optimizers=all_optimizers,
        schedule=build_schedule(config.optim, budget),
        batches=Batches(context.stream, bytes_of, context.device),
        budget=budget,
        validate=lambda: context.evaluation(model).bpb,
        averaging=averaging,
        quantized=FakeQuantized(model, build_fake(config, build_quantizer(config))),
        frozen_with_gradients=[tensors[name] for name in frozen],
        masters=Bf16Masters(embeddings, all_optimizers) if defects.bf16_embedding else None,
        watch=GradientWatch(trainable),
        spectra=lambda: summary_measures(model),
    )


def loop_settings(config: Config) -> LoopSettings:
    """The settings of the training loop. With compilation, there is at least one priming step."""
    train = config.train
    return LoopSettings(
        device=torch.device(config.device),
        micro_batches=train.micro_batches,
        batch_tokens=train.batch_tokens,
        grad_clip_norm=config.optim.grad_clip_norm,
        log_every=train.log_every,
        val_every=train.val_every,
        priming_steps=max(train.priming_steps, 1 if train.compile == "on" else 0),
        bf16=train.precision == "bf16",
        qat_below=train.qat_below,
        wait=wait_of(torch.device(config.device), train.seconds),
        spectra_every=train.spectra_every,
    )
