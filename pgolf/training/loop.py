"""The training loop. The caller builds all objects that it needs."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from pgolf.errors import DamagedFile, DivergedError
from pgolf.machine.precision import autocast, synchronise
from pgolf.machine.ranks import Ranks
from pgolf.optim.averaging import Averaging
from pgolf.optim.schedules import Budget
from pgolf.training.defects import Bf16Masters
from pgolf.training.gradient_watch import GradientWatch
from pgolf.training.runlog import RunLog


class Stream(Protocol):
    """Training batches as a pure function of the step."""

    def micro_batch(self, step: int, index: int) -> tuple[Tensor, Tensor]: ...


class Keeper(Protocol):
    """Keeps checkpoints. `load` returns a state or None; `after_step` may save a state, or stop the run."""

    def load(self) -> Mapping[str, Any] | None: ...

    def after_step(self, state: Callable[[], dict[str, Any]], *, last: bool) -> None: ...


@dataclass(frozen=True)
class Training:
    """The input of the loop.

    trainable: the parameters that have an optimizer, by name. schedule(step, elapsed_s): the scale of all learning
    rates. bytes_of(x, y): the number of bytes of the targets of a batch.
    """

    model: nn.Module
    trainable: Mapping[str, nn.Parameter]
    optimizers: Sequence[torch.optim.Optimizer]
    schedule: Callable[[int, float], float]
    stream: Stream
    budget: Budget
    bytes_of: Callable[[Tensor, Tensor], int]
    validate: Callable[[], float]  # live bits per byte
    averaging: Averaging
    quantized: Callable[[Tensor, Tensor], Tensor]  # the model on fake-quantized weights
    # A defect: frozen parameters whose gradients add up and count in the clip norm.
    frozen_with_gradients: Sequence[nn.Parameter] = ()
    masters: Bf16Masters | None = None  # a defect: parameters kept in bf16
    watch: GradientWatch = field(default_factory=lambda: GradientWatch({}))  # by default it watches nothing
    spectra: Callable[[], Sequence[Mapping[str, Any]]] = list  # measures of the matrices, one table per matrix


@dataclass(frozen=True)
class StepScore:
    """One training step. nats: mean per target. target_bytes: of all targets. lr_scale: of its learning rates."""

    nats: float
    target_bytes: int
    lr_scale: float


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
    spectra_every: int = 0  # steps between records of the spectra; 0: none


@dataclass
class Trace:
    """The progress of training, and its result.

    train_s: training time in seconds, which counts against the budget. val_bpb_live: the latest validation, NaN if
    none. step_ms: the time of each step. qat_from_step: the first step with fake quantization.
    """

    steps: int = 0
    train_s: float = 0.0
    val_bpb_live: float = float("nan")
    step_ms: list[float] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    qat_from_step: int | None = None

    @property
    def step_ms_median(self) -> float:
        return median(self.step_ms) if self.step_ms else 0.0


def clear_gradients(training: Training) -> None:
    """Remove all gradients except those that a defect keeps."""
    exceptions = {id(p) for p in training.frozen_with_gradients}
    for p in training.model.parameters():
        if id(p) not in exceptions:
            p.grad = None


def accumulate(
    training: Training, settings: LoopSettings, ranks: Ranks, step: int, *, fake: bool = False
) -> tuple[float, int]:
    """Compute the gradients of one step, averaged over all micro-batches of all ranks.

    fake: use the model with fake-quantized weights. Returns (mean nats per target, bytes of all targets), over all
    ranks.
    """
    indices = range(ranks.rank, settings.micro_batches, ranks.world)
    forward = training.quantized if fake else training.model
    nats = torch.zeros((), dtype=torch.float64, device=settings.device)
    size = 0
    for index in indices:
        x, y = training.stream.micro_batch(step, index)
        size += training.bytes_of(x, y)
        with autocast(settings.device, settings.bf16):
            loss = forward(x.to(settings.device), y.to(settings.device)).mean()
        (loss / len(indices)).backward()
        nats += loss.detach().double() / settings.micro_batches
    ranks.mean_gradients_([*training.trainable.values(), *training.frozen_with_gradients])
    total = ranks.sum_(torch.stack([nats, torch.tensor(float(size), dtype=torch.float64, device=settings.device)]))
    return float(total[0]), int(total[1])


def prime(training: Training, settings: LoopSettings, ranks: Ranks) -> None:
    """Run forward and backward passes before the clock starts, so that compilation is not timed.

    The weights stay unchanged.
    """
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

    Raises DivergedError for a non-finite loss, CoverageError if a trainable parameter has no gradient in the first
    steps, DamagedFile for an invalid checkpoint, KeyboardInterrupt if the run must stop, and OSError.
    """
    base_lr = [[group["lr"] for group in optimizer.param_groups] for optimizer in training.optimizers]
    watch, trace = training.watch, Trace()
    if training.masters is not None:
        training.masters.round()
    training.averaging.start(training.trainable)
    prime(training, settings, ranks)
    if keeper is not None and (state := keeper.load()) is not None:
        restore(state, training, trace, watch)
    log.start_progress()
    if trace.steps == 0:
        record_spectra(trace, training, settings, log)
    while training.budget.spent(trace.steps, trace.train_s) < 1:
        began = time.perf_counter()
        scale = training.schedule(trace.steps, trace.train_s)
        set_rates(training.optimizers, base_lr, scale)
        fake = settings.qat_below is not None and scale < settings.qat_below
        if fake and trace.qat_from_step is None:
            trace.qat_from_step = trace.steps
        nats, size = take_step(training, settings, ranks, trace.steps, fake=fake)
        training.averaging.update(trace.steps + 1, scale, training.trainable)
        synchronise(settings.device)
        trace.train_s = ranks.max(trace.train_s + time.perf_counter() - began, settings.device)
        trace.step_ms.append((time.perf_counter() - began) * 1000)
        trace.steps += 1
        log_step(StepScore(nats, size, scale), trace, training, settings, log)
        record_spectra(trace, training, settings, log)
        last = training.budget.spent(trace.steps, trace.train_s) >= 1
        if settings.val_every and trace.steps % settings.val_every == 0 and not last:
            trace.val_bpb_live = training.validate()
            log.event("val", step=trace.steps, elapsed_s=round(trace.train_s, 3), val_bpb_live=trace.val_bpb_live)
        if keeper is not None:
            keeper.after_step(lambda: checkpoint_state(training, trace, watch), last=last)
    trace.warnings += watch.finish()
    log.end_progress()
    return trace


