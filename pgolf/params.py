"""`python -m pgolf.params [overrides] [--json | --names]`: parameters, bytes, FLOPs and memory of a configuration.

Nothing is trained or written.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from pgolf.command import Parser, run
from pgolf.config.build import build_model, frozen_by
from pgolf.config.command_line import compose_one
from pgolf.errors import ConfigError
from pgolf.nn.naming import named_tensors
from pgolf.optim.roles import chosen_roles
from pgolf.run.account import Account, account
from pgolf.run.memory import estimates, memory_text


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
    args = parser.parse_intermixed_args(arguments)
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
    costs = account(config)
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
