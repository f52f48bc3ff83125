"""Small real configurations and models for the tests: a few thousand weights, built as a user's run builds them."""

from __future__ import annotations

import copy
import hashlib
import os
import pickle
import zlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from torch import Tensor, nn

from pgolf.config.auto import decide_auto
from pgolf.config.build import OptimizersByRole, build_model, build_optimizers
from pgolf.config.compose import CONFIG_NAME, composer, plain
from pgolf.config.composed_run import with_values
from pgolf.config.folders import conf_dir
from pgolf.config.resolvers import register
from pgolf.config.schema import Config, typed_config
from pgolf.data.stream import TokenStream
from pgolf.machine.ranks import Ranks
from pgolf.nn.gpt import GPT
from pgolf.nn.naming import named_tensors
from pgolf.nn.primitives import initialise
from pgolf.optim.averaging import NoAveraging
from pgolf.optim.schedules import Budget, Constant
from pgolf.slots import Dims
from pgolf.training.batches import Batches
from pgolf.training.gradient_watch import GradientWatch
from pgolf.training.loop import LoopSettings, Training

CPU = torch.device("cpu")
SLOTS = ("q_proj", "embedding", "head", "mlp", "depth")
SMALL = (
    "scale=cpu",
    "device=cpu",
    "model.vocab_size=23",
    "model.width=32",
    "model.layers=3",
    "model.heads=4",
    "model.kv_heads=2",
    "train.seq_len=16",
    "train.batch_tokens=64",
    "train.micro_batches=2",
    "train.steps=30",
    "train.val_every=0",
    "train.threads=1",
)


def variants(slot: str) -> list[str]:
    """Stems of every YAML of one model slot."""
    return sorted(path.stem for path in (conf_dir() / "model" / slot).glob("*.yaml"))


# What a choice needs at the width of `SMALL`, because its default has a size that does not scale with the width.
TOO_LARGE = {"model/mlp=pre_rotation": ("model.mlp.pairs=4",)}

STACKS = ("baseline", "pr215", "pr1481", "pr470", "pr908")
DEFECTS = ("baseline", "pr1481", "pr470", "pr908")
# Heads of 16 dims: a quarter of them is enough for NTK scaling.
SHRUNK = ("model.layers=5", "model.heads=2", "model.kv_heads=1")

ALL_VARIANTS = [f"model/{slot}={stem}" for slot in SLOTS for stem in variants(slot)]


def stems(folder: str) -> list[str]:
    """Stems of every YAML of one config group."""
    return sorted(path.stem for path in (Path(conf_dir()) / folder).glob("*.yaml"))


def composed(choices: tuple[str, ...]) -> bytes:
    """The composed configuration of some choices, pickled."""
    with composer():
        return pickle.dumps(compose(CONFIG_NAME, list(choices)))


class Composed:
    """Composed configurations by their choices alone, each made once for all test processes where `folder` is set: a
    composition takes 0.2 s, a copy with other values a tenth of that.
    """

    folder: Path | None = None

    @classmethod
    @cache
    def pickled(cls, choices: tuple[str, ...]) -> bytes:
        if cls.folder is None:
            return composed(choices)
        path = cls.folder / hashlib.sha256(repr(choices).encode()).hexdigest()
        if not path.exists():
            partial = path.with_suffix(f".{os.getpid()}")
            partial.write_bytes(composed(choices))
            partial.replace(path)
        return path.read_bytes()


def is_choice(override: str) -> bool:
    """Whether an override chooses in a config group; Hydra applies all others when the choices are composed."""
    return (conf_dir() / override.partition("=")[0].partition("@")[0]).is_dir()


def resolved(*overrides: str) -> dict[str, Any]:
    """The configuration of a command line, composed and resolved; the caller may change it."""
    register()
    values = OverridesParser.create().parse_overrides([text for text in overrides if not is_choice(text)])
    return plain(with_values(Composed.pickled(tuple(filter(is_choice, overrides))), values))


@cache
def _decided(overrides: tuple[str, ...]) -> Config:
    needed = [value for override in overrides for value in TOO_LARGE.get(override, ())]
    return decide_auto(composed_config(*SMALL, *needed, *overrides), in_sweep=True)


def tiny_config(*overrides: str) -> Config:
    """The resolved configuration of a tiny CPU run, `overrides` last; the caller may change it."""
    return copy.deepcopy(_decided(overrides))


def stack_config(stack: str, *overrides: str) -> Config:
    """A published stack in five layers of width 32: every feature is still there."""
    return tiny_config(f"stack={stack}", *SHRUNK, *overrides)


def composed_config(*overrides: str) -> Config:
    """The configuration of a command line, `auto` not decided; the caller may change it."""
    return typed_config(resolved(*overrides))


def published_config(stack: str, *overrides: str) -> Config:
    """A published stack at its published size, resolved."""
    return composed_config(f"stack={stack}", *overrides)


def cpu_config(stack: str, *overrides: str) -> Config:
    """A published stack at scale=cpu over 200 steps, resolved."""
    return composed_config(f"stack={stack}", "scale=cpu", "train.steps=200", *overrides)


def tiny_dims(**sizes: Any) -> Dims:
    """vocab 23, width 32, 3 layers, 4 heads over 2, seq_len 16, unless said otherwise."""
    small = {
        "vocab_size": 23,
        "width": 32,
        "layers": 3,
        "heads": 4,
        "kv_heads": 2,
        "mlp_hidden": 64,
        "seq_len": 16,
        "logit_softcap": 30.0,
    }
    merged = {**small, **sizes}
    return Dims(**{"unique_blocks": merged["layers"], **merged})


