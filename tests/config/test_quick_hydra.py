"""The faster composition is Hydra's own, for every stack, study and interpolated choice, and for files that change."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal import defaults_list
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from pgolf.config.compose import CONFIG_NAME
from pgolf.config.folders import conf_dir
from pgolf.config.quick_hydra import file_source, hydras_choices, quick_hydra
from pgolf.config.resolvers import register

LINES = [
    [],
    ["stack=pr908", "scale=cpu", "defects=pr908"],
    ["study=low_rank_q", "arm=low_rank_q/Q2_rank_d4"],
    ["quant=none"],
]


def composed(folder: Path, name: str, line: list[str]) -> DictConfig:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(folder), version_base="1.3"):
        return compose(name, line, return_hydra_config=True)


@pytest.mark.parametrize("line", LINES, ids=" ".join)
def test_the_same_configuration(line: list[str]) -> None:
    register()
    hydras_load = file_source().load_config
    expected = OmegaConf.to_container(composed(conf_dir(), CONFIG_NAME, line))
    for _ in range(2):  # the second time from memory
        with quick_hydra():
            assert file_source().load_config is not hydras_load
            assert OmegaConf.to_container(composed(conf_dir(), CONFIG_NAME, line)) == expected
    assert file_source().load_config is hydras_load
    assert defaults_list._create_interpolation_map is hydras_choices


def test_interpolated_choices_and_changed_files(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "config.yaml").write_text("defaults: [_self_, {a: x}, {b: '${a}_of'}]\n")
    for name, text in (("a/x", "p: 1"), ("a/y", "p: 2"), ("b/x_of", "q: 10"), ("b/y_of", "q: 20")):
        (tmp_path / f"{name}.yaml").write_text(f"{text}\n")
    with quick_hydra():
        assert composed(tmp_path, "config", ["a=y"]).b.q == 20
        (tmp_path / "b" / "y_of.yaml").write_text("q: 300\n")
        assert composed(tmp_path, "config", ["a=y"]).b.q == 300
