"""Ranks from the spectra of an earlier run: a list of numbers as soon as a configuration is composed."""

from pathlib import Path

import pytest

from pgolf.config.command_line import preflight
from pgolf.config.compose import default_rank
from pgolf.config.identity import config_fingerprint
from pgolf.errors import ConfigError
from pgolf.inspect.ranks import QUERY_SPECTRA, QuerySpectra
from tiny import SMALL, resolved, tiny_config

ADAPTIVE = (*(text for text in SMALL if "vocab" not in text), "model/q_proj=adaptive")
SPECTRA = ((3.0, 1.0, 1.0), (1.0, 1.0, 1.0), (1.0, 0.0, 0.0))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder whose name has characters that an interpolation reads only in quotes, as the folders of arms do."""
    path = tmp_path / "head=tied,q_proj=full"
    path.mkdir()
    QuerySpectra(32, "live", 0, SPECTRA, ()).save(path / QUERY_SPECTRA)
    return path


def test_a_sweep_over_rules_is_a_sweep_over_lists_of_numbers(folder: Path) -> None:
    """The file counts when a command is composed, and neither its path nor the rule is in the fingerprint."""
    rules = [f'${{energy_ranks:"{folder}",0.8,weight}}', f'${{budget_ranks:"{folder}",320,weight}}']
    word = f"model.q_proj.ranks={','.join(rules)},[1,2,2]"
    runs = preflight([*ADAPTIVE, word, "launch.dry_run=true"], multirun=True).runs
    assert [run.resolved["model"]["q_proj"]["ranks"] for run in runs] == [[1, 3, 1], [1, 3, 1], [1, 2, 2]]
    one, other, third = (config_fingerprint(run.cfg, in_sweep=True) for run in runs)
    assert one == other != third


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("${energy_ranks:gone,0.9}", "cannot be resolved. gone: does not exist or cannot be read. Write it with "),
        ('${energy_ranks:"FOLDER",0.9}', "cannot be resolved. by: cannot be 'activation'; these spectra have no act"),
        ('${energy_ranks:"FOLDER"}', "cannot be resolved. energy: cannot be None; give a number above 0"),
        ('${budget_ranks:"FOLDER",1e3,weight}', "cannot be resolved. parameters: cannot be 1000.0; give a whole"),
        ("${rank_profile:16}", "cannot be resolved. last: cannot be None; give two whole numbers, as in ${rank_prof"),
        ("${rank_profile:a,80}", "cannot be resolved. first: cannot be 'a'; give two whole numbers"),
        ("${energy_ranks:FOLDER,0.9}", "has an interpolation that cannot be read (token recognition error at: '='). "),
    ],
)
def test_a_wrong_rule_is_refused_in_one_line(value: str, message: str, folder: Path) -> None:
    word = f"model.q_proj.ranks={value.replace('FOLDER', str(folder))}"
    with pytest.raises(ConfigError) as refused:
        preflight([*ADAPTIVE, word], multirun=False, check_machine=False)
    (problem,) = refused.value.problems
    assert problem.startswith(f"model.q_proj.ranks: {message}")


def test_spectra_of_another_model_are_refused(folder: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"has spectra of a model with unique blocks 3, and model\.unique_blocks is 2"
    ):
        resolved(*ADAPTIVE, "model.layers=2", f'model.q_proj.ranks=${{energy_ranks:"{folder}",0.9,weight}}')


@pytest.mark.parametrize("width", [32, 128])
def test_the_default_rank_is_that_of_the_choice(width: int) -> None:
    config = tiny_config("model/q_proj=low_rank", f"model.width={width}")
    assert default_rank(width) == config.model.q_proj["rank"]
