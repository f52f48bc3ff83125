"""The published stacks as formulas in float64, per position and head, without code of the package."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from pgolf.config.schema import ModelConfig

State = Mapping[str, Tensor]


def rms(x: Tensor) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + torch.finfo(torch.float32).eps).sqrt()


def rotated(x_K: Tensor, position: int, dims: int, base: float) -> Tensor:
    """The first `dims` entries in pairs (j, j + dims/2), turned by position * base^(-2j/dims); the others stay."""
    y, half = x_K.clone(), dims // 2
    for j in range(half):
        angle = position * base ** (-2 * j / dims)
        a, b = x_K[j], x_K[j + half]
        y[j] = a * math.cos(angle) + b * math.sin(angle)
        y[j + half] = b * math.cos(angle) - a * math.sin(angle)
    return y


def rotary_base(model: ModelConfig) -> float:
    factor, dims = model.rope_ntk_factor, model.rotary_dims
    return model.rope_base * factor ** (dims / (dims - 2)) if factor != 1 else model.rope_base


def attention(
    x_TD: Tensor, q_TD: Tensor, value_TE: Tensor | None, w: State, model: ModelConfig, *, exclusive: bool
) -> Tensor:
    heads, kv_heads, size = model.heads, model.kv_heads, model.width // model.heads
    k_TE, v_TE = x_TD @ w["k.weight"].T, x_TD @ w["v.weight"].T
    if value_TE is not None:
        v_TE = v_TE + value_TE
    y_TD = torch.zeros_like(x_TD)
    for head in range(heads):
        own = slice(head * size, (head + 1) * size)
        group = head // (heads // kv_heads)
        shared = slice(group * size, (group + 1) * size)
        keys = [rotated(rms(k_TE[s, shared]), s, model.rotary_dims, rotary_base(model)) for s in range(len(x_TD))]
        for t in range(len(x_TD)):
            query = rotated(rms(q_TD[t, own]), t, model.rotary_dims, rotary_base(model)) * w["q_gain"][head]
            weights = torch.stack([query @ key for key in keys[: t + 1]]).div(math.sqrt(size)).exp()
            y = (weights / weights.sum()) @ v_TE[: t + 1, shared]
            if exclusive:
                v = v_TE[t, shared]
                y = y - (y @ v) / (v @ v) * v
            y_TD[t, own] = y
    return y_TD @ w["out.weight"].T


def part(state: State, prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}


def queries(x_TD: Tensor, w: State) -> Tensor:
    return x_TD @ w["proj.weight"].T if "proj.weight" in w else x_TD @ w["down.weight"].T @ w["up.weight"].T


def bigrams(ids: list[int], rows: int, kind: str) -> list[int]:
    if kind == "bigram_embed":
        return [(1619 * (ids[t - 1] if t else 0) + x) % rows for t, x in enumerate(ids)]
    return [((36313 * x) ^ (27191 * ids[t - 1])) % (rows - 1) if t else rows - 1 for t, x in enumerate(ids)]


def logp(ids: list[int], state_dict: State, model: ModelConfig) -> Tensor:
    """Log-probabilities [T, V] after each position, of a tied stack with U-Net skips."""
    state = {name: t.detach().double() for name, t in state_dict.items()}
    sides, layers, cores = model.side_inputs, model.layers, model.unique_blocks
    table = state["embedding.table.weight"]
    if "embedding.projection.weight" in state:
        table = table @ state["embedding.projection.weight"].T
    e = table[ids]
    if "bigram_embed" in sides:
        rows = state["side_inputs.bigram_embed.table.weight"]
        e = e + rows[bigrams(ids, len(rows), "bigram_embed")]
    if model.smear_gate:
        g = 1 / (1 + (-state["smear.p"]).exp())
        e = torch.stack([(1 - g) * e[t] + (g * e[t - 1] if t else 0) for t in range(len(ids))])
    x = x0 = rms(e)
    skips, outputs = state["depth.skip_weights"], []
    for i in range(layers):
        if i >= len(skips) and outputs:
            x = x + skips[i - len(skips)] * outputs.pop()
        if "bigram_residual" in sides:
            w = part(state, "side_inputs.bigram_residual.")
            rows = w["table.weight"][bigrams(ids, len(w["table.weight"]), "bigram_residual")]
            x = x + w["lambdas"][i] * (rows @ w["projection.weight"].T)
        gains, core = part(state, f"gains.{i}."), i % cores
        x = gains["resid_mix"][0] * x + gains["resid_mix"][1] * x0
        shrink = 1 / math.sqrt(i + 1) if model.depth_scaled_norm else 1.0
        value = None
        if "value_embedding" in sides and i >= layers - 2:
            w = part(state, "side_inputs.value_embedding.")
            value = (
                w["layer_scales"][i - (layers - 2)] * w["scale"] * (w["table.weight"][ids] @ w["projection.weight"].T)
            )
        normed = shrink * rms(x)
        attended = attention(
            normed,
            queries(normed, part(state, f"q_proj.{core}.")),
            value,
            part(state, f"attention.{core}."),
            model,
            exclusive=i >= layers - model.xsa_last_n,
        )
        x = x + gains["attn_scale"] * attended
        mlp = part(state, f"mlp.{core}.")
        x = x + gains["mlp_scale"] * (
            torch.clamp(shrink * rms(x) @ mlp["fc.weight"].T, min=0) ** 2 @ mlp["proj.weight"].T
        )
        if i < len(skips):
            outputs.append(x)
    cap = model.logit_softcap
    logits = cap * torch.tanh(rms(x) @ table.T / cap)
    return logits - logits.logsumexp(-1, keepdim=True)
