"""`python -m pgolf.evaluate ARTIFACT [overrides] [--json]`: scores a packed model, which needs its file and validation
text alone.

`data=...` must name the corpus whose tokenizer the model was trained with; `eval=...` is free.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pgolf.command import Parser, place, run
from pgolf.config.auto import decide_auto
from pgolf.config.build import build_data, build_evaluation, build_fake, build_quantizer
from pgolf.config.preflight import compose_one
from pgolf.data.loaded import load_corpus
from pgolf.errors import DataError
from pgolf.machine.ranks import Ranks
from pgolf.run.artifact import unpack


def evaluate(path: Path, overrides: list[str]) -> dict[str, Any]:
    """Score a packed model. Returns the fields of a record that a score has. Raises PgolfError."""
    artifact = unpack(path, torch.device("cpu"))
    length = artifact.section.seq_len  # the window of this model, not that of the default model
    window = [f"train.seq_len={length}", f"train.batch_tokens={length}", "train.micro_batches=1"]
    composed = compose_one([*window, *overrides])
    config = replace(decide_auto(composed.config, in_sweep=False), model=artifact.section)
    torch.set_num_threads(config.train.cpu_threads)
    artifact.model.to(config.device)
    corpus = load_corpus(build_data(config).prepare())
    if corpus.tokenizer_sha != artifact.tokenizer_sha256:
        raise DataError(
            f"{path}: was trained with another tokenizer (sha256 {artifact.tokenizer_sha256[:12]}) than "
            f"data={composed.choices['data']} has ({corpus.tokenizer_sha[:12]}). Name its corpus with data=..."
        )
    evaluation = build_evaluation(config, corpus, Ranks())
    fake = build_fake(config, build_quantizer(config)) if config.defects.qat_at_eval else None
    score = evaluation(artifact.model, fake)
    return {
        "val_bpb": score.bpb,
        "val_nats": score.nats,
        "val_targets": score.targets,
        "val_bytes": score.bytes,
        "eval_mode": score.mode,
        **evaluation.extra(artifact.model, fake),
        "model_bytes": artifact.file_bytes,
        "val_text_sha": corpus.val_text_sha,
    }


def command(arguments: list[str]) -> int:
    parser = Parser(prog="python -m pgolf.evaluate", description=__doc__)
    parser.add_argument("artifact", type=place, help="a packed model, artifact.pgolf of a run folder")
    parser.add_argument(
        "overrides", nargs="*", metavar="OVERRIDE", help="data=..., eval=sliding, eval.stride=64, device=cpu, ..."
    )
    parser.add_argument(
        "--json", action="store_true", help="the score as JSON: bits per byte, mean nats, targets, bytes"
    )
    args = parser.parse_intermixed_args(arguments)
    found = evaluate(args.artifact, args.overrides)
    text = (
        f"val bpb   {found['val_bpb']:.6f}\nval nats  {found['val_nats']:.6f} a target\n"
        f"scored    {found['val_targets']:,} targets, {found['val_bytes']:,} bytes, {found['eval_mode']}\n"
        f"model     {found['model_bytes']:,} bytes"
    )
    print(json.dumps(found, indent=1) if args.json else text)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 for a file, corpus or option that is refused."""
    return run(command, arguments)


if __name__ == "__main__":
    sys.exit(main())
