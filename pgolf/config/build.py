"""Builds the objects of a configuration. No other module builds a component from a configuration."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pgolf.config.binding import RESERVED, locate
from pgolf.config.resolvers import planned_steps
from pgolf.config.schema import BLOCK_PARTS, Config, ModelConfig, OptimConfig, TrainConfig
from pgolf.data.loaded import LoadedCorpus
from pgolf.errors import ConfigError, OptionError, UnavailableHere, UnavailableOption
from pgolf.eval.evaluator import Evaluation
from pgolf.machine.ranks import Ranks
from pgolf.nn.gpt import GPT, Slots, Trunk
from pgolf.nn.naming import matches, named_tensors
from pgolf.nn.primitives import InitScheme, initialise
from pgolf.optim.averaging import Averaging
from pgolf.optim.roles import check_coverage, chosen_roles, frozen_names
from pgolf.optim.schedules import Budget
from pgolf.optim.start import leave_compiler_unimported
from pgolf.quant.fake import Fake
from pgolf.quant.rowwise import Rowwise
from pgolf.slots import ROLES, Data, Dims, DocumentMode, EvalMode, Quantizer, Role, Tracker
from pgolf.trackers.none import NoTracker

TRACKER_ATTRIBUTES = ("package", "extra", "most_share", "most_wait_s", "start", "log", "finish")


def make(path: str, node: Mapping[str, Any], *runtime: Any) -> Any:
    """Build the component of one slot from its node and run-time arguments.

    Raises ConfigError, with the config path, for an untrusted class or an invalid hyperparameter.
    """
    try:
        cls = locate(path, node["_target_"])
        return cls(*runtime, **{key: deepcopy(value) for key, value in node.items() if key not in RESERVED})
    except ImportError as error:
        raise ConfigError(f"{path}._target_: cannot be used ({node['_target_']}). {error}") from None
    except OptionError as error:
        refusal = UnavailableHere if isinstance(error, UnavailableOption) else ConfigError
        raise refusal(f"{path}.{error.key}: cannot be used ({error.value}); {error.remedy}") from None


def model_dims(model: ModelConfig) -> Dims:
    """The sizes that all slots of a model share."""
    return Dims(**{field.name: getattr(model, field.name) for field in fields(Dims)})


def build_model(model: ModelConfig) -> GPT:
    """The model on the meta device: its parameters have names and shapes, but no memory."""

    def slot(name: str) -> Callable[..., nn.Module]:
        return lambda *runtime: make(f"model.{name}", getattr(model, name), *runtime)

    def side_input(name: str, node: Mapping[str, Any]) -> Callable[..., nn.Module]:
        return lambda *runtime: make(f"model.side_inputs.{name}", node, *runtime)

    sides = {name: side_input(name, node) for name, node in sorted(model.side_inputs.items())}
    slots = Slots(slot("embedding"), slot("q_proj"), slot("mlp"), slot("depth"), slot("head"), sides)
    trunk = Trunk(**{field.name: getattr(model, field.name) for field in fields(Trunk)})
    with torch.device("meta"):
        try:
            return GPT(model_dims(model), slots, trunk)
        except OptionError as error:
            raise ConfigError(f"model.{error.key}: cannot be used ({error.value}); {error.remedy}") from None


def start_weights(model: GPT, section: ModelConfig, seed: int, device: torch.device) -> None:
    """Draw the initial weights on a device, by the configured scheme.

    The orthogonal scheme scales the output projection of each branch by 1 / sqrt(2 layers).
    """
    init: Any = section.init  # checked before: one of the schemes
    scheme = InitScheme(init, section.orthogonal_min_dim, (2 * section.layers) ** -0.5)
    initialise(model, seed, device, scheme)


def build_budget(train: TrainConfig) -> Budget:
    """The training budget in steps or in seconds. A budget in tokens becomes one in steps."""
    return Budget(planned_steps(train), train.seconds)


def build_schedule(optim: OptimConfig, budget: Budget) -> Callable[[int, float], float]:
    """The schedule: a function of (step, elapsed seconds) to the scale of all learning rates. Raises ConfigError."""
    return make("optim.schedule", optim.schedule, budget)


def build_averaging(optim: OptimConfig) -> Averaging:
    """The averaging of the weights. Raises ConfigError."""
    return make("optim.averaging", optim.averaging)


def build_eval(config: Config) -> EvalMode | DocumentMode:
    """The mode of evaluation, at the context of the model. Raises ConfigError."""
    mode: EvalMode | DocumentMode = make("eval", config.eval, config.model.seq_len)
    return mode


def check_eval_suits_model(config: Config) -> None:
    """Raise ConfigError if the mode of evaluation trains adapters for maps that the model does not have."""
    check = getattr(build_eval(config), "check_model", None)
    if check is not None:
        try:
            check(build_model(config.model))
        except OptionError as error:
            raise ConfigError(f"eval.{error.key}: cannot be used ({error.value}); {error.remedy}") from None


def build_evaluation(config: Config, corpus: LoadedCorpus, ranks: Ranks) -> Evaluation:
    """The configured evaluation of a corpus. Raises ConfigError if it does not suit the model, DataError the corpus."""
    check_eval_suits_model(config)
    bf16 = config.train.precision == "bf16"
    return Evaluation(build_eval(config), corpus, ranks, torch.device(config.device), bf16=bf16)


def build_quantizer(config: Config) -> Quantizer:
    """The quantizer that packs the model. Raises ConfigError."""
    return make("quant", config.quant)


def build_fake(config: Config, quantizer: Quantizer) -> Fake:
    """The fake quantization of training: that of the quantizer, tensor by tensor.

    With the defect `qat_block_bits`, only the matrices of the blocks are quantized, all with that number of bits.
    """
    bits = config.defects.qat_block_bits
    if bits is None:
        return quantizer.fake
    rule = {"names": ["model"], "bits": bits, "clip_percentile": 100, "absmax_floor": 1.0, "round_with": "fp32"}
    floats = {"keep_float_numel": 0, "keep_control_numel": 0, "small_dtype": "fp32", "control_dtype": "fp32"}
    control = {"control_names": [], "control_below_ndim": 0, "unfloored_vectors": False}
    coder = {"_target_": Rowwise, "codec": "zlib", "level": 1, "rules": {"blocks": rule}}
    block_quantizer: Quantizer = make("defects.qat_block_bits", {**coder, **floats, **control})
    blocks = [f"model.{part}" for part in BLOCK_PARTS]

    def fake(name: str, tensor: Tensor) -> Tensor:
        is_block_matrix = tensor.ndim == 2 and any(matches(name, block) for block in blocks)
        return block_quantizer.fake(name, tensor) if is_block_matrix else tensor

    return fake


def build_data(config: Config) -> Data:
    """The corpus, not yet prepared. Raises ConfigError, and UnavailableHere if this machine lacks its files."""
    return make("data", config.data, Path(config.paths.cache).expanduser())


def build_tracker(config: Config) -> Tracker | None:
    """The tracker, which has imported no library yet; None for none. Raises ConfigError."""
    tracker: Tracker | NoTracker = make("tracker", config.tracker)
    if isinstance(tracker, NoTracker):
        return None
    if missing := [name for name in TRACKER_ATTRIBUTES if not hasattr(tracker, name)]:
        target = config.tracker["_target_"]
        raise ConfigError(f"tracker: the class has no {', '.join(missing)} ({target}). pgolf.slots.Tracker lists them")
    return tracker


@dataclass(frozen=True)
class OptimizersByRole:
    """The optimizers of a model. names: the trainable parameters of each role; frozen: all other parameters."""

    optimizers: dict[Role, torch.optim.Optimizer]
    names: dict[Role, list[str]]
    frozen: set[str]


def names_by_role(model: nn.Module, frozen: set[str], role_of: Sequence[str] = ()) -> dict[Role, list[str]]:
    """Names of the trainable parameters of each role that has any. role_of: as `optim.role_of`.

    Raises ConfigError for an invalid `role_of`, CoverageError if a parameter is neither frozen nor trainable.
    """
    roles = chosen_roles(model, role_of)
    groups = {role: [name for name, r in roles.items() if r == role and name not in frozen] for role in ROLES}
    groups = {role: names for role, names in groups.items() if names}
    check_coverage(model, groups.values(), frozen)
    return groups


def frozen_by(model: nn.Module, config: Config) -> set[str]:
    """Names of the parameters that a configuration freezes, by `optim.frozen` or as a defect. Raises ConfigError."""
    return frozen_names(model, config.optim.frozen, config.defects.frozen)


def trainable_by_role(model: nn.Module, config: Config) -> dict[Role, list[str]]:
    """`names_by_role` for the frozen parameters and the roles of a configuration. Raises ConfigError, CoverageError."""
    return names_by_role(model, frozen_by(model, config), config.optim.role_of)


def make_optimizer(
    role: str, node: Mapping[str, Any], tensors: Sequence[Tensor], ranks: Ranks
) -> torch.optim.Optimizer:
    """The optimizer of a role over its tensors. node: `optim.roles.ROLE`. Raises ConfigError."""
    leave_compiler_unimported()
    optimizer: torch.optim.Optimizer = make(f"optim.roles.{role}", node, tensors, ranks)
    return optimizer


def undecayed(model: nn.Module) -> list[Tensor]:
    """The parameters of the modules of a model that have the class attribute `undecayed`."""
    return [p for module in model.modules() if getattr(module, "undecayed", False) for p in module.parameters()]


def spare_from_decay(optimizer: torch.optim.Optimizer, spared: Sequence[Tensor]) -> None:
    """Give some parameters a group of their own with weight_decay 0, where an optimizer decays them."""
    ids = {id(p) for p in spared}
    for group in list(optimizer.param_groups):
        own = [p for p in group["params"] if id(p) in ids]
        if not own or not group.get("weight_decay"):
            continue
        if len(own) == len(group["params"]):
            group["weight_decay"] = 0.0
            continue
        group["params"] = [p for p in group["params"] if id(p) not in ids]
        optimizer.add_param_group({**group, "params": own, "weight_decay": 0.0})


def build_optimizers(model: nn.Module, config: Config, ranks: Ranks) -> OptimizersByRole:
    """One optimizer per role. Frozen parameters need no gradient from now on, except with the defect that keeps it.

    Raises ConfigError, CoverageError.
    """
    optim, frozen = config.optim, frozen_by(model, config)
    groups = names_by_role(model, frozen, optim.role_of)
    if not groups:
        raise ConfigError(f"optim.frozen: leaves nothing to train ({optim.frozen}). Freeze less")
    tensors = named_tensors(model)
    for name in frozen:
        tensors[name].requires_grad_(config.defects.keep_frozen_gradients)
    optimizers = {
        role: make_optimizer(role, getattr(optim.roles, role), [tensors[name] for name in names], ranks)
        for role, names in groups.items()
    }
    for optimizer in optimizers.values():
        spare_from_decay(optimizer, undecayed(model))
    return OptimizersByRole(optimizers, groups, frozen)


def check_optimizer_settings(optim: OptimConfig, shapes: Mapping[Role, Sequence[torch.Size]]) -> list[str]:
    """Problems that the constructors of the optimizers report, each tried on small tensors.

    shapes: of the trainable parameters of each role.
    """
    problems: list[str] = []
    for role in ROLES:
        dims = {len(shape) for shape in shapes.get(role, [])} or {2}
        try:
            stand_ins = [torch.zeros([2] * n, requires_grad=True) for n in sorted(dims)]
            make_optimizer(role, getattr(optim.roles, role), stand_ins, Ranks())
        except ConfigError as error:
            problems += error.problems
        except (RuntimeError, ValueError, TypeError, ArithmeticError) as error:
            problems.append(f"optim.roles.{role}: cannot be built ({error})")
    return problems
