"""Every published count of a stack, computed from modules on the meta device."""

from dataclasses import replace

import pytest

from pgolf.config.build import build_model, build_quantizer, frozen_by, names_by_role
from pgolf.execution.account import account
from pgolf.nn.naming import named_tensors
from tiny import DEFECTS, published_config, tiny_config

HEADS = {
    "H0": ((), 26_993_766, 163_843),
    "H1": (("model/head=factorized", "model.head.rank=64"), 27_092_070, 262_147),
    "H2": (("model/head=factorized", "model.head.rank=128"), 27_190_374, 360_451),
    "H3": (("model/head=mixture_of_logits", "model.head.rank=64", "model.head.experts=2"), 27_191_398, 361_475),
    "H4": (("model/head=mixture_of_logits", "model.head.rank=64", "model.head.experts=4"), 27_389_030, 559_107),
    "H5": (("model/head=mixture_of_logits", "model.head.rank=128", "model.head.experts=4"), 27_782_246, 952_323),
    "H6": (("model/head=simplex", "model.head.rank=128"), 27_190_374, 360_451),
}


ARMS = [
    ("baseline", (), 17_059_912, 0),
    ("pr215", (), 25_780_824, 0),
    ("pr215", ("model/q_proj=full",), 26_501_720, 0),
    ("pr1481", ("defects=pr1481",), 16_732_232, 65_536),
    ("pr1481", ("defects=pr1481", "model.embedding.rank=64"), 16_633_928, 32_768),
    ("pr470", ("defects=pr470",), 18_915_344, 0),
    ("pr470", ("defects=pr470", "model.unique_blocks=9"), 127_967_376, 0),
    *(("pr908", ("defects=pr908", *overrides), total, untrained) for overrides, total, untrained in HEADS.values()),
]


@pytest.mark.parametrize(("stack", "overrides", "total", "untrained"), ARMS, ids=str)
def test_parameters_and_those_that_the_published_run_never_trained(stack, overrides, total, untrained):
    config = published_config(stack, *overrides)
    model = build_model(config.model)
    tensors = named_tensors(model)
    assert sum(p.numel() for p in tensors.values()) == total
    assert sum(tensors[name].numel() for name in frozen_by(model, config)) == untrained
    assert all(p.is_meta for p in tensors.values())
    config.defects.frozen = []
    assert frozen_by(model, config) == set()


@pytest.mark.parametrize("defects", DEFECTS)
def test_defects_of_one_study_fit_any_other_stack(defects):
    """A parameter to freeze that a stack does not have is not an error."""
    config = replace(published_config("baseline"), defects=tiny_config(f"defects={defects}").defects)
    assert frozen_by(build_model(config.model), config) == set()


@pytest.mark.parametrize(
    ("stack", "overrides", "payload", "total", "untrained"),
    [
        ("baseline", (), 17_178_912, 17_059_912, 0),
        ("pr215", (), 25_891_120, 25_780_824, 0),
        ("pr1481", ("defects=pr1481",), 16_916_768, 16_732_232, 65_536),
        ("pr1481", ("defects=pr1481", "model.embedding.rank=64"), 16_849_184, 16_633_928, 32_768),
        ("pr470", ("defects=pr470",), 19_066_944, 18_915_344, 0),
        ("pr908", ("defects=pr908",), 27_255_164, 26_993_766, 163_843),
    ],
    ids=str,
)
def test_account_and_payload_of_the_stacks_own_packer(stack, overrides, payload, total, untrained):
    costs = account(published_config(stack, *overrides))
    assert costs.payload_bytes["chosen"] == payload
    assert (costs.total, costs.frozen, costs.trained) == (total, untrained, total - untrained)
    assert sum(costs.by_slot.values()) == sum(costs.by_role.values()) == total


def group_sizes(stack: str, frozen: tuple[str, ...] = ()) -> dict[str, int]:
    config = published_config(stack)
    model = build_model(config.model)
    tensors = named_tensors(model)
    frozen_tensors = {name for name in tensors if name.startswith(frozen)} if frozen else set()
    return {
        role: sum(tensors[name].numel() for name in names)
        for role, names in names_by_role(model, frozen_tensors).items()
    }


@pytest.mark.parametrize(
    ("stack", "frozen", "groups"),
    [
        ("baseline", (), {"embedding": 524_288, "matrix": 16_515_072, "scalar": 20_552}),
        ("pr215", (), {"embedding": 524_288, "matrix": 25_231_360, "scalar": 25_176}),
        ("pr1481", ("model.embedding.projection.",), {"embedding": 131_072, "matrix": 16_515_072, "scalar": 20_552}),
        ("pr470", (), {"embedding": 5_242_880, "matrix": 13_631_488, "scalar": 40_976}),
        (
            "pr908",
            ("model.side_inputs.value_embedding.",),
            {"embedding": 524_288 + 262_144, "matrix": 26_017_792, "scalar": 25_699},
        ),
    ],
    ids=str,
)
def test_numbers_of_weights_under_each_optimizer(stack, frozen, groups):
    assert group_sizes(stack, frozen) == groups


