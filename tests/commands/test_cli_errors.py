"""Mistakes on a command line: the message, exit code 2, nothing on disk."""

import os
import re
import sys
from pathlib import Path

import pytest

from pgolf import train
from pgolf.config.command_line import preflight
from pgolf.config.expansion import sweep_of_one


def refuse(argv: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """Run the command in an empty folder; assert exit code 2 and that the folder stays empty; return the message."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PGOLF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "argv", ["pgolf.train", *argv])
    assert train.main() == 2
    assert os.listdir(tmp_path) == []
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert len(said.splitlines()) <= 4, said
    return said


CASES = {
    "model/head=moss": ["model/head:", "(moss)", "Did you mean mos?", "Choices: factorized"],
    "model/haed=mos": ["model/haed:", "(mos)", "Did you mean model/head?"],
    "train.stpes=5": ["train.stpes:", "(5)", "Did you mean train.steps?"],
    "+train.stpes=5": ["train.stpes:", "(5)", "Did you mean train.steps?"],
    "++train.stpes=5": ["train.stpes:", "(5)", "Did you mean train.steps?"],
    "model/head=factorized +model.head.rnk=4": ["model.head.rnk:", "(4)", "Did you mean model.head.rank?"],
    "model/head=factorized model.head.rnk=4": ["model.head.rnk:", "(4)", "Did you mean model.head.rank?"],
    "model/q_proj=low_rank model.q_proj.rank=0": ["model.q_proj.rank:", "(0)", "from 1 to the model width, 128"],
    "model/q_proj=low_rank model.q_proj.rank=100000": [
        "model.q_proj.rank:",
        "(100000)",
        "from 1 to the model width, 128",
    ],
    "data=text data.path=/does/not/exist": ["data.path:", "(/does/not/exist)", "give an existing"],
    "model.heads=3": ["model.heads:", "(3)", "Choose one of 1, 2, 4"],
    "model.kv_heads=3": ["model.kv_heads:", "(3)", "Choose one of 1, 2, 4"],
    "train.batch_tokens=1000": ["train.batch_tokens:", "(1000)", "Choose 1024"],
    "launch.nproc=4096 train.micro_batches=4096 train.batch_tokens=1048576": [
        "launch.nproc:",
        "(4096)",
        "Choose from 1 to",
    ],
    "launch.nproc=3": ["train.micro_batches:", "(2)", "launch.nproc=3"],
    "train.seconds=60": ["exactly one of steps, tokens and seconds", "train.steps=null"],
    "train.steps=0": ["train.steps:", "(0)", "from 1 to 2,147,483,647"],
    "seed=1,2": ["seed:", "(1,2)", "--multirun"],
    "model.head=mos": ["model.head:", "(mos)", "config group", "model/head=mos"],
    "model.head.rank=8": [
        "model.head.rank:",
        "(8)",
        "The chosen model.head has no options. It is an option of model/head=factorized,mixture_of_logits,mos,simplex",
    ],
    "optim.roles.matrix.beta2=1": [
        "beta2:",
        "Options of optim.roles.matrix",
        "optim/algorithm@optim.roles.matrix=adam",
    ],
    "lr=0.01": ["lr:", "Did you mean optim.roles.embedding.lr=0.01 or ", " or optim.roles.scalar.lr=0.01? Sections:"],
    "rank=3": ["rank:", "It is an option of eval=ttt_lora or model/embedding=albert or model/head=factorized,"],
    "model.rank=3": ["model.rank:", "It is an option of model/embedding=albert or model/head=factorized,"],
    "stesp=9": ["stesp: no such option (9)", "Sections: study, seed"],
    "steps=9": ["steps: no such option (9). Did you mean train.steps=9?"],
    "model/head=tied, mos, simplex seed=1": [
        "model/head: is split by a space",
        "(tied, mos, simplex)",
        "=tied,mos,simplex\n",
    ],
    "model.width=100": ["model.heads:", "model.width=100"],
    "study=higher_rank_heads arm=T0_tied": ["arm:", "(T0_tied)", "Did you mean higher_rank_heads/T0_tied?"],
    "model/head=null": ["model/head:", "no such choice"],
    "~model/head": ["model/head:"],
    "data=shards": ["data.train_glob:", "data.tokenizer:", "has no value"],
    "device=gpu": ["device:", "(gpu)", "Choose auto, cpu, cuda"],
    "train.threads=many": ["train.threads:", "(many)"],
    "train.precision=fp8": ["train.precision:", "(fp8)", "auto, fp32, bf16"],
    "optim.role_of=[model.haed:head]": ["optim.role_of:", "(model.haed)", "pgolf.params --names"],
    "optim.role_of=[model.embedding:heads]": ["optim.role_of:", "(heads)", "roles are embedding, head"],
    "optim.role_of=[[model]]": ["optim.role_of"],
    "optim.role_of=[model.mlp:head,model.mlp.:scalar]": ["optim.role_of:", "model.mlp more than once"],
    "arm=low_rank_q/Q0_full": ["arm: belongs to study=low_rank_q", "Write study=low_rank_q arm=low_rank_q/Q0_full"],
    "study=albert_embedding arm=albert_embedding/V512_full data=fineweb": [
        "data: the arm",
        "requires data=docs (fineweb)",
        "Leave data= out",
    ],
    "optim.frozen=[model.haed]": ["optim.frozen:", "(model.haed)", "pgolf.params --names"],
    "optim/algorithm@optim.roles.scalar=muon": ["optim.roles.scalar._target_:", "matrices only"],
    "optim/algorithm@optim.roles.haed=muon": ["optim.roles.haed", "Did you mean optim.roles.head?"],
    "optim/schedule=step_warmdown train.steps=null train.seconds=9": [
        "optim.schedule",
        "optim/schedule=wallclock_warmdown",
    ],
    "quant.rules.rest.bits=9": ["quant.rules.rest.bits:", "(9)", "2 to 8"],
    "eval=sliding eval.stride=1000": ["eval.stride:", "(1000)", "from 1 to the window length, 256"],
    "model.width=${nothing}": ["nothing"],
    "hydra/launcher=ray": ["hydra/launcher:", "ray is not installed", "pip install 'pgolf[ray]'"],
    "launch.checkpoint_s=-1": ["launch.checkpoint_s:", "(-1.0)", "null for none"],
    "launch.gpus_per_job=0": ["launch.gpus_per_job:", "(0)", "launch.nproc=1"],
    "train.from=nowhere": ["train.from:", "nowhere", "no finished run of seed 1"],
    "train.from=nowhere model.width=64": ["model.width:", "decided by the run at train.from"],
    "hydra/launcher=slurmy": ["hydra/launcher:", "(slurmy)", "Choices: basic"],
    "model.vocab_size=500": ["model.vocab_size:", "(500)", "data.vocab_size"],
    "optim.frozen=[model]": ["optim.frozen:", "nothing to train"],
    "optim.roles.matrix.lr=inf": ["optim.roles.matrix.lr:", "(inf)"],
    "model.logit_softcap=inf": ["model.logit_softcap:", "finite"],
    "train.steps=null train.seconds=inf": ["train.seconds:", "finite"],
    "model/head=[tied,mos]": ["model/head:", "takes one choice"],
    "+model/head=mos": ["+model/head:", "Write model/head=mos"],
    "model.head._target_=torch.nn.Linear": ["model.head"],
    "optim.frozen=[[model]]": ["optim.frozen"],
    "--cfg job train.stpes=5": ["train.stpes:", "(5)", "Did you mean train.steps?"],
    "--multirun model/head=tied hydra.sweeper.params={seed:x}": ["hydra"],
    "nonsense": ["nonsense:", "Write key=value"],
    "--config-name other": ["--config-name:", "(other)"],
}


@pytest.mark.parametrize("line", CASES)
def test_a_mistake_is_named(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refuse(line.split(), tmp_path, monkeypatch, capsys)
    for part in CASES[line]:
        assert part in said, said


def test_cuda_is_refused_without_a_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    assert "device: this machine has no CUDA device" in refuse(["device=cuda"], tmp_path, monkeypatch, capsys)


def test_an_output_folder_that_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (empty := tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    said = refuse([f"paths.out={tmp_path / 'file'}"], empty, monkeypatch, capsys)
    assert f"paths.out: {tmp_path / 'file'} is not a folder" in said


def test_a_glob_sweeps_over_a_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        sys, "argv", ["pgolf.train", "--multirun", "model/q_proj=glob(*)", "model.layers=1", "launch.dry_run=true"]
    )
    assert train.main() == 0
    cells = [line for line in capsys.readouterr().out.splitlines() if re.match(r"\d/3", line)]
    assert [line.split()[1].rstrip(":") for line in cells] == [
        f"model/q_proj={stem}" for stem in ("adaptive", "full", "low_rank")
    ]


def test_a_value_of_a_swept_choice_is_swept_with_it() -> None:
    given = ["model/head=factorized,mos", "model.head.rank=8", "seed=1,2", "hydra.verbose=false", "paths.out='a b'"]
    deferred = preflight(given, multirun=True).deferred
    swept = {text: new for text in deferred if (new := sweep_of_one(text)) != text}
    assert swept == {"model.head.rank=8": "model.head.rank=choice(8)", "paths.out='a b'": "paths.out=choice('a b')"}
    assert preflight(["model/head=factorized", "model.head.rank=8", "seed=1,2"], multirun=True).deferred == ()


def test_one_invalid_run_stops_the_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["--multirun", "model/head=factorized", "model.head.rank=4,8,12,4000"]
    said = refuse(argv, tmp_path, monkeypatch, capsys)
    assert "model.head.rank:" in said
    assert "(4000)" in said
    assert "in 1 of 4 runs" in said


def test_all_problems_are_reported_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refuse(["model.heads=3", "train.batch_tokens=1000", "launch.checkpoint_s=-1"], tmp_path, monkeypatch, capsys)
    named = ["model.heads", "model.kv_heads", "train.batch_tokens", "launch.checkpoint_s"]
    assert [line.split(":")[0] for line in said.splitlines()] == named


def test_dry_run_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        sys,
        "argv",
        ["pgolf.train", "--multirun", "model/head=tied,mos", "seed=1,2", "model.layers=1", "launch.dry_run=true"],
    )
    assert train.main() == 0
    assert os.listdir(tmp_path) == []
    lines = capsys.readouterr().out.splitlines()
    cells = [line for line in lines if re.match(r"\d/4", line)]
    assert [line.split("  ")[0] for line in cells] == ["1/4", "2/4", "3/4", "4/4"]
    assert "model/head=mos seed=2" in cells[3]
    assert "parameters" in cells[3]
    assert "about" in lines[-1]


def test_help_names_every_option(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["pgolf.train", "--help"])
    assert train.main() == 0
    said = capsys.readouterr().out
    for option in (
        "steps:",
        "batch_tokens:",
        "nproc:",
        "grad_clip_norm:",
        "warmdown_steps:",
        "drop_tail:",
        "vocab_size:",
        "seed:",
        "width:",
        "experts:",
        "name:",
    ):
        assert option in said


def test_an_override_that_is_given_twice_is_named() -> None:
    words = ["train.steps=24", "model/head=mos", "train.steps=300", "model/head=mos,tied", "seed=1"]
    assert train.last_of_repeated(words) == ["train.steps=300", "model/head=mos,tied"]
    assert train.last_of_repeated(["hydra.searchpath=[a]", "hydra.searchpath=[b]"]) == [], "both count"
