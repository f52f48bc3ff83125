"""Every parameter has one role and one optimizer, or is frozen on purpose; an untrained one is an error."""

import pytest
import torch
from torch import Tensor, nn

from pgolf.config.build import build_model, build_optimizers, names_by_role
from pgolf.config.schema import Config
from pgolf.errors import ConfigError, CoverageError
from pgolf.machine.ranks import Ranks
from pgolf.nn.head.untied import Untied
from pgolf.nn.mlp.relu2 import Relu2
from pgolf.nn.naming import matches, named_tensors
from pgolf.nn.primitives import Linear
from pgolf.optim.roles import check_coverage, frozen_names, parameter_roles
from pgolf.optim.schedules import Budget
from pgolf.slots import ROLES
from pgolf.training.gradient_watch import GradientWatch
from pgolf.training.loop import train
from pgolf.training.runlog import RunLog
from tiny import (
    ALL_VARIANTS,
    bytes_of_state,
    configured_job,
    loop_settings,
    tiny_config,
    tiny_job,
    tiny_model,
    tiny_stream,
    variants,
)


class ForgetsOne(Untied):
    """Its roles() leaves `scale` out."""

    def __init__(self, dims, embedding, *, zero_up: bool):
        super().__init__(dims, embedding, zero_up=zero_up)
        self.scale = nn.Parameter(torch.empty(()))

    def reset_parameters(self) -> None:
        nn.init.ones_(self.scale)

    def roles(self):
        return {"up.weight": "head"}

    def scores(self, x_BTD: Tensor) -> Tensor:
        return self.scale * super().scores(x_BTD)


class RemembersAll(ForgetsOne):
    def roles(self):
        return {"up.weight": "head", "scale": "scalar"}


class NamesNothing(ForgetsOne):
    """Its roles() names its parameters, and something that is not a parameter."""

    def roles(self):
        return {"up.weight": "head", "scale": "scalar", "scales": "scalar"}


class NeverUsed(Relu2):
    """Owns a matrix that the forward pass leaves out."""

    def __init__(self, dims, layer: int):
        super().__init__(dims, layer)
        self.spare = Linear(dims.width, dims.width)


class TimesZero(Relu2):
    """A matrix whose output is multiplied by zero."""

    def __init__(self, dims, layer: int):
        super().__init__(dims, layer)
        self.gate = Linear(dims.width, dims.width)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return super().forward(x_BTD) + 0.0 * self.gate(x_BTD)


class Detached(Relu2):
    """A matrix whose output is cut off from the graph."""

    def __init__(self, dims, layer: int):
        super().__init__(dims, layer)
        self.side = Linear(dims.width, dims.width)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return super().forward(x_BTD) + self.side(x_BTD).detach()


class KeepsBuffer(Relu2):
    """Keeps a float buffer in its state."""

    def __init__(self, dims, layer: int):
        super().__init__(dims, layer)
        self.register_buffer("running", torch.zeros(dims.width))
        self.register_buffer("scratch", torch.zeros(dims.width), persistent=False)
        self.register_buffer("count", torch.zeros((), dtype=torch.long))

    def reset_parameters(self) -> None:
        for buffer in self.buffers():
            buffer.zero_()


class TimedSGD(torch.optim.SGD):
    """With a clock of its own: 40 ms per step, independent of the machine."""

    steps = 0

    def step(self, closure=None):
        self.steps += 1
        super().step(closure)

    def perf_counter(self) -> float:
        return 0.04 * self.steps


def with_slot(slot: str, cls: type, *overrides: str, **keys) -> Config:
    config = tiny_config(*overrides)
    setattr(config.model, slot, {"_target_": cls, "_partial_": True, **keys})
    return config


def run(config: Config, tmp_path, steps: int) -> list[str]:
    """Train with the real loop from the initial weights. Returns the metrics of the training steps."""
    job, _ = configured_job(config, tiny_model(config, seed=None), steps)
    try:
        with RunLog(tmp_path, is_first=True) as log:
            train(job, loop_settings(config), Ranks(), log)
    finally:
        lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    return lines


class TestRoles:
    @pytest.mark.parametrize("variant", ALL_VARIANTS)
    def test_every_parameter_of_every_variant_has_one(self, variant):
        model = build_model(tiny_config(variant).model)
        roles = parameter_roles(model)
        assert roles.keys() == named_tensors(model).keys()
        assert set(roles.values()) <= set(ROLES)
        for name, role in roles.items():
            ndim = named_tensors(model)[name].ndim
            if "table" in name:
                assert role == "embedding"
            elif ndim < 2 or any(key in name for key in ("resid_mix", "skip_weights")):
                assert role == "scalar"
            else:
                assert role == ("head" if name.startswith("model.head.") else "matrix"), name

    @pytest.mark.parametrize("stem", variants("head"))
    def test_names_begin_with_the_config_path_of_their_slot(self, stem):
        config = tiny_config(f"model/head={stem}")
        slots = {*vars(config.model), "attention", "gains"}
        assert {name.split(".")[1] for name in named_tensors(build_model(config.model))} <= slots

    def test_a_class_that_answers_speaks_for_all_below_it(self):
        class Parent(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.a, self.b = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)

            def roles(self):
                return {"a.weight": "scalar"}

        parent = Parent()
        assert parameter_roles(parent) == {"model.a.weight": "scalar"}


