"""`pgolf.study new`: the template composes as it is, and nothing is overwritten."""

from collections.abc import Callable
from pathlib import Path

import pytest

import pgolf.study.__main__ as new
from pgolf.config.command_line import preflight
from pgolf.config.folders import CONFIG_DIR
from pgolf.config.study import study_of
from pgolf.errors import ConfigError

Main = Callable[..., tuple[int, str, str]]


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, main_of: Main) -> Path:
    """A folder with the template of the study `heads`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(CONFIG_DIR, "")  # what hydra.searchpath sets is undone after the test
    code, said, _ = main_of(new, "new", "heads")
    assert code == 0
    assert "python -m pgolf.train 'hydra.searchpath=[conf]' study=heads" in said
    return tmp_path / "conf"


def test_the_template_is_a_study_and_is_not_overwritten(conf: Path, main_of: Main) -> None:
    line = preflight(["hydra.searchpath=[conf]", "study=heads"], multirun=False)
    assert line.in_sweep
    assert [(run.cfg.seed, run.cfg.study.arm) for run in line.runs[:3]] == [(1, "tied"), (1, "mos"), (2, "tied")]
    assert len(line.runs) == 6
    study = study_of(line.runs[0])
    assert study is not None
    assert (study.smallest_effect_bpb, study.families[0].baseline) == (0.01, "tied")
    code, _, said = main_of(new, "new", "heads")
    assert code == 2
    assert said == "NAME: exists already (conf/study/heads.yaml). Choose another name, or remove the file yourself\n"
    for name in ("low_rank_q", "1st", "a/b", "on"):
        assert main_of(new, "new", name)[0] == 2, name
    assert [path.name for path in conf.glob("study/*")] == ["heads.yaml"]


def test_a_study_needs_few_keys_and_all_problems_are_told_at_once(conf: Path) -> None:
    file, words = conf / "study" / "heads.yaml", ["hydra.searchpath=[conf]", "study=heads"]
    sweep = file.read_text()[file.read_text().index("hydra:") :]
    own = "  name: heads\n  smallest_effect_bpb: {cpu: 0.01}\n  families: {all: {baseline: tied, arms: [tied, mos]}}\n"
    file.write_text(f"# @package _global_\nstudy:\n{own}{sweep}")
    study = study_of(preflight(words, multirun=False).runs[0])
    assert study is not None
    assert (study.question, study.test, study.families[0].title) == ("", "welch", "all")
    own = "  name: heads\n  families: {all: {arms: [tied, gone], basline: tied}}\n"
    file.write_text(f"# @package _global_\nstudy:\n{own}{sweep}")
    with pytest.raises(ConfigError) as refused:
        preflight(words, multirun=False)
    assert [problem for problem in refused.value.problems if not problem.startswith("  in ")] == [
        f"study.families.all.baseline: is missing. Write in {file}: baseline: ARM",
        "study.families.all.basline: no such key (tied). Did you mean baseline? Keys: title, baseline, arms, line, "
        "explored, unequal_budgets",
        f"study.smallest_effect_bpb: has no value for scale=cpu ({{}}). Write in {file} the smallest difference that "
        "matters, in bits per byte: smallest_effect_bpb: {cpu: 0.01}",
        "arm: no such choice (heads/gone). Add the file arm/heads/gone.yaml to its config groups",
    ]
    file.write_text(file.read_text().replace("  name: heads\n", "").replace("gone", "mos"))
    with pytest.raises(ConfigError, match=r"study\.name: is missing"):
        preflight(words, multirun=False)
