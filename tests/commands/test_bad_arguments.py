"""Invalid arguments of all commands except pgolf.train: one line, exit code 2, nothing on disk, no traceback."""

import importlib
import os
from pathlib import Path

import pytest

from made_records import study_of

WITH_OVERRIDES = ("params", "bench", "data prepare", "data verify")
OVERRIDES = {  # overrides of pgolf.train, which other commands accept too
    "": "'': is not an override",
    "=1": "=1: has no key",
    "seed='": "seed: cannot be read (')",
    "seed=1,1": "seed: more than one value (1,1)",
    "seed=range(1,3,0)": "seed: needs finite ends",
    "seed=99999999999999999999999": "seed: must be from 0 to 4,294,967,295",
    "model.layers=100000": "model.layers: must be from 1 to 256",
    "hydra.run.dir=x": "hydra.run.dir: is not used (x)",
    "model/head=moss": "model/head: no such choice (moss). Did you mean mos?",
    "train.stpes=5": "train.stpes: no such option (5). Did you mean train.steps?",
    "seed=${nope}": "seed: cannot be resolved",
    "--nope": "python -m pgolf.{}: --nope: no such option",
    "--multirun": "python -m pgolf.{}: --multirun: no such option",
    "a\x00b": "argument ",
    "seed=\udcff": "argument ",
}

