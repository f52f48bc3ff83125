"""Each fault of a published run, switched on in a real run: what it does, and that without it nothing of the kind
happens.
"""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from pgolf.config.auto import decide_auto
from pgolf.config.build import (
    build_averaging,
    build_fake,
    build_model,
    build_optimizers,
    build_quantizer,
    start_weights,
)
from pgolf.execution.artifact import pack, unpack
from pgolf.execution.context import open_context
from pgolf.execution.execute import loop_settings, make_training
from pgolf.execution.finish import load_average
from pgolf.machine.ranks import Ranks
from pgolf.nn.naming import named_tensors
from pgolf.optim.muon import Muon
from pgolf.optim.roles import parameter_roles
from pgolf.optim.schedules import Budget
from pgolf.training.loop import train
from pgolf.training.pace import Trace
from pgolf.training.runlog import RunLog
from tiny import CPU, bytes_of_state, composed_config, logp_of, random_ids

HEAD = ("model/head=factorized",)


@pytest.fixture
def run(tiny, tmp_path):
    """A run of a stack as the command would build it, trained for its first `steps` steps."""

    def made(stack: str, *overrides: str, steps: int = 24) -> SimpleNamespace:
        options = [f"stack={stack}", "scale=cpu", "device=cpu", *tiny, *overrides]
        options += ["eval.stride=8"] if stack == "pr908" else []
        config = decide_auto(composed_config(*options), in_sweep=True)
        context = open_context(config, Ranks())
        model = build_model(config.model)
        start_weights(model, config.model, config.seed, CPU)
        before = {name: p.detach().clone() for name, p in named_tensors(model).items()}
        trained = build_optimizers(model, config, Ranks())
        job = replace(make_training(context, model, trained, build_averaging(config.optim)), budget=Budget(steps, None))
        with RunLog(tmp_path, is_first=False) as log:
            trace = train(job, replace(loop_settings(config), val_every=0), Ranks(), log) if steps else Trace()
        names = SimpleNamespace(frozen=trained.frozen, trained=set(job.trainable), roles=parameter_roles(model))
        return SimpleNamespace(
            config=config,
            corpus=context.corpus,
            model=model,
            before=before,
            job=job,
            names=names,
            evaluation=context.evaluation,
            trace=trace,
            stream=context.stream,
        )

    return made