def record_spectra(trace: Trace, training: Training, settings: LoopSettings, log: RunLog) -> None:
    """Write the spectra after every spectra_every steps, and before the first one, to the metrics."""
    if settings.spectra_every and trace.steps % settings.spectra_every == 0 and log.is_first:
        for measures in training.spectra():
            log.event("spectra", step=trace.steps, **measures)


def set_rates(optimizers: Sequence[torch.optim.Optimizer], base_lr: Sequence[Sequence[float]], scale: float) -> None:
    """Set the learning rate of each parameter group to `scale` times its base rate."""
    for optimizer, rates in zip(optimizers, base_lr, strict=True):
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * scale


def take_step(
    training: Training, settings: LoopSettings, ranks: Ranks, step: int, *, fake: bool = False
) -> tuple[float, int]:
    """One training step: gradients, clipping, update. Returns (mean nats per target, bytes of all targets).

    Raises DivergedError for a non-finite loss, before the weights change, and CoverageError.
    """
    clear_gradients(training)
    nats, size = accumulate(training, settings, ranks, step, fake=fake)
    if not math.isfinite(nats):
        raise DivergedError(f"the training loss is {nats} at step {step + 1}. Lower the learning rates")
    training.watch.after_backward()
    if settings.grad_clip_norm is not None:
        torch.nn.utils.clip_grad_norm_(
            [*training.trainable.values(), *training.frozen_with_gradients], settings.grad_clip_norm
        )
    for optimizer in training.optimizers:
        optimizer.step()
    if training.masters is not None:
        training.masters.round()
    return nats, size


def log_step(step: StepScore, trace: Trace, training: Training, settings: LoopSettings, log: RunLog) -> None:
    """Write metrics at the first and the last step and every log_every steps; update the progress at every step."""
    done = training.budget.spent(trace.steps, trace.train_s)
    tokens = trace.steps * settings.batch_tokens
    bpb = step.nats / math.log(2) * settings.batch_tokens / max(step.target_bytes, 1)
    if trace.steps % settings.log_every == 0 or trace.steps == 1 or done >= 1:
        log.event(
            "train",
            step=trace.steps,
            tokens=tokens,
            elapsed_s=round(trace.train_s, 3),
            train_nats=step.nats,
            train_bpb=bpb,
            lr_scale=step.lr_scale,
            step_ms=round(trace.step_ms[-1], 2),
        )
    rate = tokens / max(trace.train_s, 1e-9)
    val = "" if math.isnan(trace.val_bpb_live) else f"  val {trace.val_bpb_live:.3f}"
    log.advance(done, f"step {trace.steps}  loss {step.nats:.3f}  bpb {bpb:.3f}{val}  {rate:,.0f} tokens/s")
