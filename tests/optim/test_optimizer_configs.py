"""Every YAML of conf/optim and conf/optim/algorithm with every variant of every slot, including new ones."""

from dataclasses import replace

import pytest
import torch

from pgolf.config.build import build_model, build_optimizers, check_optimizer_settings
from pgolf.errors import ConfigError
from pgolf.machine.ranks import Ranks
from pgolf.nn.naming import named_tensors
from pgolf.optim.roles import parameter_roles
from pgolf.training.loop import train
from pgolf.training.runlog import RunLog
from tiny import ALL_VARIANTS, bytes_of_state, configured_job, loop_settings, stems, tiny_config, tiny_model

OPTIMIZERS = [f"optim={stem}" for stem in stems("optim")] + [
    f"optim/algorithm@optim.roles.matrix={s}" for s in stems("optim/algorithm")
]


def test_the_yamls_are_found():
    assert {"optim=muon", "optim=adamw"} <= set(OPTIMIZERS)
    assert len(OPTIMIZERS) >= 4


@pytest.mark.parametrize("variant", ALL_VARIANTS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_parameter_is_owned_exactly_once(optimizer, variant):
    model = build_model(tiny_config(variant).model)
    trained = build_optimizers(model, tiny_config(optimizer), Ranks())
    owned = [id(p) for each in trained.optimizers.values() for group in each.param_groups for p in group["params"]]
    assert len(owned) == len(set(owned))
    assert set(owned) == {id(p) for p in model.parameters()}
    assert trained.frozen == set()


@pytest.mark.parametrize("variant", ["attn_res", "depth_attention", "dense_scalars"])
def test_weights_over_depth_have_no_weight_decay(variant):
    """optim=pr908 decays all roles. With the gradient zero a step then only decays."""
    config = tiny_config(f"model/depth={variant}", "optim=pr908")
    model = tiny_model(config)
    before = {name: p.clone() for name, p in named_tensors(model).items()}
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    for optimizer in build_optimizers(model, config, Ranks()).optimizers.values():
        optimizer.step()
    still = {name for name, p in named_tensors(model).items() if torch.equal(p, before[name])}
    assert still == {name for name in before if name.startswith("model.depth.")}


def test_without_them_an_optimizer_has_one_group():
    config = tiny_config("optim=pr908")
    groups = [
        len(each.param_groups) for each in build_optimizers(tiny_model(config), config, Ranks()).optimizers.values()
    ]
    assert groups == [1] * len(groups)


def three_steps(config: dict, folder) -> dict[str, bytes]:
    model = tiny_model(config, seed=None)
    job, _ = configured_job(config, model, 3)
    with RunLog(folder, is_first=False) as log:
        train(job, loop_settings(config), Ranks(), log)
    return bytes_of_state(model)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_same_seed_same_bytes_and_every_weight_moves(optimizer, tmp_path):
    arms = ("model/q_proj=low_rank", "model/embedding=albert", "model/head=untied", "model.head.zero_up=false")
    config = tiny_config(optimizer, *arms)
    first = three_steps(config, tmp_path)
    assert first == three_steps(config, tmp_path)
    before = bytes_of_state(tiny_model(config, seed=None))
    assert {name for name in before if before[name] == first[name]} == set()
    assert three_steps(replace(config, seed=2), tmp_path) != first


@pytest.mark.parametrize("variant", ALL_VARIANTS)
def test_same_bytes_for_every_variant(variant, tmp_path):
    config = tiny_config(variant)
    if "zero_up" in config.model.head:
        config.model.head["zero_up"] = False
    assert three_steps(config, tmp_path) == three_steps(config, tmp_path)


def test_published_groups_of_the_baseline():
    """Muon has the six matrices of each block, Adam the table and the scalars, each at its published rate."""
    model = build_model(tiny_config().model)
    trained = build_optimizers(model, tiny_config("optim=muon"), Ranks())
    kinds = {role: (type(each).__name__, each.param_groups[0]["lr"]) for role, each in trained.optimizers.items()}
    assert kinds == {"embedding": ("Adam", 0.05), "matrix": ("Muon", 0.04), "scalar": ("Adam", 0.04)}
    assert len(trained.names["matrix"]) == 6 * 3
    assert trained.names["embedding"] == ["model.embedding.table.weight"]
    assert {name.rpartition(".")[2] for name in trained.names["scalar"]} == {
        "q_gain",
        "attn_scale",
        "mlp_scale",
        "resid_mix",
        "skip_weights",
    }


def test_untied_heads_have_the_published_rate():
    for head in ("untied", "factorized", "mos", "mixture_of_logits", "simplex"):
        config = tiny_config(f"model/head={head}")
        model = build_model(config.model)
        roles = parameter_roles(model)
        assert {role for name, role in roles.items() if name.startswith("model.head.")} == {"head"}
        trained = build_optimizers(model, config, Ranks())
        assert trained.optimizers["head"].param_groups[0]["lr"] == 0.008


def test_published_momentum_warmup_keeps_its_share_of_the_run():
    for steps, warmup in ((13780, 500), (1378, 50), (27, 1)):
        assert tiny_config(f"train.steps={steps}").optim.roles.matrix["momentum_warmup_steps"] == warmup


def test_muon_for_a_role_with_vectors_is_refused_with_path_and_shape():
    config = tiny_config("optim/algorithm@optim.roles.scalar=muon")
    with pytest.raises(ConfigError, match=r"optim\.roles\.scalar\._target_.*matrices only.*to Adam"):
        build_optimizers(build_model(config.model), config, Ranks())
    problems = check_optimizer_settings(config.optim, {"scalar": [torch.Size([4]), torch.Size([2, 32])]})
    assert len(problems) == 1
    assert problems[0].startswith("optim.roles.scalar._target_")


def test_settings_of_a_role_without_parameters_are_checked_too():
    config = tiny_config("optim.roles.head.lr=-1")
    assert "model.head." not in "".join(named_tensors(build_model(config.model)))
    assert check_optimizer_settings(config.optim, {})[0].startswith("optim.roles.head.lr")
