"""`python -m pgolf.evaluate ARTIFACT [overrides] [--json]`: scores a packed model on the validation text of a corpus.

`data=...` must name a corpus with the tokenizer of the model. `eval=...` may be any evaluation.
"""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pgolf.command import Parser, place, run
from pgolf.config.auto import decide_auto
from pgolf.config.build import build_data, build_evaluation, build_fake, build_quantizer
from pgolf.config.command_line import compose_one
from pgolf.config.search_path import use_search_path
from pgolf.data.loaded import load_corpus
from pgolf.errors import DataError
from pgolf.machine.ranks import Ranks
from pgolf.run.artifact import unpack


def evaluate(path: Path, overrides: list[str]) -> dict[str, Any]:
    """Score a packed model. Returns the fields of a record about the score. Raises PgolfError."""
    artifact = unpack(path, torch.device("cpu"))
    length = artifact.section.seq_len  # the context of this model instead of the default
    window = [f"train.seq_len={length}", f"train.batch_tokens={length}", "train.micro_batches=1"]
    composed_run = compose_one([*window, *overrides])
    config = replace(decide_auto(composed_run.config, in_sweep=False), model=artifact.section)
    torch.set_num_threads(config.train.cpu_threads)
    artifact.model.to(config.device)
    corpus = load_corpus(build_data(config).prepare())
    if corpus.tokenizer_sha != artifact.tokenizer_sha256:
        raise DataError(
            f"{path}: was trained with another tokenizer (sha256 {artifact.tokenizer_sha256[:12]}) than "
            f"data={composed_run.choices['data']} has ({corpus.tokenizer_sha[:12]}). Name its corpus with data=..."
        )
    evaluation = build_evaluation(config, corpus, Ranks())
    fake = build_fake(config, build_quantizer(config)) if config.defects.qat_at_eval else None
    began = time.perf_counter()
    score = evaluation(artifact.model, fake)
    seconds = time.perf_counter() - began
    return {
        "val_bpb": score.bpb,
        "val_nats": score.nats,
        "val_targets": score.targets,
        "val_bytes": score.bytes,
        "eval_mode": score.mode,
        **evaluation.extra(artifact.model, fake),
        "eval_packed_s": seconds,
        "model_bytes": artifact.file_bytes,
        "val_text_sha": corpus.val_text_sha,
    }


def command(arguments: list[str]) -> int:
    parser = Parser(prog="python -m pgolf.evaluate", description=__doc__)
    parser.add_argument("artifact", type=place, help="a packed model, for example artifact.pgolf of a run folder")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="OVERRIDE",
        help="as of pgolf.train, for example data=fineweb eval=sliding eval.stride=64 device=cpu",
    )
    parser.add_argument(
        "--json", action="store_true", help="print JSON, with the fields that a record has about the score"
    )
    args = parser.parse_intermixed_args(use_search_path(arguments))
    fields = evaluate(args.artifact, args.overrides)
    text = (
        f"val bpb   {fields['val_bpb']:.6f}\nval nats  {fields['val_nats']:.6f} per target\n"
        f"scored    {fields['val_targets']:,} targets, {fields['val_bytes']:,} bytes, {fields['eval_mode']}, in "
        f"{fields['eval_packed_s']:.1f} s\n"
        f"model     {fields['model_bytes']:,} bytes"
    )
    print(json.dumps(fields, indent=1) if args.json else text)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code: 0 ok, 2 refused."""
    return run(command, arguments)


if __name__ == "__main__":
    sys.exit(main())
