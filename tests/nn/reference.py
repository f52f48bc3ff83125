"""The trunk in float64, position by position and head by head, without code of the package."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pgolf.slots import Dims


def rms(x: Tensor) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + torch.finfo(torch.float32).eps).sqrt()


def rotated(x_K: Tensor, position: int, base: float) -> Tensor:
    """Pairs (x_j, x_{j+K/2}) turned clockwise by position * base^(-2j/K)."""
    half = len(x_K) // 2
    y = torch.empty_like(x_K)
    for j in range(half):
        angle = position * base ** (-2 * j / len(x_K))
        a, b = x_K[j], x_K[j + half]
        y[j] = a * math.cos(angle) + b * math.sin(angle)
        y[j + half] = -a * math.sin(angle) + b * math.cos(angle)
    return y


def attention(x_TD: Tensor, q_TD: Tensor, w: dict[str, Tensor], heads: int, kv_heads: int, base: float) -> Tensor:
    """One sequence: each query head by itself, each position over its own past."""
    time, width = x_TD.shape
    size = width // heads
    k_TD, v_TD = x_TD @ w["k.weight"].T, x_TD @ w["v.weight"].T
    y_TD = torch.zeros_like(x_TD)
    for head in range(heads):
        shared = head // (heads // kv_heads)
        q = q_TD[:, head * size : (head + 1) * size]
        k = k_TD[:, shared * size : (shared + 1) * size]
        v = v_TD[:, shared * size : (shared + 1) * size]
        for t in range(time):
            query = rotated(rms(q[t]), t, base) * w["q_gain"][head]
            scores = torch.stack([query @ rotated(rms(k[s]), s, base) / math.sqrt(size) for s in range(t + 1)])
            weights = (scores - scores.max()).exp()
            y_TD[t, head * size : (head + 1) * size] = (weights / weights.sum()) @ v[: t + 1]
    return y_TD @ w["out.weight"].T


def part(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t.double() for name, t in state.items() if name.startswith(prefix)}


def block(
    x_TD: Tensor, x0_TD: Tensor, state: dict[str, Tensor], core: int, layer: int, dims: Dims, base: float
) -> Tensor:
    gains, mlp = part(state, f"gains.{layer}."), part(state, f"mlp.{core}.")
    x = gains["resid_mix"][0] * x_TD + gains["resid_mix"][1] * x0_TD
    q = rms(x) @ part(state, f"q_proj.{core}.")["proj.weight"].T
    x = x + gains["attn_scale"] * attention(
        rms(x), q, part(state, f"attention.{core}."), dims.heads, dims.kv_heads, base
    )
    return x + gains["mlp_scale"] * (torch.clamp(rms(x) @ mlp["fc.weight"].T, min=0) ** 2 @ mlp["proj.weight"].T)


def tied_unet_logp(ids_T: Tensor, state: dict[str, Tensor], dims: Dims, cores: int, base: float) -> Tensor:
    """Log-probabilities [T, V] of the baseline: U-Net skips where the state has them, tied head, softcap."""
    table = state["embedding.table.weight"].double()
    skips = state["depth.skip_weights"].double() if "depth.skip_weights" in state else []
    x = x0 = rms(table[ids_T])
    outputs: list[Tensor] = []
    for layer in range(dims.layers):
        if layer >= len(skips) and outputs:
            x = x + skips[layer - len(skips)] * outputs.pop()
        x = block(x, x0, state, layer % cores, layer, dims, base)
        if layer < len(skips):
            outputs.append(x)
    logits = dims.logit_softcap * torch.tanh(rms(x) @ table.T / dims.logit_softcap)
    return logits - logits.exp().sum(-1, keepdim=True).log()
