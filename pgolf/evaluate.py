"""`python -m pgolf.evaluate ARTIFACT [overrides] [--against [ARTIFACT] [overrides]] [--json]`: scores a packed model on
the validation text of a corpus.

`data=...` must name a corpus with the tokenizer of the model. `eval=...` may be any evaluation. `--against` scores
another packed model, or the same one in another way, and gives the difference with its interval over documents.
"""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from pgolf.command import Parser, place, run
from pgolf.config.auto import decide_auto
from pgolf.config.build import build_data, build_evaluation, build_fake, build_quantizer
from pgolf.config.command_line import compose_one
from pgolf.config.search_path import use_search_path
from pgolf.data.loaded import load_corpus
from pgolf.errors import DataError, PgolfError
from pgolf.execution.artifact import unpack
from pgolf.machine.ranks import Ranks
from pgolf.records.documents import DocumentScores, document_fields
from pgolf.tables.texts import TextDifference, difference_lines, text_difference

PACKED = ".pgolf"  # how the name of a packed model ends
TARGETS = "eval.max_targets"


@dataclass(frozen=True)
class Evaluated:
    """A score: the fields of a record about it, and its documents; None where it is not finite."""

    fields: dict[str, Any]
    documents: DocumentScores | None


def evaluate(path: Path, overrides: list[str]) -> Evaluated:
    """Score a packed model. Raises PgolfError."""
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
    documents = evaluation.documents(score)
    fields = {
        "val_bpb": score.bpb,
        "val_nats": score.nats,
        "val_targets": score.targets,
        "val_bytes": score.bytes,
        "eval_mode": score.mode,
        **({} if documents is None else document_fields(documents)),
        **evaluation.extra(artifact.model, fake),
        "eval_packed_s": seconds,
        "model_bytes": artifact.file_bytes,
        "val_text_sha": corpus.val_text_sha,
    }
    return Evaluated(fields, documents)


def base_arguments(path: Path, overrides: Sequence[str], against: Sequence[str]) -> tuple[Path, list[str]]:
    """The packed model and the overrides of the score that --against asks for.

    What --against leaves out is as in the first score. An override of a group replaces the options of that group too,
    but not the number of targets, which all evaluations have. Raises PgolfError for several packed models.
    """
    if blank := [word for word in against if not word.strip()]:
        raise PgolfError(f"--against: holds an empty word ({blank[0]}). Name a packed model or overrides")
    models = [word for word in against if word.endswith(PACKED) or "=" not in word or Path(word).is_file()]
    if len(models) > 1:
        raise PgolfError(f"--against: names several packed models ({', '.join(models)}). Name one, then overrides")
    others = [word for word in against if word not in models]
    keys = {key_of(word) for word in others}
    replaced = {key_of(word) for word in overrides if any(f"{key_of(word)}.".startswith(f"{key}.") for key in keys)}
    replaced -= {TARGETS} - keys
    return (Path(models[0]) if models else path), [*(w for w in overrides if key_of(w) not in replaced), *others]


def key_of(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")


def difference(ours: Evaluated, base: Evaluated, *, one_model: bool) -> TextDifference:
    """The difference of two scores with the uncertainty of the text. one_model: both are of one packed file."""
    if ours.fields["val_text_sha"] != base.fields["val_text_sha"]:
        return TextDifference(None, reason="the validation texts are not the same")
    if ours.documents is None or base.documents is None:
        return TextDifference(None, reason="a score is not finite")
    return text_difference(ours.documents, base.documents, one_checkpoint=one_model or None)


def summary(fields: dict[str, Any]) -> str:
    return (
        f"val bpb   {fields['val_bpb']:.6f}\nval nats  {fields['val_nats']:.6f} per target\n"
        f"scored    {fields['val_targets']:,} targets, {fields['val_bytes']:,} bytes, {fields['eval_mode']}, in "
        f"{fields['eval_packed_s']:.1f} s\n"
        f"model     {fields['model_bytes']:,} bytes"
    )


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
        "--against",
        nargs="+",
        default=[],
        metavar="WORD",
        help="another packed model, overrides or both: score that too, and show the first score minus this one, with "
        "its interval over documents. What is left out is as in the first score",
    )
    parser.add_argument(
        "--json", action="store_true", help="print JSON, with the fields that a record has about the score"
    )
    args = parser.parse_intermixed_args(use_search_path(arguments))
    base_path, base_overrides = base_arguments(args.artifact, args.overrides, args.against)
    ours = evaluate(args.artifact, args.overrides)
    if not args.against:
        print(json.dumps(ours.fields, indent=1) if args.json else summary(ours.fields))
        return 0
    base = evaluate(base_path, base_overrides)
    found = difference(ours, base, one_model=base_path == args.artifact)
    if args.json:
        print(json.dumps({**ours.fields, "against": base.fields, "text": asdict(found)}, indent=1))
    else:
        print(summary(ours.fields), f"against   {base_path} {' '.join(base_overrides)}", summary(base.fields), sep="\n")
        print(*difference_lines(found, "the first minus the second"), sep="\n")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code: 0 ok, 2 refused."""
    return run(command, arguments)


if __name__ == "__main__":
    sys.exit(main())
