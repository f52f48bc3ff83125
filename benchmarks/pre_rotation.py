"""The forms of pre-rotation beside the plain layer: `python benchmarks/pre_rotation.py [overrides] [--rounds 20]`.

layer: forward and backward of one MLP. step: a whole training step of the configuration of the overrides. All forms
take turns, in an order that changes from round to round. Printed are medians in ms, and the median ratio of a round to
the plain layer that is compiled or not as the form is, with its 95% interval (as `pgolf.bench`). On a CPU, ms are CPU
time of one thread, so that other work on the machine counts less; on a GPU they are wall time, in bf16.

--compile-for 80 90 compiles the kernels for GPUs of these compute capabilities instead, and prints registers, spilled
bytes and shared memory. It needs Triton, and no GPU. --cases N takes the first N cases alone.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import nn

from pgolf.bench import Subject, ratio
from pgolf.errors import PgolfError
from pgolf.machine.precision import autocast, synchronise
from pgolf.nn.mlp.pre_rotation import PreRotation
from pgolf.nn.mlp.relu2 import Relu2
from pgolf.slots import Dims

WARM_UP = 3
FORMS = ("plain", "eager", "split", "triton")
PAIRS = 32
SIZES = {"cpu": (4096, 128, 256), "cuda": (65536, 512, 1024)}  # tokens, width, hidden size
KERNEL_CASES = (  # types of x and y, width, pairs, angle
    ("fp32", "bf16", 512, 32, "content"),
    ("fp32", "bf16", 512, 32, "constant"),
    ("fp32", "fp32", 512, 32, "content"),
    ("fp32", "bf16", 512, 128, "content"),
    ("bf16", "bf16", 130, 7, "content"),
    ("fp64", "fp64", 512, 32, "content"),
)
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp64": torch.float64}


def clock(device: torch.device) -> float:
    """Seconds: of this process on a CPU, of the wall on a GPU, whose work is finished then."""
    synchronise(device)
    return time.process_time() if device.type == "cpu" else time.perf_counter()


def layer(form: str, sizes: tuple[int, int, int], device: torch.device, *, compiled: bool) -> Callable[[], None]:
    """A function that takes one forward and backward pass of a form."""
    tokens, width, hidden = sizes
    dims = Dims(1024, width, 1, 1, 4, 2, hidden, tokens, 30.0)
    mlp: nn.Module = Relu2(dims, 0)
    if form != "plain":
        mlp = PreRotation(dims, 0, pairs=PAIRS, angle="content", only_first=False, implementation=form)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in mlp.parameters():  # nothing is zero, as after training
            p.copy_(torch.randn(p.shape, generator=generator) * p.size(-1) ** -0.5)
    mlp.to(device)
    run = torch.compile(mlp, dynamic=False, fullgraph=True) if compiled else mlp
    x = torch.randn(1, tokens, width, generator=generator).to(device).requires_grad_()
    g = torch.randn(1, tokens, width, generator=generator).to(device)

    def once() -> None:
        with autocast(device, device.type == "cuda"):
            z = run(x)
        z.backward(g.to(z.dtype))
        x.grad = None
        mlp.zero_grad()

    return once


def step(form: str, overrides: Sequence[str], *, compiled: bool) -> Callable[[], None]:
    """A function that takes one training step of a form."""
    chosen = ["model/mlp=relu2"] if form == "plain" else ["model/mlp=pre_rotation", f"model.mlp.implementation={form}"]
    subject = Subject([*overrides, *chosen, f"train.compile={'on' if compiled else 'off'}"])

    def once() -> None:
        subject.step_ms()

    return once


def measured(makers: dict[str, Callable[[], Callable[[], None]]], rounds: int, device: torch.device) -> None:
    """Print the table of some forms, by name."""
    functions = {}
    for name, make in makers.items():
        functions[name] = make()
        for _ in range(WARM_UP):
            functions[name]()
    times: dict[str, list[float]] = {name: [] for name in functions}
    names = list(functions)
    for number in range(rounds):
        shift = number % len(names)
        for name in (names[shift:] + names[:shift])[:: 1 if number % 2 else -1]:
            began = clock(device)
            functions[name]()
            times[name].append((clock(device) - began) * 1000)
    for name, own in times.items():
        plain = times["plain, compiled" if "compiled" in name else "plain"]
        middle, low, high = ratio(own, plain)
        ends = "" if low is None else f" [{low:.2f}, {high:.2f}]"
        print(f"  {name:<18} {median(own):>9.2f} ms  {middle:.2f}{ends} of the plain layer")


def compiled_kernel(kernel: Any, names: dict[str, str], constants: dict[str, Any], capability: int) -> dict[str, int]:
    """Registers, spilled and shared bytes of a kernel that is compiled for a compute capability, without a GPU."""
    import triton  # here, since the other parts of this file do not need it
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    signature = {**names, "N": "i32", **dict.fromkeys(constants, "constexpr")}
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
    made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": 4})
    folder = os.path.join(os.path.dirname(triton.__file__), "backends", "nvidia", "bin")
    figures = {"shared": made.metadata.shared}
    for assembler in ("ptxas", "ptxas-blackwell"):  # each takes versions of PTX that the other does not
        with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
            file.write(made.asm["ptx"])
            file.flush()
            words = [
                os.path.join(folder, assembler),
                "-v",
                "--gpu-name",
                made.asm["ptx"].split(".target ")[1].split()[0],
            ]
            said = subprocess.run([*words, file.name, "-o", os.devnull], capture_output=True, text=True, check=False)
        if said.returncode == 0:
            figures["registers"] = max(map(int, re.findall(r"Used (\d+) registers", said.stderr)))
            figures["spilled"] = sum(map(int, re.findall(r"(\d+) bytes spill stores", said.stderr)))
            break
    return figures


def compile_for(capabilities: Sequence[int], cases: int) -> None:
    """Print registers, spilled bytes and shared memory of both kernels. Raises PgolfError without Triton."""
    from pgolf.nn import pre_rotation_kernel as kernels

    for capability in capabilities:
        for x, y, width, pairs, angle in KERNEL_CASES[:cases]:
            dtype = torch.float64 if x == "fp64" else torch.float32
            angles = "*fp64" if x == "fp64" else "*fp32"
            constants = {"D": width, "P": pairs, "CONTENT": angle == "content", **kernels.tiles(pairs, dtype, TYPES[y])}
            inputs = {"x": f"*{x}", "source": angles}
            forward = {**inputs, "y": f"*{y}", "theta": angles}
            backward = {"g": f"*{y}", **inputs, "theta": angles, "dx": f"*{x}", "dtheta": angles}
            chunk = {"BLOCK_C": min(32, constants["BLOCK_P"])}
            for name, kernel, names, extra in (
                ("forward", kernels.forward_kernel, forward, {}),
                ("backward", kernels.backward_kernel, backward, chunk),
            ):
                figures = compiled_kernel(kernel, names, {**constants, **extra}, capability)
                text = ", ".join(f"{key} {value:,}" for key, value in figures.items())
                print(
                    f"sm_{capability} {name:<8} {x} to {y}, width {width}, {pairs} pairs, {angle}: {text}", flush=True
                )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "overrides", nargs="*", default=[], help="of the step (default: scale=cpu; on a GPU scale=gpu1)"
    )
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--device", choices=sorted(SIZES), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--sizes", type=int, nargs=3, metavar=("TOKENS", "WIDTH", "HIDDEN"), help="of the layer")
    parser.add_argument("--parts", nargs="+", choices=("layer", "step"), default=["layer", "step"])
    parser.add_argument("--compile-for", type=int, nargs="+", metavar="CAPABILITY", help="for example 80 90")
    parser.add_argument("--cases", type=int, default=len(KERNEL_CASES))
    args = parser.parse_args()
    if args.compile_for:
        compile_for(args.compile_for, args.cases)
        return 0
    device = torch.device(args.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise PgolfError("--device: this machine has no CUDA device that torch can use (cuda). Choose cpu")
    if device.type == "cpu":
        torch.set_num_threads(1)
    forms = [form for form in FORMS if form != "triton" or device.type == "cuda"]
    sizes = tuple(args.sizes or SIZES[args.device])
    scale = "scale=gpu1" if device.type == "cuda" else "scale=cpu"
    overrides = [*(args.overrides or [scale]), f"device={args.device}", "train.threads=1"]
    what = {
        "layer": f"layer: {sizes[0]:,} tokens, width {sizes[1]}, hidden size {sizes[2]}",
        "step": f"step: {' '.join(overrides)}",
    }
    print(f"{args.device}, {'CPU time of one thread' if device.type == 'cpu' else 'wall time'}, {args.rounds} rounds")
    for part in args.parts:
        print(what[part])
        makers: dict[str, Callable[[], Callable[[], None]]] = {}
        for compiled in (False, True):
            for form in forms:
                name = f"{form}, compiled" if compiled else form
                if part == "layer":
                    makers[name] = partial(layer, form, sizes, device, compiled=compiled)
                else:
                    makers[name] = partial(step, form, overrides, compiled=compiled)
        measured(makers, args.rounds, device)
    if device.type == "cpu":
        print("triton: not measured. Its kernel needs a GPU; on a CPU only Triton's interpreter runs it, as a check")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PgolfError as error:
        sys.exit(str(error))
