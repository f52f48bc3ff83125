"""`python -m pgolf.params [overrides] [--json | --names]`: parameters, bytes, FLOPs and memory of a configuration.

`--packed FILE` shows the bytes of each tensor of a packed model instead. Nothing is trained or written.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from pgolf.command import Parser, run
from pgolf.config.build import build_model, frozen_by
from pgolf.config.command_line import compose_one
from pgolf.config.search_path import use_search_path
from pgolf.errors import ConfigError
from pgolf.execution.account import Account, PackedTensor, account, packed_tensors
from pgolf.execution.memory import estimates, memory_text
from pgolf.nn.naming import named_tensors
from pgolf.optim.roles import chosen_roles


def table(costs: Account, quantizer: str, memory: str) -> str:
    """The costs of a configuration as lines of text. quantizer: its choice of quant. memory: as text."""
    lines = [
        f"parameters   {costs.total:>14,}",
        f"  trainable  {costs.trained:>14,}",
        f"  frozen     {costs.frozen:>14,}",
        "by slot",
    ]
    lines += [f"  {slot:<24} {count:>12,}" for slot, count in costs.by_slot.items()]
    lines += ["by role", *(f"  {role:<24} {count:>12,}" for role, count in sorted(costs.by_role.items()))]
    lines += ["packed bytes before compression, by quantizer"]
    lines += [f"  {name:<24} {size:>12,}" for name, size in costs.payload_bytes.items() if name != "chosen"]
    lines += [f"  as configured ({quantizer})  {costs.payload_bytes['chosen']:,}"]
    return "\n".join(
        [
            *lines,
            f"training FLOPs per token  {costs.flops_per_token:,}",
            f"estimated memory per training process  {memory}",
        ]
    )


def packed_table(tensors: Sequence[PackedTensor]) -> str:
    """The tensors of a packed file as lines of text, with their sums."""
    columns = ("values", "bits", "stored", "packed", "order-0")
    lines = [f"{'tensor':<44}" + "".join(f"{title:>12}" for title in columns)]
    for t in tensors:
        numbers = (t.values, t.bits, t.stored_bytes, t.packed_bytes, t.entropy_bytes)
        lines.append(f"{t.name:<44}" + "".join(f"{number:>12,}" for number in numbers))
    values, *sizes = (
        sum(getattr(t, key) for t in tensors) for key in ("values", "stored_bytes", "packed_bytes", "entropy_bytes")
    )
    lines.append(f"{'all':<44}{values:>12,}{'':>12}" + "".join(f"{size:>12,}" for size in sizes))
    lines.append("stored: bytes before compression; packed: each tensor compressed alone; order-0: its entropy bound")
    return "\n".join(lines)


def command(arguments: list[str]) -> int:
    parser = Parser(prog="python -m pgolf.params", description=__doc__)
    parser.add_argument(
        "overrides", nargs="*", metavar="OVERRIDE", help="as of pgolf.train, for example model/head=mos model.width=256"
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print JSON: total, trained (the trainable parameters), frozen, by_slot, by_role, flops_per_token, and "
        "payload_bytes by quantizer",
    )
    parser.add_argument("--names", action="store_true", help="list all parameters: name, shape, role, frozen or not")
    parser.add_argument(
        "--packed", type=Path, metavar="FILE", help="list the tensors of a packed model: bytes and bound"
    )
    args = parser.parse_intermixed_args(use_search_path(arguments))
    if args.packed is not None:
        if args.overrides or args.names:
            raise ConfigError(f"--packed: takes neither overrides nor --names ({args.packed}). Leave them out")
        tensors = packed_tensors(args.packed)
        print(json.dumps([asdict(tensor) for tensor in tensors], indent=1) if args.json else packed_table(tensors))
        return 0
    if args.json and args.names:
        raise ConfigError("--names: prints lines, not JSON (--json). Leave one of them out")
    composed_run = compose_one(args.overrides, check_machine=False)
    config = composed_run.config
    if args.names:
        model = build_model(config.model)
        roles, frozen = chosen_roles(model, config.optim.role_of), frozen_by(model, config)
        for name, p in named_tensors(model).items():
            print(f"{name:<44} {'x'.join(map(str, p.shape)):>12}  {roles[name]}{'  frozen' if name in frozen else ''}")
        return 0
    costs = account(config, every_quantizer=True)
    print(
        json.dumps(asdict(costs), indent=1)
        if args.json
        else table(costs, str(composed_run.choices["quant"]), memory_text(estimates(config)))
    )
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code: 0 ok, 2 refused."""
    return run(command, arguments)


if __name__ == "__main__":
    sys.exit(main())
