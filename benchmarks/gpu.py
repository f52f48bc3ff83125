"""Step, evaluation and packing of the baseline at its published size on a GPU: `python benchmarks/gpu.py [--steps 20]`.

Printed are the milliseconds of a step (mean of --steps steps without a wait between them, and median with a wait after
each), tokens per second, and model FLOP utilisation: the FLOPs that the model needs by `python -m pgolf.params`, over
the dense bf16 peak of the device. Then the same for scoring, and seconds and bytes of packing.

    python benchmarks/gpu.py --device cpu --tokens small    tries the code without a GPU: few tokens, no utilisation
    python benchmarks/gpu.py --paper                        the roofline on paper of a step on one H100, as a table

On paper, a part of a step takes the time of its FLOPs at the peak or that of its bytes at the bandwidth, whichever is
longer. What counts as a byte stands in `parts_of`. The FLOPs are compared with those of `pgolf.params`.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import torch

from pgolf.bench import WARM_UP_STEPS, Subject
from pgolf.config.build import build_model
from pgolf.config.command_line import compose_one
from pgolf.config.schema import Config
from pgolf.errors import PgolfError
from pgolf.execution.account import account
from pgolf.machine.usage import peak_memory_bytes
from pgolf.nn.naming import named_tensors
from pgolf.optim.roles import chosen_roles

BASELINE = ("stack=baseline", "scale=published", "data=docs")
SMALL = ("train.seq_len=128", "train.batch_tokens=512", "train.micro_batches=2", "train.priming_steps=0")
SMALL_EVAL = ("eval.max_targets=2000",)
# Dense bf16 FLOPs per second. Sources: NVIDIA's data sheets of the H100 SXM, H200 and A100.
PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}
H100_BYTES_PER_S = 3.35e12
BF16, FP32, ID = 2, 4, 8  # bytes
FLASH_BACKWARD = (
    5 / 2
)  # products of a fused attention's backward pass, which computes the scores again, per forward one


@dataclass(frozen=True)
class Part:
    """One part of a training step. flops: executed; model_flops: of them, those that `pgolf.params` counts."""

    name: str
    flops: float
    model_flops: float
    bytes: float

    @property
    def compute_ms(self) -> float:
        return self.flops / PEAKS["H100"] * 1000

    @property
    def memory_ms(self) -> float:
        return self.bytes / H100_BYTES_PER_S * 1000

    @property
    def bound_ms(self) -> float:
        return max(self.compute_ms, self.memory_ms)


def product(name: str, inputs: int, outputs: int, tokens: int, micro_batches: int, count: int = 1) -> Part:
    """A matrix product y = W x in bf16, forward and backward.

    Three products: y, the gradient of x, and that of W. Each reads two of x, y and their gradients. Per micro-batch a
    weight is read in fp32 and rounded (6 bytes), read twice (4), and its gradient is written in bf16, read, and added
    to that in fp32 (12).
    """
    flops = 6 * tokens * inputs * outputs * count
    weights = 22 * inputs * outputs * micro_batches
    return Part(name, flops, flops, count * (3 * BF16 * tokens * (inputs + outputs) + weights))


def pointwise(name: str, read: float, written: float, tokens: int, count: int = 1) -> Part:
    """Operations per element, perfectly fused. read, written: bytes per token, forward.

    The backward pass reads what the forward pass read, and the gradients of what it wrote; it writes the gradients of
    what it read. FLOPs are left out: they are not those of matrix products.
    """
    return Part(name, 0, 0, count * tokens * (3 * read + 2 * written))


def attention(tokens: int, time: int, query: int, value: int, heads: int, layers: int) -> Part:
    """Fused causal attention. query, value: widths of queries and of keys or values.

    Forward: reads q, k and v, writes y and a number per query and head. Backward: reads them and the gradient of y,
    writes the gradients of q, k and v.
    """
    forward = 2 * tokens * time * query  # two products, half of each behind the mask
    moved = BF16 * (2 * query + 2 * value) + FP32 * heads + BF16 * (4 * query + 4 * value) + FP32 * heads
    return Part("attention", layers * forward * (1 + FLASH_BACKWARD), layers * 3 * forward, layers * tokens * moved)


def muon(shapes: Sequence[torch.Size], steps: int) -> Part:
    """Muon on matrices, once per step: momentum (reads 8 bytes per weight, writes 6), Newton-Schulz in bf16, update
    (reads 6, writes 4). An iteration reads x twice and writes it, and writes and reads two small matrices.
    """
    flops = moved = 0.0
    for shape in shapes:
        short, long = sorted(shape)
        flops += steps * (4 * short**2 * long + 2 * short**3)
        moved += 24 * short * long + steps * BF16 * (3 * short * long + 5 * short**2)
    return Part("Muon", flops, 0, moved)


def parts_of(config: Config) -> list[Part]:
    """The parts of a training step of the baseline: all tokens of a step on one device.

    What lies between two products is one kernel, which reads each input and writes each output once. The residual
    stream is fp32, inputs and outputs of products are bf16 (pgolf.machine.precision).
    """
    model, train = config.model, config.train
    tokens, micro, time = train.batch_tokens, train.micro_batches, train.seq_len
    width, layers, vocab = model.width, model.layers, model.vocab_size
    shapes = {name: t.shape for name, t in named_tensors(build_model(model)).items()}
    hidden = shapes["model.mlp.0.fc.weight"][0]
    value = width // model.heads * model.kv_heads
    roles = chosen_roles(build_model(model), config.optim.role_of)
    matrices = [shape for name, shape in shapes.items() if roles[name] == "matrix"]
    others = sum(math.prod(shape) for name, shape in shapes.items() if roles[name] != "matrix")
    wide, narrow = FP32 * width, BF16 * width
    return [
        pointwise("embedding, norms", ID + wide, 2 * wide + narrow, tokens),
        product("q", width, width, tokens, micro, layers),
        product("k and v", width, value, tokens, micro, 2 * layers),
        pointwise("norm and rotation of q, k", BF16 * (width + value), BF16 * (width + value), tokens, layers),
        attention(tokens, time, width, value, model.heads, layers),
        product("attention output", width, width, tokens, micro, layers),
        pointwise("residual of attention, norm", wide + narrow, wide + narrow, tokens, layers),
        product("MLP in", width, hidden, tokens, micro, layers),
        pointwise("squared ReLU", BF16 * hidden, BF16 * hidden, tokens, layers),
        product("MLP out", hidden, width, tokens, micro, layers),
        pointwise("residual of MLP, mix with x0, norm", 2 * wide + narrow, wide + narrow, tokens, layers - 1),
        pointwise("skips", wide, 0, tokens, layers // 2),
        pointwise("last residual of MLP, norm", wide + narrow, narrow, tokens),
        product("head", width, vocab, tokens, micro),
        pointwise("softcap and loss", BF16 * vocab + ID, FP32, tokens),
        muon(matrices, config.optim.roles.matrix["newton_schulz_steps"]),
        Part("Adam", 0, 0, 28 * others),  # reads weight, gradient and two averages; writes all but the gradient
    ]


def paper() -> None:
    """Print the roofline as a table in Markdown. Raises ValueError if its FLOPs are not those of `pgolf.params`."""
    config = compose_one(BASELINE, check_machine=False).config
    parts, tokens = parts_of(config), config.train.batch_tokens
    wanted = account(config).flops_per_token * tokens
    if round(sum(part.model_flops for part in parts)) != wanted:
        raise ValueError(f"{sum(part.model_flops for part in parts):,.0f} FLOPs on paper, {wanted:,} by pgolf.params")
    whole = Part("all", *(sum(getattr(part, key) for part in parts) for key in ("flops", "model_flops", "bytes")))
    bound_ms, ideal_ms = sum(part.bound_ms for part in parts), wanted / PEAKS["H100"] * 1000
    print("| part | GFLOP | GB | FLOPs per byte | ms | bound by |\n| --- | --- | --- | --- | --- | --- |")
    for part in parts:
        bound = "compute" if part.compute_ms > part.memory_ms else "memory"
        print(
            f"| {part.name} | {part.flops / 1e9:,.0f} | {part.bytes / 1e9:.2f} | {part.flops / part.bytes:,.0f} | "
            f"{part.bound_ms:.2f} | {bound} |"
        )
    print(f"| all | {whole.flops / 1e9:,.0f} | {whole.bytes / 1e9:.2f} | {whole.flops / whole.bytes:,.0f} | ", end="")
    print(f"{bound_ms:.2f} | |\n")
    print(
        f"{tokens:,} tokens per step on one H100 ({PEAKS['H100'] / 1e12:.0f} TFLOP/s in bf16, "
        f"{H100_BYTES_PER_S / 1e12:.2f} TB/s): both are busy at {PEAKS['H100'] / H100_BYTES_PER_S:.0f} FLOPs per byte. "
        f"Model FLOPs alone take {ideal_ms:.2f} ms, a utilisation of {ideal_ms / bound_ms:.0%} with the rest. "
        f"Memory bounds {sum(p.bound_ms for p in parts if p.memory_ms >= p.compute_ms) / bound_ms:.0%} of the time."
    )


def peak_of(device: torch.device, given: float | None) -> float | None:
    """The peak in FLOPs per second; None on a CPU. Raises PgolfError for a GPU that is not in PEAKS."""
    if given is not None or device.type == "cpu":
        return None if given is None else given * 1e12
    name = torch.cuda.get_device_name(device)
    found = [peak for part, peak in PEAKS.items() if part in name]
    if not found:
        raise PgolfError(f"--peak: the peak of this device is not known ({name}). Give it in TFLOP/s of dense bf16")
    return found[0]


def measure(overrides: Sequence[str], steps: int, peak: float | None) -> None:
    """Print the measurements of one configuration."""
    subject = Subject(overrides)
    torch.set_num_threads(subject.config.train.cpu_threads)
    for _ in range(WARM_UP_STEPS):
        subject.step_ms()
    waited = median(subject.step_ms() for _ in range(steps))
    for _ in range(steps):
        subject.take()
    subject.pace.settle()
    step_ms = subject.pace.trace.step_ms[-1]
    figures, device = subject.figures([step_ms]), subject.device

    def used(flops_per_s: float) -> str:
        return "" if peak is None else f", {flops_per_s / peak:.1%} of {peak / 1e12:,.0f} TFLOP/s"

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    print(
        f"{name}, {subject.config.train.precision}, compile={subject.config.train.compile}: {figures['parameters']:,} ",
        end="",
    )
    print(f"parameters, {figures['tokens_per_step']:,} tokens per step, {figures['flops_per_token']:,} FLOPs per token")
    print(
        f"step   {step_ms:.1f} ms, {waited:.1f} ms with a wait after each, {figures['tokens_per_s']:,.0f} tokens/s",
        end="",
    )
    print(used(figures["flops_per_s"]))
    scored_flops = figures["eval_targets_per_s"] * figures["flops_per_token"] / 3
    print(f"score  {figures['eval_targets_per_s']:,.0f} targets/s{used(scored_flops)}")
    print(f"pack   {figures['pack_s']:.2f} s, {figures['packed_bytes']:,} bytes")
    print(f"peak memory {peak_memory_bytes(device) / 1e9:.2f} GB")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--paper", action="store_true")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tokens", choices=("published", "small"), default="published")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--peak", type=float, help="TFLOP/s of dense bf16, for a device that is not known")
    parser.add_argument("overrides", nargs="*", help="further overrides, for example train.compile=off")
    args = parser.parse_args()
    if args.paper:
        paper()
        return 0
    if args.device == "cuda" and not torch.cuda.is_available():
        print(
            "--device: this machine has no CUDA device that torch can use (cuda). Use --paper, or try the code with "
            "--device cpu --tokens small",
            file=sys.stderr,
        )
        return 2
    small = (*SMALL, *SMALL_EVAL) if args.tokens == "small" else ()
    try:
        overrides = (*BASELINE, *small, f"device={args.device}", *args.overrides)
        measure(overrides, args.steps, peak_of(torch.device(args.device), args.peak))
    except PgolfError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
