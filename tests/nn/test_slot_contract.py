"""The contract of a model slot's variants, tested on every YAML of conf/model/<slot>, new ones included."""

import pytest
import torch

from pgolf.config.binding import bind
from pgolf.config.build import make, model_dims
from pgolf.config.folders import conf_dir
from pgolf.slots import Dims
from tiny import ALL_VARIANTS, SLOTS, logp_of, materialise, random_ids, redraw, tiny_config, tiny_model, variants

TIME = 10


def section_of(slot: str, stem: str) -> tuple[dict, Dims]:
    model = tiny_config(f"model/{slot}={stem}").model
    return getattr(model, slot), model_dims(model)


def embedding_and_head(stem: str, dtype: torch.dtype, embedding: str = "full", seed: int = 1):
    """The head alone on the chosen embedding, both redrawn."""
    config = tiny_config(f"model/embedding={embedding}", f"model/head={stem}").model
    dims = model_dims(config)
    table = make("model.embedding", config.embedding, dims)
    head = make("model.head", config.head, dims, table)
    redraw(table, seed)
    redraw(head, seed)
    return table.to(dtype), head.to(dtype), dims


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def test_every_folder_of_variants_has_a_contract_here():
    folders = {path.name for path in (conf_dir() / "model").iterdir() if path.is_dir()}
    assert folders == {*SLOTS, "side_inputs", "trunk"}
    assert all(len(variants(slot)) >= 1 for slot in SLOTS)


@pytest.mark.parametrize("variant", ALL_VARIANTS)
def test_keys_bind_to_the_class(variant):
    slot, _, stem = variant.removeprefix("model/").partition("=")
    assert bind(f"model.{slot}", section_of(slot, stem)[0]) == []


@pytest.mark.parametrize("variant", ALL_VARIANTS)
def test_gradient_reaches_every_parameter(variant):
    model = tiny_model(tiny_config(variant))
    model(random_ids(4, 16), random_ids(4, 16, seed=1)).mean().backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not bool(p.grad.any())]
    assert silent == []
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters())


@pytest.mark.parametrize("variant", ALL_VARIANTS)
def test_every_parameter_changes_the_prediction(variant):
    model, ids = tiny_model(tiny_config(variant)), random_ids(2, TIME)
    with torch.no_grad():
        before = logp_of(model, ids)
        for name, p in model.named_parameters():
            backup = p.clone()
            p.add_(normal(*p.shape, seed=5) * 0.1)
            assert not torch.allclose(logp_of(model, ids), before, atol=1e-6), f"{name} has no effect"
            p.copy_(backup)
        assert torch.equal(logp_of(model, ids), before)


@pytest.mark.parametrize("stem", variants("q_proj"))
def test_q_proj_makes_one_query_per_head(stem):
    node, dims = section_of("q_proj", stem)
    q_proj = make("model.q_proj", node, dims, 1)
    materialise(q_proj, 1)
    x = normal(2, TIME, dims.width).requires_grad_()
    q = q_proj(x)
    assert q.shape == (2, TIME, dims.heads * dims.head_dim)
    q.square().sum().backward()
    assert all(bool(p.grad.any()) for p in q_proj.parameters())
    assert bool(x.grad.any())


@pytest.mark.parametrize("stem", variants("mlp"))
def test_mlp_keeps_the_shape(stem):
    node, dims = section_of("mlp", stem)
    mlp = make("model.mlp", node, dims, 1)
    materialise(mlp, 1)
    x = normal(2, TIME, dims.width).requires_grad_()
    y = mlp(x)
    assert y.shape == x.shape
    y.square().sum().backward()
    assert all(bool(p.grad.any()) for p in mlp.parameters())


class CountedBlock:
    """Block i with gate g_i: attention g sin(x + i), MLP g cos(x - i). It counts its runs."""

    def __init__(self, i: int, gates: torch.Tensor, calls: list[int]):
        self.i, self.gates, self.calls = i, gates, calls

    def attention(self, x_BTD: torch.Tensor) -> torch.Tensor:
        self.calls.append(self.i)
        return self.gates[self.i] * torch.sin(x_BTD + self.i)

    def mlp(self, x_BTD: torch.Tensor) -> torch.Tensor:
        return self.gates[self.i] * torch.cos(x_BTD - self.i)

    def __call__(self, x_BTD: torch.Tensor) -> torch.Tensor:
        x_BTD = x_BTD + self.attention(x_BTD)
        return x_BTD + self.mlp(x_BTD)


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
@pytest.mark.parametrize("stem", variants("depth"))
def test_depth_runs_every_block_once_and_uses_its_output(stem, layers):
    node, dims = section_of("depth", stem)
    dims = Dims(**{**vars(dims), "layers": layers})
    depth = make("model.depth", node, dims)
    redraw(depth, 1)
    calls: list[int] = []
    gates = torch.ones(layers, requires_grad=True)
    y = depth(normal(2, TIME, dims.width), [CountedBlock(i, gates, calls) for i in range(layers)])
    assert y.shape == (2, TIME, dims.width)
    assert calls == list(range(layers))
    y.square().sum().backward()
    assert bool((gates.grad != 0).all())


