"""`python -m pgolf.params [overrides] [--json] [--names]`: parameters, bytes, FLOPs and memory of a configuration,
without training.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from pgolf.command import Parser, run
from pgolf.config.build import build_model, frozen_by
from pgolf.config.preflight import compose_one
from pgolf.errors import ConfigError
from pgolf.nn.naming import named_tensors
from pgolf.optim.roles import chosen_roles
from pgolf.run.account import Account, account
from pgolf.run.memory import estimates, in_words


def table(costs: Account, chosen: str, memory: str) -> str:
    lines = [
        f"parameters   {costs.total:>14,}",
        f"  trained    {costs.trained:>14,}",
        f"  frozen     {costs.frozen:>14,}",
        "by slot",
    ]
    lines += [f"  {slot:<24} {count:>12,}" for slot, count in costs.by_slot.items()]
    lines += ["by role", *(f"  {role:<24} {count:>12,}" for role, count in sorted(costs.by_role.items()))]
    lines += ["packed bytes before compression, by quantizer"]
    lines += [f"  {name:<24} {size:>12,}" for name, size in costs.payload_bytes.items() if name != "chosen"]
    lines += [f"  as configured ({chosen})  {costs.payload_bytes['chosen']:,}"]
    return "\n".join(
        [
            *lines,
            f"training FLOPs per token  {costs.flops_per_token:,}",
            f"memory of a training process, estimated  {memory}",
        ]
    )


def command(arguments: list[str]) -> int:
    parser = Parser(prog="python -m pgolf.params", description=__doc__)
    parser.add_argument(
        "overrides", nargs="*", metavar="OVERRIDE", help="as for pgolf.train: model/head=mos model.width=256 ..."
    )
    parser.add_argument(
        "--json", action="store_true", help="total, trained, frozen, by_slot, by_role, flops_per_token, payload_bytes"
    )
    parser.add_argument("--names", action="store_true", help="every parameter: name, shape, role, frozen or not")
    args = parser.parse_intermixed_args(arguments)
    if args.json and args.names:
        raise ConfigError("--names: prints lines, not JSON (--json). Leave one of the two out")
    composed = compose_one(args.overrides, check_machine=False)
    config = composed.config
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
        else table(costs, str(composed.choices["quant"]), in_words(estimates(config)))
    )
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 for a configuration that is refused."""
    return run(command, arguments)


if __name__ == "__main__":
    sys.exit(main())
