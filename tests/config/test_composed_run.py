"""Values set on a copy of composed choices give what Hydra composes from both at once."""

from pathlib import Path

import pytest
from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from pgolf.config.checks import problems_of
from pgolf.config.command_line import preflight
from pgolf.config.compose import CONFIG_NAME, composer
from pgolf.config.composed_run import compose_whole, parse
from tiny import resolved

LINES = [
    "",
    "model.width=64 seed=7 train.steps=12",
    "train.steps=12 stack=pr908 scale=cpu model/head=mos model.head.experts=2",
    "study=low_rank_q arm=low_rank_q/Q1_rank_3d8 seed=3",
    "optim/algorithm@optim.roles.head=adam optim.roles.head.lr=0.1 data.shuffle_seed=${seed}",
    "model/side_inputs=[bigram_embed] ~model.side_inputs.bigram_embed +model.side_inputs.other={a:1}",
    "hydra.verbose=true +hydra.job.env_set.A=b 'optim.frozen=[model.head]' launch.checkpoint_s=null",
]


@pytest.mark.parametrize("line", LINES)
def test_it_is_what_hydra_composes(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with composer():
        compose_whole([], GlobalHydra.instance().config_loader())
    monkeypatch.chdir(tmp_path)  # what was composed elsewhere is not used here
    words = [word.strip("'") for word in line.split()]
    with composer():
        loader = GlobalHydra.instance().config_loader()
        cfg = compose_whole(list(zip(words, parse(words, loader), strict=True)), loader)
        direct = compose(CONFIG_NAME, words, return_hydra_config=True)
    for config in (cfg, direct):
        config.hydra.overrides.task = []  # of values, what is not needed
        config.hydra.job.override_dirname = ""
    assert OmegaConf.to_container(cfg, resolve=False) == OmegaConf.to_container(direct, resolve=False)


def test_of_a_key_that_is_given_twice_the_last_counts() -> None:
    words = ["train.steps=24", "data=docs", "train.steps=4"]
    single, swept = (preflight(words, multirun=multirun).runs[0] for multirun in (False, True))
    assert single.overrides == swept.overrides == ("train.steps=4", "data=docs")
    assert single.cfg.train.steps == 4


def test_a_key_that_is_not_text_is_refused() -> None:
    config = resolved()
    config["quant"]["rules"]["rest"][1] = 2
    assert problems_of(config) == ["quant.rules.rest: has a key that is not text (1). Write it in quotes"]
