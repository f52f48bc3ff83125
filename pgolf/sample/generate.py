"""Text drawn from a model, token by token. Heads give log-probabilities, so a mixture head is sampled as it is.

Shapes: N tokens, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
import sentencepiece
import torch
from torch import Tensor

from pgolf.data.tokenizer import decode_documents
from pgolf.nn.gpt import GPT

MOST_TOKENS = 100_000
LARGEST_SEED = 2**63


@dataclass(frozen=True)
class Sampling:
    """tokens: how many are drawn at most. temperature: of the distribution, 0 for its maximum. top_p: the probability
    mass that is drawn from. seed: of the random numbers.
    """

    tokens: int
    temperature: float
    top_p: float
    seed: int

    def problems(self, prefix: str = "") -> list[str]:
        """What is wrong with the values. prefix: of an option's name, such as --."""
        names = {"top_p": "top-p"} if prefix else {}
        kinds = {"tokens": Integral, "temperature": Real, "top_p": Real, "seed": Integral}
        wrong = [
            f"{prefix}{names.get(name, name)}: needs a {'whole ' if kind is Integral else ''}number ({value!r:.80})"
            for name, kind in kinds.items()
            if not isinstance(value := getattr(self, name), kind) or isinstance(value, bool)
        ]
        if wrong:
            return wrong
        ranges = (
            ("tokens", self.tokens, 1 <= self.tokens <= MOST_TOKENS, f"from 1 to {MOST_TOKENS:,}"),
            ("temperature", self.temperature, 0 <= self.temperature <= 100, "from 0 to 100"),
            ("top_p", self.top_p, 0 < self.top_p <= 1, "above 0 and at most 1"),
            ("seed", self.seed, 0 <= self.seed < LARGEST_SEED, "from 0 to 2^63 - 1"),
        )
        return [
            f"{prefix}{names.get(name, name)}: is out of range ({value}). Choose {remedy}"
            for name, value, holds, remedy in ranges
            if not holds
        ]


@dataclass(frozen=True)
class Generated:
    """text: the prompt and its continuation. ids: all tokens, BOS first. prompt_tokens: with BOS. nats: -log p of the
    drawn tokens under the model at temperature 1. ended: whether the model ended its document.
    """

    text: str
    ids: tuple[int, ...]
    prompt_tokens: int
    nats: float
    ended: bool


@torch.inference_mode()
def generate(
    model: GPT,
    tokenizer: sentencepiece.SentencePieceProcessor,
    prompt: Sequence[int],
    seq_len: int,
    sampling: Sampling,
) -> Generated:
    """Draw tokens after a prompt. BOS begins a document, so that drawing it ends the text.

    Of a text longer than the context, the last seq_len tokens are the context.
    """
    generator = torch.Generator().manual_seed(sampling.seed)
    ids, nats, ended = list(prompt), 0.0, False
    for _ in range(sampling.tokens):
        x_1TD = model.hidden(torch.tensor([ids[-seq_len:]]))
        logp_V = model.head.logp(x_1TD[:, -1:])[0, 0]
        token = draw(logp_V, sampling.temperature, sampling.top_p, generator)
        nats -= float(logp_V[token])
        if token == tokenizer.bos_id():
            ended = True
            break
        ids.append(token)
    text = b"".join(decode_documents(tokenizer, np.array(ids))).decode("utf-8", errors="replace")
    return Generated(text, tuple(ids), len(prompt), nats, ended)


def draw(logp_V: Tensor, temperature: float, top_p: float, generator: torch.Generator) -> int:
    """One token. logp_V: log-probabilities in nats, [V].

    Draws in proportion to p^(1 / temperature) among the fewest tokens whose share of that is at least top_p.
    """
    if temperature == 0:
        return int(logp_V.argmax())
    p_V, order_V = torch.softmax(logp_V.double() / temperature, dim=-1).sort(descending=True, stable=True)
    before_V = p_V.cumsum(-1) - p_V  # the mass of the more probable tokens
    p_V = torch.where(before_V < top_p, p_V, 0.0)
    at = torch.multinomial(p_V, 1, generator=generator)
    return int(order_V[at])
