"""`python -m pgolf.evaluate ARTIFACT [overrides] [--json]`: scores a packed model, which needs its file and validation
text alone.

`data=...` must name the corpus whose tokenizer the model was trained with; `eval=...` is free.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from pgolf.command import Parser, place, run
from pgolf.config.auto import decide_auto
from pgolf.config.build import build_data, build_evaluation, build_fake, build_quantizer
from pgolf.config.compose import plain
from pgolf.config.preflight import only_cell
from pgolf.data.loaded import load_corpus
from pgolf.errors import DataError
from pgolf.machine.ranks import Ranks
from pgolf.run.artifact import unpack


def evaluate(path: Path, overrides: list[str]) -> dict[str, Any]:
    """The score as a flat record. Raises PgolfError."""
    artifact = unpack(path, torch.device("cpu"))
    length = artifact.section["seq_len"]  # the model's own window, whatever the default model's is
    window = [f"train.seq_len={length}", f"train.batch_tokens={length}", "train.micro_batches=1"]
    cell = only_cell([*window, *overrides])
    config = decide_auto(plain(cell.composed), in_sweep=False)
    torch.set_num_threads(config["train"]["threads"])
    artifact.model.to(config["device"])
    corpus = load_corpus(build_data(config).prepare())
    if corpus.tokenizer_sha != artifact.tokenizer_sha256:
        raise DataError(
            f"{path}: was trained with another tokenizer (sha256 {artifact.tokenizer_sha256[:12]}) than "
            f"data={cell.choices['data']} has "
            f"({corpus.tokenizer_sha[:12]}). Name its corpus with data=..."
        )
    evaluation = build_evaluation({**config, "model": artifact.section}, corpus, Ranks())
    fake = build_fake(config, build_quantizer(config)) if config["defects"]["qat_at_eval"] else None
    found = evaluation(artifact.model, fake)
    estimate_908 = evaluation.estimate(artifact.model, fake) or ()
    return {
        "val_bpb": found.bpb,
        "val_nats": found.nats,
        "val_targets": found.targets,
        "val_bytes": found.bytes,
        "eval_mode": found.mode,
        **dict(zip(("val_nats_published_908", "val_bpb_published_908"), estimate_908, strict=False)),
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
