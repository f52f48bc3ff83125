"""Every study composes, describes itself without contradiction, and its arms are what their names say."""

from pathlib import Path

import pytest
from hydra import compose
from hydra.types import RunMode

from pgolf.config.build import build_model, frozen_by
from pgolf.config.checks import problems_of
from pgolf.config.command_line import preflight
from pgolf.config.compose import CONFIG_NAME, composer
from pgolf.config.folders import conf_dir
from pgolf.config.schema import plain_config
from pgolf.config.study import describe_study
from pgolf.errors import ConfigError
from pgolf.execution.account import account
from tiny import composed_config, resolved

STUDIES = sorted(path.stem for path in (Path(conf_dir()) / "study").glob("*.yaml") if path.stem != "adhoc")
SCALES = ("cpu", "gpu1", "published")
ARMS = [(study, path.stem) for study in STUDIES for path in sorted((Path(conf_dir()) / "arm" / study).glob("*.yaml"))]


@pytest.mark.parametrize("scale", [*SCALES, "tiny"])
@pytest.mark.parametrize("name", STUDIES)
def test_a_study_describes_itself(name: str, scale: str) -> None:
    section = resolved(f"study={name}", f"scale={scale}")["study"]
    study = describe_study(section, scale)
    assert study.name == (name if scale == "cpu" else f"{name}-{scale}"), "sizes never share a folder"
    assert study.question.endswith("?")
    assert study.smallest_effect_bpb > 0
    arms = {arm for family in study.families for arm in family.arms}
    assert arms == {arm for s, arm in ARMS if s == name}, (
        "every arm's file is in a family, and every family's arm has a file"
    )


def test_a_trial_takes_the_margin_of_the_cpu_if_it_has_none() -> None:
    section = resolved("study=low_rank_q", "scale=tiny")["study"]
    study = describe_study(section, "tiny")
    assert study.smallest_effect_bpb == section["smallest_effect_bpb"]["cpu"]
    assert study.margin_reason == "That of scale=cpu: scale=tiny is for trials."
    assert describe_study(section | {"smallest_effect_bpb": {"tiny": 0.5}}, "tiny").smallest_effect_bpb == 0.5
    with pytest.raises(ConfigError, match="smallest_effect_bpb: has no value for scale=tiny"):
        describe_study(section | {"smallest_effect_bpb": {"gpu1": 0.1}}, "tiny")


def test_the_ladders_of_a_study_are_in_its_description() -> None:
    section = resolved("study=low_rank_q")["study"]
    plan = {"title": "probed", "over": "parameters", "families": ["rank", "probed"]}
    (found,) = describe_study(section | {"ladders": [plan]}, "cpu").ladders
    assert (found.title, found.over, found.families) == ("probed", "parameters", ("rank", "probed"))
    with pytest.raises(ConfigError, match="over size is not one of tokens, parameters"):
        describe_study(section | {"ladders": [plan | {"over": "size"}]}, "cpu")


def test_a_missing_margin_hides_no_other_mistake() -> None:
    section = resolved("study=low_rank_q")["study"]
    families = {"ranks": {"title": "ranks", "baseline": "nobody", "arms": ["Q0_full"]}}
    with pytest.raises(ConfigError) as refusal:
        describe_study(
            section | {"families": families, "smallest_effect_bpb": {}, "claims": [], "published": {}}, "cpu"
        )
    margin, baseline = refusal.value.problems
    assert margin.startswith("study.smallest_effect_bpb: has no value for scale=cpu ({}).")
    assert baseline.startswith("study: family ranks does not contain its baseline nobody. Correct it in ")


@pytest.mark.parametrize(("study", "arm"), ARMS)
def test_an_arm_is_named_as_its_file(study: str, arm: str) -> None:
    config = composed_config(f"study={study}", f"arm={study}/{arm}")
    assert problems_of(plain_config(config)) == []
    assert config.study.arm == arm
    assert config.data["shuffle_seed"] == config.seed, "arms of one seed see the same batches"
    frozen = frozen_by(build_model(config.model), config)
    assert not frozen or config.defects.frozen or arm.endswith("_frozen"), (
        "nothing is frozen but by name, or as published"
    )


@pytest.mark.parametrize("name", STUDIES)
def test_the_command_has_every_arm_and_at_least_three_seeds(name: str) -> None:
    with composer():
        hydra = compose(CONFIG_NAME, [f"study={name}"], return_hydra_config=True).hydra
    assert hydra.mode == RunMode.MULTIRUN
    assert list(hydra.sweeper.params) == ["seed", "arm"], "the seed first: an interrupted sweep has whole pairs"
    seeds = hydra.sweeper.params.seed.split(",")
    assert len(set(seeds)) == len(seeds) >= 3
    assert "0" not in seeds, "seed 0 is that of probes"
    assert set(hydra.sweeper.params.arm.split(",")) == {f"{name}/{arm}" for study, arm in ARMS if study == name}


