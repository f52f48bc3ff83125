"""The faster composition is Hydra's own, for every stack, study and interpolated choice, and for files that change."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import MissingConfigException
from omegaconf import Container, DictConfig

from pgolf.config import quick_hydra as quick
from pgolf.config.compose import CONFIG_NAME
from pgolf.config.folders import conf_dir
from pgolf.config.quick_hydra import HYDRAS, REPLACED, quick_hydra
from pgolf.config.resolvers import register

LINES = [
    [],
    ["stack=pr908", "scale=cpu", "defects=pr908"],
    ["study=low_rank_q", "arm=low_rank_q/Q2_rank_d4"],
    ["quant=none"],
    ["stack=pr908", "scale=cpu", "model/head=mos"],
]


def composed(folder: Path, name: str, line: list[str]) -> DictConfig:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(folder), version_base="1.3"):
        return compose(name, line, return_hydra_config=True)


def nodes(node: Any, path: str = "") -> Iterator[tuple[object, ...]]:
    """Each node of a configuration: its path, its value and all that decides which values it takes later."""
    about = node._metadata
    types = [str(getattr(about, name, None)) for name in ("ref_type", "object_type", "element_type", "key_type")]
    inner = node._value() if isinstance(node, Container) else None
    yield (
        path,
        type(node).__name__,
        *types,
        about.optional,
        dict(about.flags or {}),
        inner is None and repr(node._value()),
    )
    for key, value in inner.items() if isinstance(inner, dict) else enumerate(inner if isinstance(inner, list) else ()):
        assert value._get_parent() is node
        yield from nodes(value, f"{path}.{key}")


@pytest.fixture(scope="module")
def expected() -> dict[str, list[tuple[object, ...]]]:
    """What Hydra composes."""
    register()
    return {" ".join(line): list(nodes(composed(conf_dir(), CONFIG_NAME, line))) for line in LINES}


@pytest.mark.parametrize("most_states", [1, quick.MOST_STATES])
def test_the_same_configuration(
    most_states: int, expected: dict[str, list[tuple[object, ...]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quick, "MOST_STATES", most_states)
    monkeypatch.setattr(quick, "_tree", quick.Tree())
    for line in [*LINES, *reversed(LINES)]:  # the second time from memory
        with quick_hydra():
            assert list(nodes(composed(conf_dir(), CONFIG_NAME, line))) == expected[" ".join(line)]
    assert quick._tree.states > 0
    assert [getattr(owner, name) for owner, name, _ in REPLACED] == HYDRAS


def test_interpolated_choices_and_changed_files(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "config.yaml").write_text("defaults: [_self_, {a: x}, {b: '${a}_of'}]\n")
    for name, text in (("a/x", "p: 1"), ("a/y", "p: 2"), ("b/x_of", "q: 10"), ("b/y_of", "q: 20")):
        (tmp_path / f"{name}.yaml").write_text(f"{text}\n")
    with quick_hydra():
        for _ in range(3):
            assert composed(tmp_path, "config", ["a=y"]).b.q == 20
        (tmp_path / "b" / "y_of.yaml").write_text("q: 300\n")
        assert composed(tmp_path, "config", ["a=y"]).b.q == 300
        (tmp_path / "b" / "y_of.yaml").write_text("defaults: [{c: x}]\n")
        with pytest.raises(MissingConfigException, match="In 'b/y_of'"):
            composed(tmp_path, "config", ["a=y"])
