"""The published packers give the published payloads: array bytes before compression, known exactly for each study's
parameters.
"""

import pytest

from pgolf.config.build import build_quantizer
from tiny import composed_config

D, KV, V = 512, 256, 1024


def stack(layers: int, mlp: int, rank: int | None = None, table_rank: int | None = None) -> dict[str, tuple[int, ...]]:
    """Parameter names and shapes of the baseline, or with low-rank queries or a factored table."""
    shapes: dict[str, tuple[int, ...]] = {
        "model.embedding.table.weight": (V, table_rank or D),
        "model.depth.skip_weights": (layers // 2, D),
    }
    if table_rank:
        shapes["model.embedding.projection.weight"] = (D, table_rank)
    for i in range(layers):
        factors = {"down": (rank, D), "up": (D, rank)} if rank else {"proj": (D, D)}
        shapes |= {f"model.q_proj.{i}.{part}.weight": shape for part, shape in factors.items()}
        shapes |= {f"model.attention.{i}.{part}.weight": (KV, D) for part in "kv"} | {
            f"model.attention.{i}.out.weight": (D, D)
        }
        shapes |= {
            f"model.mlp.{i}.fc.weight": (mlp, D),
            f"model.mlp.{i}.proj.weight": (D, mlp),
            f"model.attention.{i}.q_gain": (8,),
        }
        shapes |= {f"model.gains.{i}.{part}": (D,) for part in ("attn_scale", "mlp_scale")} | {
            f"model.gains.{i}.resid_mix": (2, D)
        }
    return shapes


def higher_rank_heads_stack() -> dict[str, tuple[int, ...]]:
    """Pull request #908, tied head: smear gate, bigram hash with a weight per layer, value embedding on two layers."""
    return stack(layers=11, mlp=1536) | {
        "model.smear.gate": (D,),
        "model.side_inputs.bigram.table.weight": (2048, 128),
        "model.side_inputs.bigram.projection.weight": (D, 128),
        **{f"model.side_inputs.bigram.lambdas.{i}": () for i in range(11)},
        "model.side_inputs.value.table.weight": (V, 128),
        "model.side_inputs.value.projection.weight": (KV, 128),
        "model.side_inputs.value.scale": (),
        "model.side_inputs.value.layer_scales.0": (1,),
        "model.side_inputs.value.layer_scales.1": (1,),
    }


def shared_weights_stack() -> dict[str, tuple[int, ...]]:
    """Pull request #470: one core of width 1024 in nine passes, each with gains of its own; bigram table."""
    d = 1024
    shapes = {
        "model.embedding.table.weight": (V, d),
        "model.side_inputs.bigram.table.weight": (4096, d),
        "model.depth.skip_weights": (4, d),
    }
    shapes |= {
        "model.q_proj.0.proj.weight": (d, d),
        "model.attention.0.out.weight": (d, d),
        "model.attention.0.q_gain": (16,),
    }
    shapes |= {f"model.attention.0.{part}.weight": (d // 2, d) for part in "kv"}
    shapes |= {f"model.gains.{i}.{part}": (d,) for i in range(9) for part in ("attn_scale", "mlp_scale")}
    shapes |= {f"model.gains.{i}.resid_mix": (2, d) for i in range(9)}
    return shapes | {"model.mlp.0.fc.weight": (5120, d), "model.mlp.0.proj.weight": (d, 5120)}


@pytest.mark.parametrize(
    ("stem", "shapes", "payload_bytes"),
    [
        ("int8_zlib_published", stack(layers=9, mlp=1024), 17_178_912),
        ("int6_zstd_published", stack(layers=11, mlp=1536, rank=192), 25_891_120),
        ("int8_zlib_published", stack(layers=9, mlp=1024, table_rank=64), 16_849_184),
        ("int8_zlib_published", stack(layers=9, mlp=1024, table_rank=128), 16_916_768),
        ("int8_zlib_published", shared_weights_stack(), 19_066_944),
        ("int8_zlib_published", higher_rank_heads_stack(), 27_255_164),  # 6-bit codes also take one byte each
    ],
    ids=["baseline", "low_rank_q", "albert_64", "albert_128", "shared_weights", "higher_rank_heads"],
)
def test_published_payload(stem, shapes, payload_bytes):
    quant = build_quantizer(composed_config(f"quant={stem}", "scale=published"))
    assert sum(quant.payload_bytes(name, shape) for name, shape in shapes.items()) == payload_bytes