ARGUMENTS = {
    "params": {
        "--jsn": "python -m pgolf.params: --jsn: no such option. Did you mean --json?",
        "--json --names": "--names: prints lines, not JSON (--json)",
        "--packed text seed=1": "--packed: takes neither overrides nor --names (text)",
        "--packed gone.pgolf": "gone.pgolf: cannot be read",
        "--packed text": "text: is not a pgolf artifact",
    },
    "bench": {
        "--steps": "python -m pgolf.bench: --steps: expected one argument",
        "--steps x": "python -m pgolf.bench: --steps: needs a whole number (x)",
        "--steps 1.5": "python -m pgolf.bench: --steps: needs a whole number (1.5)",
        "--steps nan": "python -m pgolf.bench: --steps: needs a whole number (nan)",
        "--steps 0": "--steps: must be from 1 to 1,000,000 (0)",
        "--steps -3": "--steps: must be from 1 to 1,000,000 (-3)",
        "--steps 99999999999999999999": "--steps: must be from 1 to 1,000,000",
        "--against": "python -m pgolf.bench: --against: expected at least one argument",
    },
    "data": {
        "": "python -m pgolf.data: action",
        "make": "python -m pgolf.data: action: no such choice (make).",
        "prepare data=text": "data.path: has no value",
        "prepare data=text data.path=gone": "data.path: cannot be used (gone)",
        "prepare data=nope": "data: no such choice (nope)",
        "verify data.vocab_size=1": "data.vocab_size: cannot be used (1)",
        "download data=text": "data.path: has no value",
        "download data.train_shards=0": "data.train_shards: must be from 1",
    },
    "evaluate": {
        "": "python -m pgolf.evaluate: artifact",
        "gone.pgolf": "gone.pgolf: ",
        "folder": "folder: ",
        "empty": "empty: ",
        "text": "text: ",
        "--json": "python -m pgolf.evaluate: artifact",
        "text --jsn": "python -m pgolf.evaluate: --jsn: no such option",
        "empty/x": "empty/x: ",
        "text --against": "python -m pgolf.evaluate: --against: expected at least one argument",
        "text --against a b": "--against: names several packed models (a, b)",
    },
    "sample": {
        "": "python -m pgolf.sample: ARTIFACT: is missing",
        "gone": "gone: cannot be read (No such file",
        "loop": "loop: cannot be read",
        "text": "text: is not a pgolf artifact",
        "folder": "folder: is a folder without artifact.pgolf. Give a packed file, or a run folder",
        "text once more": "python -m pgolf.sample: more: is one argument too many",
        "text --tokens x": "python -m pgolf.sample: --tokens: needs a whole number (x)",
        "text --tokens 0": "--tokens: is out of range (0). Choose from 1 to 100,000",
        "text --temperature nan": "--temperature: is out of range (nan). Choose from 0 to 100",
        "text --top-p 0": "--top-p: is out of range (0.0). Choose above 0 and at most 1",
        "text --seed -1": "--seed: is out of range (-1). Choose from 0",
        "text --tokenizer=": "python -m pgolf.sample: --tokenizer: is empty ()",
    },
    "inspect": {
        "": "python -m pgolf.inspect: path: is missing",
        "gone": "gone: does not exist",
        "loop": "loop: does not exist",
        "text": "text: is not a pgolf artifact",
        "empty": "empty: ",
        "folder": "folder/config.yaml: cannot be read",
        "folder --jsn": "python -m pgolf.inspect: --jsn: no such option. Did you mean --json?",
        "folder --draws 2": "--draws: must be from 3 to 10,000 (2)",
        "folder --weights best": "python -m pgolf.inspect: --weights: no such choice (best).",
        "folder --figures=": "python -m pgolf.inspect: --figures: is empty ()",
        "truncate": "python -m pgolf.inspect truncate: path: is missing",
        "truncate folder --ranks": "python -m pgolf.inspect truncate: --ranks: expected at least one argument",
        "truncate folder --ranks x": "python -m pgolf.inspect truncate: --ranks: needs a whole number (x)",
        "ranks folder --energy x": "python -m pgolf.inspect ranks: --energy: needs a number (x)",
        "ranks folder --energy 1 --parameters 2": "python -m pgolf.inspect ranks: --parameters: not allowed with",
        "random": "python -m pgolf.inspect random: SIZES: is missing",
        "random 512": "SIZES: is not a matrix or a product (512). Write 512x512",
        "random 5000x5000": "SIZES: is too large (5000x5000)",
        "random 8x8 --ranks 9": "--ranks: these matrices have no rank 9. Choose from 1 to 8",
        "random 8x8 --values efective_rank=1": "--values: no such measure (efective_rank). Did you mean effective",
        "random 8x8 --values effective_rank=-1": "--values: needs a number above 0 (effective_rank=-1)",
        "truncate folder --batches 0": "--batches: must be from 1 to 10,000 (0)",
    },
    "probe": {
        "": "python -m pgolf.probe: STUDY: is missing",
        "low_rank_q --jsn": "python -m pgolf.probe: --jsn: no such option. Did you mean --json?",
        "low_rank_p": "study: no such choice (low_rank_p). Did you mean low_rank_q?",
        "adhoc": "STUDY: has no arms to probe (adhoc). Name a study of conf/study",
        "low_rank_q seed=1": "seed: is chosen by this command (seed=1). Leave it out",
        "low_rank_q trian.steps=1": "trian.steps: no such option",
    },
    "rerun": {
        "": "python -m pgolf.rerun: RUN_DIR: is missing",
        "gone": "gone: is not a run folder",
        "text": "text: is not a run folder",
        "folder": "folder/config.yaml: ",
        "folder again": "python -m pgolf.rerun: again: is one argument too many",
        "folder --out": "python -m pgolf.rerun: --out: expected one argument",
        "folder --outt x": "python -m pgolf.rerun: --outt x: no such option. Did you mean --out?",
    },
    "worker": {
        "": "RUN_DIR: is missing",
        "--serve 0": "--serve: is not a socket (0)",
        "--serve 99999999999999999999": "--serve: is not a socket (99999999999999999999)",
        "--serve -1": "--serve: is not a socket (-1)",
        "gone": "gone: is not a run folder",
        "text": "text: is not a run folder",
        "folder": "folder/config.yaml: ",
        "folder --ranks 0": "--ranks: must be 1 or more (0)",
        "folder --ranks -1": "--ranks: must be 1 or more (-1)",
        "folder --ranks x": "python -m pgolf.sweep.worker: --ranks: needs a whole number (x)",
    },
    "status": {
        "gone": "gone: ",
        "text": "text: ",
        "folder": "folder: holds no sweep",
        "folder folder": "python -m pgolf.status: folder: is one argument too many",
        "--jsn": "python -m pgolf.status: --jsn: no such option. Did you mean --json?",
        "--json=1": "python -m pgolf.status: --json: takes no value (1). Write --json on its own",
    },
    "aggregate": {
        "": "python -m pgolf.aggregate: FOLDER: is missing",
        "gone": "gone: ",
        "text": "text: ",
        "folder": "folder: ",
        "heads --bas heads": "python -m pgolf.aggregate: --bas heads: no such option. Did you mean --baseline?",
        "heads --baseline nope": "--baseline: ",
        "heads --smallest-effect-bpb 0": "python -m pgolf.aggregate: --smallest-effect-bpb: must be above 0 (0)",
        "heads --smallest-effect-bpb -1": "python -m pgolf.aggregate: --smallest-effect-bpb: must be finite and not "
        "below 0 (-1)",
        "heads --smallest-effect-bpb nan": "python -m pgolf.aggregate: --smallest-effect-bpb: must be finite",
        "heads --smallest-effect-bpb 1e400": "python -m pgolf.aggregate: --smallest-effect-bpb: must be finite",
        "heads --smallest-effect-bpb x": "python -m pgolf.aggregate: --smallest-effect-bpb: needs a number (x)",
        "heads --threshold-p 1": "python -m pgolf.aggregate: --threshold-p: must be between 0 and 1 (1)",
        "heads --threshold-nats -0.1": "python -m pgolf.aggregate: --threshold-nats: must be finite",
        "heads --out text": "text/results.jsonl: ",
        "heads --out text/x.jsonl": "text",
        "heads --out loop/x": "loop/x",
        "heads --out=": "python -m pgolf.aggregate: --out: is empty ()",
        "heads --out new/a/" + "x" * 300 + ".jsonl": "new/a/xxx",
        "heads --paired=1": "python -m pgolf.aggregate: --paired: takes no value (1). Write --paired on its own",
    },
    "report": {
        "": "python -m pgolf.report: FOLDER: is missing",
        "gone": "gone: ",
        "text": "text: ",
        "folder": "folder: ",
        "heads --out page.pdf": "--out: ",
        "heads --out text/x.html": "text",
        "heads --smallest-effect-bpb 0": "python -m pgolf.report: --smallest-effect-bpb: must be above 0 (0)",
        "heads --pgn x": "python -m pgolf.report: --pgn x: no such option. Did you mean --png?",
        "heads --png text": "--png: is not a folder (text)",
        "heads --png loop": "--png: is not a folder (loop)",
        "heads --png text/x": "text",
        "heads --png=": "python -m pgolf.report: --png: is empty ()",
        "heads --out=": "python -m pgolf.report: --out: is empty ()",
    },
    "compare": {
        "": "python -m pgolf.compare: A, B: is missing",
        "heads": "python -m pgolf.compare: B: is missing",
        "gone gone": "gone: ",
        "text text": "text: ",
        "folder folder": "folder",
        "heads heads heads": "python -m pgolf.compare: heads: is one argument too many",
        "--json": "python -m pgolf.compare: A, B: is missing",
    },
}

