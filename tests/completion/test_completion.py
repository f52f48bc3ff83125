"""Words that complete a command line, and the scripts in the real shells, where these are installed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pgolf.command import COMMANDS
from pgolf.completion.words import complete, flags_of
from pgolf.config.folders import conf_dir

REPOSITORY = Path(__file__).resolve().parents[2]

CASES = {
    "pgolf tr": ["train"],
    "python -m pgolf.ins": ["pgolf.inspect"],
    "python3 -m pgolf.train model/he": ["model/head="],
    "pgolf train model/head=m": ["model/head=mixture_of_logits", "model/head=mos"],
    "pgolf train --multirun model/head=tied,mo": ["model/head=tied,mos"],
    "pgolf train optim.roles.matrix.l": ["optim.roles.matrix.lr="],
    "pgolf train model.he": ["model.head.", "model.heads="],
    "pgolf train model/head=factorized model.head.ra": ["model.head.rank="],
    "pgolf train model/head=tied model.head.ra": [],
    "pgolf train model/side_inputs=[bigram_embed,val": ["model/side_inputs=[bigram_embed,value_embedding"],
    "pgolf train optim/algorithm@optim.roles.head=m": ["optim/algorithm@optim.roles.head=muon"],
    "pgolf train arm=low_rank_q/Q0": ["arm=low_rank_q/Q0_full"],
    "pgolf train launch.dry_run=": ["launch.dry_run=false", "launch.dry_run=true"],
    "pgolf train train.compile=o": ["train.compile=off", "train.compile=on"],
    "pgolf train hydra/launcher=j": ["hydra/launcher=joblib"],
    "pgolf train --mul": ["--multirun"],
    "pgolf aggregate --base": ["--baseline"],
    "pgolf data pre": ["prepare"],
    "pgolf probe low_rank_q_": ["low_rank_q_seeds"],
    "pgolf status mul": [],
    "pgolf evaluate ": [],
    "pgolf evaluate a.pgolf model/he": ["model/head="],
    "pgolf train no.such.option=": [],
    "pgolf": [],
    "": [],
    "python -m json.too": [],
}
ACTIONS_WITH_FLAGS = {"inspect": (("truncate",), ("ranks",), ("random",))}


@pytest.mark.parametrize("line", CASES)
def test_a_line_is_completed(line: str) -> None:
    assert complete(line) == CASES[line]


def test_every_group_and_every_choice_is_offered() -> None:
    for path in conf_dir().rglob("*.yaml"):
        group = path.parent.relative_to(conf_dir()).as_posix()
        if group.startswith(("hydra", "arm")) or group == ".":
            continue
        typed = "optim/algorithm@optim.roles.head" if group == "optim/algorithm" else group
        assert f"{typed}={path.stem}" in complete(f"pgolf train {typed}={path.stem}")


@pytest.mark.parametrize("command", COMMANDS)
def test_the_flags_are_those_of_the_command(command: str) -> None:
    texts = []
    for action in ((), *ACTIONS_WITH_FLAGS.get(command, ())):
        words = [sys.executable, "-m", f"pgolf.{command}", *action, "--help"]
        texts.append(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    told = " ".join(texts)
    assert [flag for flag in flags_of(command) if flag != "--help" and flag not in told] == []


def test_groups_of_ones_own_are_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model/head").mkdir(parents=True)
    (tmp_path / "model/head/mine.yaml").write_text("_target_: my.Head\nwarmth: 1.0 # of it\n")
    monkeypatch.setenv("PGOLF_CONFIG_DIR", str(tmp_path))
    assert complete("pgolf train model/head=mi") == ["model/head=mine", "model/head=mixture_of_logits"]
    assert complete("pgolf train model.head.wa") == ["model.head.warmth="]


def test_nothing_slow_is_imported() -> None:
    code = (
        "import sys; from pgolf.completion import __main__ as m; m.main(['words', 'pgolf train model/head=']); "
        "sys.exit(bool({'torch', 'hydra', 'omegaconf', 'numpy', 'pandas', 'yaml'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, stdout=subprocess.DEVNULL).returncode == 0


def in_shell(shell: str, *words: str, text: str) -> list[str]:
    """The words that a shell prints for a script, which may call the completion's functions."""
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"{shell} is not installed")
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    printed = subprocess.run([found, *words, text], env=env, capture_output=True, text=True, cwd=REPOSITORY)
    assert printed.returncode == 0, printed.stderr
    return printed.stdout.split()


SCRIPT = f"{sys.executable} -m pgolf.completion"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("pgolf train model/head=m", ["mixture_of_logits", "mos"]),
        ("python -m pgolf.train --multirun model/head=tied,mo", ["tied,mos"]),
        ("python -m pgolf.train train.stea", []),
        ("python -m json.t", []),
    ],
)
def test_bash_completes_what_follows_the_equals_sign(line: str, words: list[str]) -> None:
    call = "_pgolf" if line.startswith("pgolf") else "_pgolf_python"
    text = f'source <({SCRIPT} bash); COMP_LINE={line!r}; COMP_POINT=${{#COMP_LINE}}; {call}; echo "${{COMPREPLY[@]}}"'
    assert in_shell("bash", "-c", text=text) == words


def test_fish_completes_whole_words() -> None:
    text = f"{SCRIPT} fish | source; complete -C 'pgolf train model/head=m'"
    assert in_shell("fish", "-c", text=text) == ["model/head=mixture_of_logits", "model/head=mos"]


def test_zsh_loads_the_script_and_asks_for_words() -> None:
    text = (
        f"autoload -U compinit; compinit -u -D; source <({SCRIPT} zsh); compadd() {{ print -l -- ${{@[6,-1]}} }}; "
        "LBUFFER='pgolf train model/head=m'; _pgolf"
    )
    assert in_shell("zsh", "-f", "-c", text=text) == ["model/head=mixture_of_logits", "model/head=mos"]


def test_a_script_runs_no_file_of_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / "re.py").write_text("open('ran', 'w')\n", encoding="utf-8")
    line = "pgolf train model/head=m"
    text = f'cd {tmp_path}; COMP_LINE={line!r}; COMP_POINT=${{#COMP_LINE}}; _pgolf; echo "${{COMPREPLY[@]}}"'
    assert in_shell("bash", "-c", text=f"source <({SCRIPT} bash); {text}") == ["mixture_of_logits", "mos"]
    assert not (tmp_path / "ran").exists()
