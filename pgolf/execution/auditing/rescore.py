"""`python -m pgolf.execution.auditing.rescore RUN_DIR [--open-corpus]`: scores a run's packed file, prints JSON.

The audit starts it as a process of its own, so that nothing but the packed file, the saved configuration and the corpus
can decide the score. `off` is the score without fake quantization, `on` the one with it, null if the run has none.
"""

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pgolf.command import Parser, place, run
from pgolf.config.auto import usable_device
from pgolf.config.build import build_evaluation, build_fake, build_quantizer
from pgolf.errors import DataError
from pgolf.execution.artifact import unpack
from pgolf.execution.auditing.corpus import find_corpus
from pgolf.execution.auditing.subject import finished_record, read_saved
from pgolf.machine.ranks import Ranks
from pgolf.records.record import ARTIFACT


def rescore(folder: Path, *, opens_files: bool = False) -> dict[str, Any]:
    """{off, on, device, threads}: scores of the packed file of a run. opens_files: as for `find_corpus`.

    Raises PgolfError.
    """
    config = read_saved(folder).config
    device = usable_device(config.device)
    config = replace(config, device=device)
    torch.set_num_threads(config.train.cpu_threads)
    artifact = unpack(folder / ARTIFACT, torch.device(device))
    corpus = find_corpus(config, finished_record(folder), opens_files=opens_files)
    if isinstance(corpus, str):
        raise DataError(corpus)
    if corpus.tokenizer_sha != artifact.tokenizer_sha256:
        raise DataError(f"{folder / ARTIFACT}: was packed with another tokenizer than the corpus has")
    evaluation = build_evaluation(replace(config, model=artifact.section), corpus, Ranks())
    fake = build_fake(config, build_quantizer(config))
    has_fake = config.train.qat_below is not None or config.defects.qat_at_eval
    scores: dict[str, Any] = {"on": None}
    for name, used in (("off", None), ("on", fake)) if has_fake else (("off", None),):
        score = evaluation(artifact.model, used)
        fields = {"val_bpb": score.bpb, **evaluation.extra(artifact.model, used)}
        finite = {key: value if math.isfinite(value) else None for key, value in fields.items()}
        scores[name] = {**finite, "val_targets": score.targets, "val_bytes": score.bytes}
    return {**scores, "device": device, "threads": config.train.cpu_threads}


def command(arguments: list[str]) -> int:
    parser = Parser(prog="python -m pgolf.execution.auditing.rescore", description=__doc__)
    parser.add_argument("folder", type=place, metavar="RUN_DIR", help="a run folder of pgolf.train")
    parser.add_argument("--open-corpus", action="store_true", help="read the files that config.yaml names")
    args = parser.parse_args(arguments)
    print(json.dumps(rescore(args.folder, opens_files=args.open_corpus)))
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code: 0 ok, 2 refused."""
    return run(command, arguments)


if __name__ == "__main__":
    sys.exit(main())
