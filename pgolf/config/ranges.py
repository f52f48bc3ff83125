"""The ranges of the whole numbers of a configuration, chosen so that the code can use and quickly check every value."""

import math
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

MOST = 2**31 - 1  # the largest absolute value of a number without a range of its own
RANGES: dict[str, tuple[int, int]] = {
    "seed": (0, 2**32 - 1),
    "data.shuffle_seed": (0, 2**32 - 1),
    "data.train_shards": (1, 100_000),
    "model.vocab_size": (1, 65_536),  # a token is stored in two bytes
    "model.seq_len": (1, 2**20),
    "model.width": (1, 65_536),
    "model.layers": (1, 256),
    "model.unique_blocks": (1, 256),
    "model.heads": (1, 4_096),
    "model.kv_heads": (1, 4_096),
    "model.mlp_hidden": (1, 2**20),
    "model.xsa_last_n": (0, 256),
    "model.orthogonal_min_dim": (0, 2**20),
    "model.published_width": (1, 65_536),
    "model.head.experts": (1, 1_024),
    "model.side_inputs.*.buckets": (1, 2**24),
    "optim.roles.*.newton_schulz_steps": (1, 100),
    "train.steps": (1, MOST),
    "train.tokens": (1, 2**53),
    "train.seq_len": (1, 2**20),
    "train.batch_tokens": (1, MOST),
    "train.micro_batches": (1, 2**20),
    "train.priming_steps": (0, MOST),
    "train.log_every": (1, MOST),
    "train.val_every": (0, MOST),
    "train.spectra_every": (0, MOST),
    "train.threads": (1, 4_096),
    "launch.nproc": (1, 4_096),
    "launch.gpus_per_job": (0, 4_096),
    "launch.most_runs": (1, 100_000),
    "launch.most_seeds": (3, 1_000),
    "hydra.sweeper.max_batch_size": (1, MOST),
}
FREE = ("study",)  # sections whose numbers are published values, without a range


def range_of(path: str) -> tuple[int, int] | None:
    """(lowest, highest) value of the option at a path; None for an option without a range of its own."""
    return RANGES.get(path) or next((limits for name, limits in RANGES.items() if fnmatchcase(path, name)), None)


def range_problem(path: str, value: Any) -> str | None:
    """The problem of a whole number at a path that is out of its range; None for any other value."""
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    low, high = range_of(path) or (-MOST, MOST)
    if low <= value <= high:
        return None
    text = str(value) if abs(value) < 10**30 else f"a number of {int(value.bit_length() * math.log10(2)) + 1:,} digits"
    return f"{path}: must be from {low:,} to {high:,} ({text})"


def range_problems(config: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Problems of all whole numbers of a resolved configuration that are out of their range."""
    for key, value in config.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from range_problems(value, f"{path}.") if path not in FREE else ()
        elif isinstance(value, list | tuple):
            yield from (problem for item in value if (problem := range_problem(path, item)))
        elif problem := range_problem(path, value):
            yield problem
