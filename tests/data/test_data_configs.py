"""Every conf/data YAML names a variant and exactly its hyperparameters."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import pytest
from omegaconf import OmegaConf

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "conf" / "data").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_keys_are_the_constructor_keywords(path: Path) -> None:
    config = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    assert isinstance(config, dict)
    assert config.pop("_partial_") is True
    module, name = str(config.pop("_target_")).rsplit(".", 1)
    parameters = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    keywords = {key: each for key, each in parameters.items() if each.kind is each.KEYWORD_ONLY}
    assert set(config) == set(keywords)
    assert set(parameters) - set(keywords) == {"cache_dir"}
    assert all(each.default is each.empty for each in keywords.values())
    assert path.read_text().startswith("# ")
    assert "python -m pgolf." in path.read_text().split("_target_")[0]


def test_the_four_variants_are_there() -> None:
    assert {path.stem for path in CONFIGS} >= {"docs", "text", "shards", "fineweb"}
