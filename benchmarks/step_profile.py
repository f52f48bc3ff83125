"""What a training step spends its time on: `python benchmarks/step_profile.py [overrides] [--steps 6]`.

The operators of torch are grouped: matrix products, attention, elementwise work, reductions, and copies. Printed are
milliseconds of a step and shares, with the speed of the products and of attention in GFLOP/s, from the FLOPs that the
account of the configuration counts. The profiler itself slows small operators down.
"""

import argparse
import sys

import torch
from torch.profiler import ProfilerActivity, profile

from pgolf.bench import WARM_UP_STEPS, Subject
from pgolf.execution.account import account

GROUPS = {
    "matrix products": ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm"),
    "attention": ("aten::_scaled_dot_product", "aten::_flash"),
    "reductions": ("aten::sum", "aten::mean", "aten::linalg_vector_norm", "aten::amax", "aten::logsumexp"),
    "copies": ("aten::copy_", "aten::cat", "aten::fill_", "aten::index", "aten::embedding", "aten::clone"),
    "elementwise": ("aten::",),
    "Python and autograd": ("",),
}


def group_of(operator: str) -> str:
    """The group of an operator: the first whose prefix fits."""
    return next(group for group, prefixes in GROUPS.items() if operator.startswith(prefixes))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--steps", type=int, default=6)
    args = parser.parse_args()
    subject = Subject(args.overrides)
    torch.set_num_threads(subject.config.train.cpu_threads)
    for _ in range(WARM_UP_STEPS):
        subject.step_ms()
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        for _ in range(args.steps):
            subject.step_ms()
    spent = dict.fromkeys(GROUPS, 0.0)
    for event in seen.key_averages():
        spent[group_of(event.key)] += event.self_cpu_time_total / 1000 / args.steps
    whole, train = sum(spent.values()), subject.config.train
    heads, head_dim = subject.model.dims.heads, subject.model.dims.head_dim
    # q k^T and its product with v, halved by the causal mask; three times for training
    attention = 6 * subject.model.dims.layers * heads * head_dim * train.seq_len * train.batch_tokens
    flops = account(subject.config).flops_per_token * train.batch_tokens
    speeds = {"matrix products": flops - attention, "attention": attention}
    print(f"{subject.name}, {train.threads} threads: {whole:.0f} ms per step")
    for group, ms in sorted(spent.items(), key=lambda item: -item[1]):
        speed = f"{speeds[group] / ms / 1e6:>8.0f} GFLOP/s" if group in speeds else ""
        print(f"  {group:<20} {ms:>8.1f} ms {ms / whole:>6.1%}{speed}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
