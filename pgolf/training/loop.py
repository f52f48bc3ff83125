"""The training loop. The caller builds all objects that it needs."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from pgolf.errors import DamagedFile, PrunedError
from pgolf.machine.precision import autocast, sum_dtype, synchronise
from pgolf.machine.ranks import Ranks
from pgolf.optim.averaging import Averaging
from pgolf.optim.schedules import Budget
from pgolf.training.batches import Batches
from pgolf.training.compiled import whole_graph
from pgolf.training.defects import Bf16Masters
from pgolf.training.gradient_watch import GradientWatch
from pgolf.training.pace import Pace, StepLoss, Trace, Wait
from pgolf.training.runlog import RunLog


class Keeper(Protocol):
    """Keeps checkpoints. `load` returns a state or None; `after_step` may save a state, or stop the run."""

    def load(self) -> Mapping[str, Any] | None: ...

    def after_step(self, state: Callable[[], dict[str, Any]], *, last: bool) -> None: ...


@dataclass(frozen=True)
class Training:
    """The input of the loop.

    trainable: the parameters that have an optimizer, by name. schedule(step, elapsed_s): the scale of all learning
    rates.
    """

    model: nn.Module
    trainable: Mapping[str, nn.Parameter]
    optimizers: Sequence[torch.optim.Optimizer]
    schedule: Callable[[int, float], float]
    batches: Batches
    budget: Budget
    validate: Callable[[], float]  # live bits per byte
    averaging: Averaging
    quantized: Callable[[Tensor, Tensor], Tensor]  # the model on fake-quantized weights
    # A defect: frozen parameters whose gradients add up and count in the clip norm.
    frozen_with_gradients: Sequence[nn.Parameter] = ()
    masters: Bf16Masters | None = None  # a defect: parameters kept in bf16
    watch: GradientWatch = field(default_factory=lambda: GradientWatch({}))  # by default it watches nothing
    priming: AbstractContextManager[object] = field(
        default_factory=nullcontext
    )  # of the passes before the clock starts
    spectra: Callable[[], Sequence[Mapping[str, Any]]] = list  # measures of the matrices, one table per matrix
    # Scores in bpb by step. A trial of a search is stopped where its validation is above one.
    limits: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class LoopSettings:
    """The settings of the loop, as in the section `train` of a configuration."""

    device: torch.device
    micro_batches: int
    batch_tokens: int
    grad_clip_norm: float | None
    log_every: int
    val_every: int
    priming_steps: int
    bf16: bool
    qat_below: float | None  # learning-rate scale below which the forward pass uses fake-quantized weights
    wait: Wait  # when the loop waits for the device
    spectra_every: int = 0  # steps between records of the spectra; 0: none


def clear_gradients(training: Training) -> None:
    """Remove all gradients except those that a defect keeps."""
    exceptions = {id(p) for p in training.frozen_with_gradients}
    for p in training.model.parameters():
        if id(p) not in exceptions:
            p.grad = None


def accumulate(training: Training, settings: LoopSettings, ranks: Ranks, step: int, *, fake: bool = False) -> StepLoss:
    """Compute the gradients of one step, averaged over all micro-batches of all ranks. Returns the loss of this rank.

    fake: use the model with fake-quantized weights. While the device computes a micro-batch, the next one is prepared.
    """
    indices = range(ranks.rank, settings.micro_batches, ranks.world)
    forward = training.quantized if fake else training.model
    averaged = [*training.trainable.values(), *training.frozen_with_gradients]
    nats = torch.zeros((), dtype=sum_dtype(settings.device), device=settings.device)
    size = 0
    for index in indices:
        batch, is_last = training.batches.take(step, index), index == indices[-1]
        size += batch.target_bytes
        with autocast(settings.device, settings.bf16):
            loss = forward(batch.x_BT, batch.y_BT).mean()
        with ranks.mean_gradients(averaged if is_last else []):
            (loss / len(indices)).backward()
        nats += loss.detach().to(nats.dtype) / settings.micro_batches
        training.batches.prepare(*((step + 1, indices[0]) if is_last else (step, index + ranks.world)))
    return StepLoss(step, nats, size)


def prime(training: Training, settings: LoopSettings, ranks: Ranks) -> None:
    """Run forward and backward passes before the clock starts, so that compilation is not timed.

    The weights stay unchanged. Raises PgolfError for a model that cannot be compiled as one graph.
    """
    with training.priming, whole_graph():
        for _ in range(settings.priming_steps):
            accumulate(training, settings, ranks, 0)
    training.model.zero_grad(set_to_none=True)
    synchronise(settings.device)


def checkpoint_state(training: Training, trace: Trace, watch: GradientWatch) -> dict[str, Any]:
    """Everything that the next step depends on. The stream is a function of the step and has no state."""
    return {
        "model": training.model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in training.optimizers],
        "averaging": training.averaging.state_dict(),
        "stale_gradients": [p.grad for p in training.frozen_with_gradients],
        "watch": watch.state_dict(),
        "trace": asdict(trace),
        "rng": torch.get_rng_state(),
        "rng_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
    }


def restore(state: Mapping[str, Any], training: Training, trace: Trace, watch: GradientWatch) -> None:
    """Restore the state after a step, in place. Raises DamagedFile if it is not a state of this training."""
    try:
        load_state(state, training, trace, watch)
    # Torch has no exception type for an invalid state.
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        reason = (
            f"does not contain the state of this run ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
        )
        raise DamagedFile("the checkpoint", reason, "Run with launch.rerun=true") from None


def load_state(state: Mapping[str, Any], training: Training, trace: Trace, watch: GradientWatch) -> None:
    """As `restore`, but raises the exceptions of torch."""
    training.model.load_state_dict(state["model"])
    for optimizer, optimizer_state in zip(training.optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(optimizer_state)
    training.averaging.load_state_dict(state["averaging"])
    for p, grad in zip(training.frozen_with_gradients, state["stale_gradients"], strict=True):
        p.grad = None if grad is None else grad.to(p.device)
    watch.load_state_dict(state["watch"])
    for name, value in state["trace"].items():
        setattr(trace, name, value)
    torch.set_rng_state(state["rng"])
    if state["rng_cuda"]:
        torch.cuda.set_rng_state_all(state["rng_cuda"])


def train(training: Training, settings: LoopSettings, ranks: Ranks, log: RunLog, keeper: Keeper | None = None) -> Trace:
    """Train until the budget is spent. Validation, spectra, priming and checkpoints are not timed.

    Raises DivergedError for a non-finite loss, PrunedError for a trial that a search stops, CoverageError if a
    trainable parameter has no gradient in the first steps, DamagedFile for an invalid checkpoint, KeyboardInterrupt if
    the run must stop, and OSError.
    """
    base_lr = [[group["lr"] for group in optimizer.param_groups] for optimizer in training.optimizers]
    watch, trace = training.watch, Trace()
    if training.masters is not None:
        training.masters.round()
    training.averaging.start(training.trainable)
    began = time.perf_counter()
    prime(training, settings, ranks)
    priming_s = time.perf_counter() - began
    if keeper is not None and (saved := keeper.load()) is not None:
        restore(saved, training, trace, watch)
    trace.priming_s = priming_s
    log.start_progress()
    pace = Pace(trace, settings.device, ranks)

    def state() -> dict[str, Any]:
        pace.settle()
        return checkpoint_state(training, trace, watch)

    if settings.spectra_every and trace.steps == 0:
        record_spectra(trace, training, log)
    while training.budget.spent(trace.steps, trace.train_s) < 1:
        pace.begin()
        scale = training.schedule(trace.steps, trace.train_s)
        set_rates(training.optimizers, base_lr, scale)
        fake = settings.qat_below is not None and scale < settings.qat_below
        if fake and trace.qat_from_step is None:
            trace.qat_from_step = trace.steps
        take_step(training, settings, ranks, trace.steps, pace, fake=fake)
        training.averaging.update(trace.steps + 1, scale, training.trainable)
        trace.steps += 1
        validates = settings.val_every > 0 and trace.steps % settings.val_every == 0
        has_spectra = settings.spectra_every > 0 and trace.steps % settings.spectra_every == 0
        if settings.wait != "log" or validates or has_spectra or is_logged(trace, training, settings):
            pace.settle()
            log_step(pace, scale, trace, training, settings, log)
        if has_spectra:
            record_spectra(trace, training, log)
        last = training.budget.spent(trace.steps, trace.train_s) >= 1
        if validates and not last:
            trace.val_bpb_live = training.validate()
            log.event("val", step=trace.steps, elapsed_s=round(trace.train_s, 3), val_bpb_live=trace.val_bpb_live)
            prune(training.limits, trace)
        if keeper is not None:
            keeper.after_step(state, last=last)
    trace.warnings += watch.finish()
    log.end_progress()
    return trace


def prune(limits: Mapping[int, float], trace: Trace) -> None:
    """Raise PrunedError if the latest validation is worse than the limit of its step."""
    limit = limits.get(trace.steps)
    if limit is not None and not trace.val_bpb_live <= limit:
        raise PrunedError(
            f"{trace.val_bpb_live:.4f} bpb at step {trace.steps} is worse than the limit of {limit:.4f} "
            "from earlier trials"
        )


def record_spectra(trace: Trace, training: Training, log: RunLog) -> None:
    """Write the spectra of the matrices at this step to the metrics."""
    if log.is_first:
        for measures in training.spectra():
            log.event("spectra", step=trace.steps, **measures)


def set_rates(optimizers: Sequence[torch.optim.Optimizer], base_lr: Sequence[Sequence[float]], scale: float) -> None:
    """Set the learning rate of each parameter group to `scale` times its base rate."""
    for optimizer, rates in zip(optimizers, base_lr, strict=True):
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * scale


def take_step(
    training: Training, settings: LoopSettings, ranks: Ranks, step: int, pace: Pace, *, fake: bool = False
) -> None:
    """One training step: gradients, clipping, update. Its loss is added to `pace`.

    Raises DivergedError for a non-finite loss and CoverageError. On a CPU a non-finite loss is found before the weights
    change. A GPU would stand still after every step while the process reads the loss and gives it new work. There it is
    found later, but before anything is made of the weights: before the next line of the log, score or checkpoint.
    """
    clear_gradients(training)
    pace.unread.append(accumulate(training, settings, ranks, step, fake=fake))
    if settings.wait == "update":
        pace.read()
    training.watch.after_backward()
    if settings.grad_clip_norm is not None:
        torch.nn.utils.clip_grad_norm_(
            [*training.trainable.values(), *training.frozen_with_gradients], settings.grad_clip_norm
        )
    for optimizer in training.optimizers:
        optimizer.step()
    if training.masters is not None:
        training.masters.round()


def is_logged(trace: Trace, training: Training, settings: LoopSettings) -> bool:
    """Whether the last step has a line in metrics.jsonl: the first and the last step, and every log_every steps."""
    done = training.budget.spent(trace.steps, trace.train_s)
    return trace.steps % settings.log_every == 0 or trace.steps == 1 or done >= 1


def log_step(pace: Pace, scale: float, trace: Trace, training: Training, settings: LoopSettings, log: RunLog) -> None:
    """Write the metrics of the last step, if it `is_logged`, and update the progress. scale: of its learning rates."""
    tokens = trace.steps * settings.batch_tokens
    bpb = pace.nats / math.log(2) * settings.batch_tokens / max(pace.target_bytes, 1)
    if is_logged(trace, training, settings):
        log.event(
            "train",
            step=trace.steps,
            tokens=tokens,
            elapsed_s=round(trace.train_s, 3),
            train_nats=pace.nats,
            train_bpb=bpb,
            lr_scale=scale,
            step_ms=round(trace.step_ms[-1], 2),
        )
    rate = tokens / max(trace.train_s, 1e-9)
    val = "" if math.isnan(trace.val_bpb_live) else f"  val {trace.val_bpb_live:.3f}"
    done = training.budget.spent(trace.steps, trace.train_s)
    log.advance(done, f"step {trace.steps}  loss {pace.nats:.3f}  bpb {bpb:.3f}{val}  {rate:,.0f} tokens/s")