def same_bytes(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.detach().numpy().tobytes() == b.detach().numpy().tobytes()


class TestFrozen:
    @pytest.mark.parametrize(
        ("stack", "prefixes", "overrides"),
        [
            ("pr908", ("model.head.", "model.side_inputs.value_embedding."), HEAD),
            ("pr908", ("model.side_inputs.value_embedding.",), ()),
            ("pr1481", ("model.embedding.projection.",), ()),
        ],
        ids=str,
    )
    def test_the_named_keep_their_bytes_and_every_other_tensor_changes(self, run, stack, prefixes, overrides):
        done = run(stack, f"defects={stack}", *overrides)
        after = named_tensors(done.model)
        assert done.names.frozen == {name for name in after if name.startswith(prefixes)} != set()
        assert done.names.trained == set(after) - done.names.frozen
        assert {name for name in after if same_bytes(after[name], done.before[name])} == done.names.frozen

    @pytest.mark.parametrize(("stack", "overrides"), [("pr908", HEAD), ("pr1481", ())], ids=str)
    def test_without_the_defect_all_is_trained(self, run, stack, overrides):
        done = run(stack, *overrides)
        assert done.names.frozen == set()
        assert [name for name, p in named_tensors(done.model).items() if same_bytes(p, done.before[name])] == []

    @pytest.mark.parametrize(
        ("stack", "overrides"),
        [
            ("pr908", ("defects=pr908", "defects.bf16_embedding=false", *HEAD)),
            ("pr470", ("optim.frozen=[model.embedding]",)),
        ],
        ids=str,
    )
    def test_an_average_leaves_frozen_bytes_alone(self, run, stack, overrides):
        done = run(stack, *overrides)
        live = bytes_of_state(done.model)
        load_average(done.model, done.job.averaging.average())
        after = named_tensors(done.model)
        assert {
            name for name, p in after.items() if live[name.removeprefix("model.")] == p.detach().numpy().tobytes()
        } == done.names.frozen
        assert [name for name in done.names.frozen if not same_bytes(after[name], done.before[name])] == []


def squares(tensors) -> float:
    return sum(float(t.double().square().sum()) for t in tensors)


class TestStaleGradients:
    def gradients(self, done, step: int) -> dict[str, torch.Tensor]:
        """Those of one step alone, at the weights that a run of `step` steps ended with."""
        batches = [done.stream.micro_batch(step, i) for i in range(done.stream.micro_batches)]
        loss = sum(done.model(x, y).mean() for x, y in batches) / len(batches)
        names = {name: p for name, p in named_tensors(done.model).items() if p.requires_grad}
        return dict(zip(names, torch.autograd.grad(loss, list(names.values())), strict=True))

    def test_they_pile_up_are_clipped_and_count_in_the_norm(self, run):
        """Each step s <- c (s + h), live gradients g <- c g, with c = min(1, 0.3 / sqrt(|g|^2 + |s + h|^2))."""
        options = ("defects=pr908", "defects.bf16_embedding=false", *HEAD)
        stale, factors, done = None, [], run("pr908", *options, steps=0)
        for step in range(5):
            fresh, frozen = self.gradients(done, step), sorted(done.names.frozen)
            assert done.trace.qat_from_step is None
            piled = {name: fresh[name] + (0 if stale is None else stale[name]) for name in frozen}
            norm = math.sqrt(squares(piled.values()) + squares(fresh[name] for name in done.names.trained))
            factors.append(min(1.0, 0.3 / (norm + 1e-6)))
            stale = {name: factors[-1] * g for name, g in piled.items()}
            done = run("pr908", *options, steps=step + 1)
            after = named_tensors(done.model)
            for name in frozen:
                torch.testing.assert_close(
                    after[name].grad, stale[name], rtol=1e-3, atol=1e-7, msg=f"{name} after {step + 1} steps"
                )
            for name in done.names.trained:
                torch.testing.assert_close(after[name].grad, factors[-1] * fresh[name], rtol=1e-3, atol=1e-7, msg=name)
        assert min(factors) < 0.9, "the clip was active"
        assert squares(stale.values()) > 0
        assert squares(stale.values()) != pytest.approx(
            factors[-1] ** 2 * squares(fresh[name] for name in stale), rel=0.05
        ), "more than the last step's"

    def test_without_the_defect_frozen_tensors_have_none_and_the_norm_is_that_of_the_trained(self, run):
        options = ("optim.frozen=[model.head,model.side_inputs.value_embedding]", *HEAD)
        before, after = run("pr908", *options, steps=2), run("pr908", *options, steps=3)
        fresh = self.gradients(before, 2)
        assert set(fresh) == before.names.trained
        factor = min(1.0, 0.3 / (math.sqrt(squares(fresh.values())) + 1e-6))
        for name, p in named_tensors(after.model).items():
            if name in after.names.frozen:
                assert p.grad is None, name
            else:
                torch.testing.assert_close(p.grad, factor * fresh[name], rtol=1e-3, atol=1e-7, msg=name)

    def test_they_change_what_is_learnt(self, run):
        kept = run("pr908", "defects=pr908", *HEAD, steps=6)
        dropped = run("pr908", "defects=pr908", "defects.keep_frozen_gradients=false", *HEAD, steps=6)
        one, other = bytes_of_state(kept.model), bytes_of_state(dropped.model)
        assert {f"model.{name}" for name in one if one[name] != other[name]} == kept.names.trained


class TestFakeQuantizationInTraining:
    @pytest.mark.parametrize("defects", ["none", "pr908"])
    def test_the_loop_is_given_the_configured_one(self, run, defects):
        done = run("pr908", f"defects={defects}", steps=2)
        x, y = done.stream.micro_batch(0, 0)
        fake = build_fake(done.config, build_quantizer(done.config))
        with torch.no_grad():
            seen, unquantized = done.job.quantized(x, y), done.model(x, y)
            for name, p in named_tensors(done.model).items():
                p.copy_(fake(name, p))
            assert torch.equal(seen, done.model(x, y))
        assert not torch.equal(seen, unquantized)


class TestQatAtEvaluation:
    def test_the_loaded_model_is_quantized_again(self, run, tmp_path):
        done = run("pr908", "defects=pr908")
        quantizer = build_quantizer(done.config)
        pack(done.model, done.config.model, done.corpus.corpus.tokenizer, quantizer, tmp_path / "a.pgolf")
        fresh = unpack(tmp_path / "a.pgolf", CPU).model
        kept = bytes_of_state(fresh)
        right, wrong = done.evaluation(fresh).bpb, done.evaluation(fresh, build_fake(done.config, quantizer)).bpb
        assert right != wrong
        assert bytes_of_state(fresh) == kept
        with torch.no_grad():
            fake = build_fake(done.config, quantizer)
            for name, p in fresh.named_parameters():
                p.copy_(fake(f"model.{name}", p))
        assert done.evaluation(fresh).bpb == wrong

    def test_as_the_packer_codes_it_changes_next_to_nothing(self, run, tmp_path):
        """Coding twice what was coded once: the published difference lies in the edge blocks' bits."""
        done = run("pr908", "defects=pr908", "defects.qat_block_bits=null")
        quantizer = build_quantizer(done.config)
        pack(done.model, done.config.model, done.corpus.corpus.tokenizer, quantizer, tmp_path / "a.pgolf")
        fresh = unpack(tmp_path / "a.pgolf", CPU).model
        right, again = done.evaluation(fresh).bpb, done.evaluation(fresh, build_fake(done.config, quantizer)).bpb
        assert again == pytest.approx(right, abs=2e-4)


class TestRotaryFrequencies:
    @pytest.mark.parametrize(("stack", "rounded"), [("pr1481", True), ("pr470", True), ("pr908", False)])
    def test_rounded_where_the_published_run_rounded_them(self, run, stack, rounded, tmp_path):
        done = run(stack, f"defects={stack}", steps=1)
        assert done.model.trunk.rope_bf16_frequencies is rounded
        quantizer = build_quantizer(done.config)
        pack(done.model, done.config.model, done.corpus.corpus.tokenizer, quantizer, tmp_path / "a.pgolf")
        assert unpack(tmp_path / "a.pgolf", CPU).model.trunk.rope_bf16_frequencies is rounded

    def test_it_changes_the_prediction_from_the_second_position_on(self, run):
        done = run("pr470", steps=6)
        exact = done.model
        rounded = build_model(replace(done.config.model, rope_bf16_frequencies=True))
        rounded.load_state_dict(exact.state_dict(), assign=True)
        ids = random_ids(2, 32, 384)
        with torch.no_grad():
            one, other = logp_of(exact, ids), logp_of(rounded, ids)
        assert torch.equal(one[:, 0], other[:, 0])
        assert not torch.equal(one[:, 31], other[:, 31])


class TestBaseline:
    def test_every_switch_reaches_the_part_that_it_changes(self, run):
        done = run("baseline", "defects=baseline", steps=6)
        trunk, quantizer = done.model.trunk, build_quantizer(done.config)
        assert (trunk.rope_bf16_frequencies, trunk.rope_bf16_positions) == (True, True)
        table = named_tensors(done.model)["model.embedding.table.weight"]
        assert same_bytes(table, table.bfloat16().float())
        assert [o.param_groups[0]["bf16_factor"] for o in done.job.optimizers if isinstance(o, Muon)] == [True]
        assert quantizer.keep_float_numel == quantizer.keep_control_numel == 65_536
        assert quantizer.unfloored_vectors

    def test_no_switch_is_on_without_the_defect(self, run):
        done = run("baseline", steps=1)
        assert not any(vars(done.config.defects).values())
        assert [o.param_groups[0]["bf16_factor"] for o in done.job.optimizers if isinstance(o, Muon)] == [False]
        assert build_quantizer(done.config).keep_float_numel < 65_536


class TestBf16Tables:
    @pytest.mark.parametrize("stack", ["pr1481", "pr470", "pr908"])
    def test_tables_and_their_optimizer_states_are_bf16_numbers_and_no_others(self, run, stack):
        done = run(stack, f"defects={stack}", steps=6)
        tensors = named_tensors(done.model)
        tables = {name for name in done.names.trained if done.names.roles[name] == "embedding"}
        rounded = {name for name, p in tensors.items() if same_bytes(p, p.bfloat16().float())}
        assert tables <= rounded
        assert not any(done.names.roles[name] == "matrix" for name in rounded)
        for optimizer in done.job.optimizers:
            for p, state in optimizer.state.items():
                if "exp_avg" in state and any(p is tensors[name] for name in tables):
                    assert all(
                        same_bytes(state[key], state[key].bfloat16().float()) for key in ("exp_avg", "exp_avg_sq")
                    )

    def test_without_the_defect_they_are_not(self, run):
        tensors = named_tensors(run("pr470", steps=6).model)
        table = tensors["model.embedding.table.weight"]
        assert not same_bytes(table, table.bfloat16().float())


class TestZeroRateSnapshots:
    def test_they_pull_the_average_towards_the_last_weights(self, run):
        """24 steps: the rate is zero from step 22 on; snapshots at 16 to 22 without the defect, 16 to 24 with it."""
        right, wrong = run("pr470"), run("pr470", "defects.average_zero_lr=true")
        assert bytes_of_state(right.model) == bytes_of_state(wrong.model)
        assert (right.job.averaging.snapshots, wrong.job.averaging.snapshots) == (7, 9)
        last = named_tensors(right.model)
        for name, mean in right.job.averaging.average().items():
            want = (7 * mean + 2 * last[name].detach()) / 9
            torch.testing.assert_close(wrong.job.averaging.average()[name], want, rtol=1e-5, atol=1e-6, msg=name)