def test_the_command_line_beats_the_study() -> None:
    arms = "arm=higher_rank_heads/T0_tied,higher_rank_heads/T6_simplex_d4"
    line = preflight(["study=higher_rank_heads", arms, "seed=7,8"], multirun=False)
    ran = [(run.cfg.seed, run.cfg.study.arm) for run in line.runs]
    assert ran == [(7, "T0_tied"), (7, "T6_simplex_d4"), (8, "T0_tied"), (8, "T6_simplex_d4")], "the seed stays first"
    assert set(line.replaced_sweep_keys) == {"seed", "arm"}


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["study=higher_rank_heads,adhoc"], "study: cannot be swept"),
        (["study=higher_rank_hats"], "Did you mean higher_rank_heads"),
        (["study=higher_rank_heads", "arm=higher_rank_heads/T8"], "arm: no such choice (higher_rank_heads/T8)"),
        (["study=higher_rank_heads", "arm=higher_rank_heads/T8"], "Choices: higher_rank_heads/H0_tied"),
        (["study.nmae=x"], "Did you mean study.name"),
    ],
)
def test_mistakes_are_named(argv: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        preflight(argv, multirun=True)
    assert said in str(refusal.value)


@pytest.mark.parametrize("name", STUDIES)
def test_published_arms_have_their_published_parameters(name: str) -> None:
    study = describe_study(resolved(f"study={name}")["study"], "cpu")
    for arm, row in study.published.items():
        config = composed_config(f"study={name}", f"arm={name}/{arm}", "scale=published")
        assert sum(p.numel() for p in build_model(config.model).parameters()) == row["params.total"]


@pytest.mark.parametrize("scale", SCALES)
def test_independent_blocks_of_equal_parameters_are_equal_within_two_percent(scale: str) -> None:
    shared, independent = (
        account(composed_config("study=shared_weights", f"arm=shared_weights/{arm}", f"scale={scale}"))
        for arm in ("S0_shared", "S2_independent_parameters")
    )
    assert abs(independent.total / shared.total - 1) < 0.02


@pytest.mark.parametrize("scale", SCALES)
def test_half_the_length_is_half(scale: str) -> None:
    whole, half, windows = (
        composed_config("study=shared_weights", f"arm=shared_weights/{arm}", f"scale={scale}")
        for arm in ("S0_shared", "S4_half_length", "S5_shared_scored_at_half")
    )
    assert half.train.seq_len * 2 == whole.train.seq_len
    assert windows.eval["window_tokens"] == half.train.seq_len
    assert half.train.batch_tokens == whole.train.batch_tokens


def test_a_study_keeps_its_arms_under_another_name() -> None:
    runs = preflight(["study=low_rank_q", "study.name=mine", "seed=1"], multirun=False).runs
    assert {run.choices["arm"].split("/")[0] for run in runs} == {"low_rank_q"}
    assert {run.cfg.study.name for run in runs} == {"mine"}


def test_a_size_that_a_study_does_not_know_is_named() -> None:
    with pytest.raises(ConfigError) as refusal:
        preflight(
            ["study=shared_weights", "arm=shared_weights/S4_half_length", "train.batch_tokens=8192"], multirun=False
        )
    assert "seq_len" in str(refusal.value)
    assert "8192" in str(refusal.value)


def test_the_overrides_of_a_run_are_as_typed_without_those_of_hydra():
    typed = ["model/head=tied,mos", "data.shuffle_seed=${seed}", "hydra.verbose=false", "hydra/launcher=basic"]
    line = preflight(typed, multirun=True)
    assert [run.overrides for run in line.runs] == [
        (f"model/head={head}", "data.shuffle_seed=${seed}") for head in ("tied", "mos")
    ]


def test_options_of_hydra_are_kept_where_a_value_needs_a_swept_choice():
    """A value of a swept choice cannot be composed before the sweep; the launcher's options can."""
    typed = ["model/head=factorized,mos", "model.head.rank=8", "hydra.verbose=true", "hydra.sweeper.max_batch_size=1"]
    line = preflight(typed, multirun=True)
    assert line.deferred == ("model.head.rank=8",)
    assert (line.whole.hydra.verbose, line.whole.hydra.sweeper.max_batch_size) == (True, 1)
    with pytest.raises(ConfigError, match=r"hydra\.sweeper\.max_batch_size: must be from 1 to 2,147,483,647 \(-1\)"):
        preflight(["seed=1,2", "hydra.sweeper.max_batch_size=-1"], multirun=True)
