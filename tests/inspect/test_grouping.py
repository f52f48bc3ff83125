"""Which matrices a model has: each weight once, factors as their product, shared blocks once."""

import re
from collections import Counter

import pytest
import torch

from pgolf.inspect.grouping import GROUPS, heads_of, layers_text, matrices
from pgolf.inspect.recorded import summary_measures
from pgolf.inspect.report import entries, matrix_lines, panels, remarkable_lines
from pgolf.inspect.spectra import MEASURES
from pgolf.nn.naming import named_tensors
from pgolf.nn.q_proj.low_rank import LowRank
from tiny import ALL_VARIANTS, tiny_config, tiny_model

NO_MAPS = ("gains", "depth", "smear")  # scales, not matrices


@pytest.mark.parametrize("choice", [*ALL_VARIANTS, "model/side_inputs=[bigram_residual,value_embedding]"])
def test_every_weight_of_a_matrix_is_in_exactly_one(choice: str) -> None:
    model = tiny_model(tiny_config(choice))
    expected = {
        id(p): name for name, p in named_tensors(model).items() if p.ndim == 2 and name.split(".")[1] not in NO_MAPS
    }
    found = matrices(model)
    addresses = {p.data_ptr(): name for name, p in named_tensors(model).items()}
    used = Counter(addresses[weight.data_ptr()] for matrix in found for weight in matrix.factors.weights)
    assert used == Counter(expected.values())
    assert {matrix.group for matrix in found} <= set(GROUPS)
    assert len({matrix.name for matrix in found}) == len(found)


def test_low_rank_queries_are_their_product_and_its_heads_the_rows() -> None:
    model = tiny_model(tiny_config("model/q_proj=low_rank"))
    queries = [matrix for matrix in matrices(model) if matrix.group == "Q"]
    assert [matrix.name for matrix in queries] == ["model.q_proj.0", "model.q_proj.1", "model.q_proj.2"]
    x = torch.randn(5, 32)
    torch.testing.assert_close((x.double() @ queries[1].factors.formed().T).float(), model.q_proj[1](x))
    assert [(matrix.factors.sizes, matrix.factors.is_product) for matrix in queries] == [((32, 12, 32), True)] * 3
    heads = list(heads_of(queries[1], 8))
    assert [head.head for head in heads] == [0, 1, 2, 3]
    assert heads[3].factors.sizes == (8, 12, 32)
    torch.testing.assert_close(heads[3].factors.formed(), queries[1].factors.formed()[24:])
    assert heads[3].label == "layer 1 head 3"


class NormBetween(LowRank):
    def forward(self, x_BTD: torch.Tensor) -> torch.Tensor:
        return self.up(torch.nn.functional.rms_norm(self.down(x_BTD), (self.down.out_features,)))


def test_factors_with_a_norm_between_them_are_two_matrices() -> None:
    model = tiny_model(tiny_config("model/q_proj=low_rank"))
    for module in model.q_proj:
        module.__class__ = NormBetween
    queries = [matrix for matrix in matrices(model) if matrix.group == "Q"]
    assert sorted({(matrix.part, matrix.factors.sizes) for matrix in queries}) == [("down", (12, 32)), ("up", (32, 12))]
    assert len(queries) == 6


def test_a_mixture_has_one_product_per_expert_and_an_albert_table_is_one() -> None:
    found = matrices(tiny_model(tiny_config("model/head=mos", "model/embedding=albert")))
    heads = {matrix.name: matrix.factors for matrix in found if matrix.group == "head"}
    assert {name: factors.is_product for name, factors in heads.items()} == {
        "model.head.mixture.gate.weight": False,
        **{f"model.head.mixture.{expert}": True for expert in range(4)},
    }
    (embedding,) = (matrix for matrix in found if matrix.group == "embedding")
    assert embedding.factors.sizes == (23, embedding.factors.rank, 32)


def test_a_shared_block_is_named_once_with_its_layers() -> None:
    found = matrices(tiny_model(tiny_config("model.layers=5", "model.unique_blocks=2")))
    assert [matrix.layers for matrix in found if matrix.group == "K"] == [(0, 2, 4), (1, 3)]
    assert [layers_text(layers) for layers in ((0, 2, 4), (0, 1, 2), (3,), ())] == [
        "layers 0,2,4",
        "layers 0-2",
        "layer 3",
        "",
    ]


def test_queries_of_a_rank_per_layer_are_compared_with_products_of_their_own_rank() -> None:
    model = tiny_model(tiny_config("model/q_proj=low_rank"))
    model.q_proj[1] = LowRank(model.dims, 1, rank=5, norm=False)
    found = [entry for entry in entries(model, draws=3) if entry.matrix.group == "Q"]
    assert [(title, len(members)) for title, members in panels(found)] == [("Q 32x12x32", 2), ("Q 32x5x32", 1)]
    assert (found[1].compared["effective_rank"].high or 9) < 5
    assert found[1].to_dict()["condition_over_full_size"]["zeros"] == 27
    assert len(remarkable_lines(found)) <= 1 + 4
    assert "".join(matrix_lines(found, 3, with_heads=False)).count("lowest of 3 random") == 2


def test_the_furthest_matrices_stand_in_a_table_of_short_lines() -> None:
    model = tiny_model(tiny_config("model/head=mos"))
    with torch.no_grad():
        for name, weight in named_tensors(model).items():
            if name in {f"model.attention.{layer}.out.weight" for layer in range(3)}:
                weight.copy_(torch.eye(32))
    lines = remarkable_lines(entries(model, draws=3))
    assert lines[0].split()[:3] == ["matrices", "condition", "stable"]
    (line,) = (line for line in lines if line.startswith("O "))
    assert line.split()[1:4] == ["3", "of", "3"]
    assert len(line.split()) == 4 + len(MEASURES)
    assert all(re.fullmatch(r"[+-]\d+\.\d|above|below", cell) for cell in line.split()[4:])
    assert max(map(len, lines)) <= 118


def test_recorded_measures_name_every_matrix_and_survive_weights_that_are_not_finite() -> None:
    model = tiny_model(tiny_config())
    state = torch.get_rng_state()
    before = {event["matrix"]: event for event in summary_measures(model)}
    assert torch.equal(torch.get_rng_state(), state)
    assert list(before) == [matrix.name for matrix in matrices(model)]
    assert set(before["model.q_proj.0.proj.weight"]) == {"matrix", "spectral_norm", *MEASURES}
    expected = torch.linalg.matrix_norm(model.mlp[1].fc.weight.detach().double(), 2)
    assert before["model.mlp.1.fc.weight"]["spectral_norm"] == pytest.approx(float(expected))
    with torch.no_grad():
        model.mlp[1].fc.weight[0, 0] = float("nan")
    after = {event.pop("matrix"): event for event in summary_measures(model)}
    assert set(after["model.mlp.1.fc.weight"].values()) == {None}
