"""A file of the configuration is parsed once, and again when it changes."""

from pathlib import Path

import pytest
from hydra.plugins.config_source import ConfigLoadError
from omegaconf import OmegaConf

from pgolf.config.compose import composer
from pgolf.config.sources import ParsedOnce


def test_what_is_composed_changes_no_parsed_file_and_a_changed_file_is_read_again(tmp_path: Path) -> None:
    source, file = ParsedOnce("main", f"file://{tmp_path}"), tmp_path / "a.yaml"
    file.write_text("# @package b\nx: 1\ny: ${x}\n")
    with composer():
        first = source.load_config("a")
        assert first.config == OmegaConf.create({"x": 1, "y": "${x}"})
        assert (first.header["package"], first.provider, first.path) == ("b", "main", f"file://{tmp_path}")
        first.config.x, first.header["package"] = 2, "c"
        assert source.load_config("a.yaml").config.y == 1
        assert source.load_config("a").header["package"] == "b"
        file.write_text("x: 30\n")
        assert source.load_config("a").config.x == 30
        with pytest.raises(ConfigLoadError):
            source.load_config("gone")