class TestCoverage:
    def test_a_tensor_that_roles_forgets_is_named(self):
        config = with_slot("head", ForgetsOne, zero_up=True)
        with pytest.raises(
            CoverageError, match=r"no optimizer trains: model\.head\.scale\. .*optim\.frozen=\[model\.head\.scale\]"
        ):
            build_optimizers(build_model(config.model), config, Ranks())

    def test_the_remedies_work(self):
        config = with_slot("head", RemembersAll, zero_up=True)
        assert build_optimizers(build_model(config.model), config, Ranks()).names["head"] == ["model.head.up.weight"]
        config = with_slot("head", ForgetsOne, "optim.frozen=[model.head.scale]", zero_up=True)
        assert build_optimizers(build_model(config.model), config, Ranks()).frozen == {"model.head.scale"}

    def test_a_role_for_an_unknown_parameter_is_named(self):
        config = with_slot("head", NamesNothing, zero_up=True)
        with pytest.raises((CoverageError, ConfigError), match=r"model\.head\.scales"):
            build_optimizers(build_model(config.model), config, Ranks())

    def test_two_owners_are_named(self):
        model = build_model(tiny_config().model)
        names = list(named_tensors(model))
        with pytest.raises(CoverageError, match=r"two optimizers.*model\.embedding\.table\.weight"):
            check_coverage(model, [names, names[:1]], set())
        with pytest.raises(CoverageError, match=r"trained and frozen: model\.embedding\.table\.weight"):
            check_coverage(model, [names], {names[0]})
        check_coverage(model, [names[1:]], {names[0]})

    def test_a_float_buffer_in_the_state_is_named_and_other_buffers_pass(self):
        config = with_slot("mlp", KeepsBuffer)
        with pytest.raises(
            CoverageError,
            match=r"not parameters: model\.mlp\.0\.running, model\.mlp\.1\.running, model\.mlp\.2\.running\.",
        ):
            names_by_role(build_model(config.model), set())


class TestGradientsThatNeverCome:
    @pytest.mark.parametrize("cls", [NeverUsed, TimesZero, Detached])
    @pytest.mark.parametrize(("steps", "raised_at"), [(25, 20), (20, 20), (7, 7)])
    def test_stop_the_run_by_name(self, cls, steps, raised_at, tmp_path):
        name = {NeverUsed: "spare", TimesZero: "gate", Detached: "side"}[cls]
        with pytest.raises(
            CoverageError, match=rf"no gradient in {raised_at} steps: model\.mlp\.0\.{name}\.weight, .*optim\.frozen="
        ):
            run(with_slot("mlp", cls), tmp_path, steps)
        assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) in (raised_at - 1, raised_at)

    @pytest.mark.parametrize("cls", [NeverUsed, TimesZero, Detached])
    def test_freezing_them_on_purpose_lets_the_run_pass(self, cls, tmp_path):
        name = {NeverUsed: "spare", TimesZero: "gate", Detached: "side"}[cls]
        frozen = ",".join(f"model.mlp.{i}.{name}" for i in range(3))
        assert len(run(with_slot("mlp", cls, f"optim.frozen=[{frozen}]"), tmp_path, 5)) == 5

    def test_a_budget_in_seconds_that_ends_early_is_checked_too(self, tmp_path, monkeypatch):
        config = with_slot("mlp", NeverUsed)
        model = tiny_model(config)
        names = [name for group in names_by_role(model, set()).values() for name in group]
        timed = TimedSGD([p for p in model.parameters()], lr=0.1)
        monkeypatch.setattr("pgolf.training.pace.time", timed)
        job = tiny_job(model, names, [timed], tiny_stream(config), 0, budget=Budget(None, 0.3))
        with RunLog(tmp_path, is_first=False) as log, pytest.raises(CoverageError, match="spare"):
            train(job, loop_settings(config), Ranks(), log)
        assert GradientWatch.PROOF_STEPS <= timed.steps == 8 < GradientWatch.WATCHED_STEPS

    def test_a_part_can_be_given_another_role(self):
        config = tiny_config(
            "model/embedding=albert", "optim.role_of=[model.embedding:scalar,model.embedding.projection:head]"
        )
        trained = build_optimizers(build_model(config.model), config, Ranks()).names
        assert trained["head"] == ["model.embedding.projection.weight"]
        assert "model.embedding.table.weight" in trained["scalar"]
        assert "embedding" not in trained

    def test_one_gradient_in_time_is_enough(self):
        p = nn.Parameter(torch.zeros(3))
        watch, silent = GradientWatch({"model.p": p}), GradientWatch({"model.p": p})
        for step in range(GradientWatch.WATCHED_STEPS):
            p.grad = torch.tensor([0.0, 1e-30 if step == 11 else 0.0, 0.0])
            watch.after_backward()
        assert watch.finish() == []
        p.grad = None
        for _ in range(GradientWatch.WATCHED_STEPS - 1):
            silent.after_backward()
        with pytest.raises(CoverageError, match=r"model\.p"):
            silent.after_backward()

    @pytest.mark.parametrize("variant", ALL_VARIANTS)
    def test_no_shipped_variant_is_accused_in_a_short_run(self, variant, tmp_path):
        assert len(run(tiny_config(variant), tmp_path, GradientWatch.PROOF_STEPS)) == GradientWatch.PROOF_STEPS

    @pytest.mark.parametrize("steps", range(1, GradientWatch.PROOF_STEPS))
    def test_too_few_steps_prove_nothing_and_warn(self, steps, tmp_path):
        """At the first step, gradients stop at the zero output maps. Such a run must not report dead weights."""
        config = with_slot("mlp", NeverUsed)
        job, _ = configured_job(config, tiny_model(config, seed=None), steps)
        with RunLog(tmp_path, is_first=False) as log:
            trace = train(job, loop_settings(config), Ranks(), log)
        assert len(trace.warnings) == 1
        assert f"no gradient in {steps} steps" in trace.warnings[0]
        assert "model.mlp.0.spare.weight" in trace.warnings[0]

    def test_a_single_layer_has_no_skip_weights_to_train(self, tmp_path):
        assert len(run(tiny_config("model.layers=1"), tmp_path, 6)) == 6