def settings_of(config: dict, role: str) -> dict:
    node = getattr(config.optim.roles, role)
    return {key: value for key, value in node.items() if key not in ("_target_", "_partial_")} | {
        "by": node["_target_"].rpartition(".")[2]
    }


ADAM = {"by": "Adam", "beta1": 0.9, "beta2": 0.95, "eps": 1e-8, "weight_decay": 0.0}
MUON = {
    "by": "Muon",
    "nesterov": True,
    "newton_schulz_steps": 5,
    "lr": 0.04,
    "momentum": 0.95,
    "momentum_start": 0.85,
    "momentum_warmup_steps": 500,
    "weight_decay": 0.0,
    "decay_order": "before",
    "bf16_factor": False,
}
FAST = {"momentum": 0.99, "momentum_start": 0.92, "momentum_warmup_steps": 1500}
OPTIMIZERS = {
    "baseline": ({**ADAM, "lr": 0.05}, MUON, {**ADAM, "lr": 0.04}, None),
    "pr215": ({**ADAM, "lr": 0.03}, {**MUON, **FAST, "lr": 0.02, "weight_decay": 0.038}, {**ADAM, "lr": 0.02}, None),
    "pr1481": ({**ADAM, "lr": 0.05}, MUON, {**ADAM, "lr": 0.04}, None),
    "pr470": ({**ADAM, "lr": 0.05}, {**MUON, "weight_decay": 0.04, "decay_order": "after"}, {**ADAM, "lr": 0.04}, None),
    "pr908": (
        {**ADAM, "lr": 0.035, "weight_decay": 0.04},
        {**MUON, **FAST, "lr": 0.025, "weight_decay": 0.04},
        {**ADAM, "lr": 0.025, "weight_decay": 0.04},
        0.3,
    ),
}


@pytest.mark.parametrize("stack", OPTIMIZERS)
def test_optimizer_settings_by_role(stack):
    config = published_config(stack)
    *roles, clip = OPTIMIZERS[stack]
    assert [settings_of(config, role) for role in ("embedding", "matrix", "scalar")] == roles
    assert config.optim.grad_clip_norm == clip
    assert config.optim.frozen == []


SIZES = ("width", "layers", "heads", "kv_heads", "mlp_hidden", "unique_blocks", "seq_len", "vocab_size", "rotary_dims")
FEATURES = ("rope_ntk_factor", "depth_scaled_norm", "xsa_last_n", "smear_gate", "init")
PLAIN = (1.0, False, 0, False, "default")
MODELS = {
    "baseline": ((512, 9, 8, 4, 1024, 9, 1024, 1024, 64), PLAIN, []),
    "pr215": ((512, 11, 8, 4, 1536, 11, 1024, 1024, 64), PLAIN, []),
    "pr1481": ((512, 9, 8, 4, 1024, 9, 1024, 1024, 64), PLAIN, []),
    "pr470": ((1024, 9, 16, 8, 5120, 1, 2048, 1024, 64), PLAIN, ["bigram_embed"]),
    "pr908": (
        (512, 11, 8, 4, 1536, 11, 2048, 1024, 16),
        (2.0, True, 4, True, "orthogonal"),
        ["bigram_residual", "value_embedding"],
    ),
}


@pytest.mark.parametrize("stack", MODELS)
def test_trunks(stack):
    model = published_config(stack).model
    sizes, features, sides = MODELS[stack]
    assert tuple(getattr(model, key) for key in SIZES) == sizes
    assert tuple(getattr(model, key) for key in FEATURES) == features
    assert sorted(model.side_inputs) == sides
    assert (model.q_gain_init, model.logit_softcap, model.rope_base) == (1.5, 30.0, 10_000.0)
    assert model.depth["_target_"].endswith("UNet")
    assert model.head["_target_"].endswith("Tied")
    assert model.embedding["init_std"] == 0.005
    assert (model.rope_bf16_frequencies, model.rope_bf16_positions) == (False, False)


BUDGETS = {
    "baseline": (None, 600.0, 524_288, 1024, None),
    "pr215": (None, 600.0, 524_288, 1024, None),
    "pr1481": (None, 900.0, 524_288, 1024, None),
    "pr470": (50_000, None, 524_288, 2048, None),
    "pr908": (None, 600.0, 786_432, 2048, 0.15),
}