def redraw(model: nn.Module, seed: int, std: float = 0.3) -> None:
    """Draw EVERY parameter from N(0, std^2): at the initial state many paths are multiplied by zero, and what they do
    stays unseen.
    """
    for name, p in model.named_parameters():
        generator = torch.Generator().manual_seed(seed * 1_000_003 + zlib.crc32(name.encode()))
        with torch.no_grad():
            p.copy_(torch.randn(p.shape, generator=generator, dtype=torch.float64) * std)


def materialise(module: nn.Module, seed: int) -> None:
    """Memory on the CPU and redrawn weights for a module built on the meta device."""
    module.to_empty(device="cpu")
    redraw(module, seed)


def tiny_model(config: Config, seed: int | None = 1) -> GPT:
    """The configured model at its initial weights, then redrawn with `seed` (None: left as initialised)."""
    model = build_model(config.model)
    initialise(model, config.seed, CPU)
    if seed is not None:
        redraw(model, seed)
    return model


def random_ids(rows: int, time: int, vocab_size: int = 23, seed: int = 0) -> Tensor:
    return torch.randint(vocab_size, (rows, time), generator=torch.Generator().manual_seed(seed))


def logp_of(model: GPT, ids_BT: Tensor) -> Tensor:
    """Log-probabilities [B, T, V] of the token after each position."""
    return model.head.logp(model.hidden(ids_BT))


@torch.no_grad()
def leaks(model: GPT, time: int = 12, seed: int = 0) -> list[str]:
    """Where a prediction depends, in so much as one bit, on a later token or on another sequence of the batch.

    Also named: a cut at which the changed token has no effect on its own position's prediction, since nothing was
    tested there.
    """
    vocab = model.dims.vocab_size
    ids = random_ids(2, time, vocab, seed)
    y = random_ids(2, time, vocab, seed + 1)
    shift = torch.randint(1, vocab, (2, time), generator=torch.Generator().manual_seed(seed + 2))
    logp, nll = logp_of(model, ids), model(ids, y)
    found = []
    for cut in range(1, time):
        changed, changed_y = ids.clone(), y.clone()
        changed[:, cut:] = (ids + shift)[:, cut:] % vocab
        changed_y[:, cut:] = (y + shift)[:, cut:] % vocab
        other = logp_of(model, changed)
        if not torch.equal(other[:, :cut], logp[:, :cut]):
            found.append(f"logp before {cut} sees token {cut} or later")
        if not torch.equal(model(changed, changed_y)[:, :cut], nll[:, :cut]):
            found.append(f"nll before {cut} sees token {cut} or later")
        if torch.equal(other[:, cut], logp[:, cut]):
            found.append(f"token {cut} changes nothing at {cut}")
    swapped = ids.clone()
    swapped[1] = (ids + shift)[1] % vocab
    if not torch.equal(logp_of(model, swapped)[0], logp[0]):
        found.append("one sequence sees another")
    return found


def tiny_stream(config: Config, tokens: np.ndarray | None = None, *, shuffle_seed: int | None = 1) -> TokenStream:
    """A training stream over `tokens`, by default 2,000 random ones."""
    if tokens is None:
        tokens = np.random.default_rng(0).integers(0, config.model.vocab_size, 2000)
    section = config.train
    return TokenStream(
        [tokens.astype(np.uint16)],
        batch_tokens=section.batch_tokens,
        seq_len=section.seq_len,
        micro_batches=section.micro_batches,
        shuffle_seed=shuffle_seed,
    )


def loop_settings(config: Config, **changes: Any) -> LoopSettings:
    section = config.train
    fields = {
        "device": CPU,
        "micro_batches": section.micro_batches,
        "batch_tokens": section.batch_tokens,
        "grad_clip_norm": config.optim.grad_clip_norm,
        "log_every": 1,
        "val_every": 0,
        "priming_steps": 0,
        "bf16": False,
        "qat_below": None,
        "wait": "update",
    }
    return LoopSettings(**{**fields, **changes})


def tiny_job(
    model: nn.Module,
    trained: Sequence[str],
    optimizers: Sequence[torch.optim.Optimizer],
    stream: TokenStream,
    steps: int,
    **changes: Any,
) -> Training:
    """A job of `steps` steps at constant rates, each token one byte, that is never validated unless said otherwise."""
    tensors = named_tensors(model)
    budget = changes.pop("budget", Budget(steps, None))
    bytes_of = changes.pop("bytes_of", lambda x, y: y.numel())
    fields = {
        "model": model,
        "trainable": {name: tensors[name] for name in trained},
        "optimizers": list(optimizers),
        "schedule": Constant(budget),
        "batches": Batches(stream, bytes_of, CPU),
        "budget": budget,
        "validate": lambda: float("nan"),
        "averaging": NoAveraging(),
        "watch": GradientWatch({name: tensors[name] for name in trained}),
        "quantized": model,
    }
    return Training(**{**fields, **changes})


def configured_job(
    config: Config, model: GPT, steps: int, stream: TokenStream | None = None, **changes: Any
) -> tuple[Training, OptimizersByRole]:
    """A job with the optimizers that the configuration names."""
    trained = build_optimizers(model, config, Ranks())
    names = [name for group in trained.names.values() for name in group]
    return tiny_job(
        model, names, list(trained.optimizers.values()), stream or tiny_stream(config), steps, **changes
    ), trained


def bytes_of_state(model: nn.Module) -> dict[str, bytes]:
    return {name: t.detach().numpy().tobytes() for name, t in model.state_dict().items()}