PLACES = {  # commands inside a folder
    "data": "data.__main__",
    "worker": "sweep.worker",
    "inspect": "inspect.__main__",
    "sample": "sample.__main__",
    "probe": "probe.__main__",
}
LINES = [(name, line.split(), message) for name, table in ARGUMENTS.items() for line, message in table.items()]
LINES += [
    (name.split()[0], [*name.split()[1:], line], message.replace("{}", name.split()[0]))
    for name in WITH_OVERRIDES
    for line, message in OVERRIDES.items()
]


@pytest.mark.parametrize(("name", "line", "message"), LINES, ids=lambda text: ascii(text)[1:40])
def test_one_line_names_the_problem(
    name: str,
    line: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PGOLF_CACHE", str(tmp_path / "cache"))
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "text").write_text("not one of ours\n")
    (tmp_path / "loop").symlink_to("loop")
    study_of(tmp_path, {"tied": [2.0], "mos": [2.1]})
    before = sorted(os.walk(tmp_path))
    module = importlib.import_module(f"pgolf.{PLACES.get(name, name)}")
    assert module.main(line) == 2
    assert sorted(os.walk(tmp_path)) == before
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1, err
    assert err.removeprefix(f"{tmp_path}/").startswith(message), err
    assert err[:-1].isprintable()