class TestFrozen:
    @pytest.mark.parametrize(
        "patterns",
        [
            ["model.embedding"],
            ["model.q_proj.0.proj.weight", "model.gains.2"],
            ["model.mlp.", "model.attention.1.q_gain"],
        ],
        ids=str,
    )
    def test_frozen_tensors_keep_their_bytes_and_all_others_move(self, patterns, tmp_path):
        config = tiny_config(f"optim.frozen=[{','.join(patterns)}]", "optim=adamw")
        model = tiny_model(config)
        frozen = frozen_names(model, patterns)
        assert frozen
        before = bytes_of_state(model)
        job, trained = configured_job(config, model, 3)
        assert trained.frozen == frozen
        with RunLog(tmp_path, is_first=False) as log:
            train(job, loop_settings(config), Ranks(), log)
        after = bytes_of_state(model)
        assert {f"model.{name}" for name in before if before[name] == after[name]} == frozen
        assert all(named_tensors(model)[name].grad is None for name in frozen)

    def test_prefixes_end_at_a_dot(self):
        assert matches("model.gains.1.attn_scale", "model.gains.1")
        assert matches("model.gains.1.attn_scale", "model.gains.1.")
        assert matches("model.gains.1.attn_scale", "model.gains.1.attn_scale")
        assert not matches("model.gains.10.attn_scale", "model.gains.1")
        assert not matches("model.gains.1.attn_scale", "model.gains.1.attn")
        assert not matches("model.gains.1.attn_scale", "gains")
        model = build_model(tiny_config("model.layers=11").model)
        assert frozen_names(model, ["model.gains.1"]) == {
            f"model.gains.1.{n}" for n in ("attn_scale", "mlp_scale", "resid_mix")
        }

    @pytest.mark.parametrize(
        "pattern", ["model.head", "model.embed", "embedding", "model.gains.3", "", ".", "model.gains.1.attn"]
    )
    def test_a_pattern_that_matches_nothing_is_an_error(self, pattern):
        model = build_model(tiny_config().model)
        with pytest.raises(ConfigError, match=r"optim\.frozen: matches no parameter"):
            frozen_names(model, ["model.embedding", pattern])

    def test_freezing_everything_is_an_error(self):
        config = tiny_config("optim.frozen=[model]")
        with pytest.raises(ConfigError, match="nothing to train"):
            build_optimizers(build_model(config.model), config, Ranks())

    def test_a_frozen_path_still_carries_gradient_to_what_lies_below(self, tmp_path):
        config = tiny_config("model/head=untied", "model.head.zero_up=false", "optim.frozen=[model.head]")
        model = tiny_model(config)
        before = bytes_of_state(model)
        job, _ = configured_job(config, model, 2)
        with RunLog(tmp_path, is_first=False) as log:
            train(job, loop_settings(config), Ranks(), log)
        after = bytes_of_state(model)
        assert {name for name in before if before[name] == after[name]} == {"head.up.weight"}


def test_untrained_names_stay_out_of_the_watch(tmp_path):
    """The watch checks trained tensors only: a job that trains one tensor passes although others have no gradient."""
    config = tiny_config()
    model = tiny_model(config)
    name = "model.q_proj.1.proj.weight"
    for other, p in named_tensors(model).items():
        p.requires_grad_(other == name)
    job = tiny_job(model, [name], [torch.optim.SGD([named_tensors(model)[name]], lr=0.1)], tiny_stream(config), 2)
    with RunLog(tmp_path, is_first=False) as log:
        assert train(job, loop_settings(config), Ranks(), log).steps == 2