@pytest.mark.parametrize("stem", variants("embedding"))
class TestEmbedding:
    def build_variant(self, stem: str):
        node, dims = section_of("embedding", stem)
        embedding = make("model.embedding", node, dims)
        redraw(embedding, 1)
        return embedding.double(), dims

    def test_shape_and_rows_of_one_table(self, stem):
        embedding, dims = self.build_variant(stem)
        ids = random_ids(2, TIME, dims.vocab_size)
        table_VD = embedding(torch.arange(dims.vocab_size)[None])[0]
        assert embedding(ids).shape == (2, TIME, dims.width)
        torch.testing.assert_close(embedding(ids), table_VD[ids], rtol=1e-12, atol=1e-12)

    def test_unembed_multiplies_by_the_effective_table(self, stem):
        embedding, dims = self.build_variant(stem)
        table_VD = embedding(torch.arange(dims.vocab_size)[None])[0]
        x = normal(2, TIME, dims.width, dtype=torch.float64)
        torch.testing.assert_close(embedding.unembed(x), x @ table_VD.T, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("stem", variants("head"))
class TestHead:
    @pytest.mark.parametrize("size", [1.0, 1000.0], ids=["x~1", "x~1000"])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
    def test_speaks_normalised_log_probabilities(self, stem, dtype, size):
        _, head, dims = embedding_and_head(stem, dtype)
        x = normal(2, TIME, dims.width, dtype=dtype) * size
        logp = head.logp(x)
        assert logp.shape == (2, TIME, dims.vocab_size)
        assert logp.dtype == torch.float32
        torch.testing.assert_close(
            logp.double().exp().sum(-1), torch.ones(2, TIME, dtype=torch.float64), rtol=0, atol=2e-5
        )

    @pytest.mark.parametrize("size", [1.0, 1000.0], ids=["x~1", "x~1000"])
    def test_nll_is_minus_logp_of_the_target(self, stem, size):
        _, head, dims = embedding_and_head(stem, torch.float32)
        x = normal(2, TIME, dims.width) * size
        logp = head.logp(x)
        for target in range(dims.vocab_size):
            y = torch.full((2, TIME), target)
            nll = head.nll(x, y)
            assert nll.shape == (2, TIME)
            assert nll.dtype == torch.float32
            torch.testing.assert_close(nll, -logp[..., target], rtol=1e-5, atol=2e-5)

    def test_nll_and_logp_have_one_gradient(self, stem):
        _, head, dims = embedding_and_head(stem, torch.float32)
        y = random_ids(2, TIME, dims.vocab_size)
        grads = []
        for through in (lambda x: head.nll(x, y), lambda x: -head.logp(x).gather(-1, y[..., None])[..., 0]):
            x = normal(2, TIME, dims.width).requires_grad_()
            through(x).sum().backward()
            grads.append(x.grad)
        torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-5)

    def test_stays_normalised_under_autocast(self, stem):
        _, head, dims = embedding_and_head(stem, torch.float32)
        x, y = normal(2, TIME, dims.width), random_ids(2, TIME, dims.vocab_size)
        with torch.autocast("cpu", torch.bfloat16):
            logp, nll = head.logp(x), head.nll(x, y)
        assert logp.dtype == nll.dtype == torch.float32
        torch.testing.assert_close(
            logp.double().exp().sum(-1), torch.ones(2, TIME, dtype=torch.float64), rtol=0, atol=2e-5
        )
        torch.testing.assert_close(nll, -logp.gather(-1, y[..., None])[..., 0], rtol=1e-5, atol=2e-5)

    @pytest.mark.parametrize("embedding", variants("embedding"))
    def test_works_on_every_embedding(self, stem, embedding):
        _, head, dims = embedding_and_head(stem, torch.float32, embedding)
        logp = head.logp(normal(1, TIME, dims.width))
        torch.testing.assert_close(logp.exp().sum(-1), torch.ones(1, TIME), rtol=0, atol=2e-5)