@pytest.mark.parametrize("stack", BUDGETS)
def test_budgets_and_batches(stack):
    train = published_config(stack).train
    assert (
        tuple(getattr(train, key) for key in ("steps", "seconds", "batch_tokens", "seq_len", "qat_below"))
        == BUDGETS[stack]
    )
    assert (train.micro_batches, train.priming_steps) == (8, 20)


@pytest.mark.parametrize(
    ("stack", "mode"), [("baseline", "Plain"), ("pr215", "Sliding"), ("pr470", "Plain"), ("pr908", "PlainAnd908")]
)
def test_evaluation_modes(stack, mode):
    node = published_config(stack).eval
    assert node["_target_"].rpartition(".")[2] == mode
    assert mode != "Sliding" or node["stride"] == 64


def test_resolvers_give_back_the_published_numbers():
    low_rank, heads, shared = (published_config(stack) for stack in ("pr215", "pr908", "pr470"))
    assert low_rank.model.q_proj["rank"] == 192
    assert published_config("pr1481").model.embedding["rank"] == 128
    sides = heads.model.side_inputs
    assert {key: sides["bigram_residual"][key] for key in ("buckets", "rank", "lambda_init")} == {
        "buckets": 2048,
        "rank": 128,
        "lambda_init": 0.05,
    }
    assert {key: sides["value_embedding"][key] for key in ("rank", "layers", "init_std", "scale_init")} == {
        "rank": 128,
        "layers": [-2, -1],
        "init_std": 0.01,
        "scale_init": 0.1,
    }
    assert heads.model.orthogonal_min_dim == 64
    assert heads.optim.averaging["decay"] == 0.997
    assert shared.model.side_inputs["bigram_embed"]["buckets"] == 4096
    average = shared.optim.averaging
    assert (average["start_step"], average["interval_steps"], average["include_zero_lr"]) == (32_500, 50, False)
    schedule = shared.optim.schedule
    assert (schedule["start_step"], schedule["warmdown_steps"]) == (4000, 41_000)
    for stack, warmdown in (("baseline", 1200), ("pr215", 3000), ("pr1481", 1200), ("pr908", 3500)):
        assert published_config(stack).optim.schedule["warmdown_steps"] == warmdown
    for stack in ("baseline", "pr215", "pr1481", "pr470", "pr908"):
        quant = published_config(stack).quant
        assert (quant["keep_float_numel"], quant["keep_control_numel"]) == (65_536, 65_536)


@pytest.mark.parametrize(
    ("stack", "steps"), [("baseline", 13_780), ("pr215", 7717), ("pr1481", 1537), ("pr470", 50_000), ("pr908", 4415)]
)
def test_a_budget_of_the_published_steps_gives_the_same_numbers_as_the_clock(stack, steps):
    by_clock, by_steps = published_config(stack), published_config(stack, f"train.steps={steps}", "train.seconds=null")
    assert by_steps.optim == by_clock.optim
    assert by_steps.model == by_clock.model
    assert by_steps.quant == by_clock.quant


def test_the_heads_packer_codes_inner_blocks_in_six_bits_and_the_rest_in_eight():
    config = published_config("pr908")
    quantizer, bits = build_quantizer(config), {}
    for name, p in named_tensors(build_model(config.model)).items():
        plan = quantizer.plan(name, tuple(p.shape))
        bits[name] = plan if isinstance(plan, str) else plan.bits
    for part, weights in (("q_proj", ["proj"]), ("attention", ["k", "v", "out"]), ("mlp", ["fc", "proj"])):
        for i in range(11):
            assert {bits[f"model.{part}.{i}.{weight}.weight"] for weight in weights} == {8 if i in (0, 10) else 6}
    sides = "model.side_inputs."
    assert bits["model.embedding.table.weight"] == bits[f"{sides}bigram_residual.table.weight"] == 8
    assert bits[f"{sides}value_embedding.table.weight"] == 8
    assert (
        bits[f"{sides}bigram_residual.projection.weight"] == bits[f"{sides}value_embedding.projection.weight"] == "fp16"
    )
    assert (
        bits[f"{sides}bigram_residual.lambdas"]
        == bits["model.smear.p"]
        == bits[f"{sides}value_embedding.scale"]
        == "fp16"
    )
    assert {bits[name] for name in bits if "gains" in name or "q_gain" in name or "skip_weights" in name} == {"fp32"}
    six = sum(p.numel() for name, p in named_tensors(build_model(config.model)).items() if bits[name] == 6)
    assert six == 9 * (786_432 + 1_572_864)
