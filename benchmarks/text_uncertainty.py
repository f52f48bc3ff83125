"""Coverage of the interval over documents, by simulation, and what it costs to keep the documents of a run.

    python benchmarks/text_uncertainty.py [--draws 2000]     a minute of one core

The difference of a document's bits per byte is 0.02 plus noise: sd 0.05 of the document, and 1 / sqrt(bytes) of its
tokens. `by length`: it also grows by 0.02 per unit of the length's logarithm. Lengths are log-normal with the named sd
of the logarithm, or of a Pareto law with exponent 1.5, whose variance is infinite. Columns:

- as made: coverage of the 95% interval of `pgolf.tables.texts.document_test` (95%)
- none: how often it gives no interval, because a few documents hold most of the text
- simple: coverage with residuals as they are and N - 1 degrees of freedom, in the same draws
"""

import argparse
import math
import resource
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.special import stdtrit

from pgolf.eval.documents import document_scores
from pgolf.eval.score import Score
from pgolf.records.documents import DOCUMENTS, DocumentScores, document_fields, read_documents, write_documents
from pgolf.tables.texts import document_test

GAP, OF_DOCUMENT, BY_LENGTH = 0.02, 0.05, 0.02
NUMBERS = (20, 100, 1000)
SHORTEST, MEDIAN = 50, 1100  # bytes
LENGTHS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "log-normal, sd 0.7": lambda rng, n: MEDIAN * np.exp(rng.normal(0, 0.7, n)),
    "log-normal, sd 1.0": lambda rng, n: MEDIAN * np.exp(rng.normal(0, 1.0, n)),
    "log-normal, sd 1.5": lambda rng, n: MEDIAN * np.exp(rng.normal(0, 1.5, n)),
    "Pareto, exponent 1.5": lambda rng, n: 500 * (rng.pareto(1.5, n) + 1),
}
POPULATION = 4_000_000  # documents whose mean is the true difference


def sizes_of(lengths: str, rng: np.random.Generator, number: int) -> np.ndarray:
    return np.maximum(SHORTEST, LENGTHS[lengths](rng, number)).astype(np.int64)


def gaps(sizes: np.ndarray, by_length: bool) -> np.ndarray:
    """The expected difference of each document, in bpb."""
    return GAP + (BY_LENGTH * np.log(sizes / MEDIAN) if by_length else 0.0) * np.ones(len(sizes))


def pair(sizes: np.ndarray, by_length: bool, rng: np.random.Generator) -> tuple[DocumentScores, DocumentScores]:
    noise = rng.normal(0, OF_DOCUMENT, len(sizes)) + rng.normal(size=len(sizes)) / np.sqrt(sizes)
    base = rng.normal(2, 0.3, len(sizes))
    arm = base + gaps(sizes, by_length) + noise
    a, b = (DocumentScores(bpb * sizes * math.log(2), sizes, False, False) for bpb in (arm, base))
    return a, b


def simple_interval(a: DocumentScores, b: DocumentScores) -> tuple[float, float]:
    """The interval without correction for the leverage of long documents."""
    difference = (a.nats - b.nats) / math.log(2)
    total, number = a.sizes.sum(), len(a.sizes)
    mean = difference.sum() / total
    error = math.sqrt(float(np.sum(((difference - mean * a.sizes) / total) ** 2)) * number / (number - 1))
    half = float(stdtrit(number - 1, 0.975)) * error
    return mean - half, mean + half


def coverage(draws: int) -> None:
    print("| lengths | effect | documents | as made | none | simple |\n| --- | --- | --- | --- | --- | --- |")
    for lengths in LENGTHS:
        everyone = sizes_of(lengths, np.random.default_rng(0), POPULATION)
        for by_length in (False, True):
            truth = float((gaps(everyone, by_length) * everyone).sum() / everyone.sum())
            for number in NUMBERS:
                rng = np.random.default_rng(number)
                made, simple = [], []
                for _ in range(draws):
                    a, b = pair(sizes_of(lengths, rng, number), by_length, rng)
                    test = document_test(a, b)
                    if test.low is not None and test.high is not None:
                        made.append(test.low <= truth <= test.high)
                        low, high = simple_interval(a, b)
                        simple.append(low <= truth <= high)
                effect = "by length" if by_length else "one"
                shares = f"{np.mean(made):.1%} | {1 - len(made) / draws:.1%} | {np.mean(simple):.1%}"
                print(f"| {lengths} | {effect} | {number:,} | {shares} |", flush=True)


def cost(documents: int, targets: int) -> None:
    """Print CPU seconds to make, write and read the file of a score of `documents` documents of `targets` targets."""
    nats = np.random.default_rng(0).exponential(2.0, documents * targets)
    sizes = np.full(len(nats), 2)
    score = Score(float(nats.sum()), len(nats), 2 * len(nats), "plain", nats)
    with tempfile.TemporaryDirectory() as name:
        began = cpu_s()
        scores = document_scores(score, range(0, len(nats), targets), sizes, whole=True)
        assert scores is not None
        summed = cpu_s()
        write_documents(Path(name), scores)
        fields = document_fields(scores)
        written = cpu_s()
        read_documents(
            Path(name), {**fields, "val_nats": score.nats, "val_targets": len(nats), "val_bytes": score.bytes}
        )
        times = (summed - began, written - summed, cpu_s() - written)
        size = (Path(name) / DOCUMENTS).stat().st_size
    made, wrote, read = (f"{1000 * s:.0f} ms" for s in times)
    print(
        f"\n{documents:,} documents of {targets} targets: {size:,} bytes; sums {made}, writing {wrote}, reading {read}"
    )


def cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=2000)
    coverage(parser.parse_args().draws)
    cost(50_000, 200)
    return 0


if __name__ == "__main__":
    sys.exit(main())
