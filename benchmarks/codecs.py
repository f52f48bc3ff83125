"""Bytes and seconds of every codec at equal weights: `python benchmarks/codecs.py --random`, `--trained FILE`.

--random: the weights of stack=baseline at its published size, 17,059,912 of them. The rows of each matrix are normal
with unequal standard deviations (0.05 times e^(0.5 z), z normal); other tensors are normal. --trained: the weights of a
packed file, which a run with `quant=none` leaves. --codecs: names with their levels, for example `zstd:19 entropy:5`.
A packer's own codec is always measured; the ratios are to it.

Each line is one codec on the codes of one packer: bytes of the whole file, their ratio, and the seconds that writing
and reading take. What is read must equal what was written, bit for bit. `order-0` is what an ideal coder with one
table per array (per byte plane of arrays with larger numbers) needs, the tables not counted. The last lines are the
largest arrays: their bytes, and their order-0 entropy.
"""

import argparse
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from hydra import compose
from torch import Tensor

from pgolf.config.build import build_model, build_quantizer
from pgolf.config.compose import CONFIG_NAME, composer, plain
from pgolf.config.schema import Config, typed_config
from pgolf.execution.artifact import packed_state
from pgolf.quant.codecs import check_codec
from pgolf.quant.container import read_container, write_container
from pgolf.quant.encoding import decode, entropy_of
from pgolf.slots import Encoded

CODECS = "zlib:9 zstd:19 zstd:22 zstd_best:22 lzma:9 brotli:11 entropy:0 entropy:3 entropy:5 entropy:7"
QUICK = "zlib:9 entropy:0 entropy:3 entropy:5"
PACKERS = ("int8_zlib_published", "int8_zlib", "int6_zstd", "int6_zstd_published")
SPREAD, LOG_SD = 0.05, 0.5
SHOWN = 6


def configured(*overrides: str) -> Config:
    """The configuration of a command line."""
    with composer():
        return typed_config(plain(compose(CONFIG_NAME, list(overrides))))


def random_weights(config: Config) -> dict[str, Tensor]:
    """Random weights of the configured model, by config path: rows of unequal spread."""
    rng, weights = torch.Generator().manual_seed(1), {}
    for name, tensor in packed_state(build_model(config.model)).items():
        weights[name] = torch.randn(tensor.shape, generator=rng)
        if tensor.ndim == 2:
            weights[name] *= SPREAD * (LOG_SD * torch.randn(len(tensor), 1, generator=rng)).exp()
    return weights


def measure(encoded: Mapping[str, Encoded], codec: str, level: int, path: Path) -> tuple[int, float, float]:
    """Bytes of the file, and the seconds of writing and reading it. Raises ValueError if the tensors have changed."""
    began = time.perf_counter()
    n_bytes = write_container(path, {}, encoded, codec, level)
    written = time.perf_counter()
    _, back = read_container(path)
    ended = time.perf_counter()
    for name, tensor in encoded.items():
        if any(not np.array_equal(array, back[name].arrays[key]) for key, array in tensor.arrays.items()):
            raise ValueError(f"{codec} {level}: {name} has changed")
    return n_bytes, written - began, ended - written


def compare(weights: Mapping[str, Tensor], packer: str, codecs: list[tuple[str, int]], scale: str, path: Path) -> None:
    """Print the lines of one packer."""
    quantizer = build_quantizer(configured(f"quant={packer}", f"scale={scale}"))
    encoded = {name: quantizer.encode(name, tensor) for name, tensor in weights.items()}
    own = (quantizer.codec, quantizer.level)
    bound = sum(map(entropy_of, encoded.values()))
    base = 0
    print(
        f"\n{packer}, {sum(t.numel() for t in weights.values()):,} weights\n{'codec':14}{'bytes':>12}{'ratio':>8}",
        end="",
    )
    print(f"{'write s':>10}{'read s':>10}")
    for codec, level in [own, *(pair for pair in codecs if pair != own)]:
        n_bytes, write_s, read_s = measure(encoded, codec, level, path)
        base = base or n_bytes
        print(
            f"{codec + ' ' + str(level):14}{n_bytes:>12,}{n_bytes / base:>8.3f}{write_s:>10.2f}{read_s:>10.2f}",
            flush=True,
        )
    print(f"{'order-0':14}{bound:>12,}{bound / base:>8.3f}")
    sizes = {name: sum(array.nbytes for array in tensor.arrays.values()) for name, tensor in encoded.items()}
    for name in sorted(sizes, key=lambda name: -sizes[name])[:SHOWN]:
        print(f"  {name}: {sizes[name]:,} bytes, order-0 {entropy_of(encoded[name]):,}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--random", action="store_true")
    parser.add_argument("--trained", type=Path, action="append", default=[])
    parser.add_argument("--codecs", nargs="*")
    parser.add_argument("--packers", nargs="*", default=PACKERS)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        jobs = [("cpu", {name: decode(t) for name, t in read_container(file)[1].items()}) for file in args.trained]
        if args.random:
            jobs.append(("published", random_weights(configured("stack=baseline", "scale=published"))))
        for scale, weights in jobs:
            texts = args.codecs or (QUICK if scale == "published" else CODECS).split()
            codecs = [(text.partition(":")[0], int(text.partition(":")[2])) for text in texts]
            for codec, level in codecs:
                check_codec(codec, level)
            for packer in args.packers:
                compare(weights, packer, codecs, scale, Path(folder) / "a.pgolf")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
