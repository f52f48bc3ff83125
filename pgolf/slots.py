"""The slot contracts: the arguments of each kind of component, and the methods that it provides.

A variant is one class, one YAML file and one test. Its constructor is `(runtime arguments, *, hyperparameters)`. The
YAML file holds `_target_`, `_partial_: true` and every hyperparameter; the build layer supplies the runtime arguments.
Nothing is registered.

Shapes: B batch, T time, D model width, H query heads, G key-value heads, K head dim, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pgolf.errors import require

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

Role = Literal["embedding", "head", "matrix", "scalar"]
Site = Literal["embed", "residual", "value"]
ROLES: tuple[Role, ...] = ("embedding", "head", "matrix", "scalar")


@dataclass(frozen=True)
class Dims:
    """Sizes that every slot of one model shares."""

    vocab_size: int
    width: int
    layers: int
    unique_blocks: int
    heads: int
    kv_heads: int
    mlp_hidden: int
    seq_len: int
    logit_softcap: float

    @property
    def head_dim(self) -> int:
        return self.width // self.heads

    def check_rank(self, rank: int) -> None:
        """Raise OptionError unless `rank` is from 1 to the model width: a larger one adds parameters, but no rank."""
        require(1 <= rank <= self.width, "rank", rank, f"choose from 1 to the model width, {self.width}")


class Embedding(Protocol):
    """`model.embedding`, called with (dims)."""

    def __call__(self, ids_BT: Tensor) -> Tensor:
        """Rows of the effective table, [B, T, D]."""

    def unembed(self, x_BTD: Tensor) -> Tensor:
        """Scores of a tied head, [B, T, V]: x times the transposed effective table, without softcap."""


class SideInput(Protocol):
    """`model.side_inputs.*`, called with (dims): a tensor computed from token ids, added at a site of the trunk.

    site `embed`: [B, T, D], added to the embedding before the first norm. `residual`: [B, T, D] times gain(layer),
    added before each block in `layers`. `value`: [B, T, G*K] times gain(layer), added to the attention values of each
    block in `layers`. Position t may depend on ids 0 .. t only.
    """

    site: Site
    layers: tuple[int, ...]

    def __call__(self, ids_BT: Tensor) -> Tensor: ...

    def gain(self, layer: int) -> Tensor:
        """Scalar weight at one of `layers`."""


class Block(Protocol):
    """A block as a `model.depth` sees it: everything but the stream x [B, T, D] is given."""

    def __call__(self, x_BTD: Tensor) -> Tensor:
        """The stream after residual mixing, attention and MLP, [B, T, D]."""

    def attention(self, x_BTD: Tensor) -> Tensor:
        """The output of the attention sublayer for the input x, [B, T, D]: x is neither mixed nor added.

        A side input at the site `residual` is added to the input of this sublayer alone.
        """

    def mlp(self, x_BTD: Tensor) -> Tensor:
        """The output of the MLP sublayer for the input x, [B, T, D]: x is not added."""


class Depth(Protocol):
    """`model.depth`, called with (dims): how the blocks are wired.

    uses_resid_mix: False for a variant that takes sublayer outputs and never calls a block. Its model has no weights of
    residual mixing. A class without this attribute uses them.
    """

    uses_resid_mix: bool

    def __call__(self, x_BTD: Tensor, blocks: Sequence[Block]) -> Tensor:
        """The stream after the last block, [B, T, D], for the normed embedding x. Every block runs once, in order."""


class Head(Protocol):
    """`model.head`, called with (dims, embedding). It returns log-probabilities, not logits."""

    def nll(self, x_BTD: Tensor, y_BT: Tensor) -> Tensor:
        """-log p(y | x) in nats, fp32, shape [B, T]."""

    def logp(self, x_BTD: Tensor) -> Tensor:
        """log p of every piece of the vocabulary in nats, fp32, shape [B, T, V]."""


@dataclass(frozen=True)
class Window:
    """One forward pass of an evaluation: it predicts targets `start .. stop-1` and scores targets `scored .. stop-1`.

    Target i is token i+1; its inputs are tokens `start .. i`.
    """

    start: int
    scored: int
    stop: int


class EvalMode(Protocol):
    """`eval`, called with (seq_len): a plan of windows over the validation targets.

    A mode whose windows are longer than seq_len has a number `reach`, too: the positions that a position attends to at
    most, its own included. It is at most seq_len, so that no offset is new to the model.
    """

    name: str

    def windows(self, targets: int) -> list[Window]:
        """Windows over the first `targets` targets. No target is scored twice."""


class DocumentMode(Protocol):
    """`eval`, called with (seq_len): a mode that scores every document by itself; a plan of windows in one document.

    max_targets: score only this many targets, from the start of the text; None for all. A mode that also trains
    adapters on what it has scored has `adaptation` and `check_model`, as `pgolf.eval.ttt_lora.TttLora` has.
    """

    name: str
    max_targets: int | None

    def document_windows(self, targets: int) -> list[Window]:
        """Windows over a document of `targets` targets, counted from its start. They score each target once, in order.

        Which window scores a target, and where that window starts, must not depend on where the document ends.
        """


@dataclass(frozen=True)
class Encoded:
    """One packed tensor: named little-endian arrays and how to read them.

    scheme: `int` (codes int8 [rows, cols] with fp16 scales [rows]), `fp16`, `fp32` or `raw`. bits: a value takes one of
    at most 2**bits levels.
    """

    scheme: str
    bits: int
    shape: tuple[int, ...]
    arrays: Mapping[str, np.ndarray]


class Quantizer(Protocol):
    """`quant`: turns weights into compressible arrays. `codec` and `level` compress the payload of all arrays."""

    codec: str
    level: int

    def encode(self, name: str, tensor: Tensor) -> Encoded:
        """One tensor of the state as arrays. Raises ArtifactError if it holds NaN or infinity."""

    def fake(self, name: str, tensor: Tensor) -> Tensor:
        """decode(encode(tensor)) bit for bit, in fp32, with the gradient of `tensor` passed straight through."""

    def payload_bytes(self, name: str, shape: tuple[int, ...]) -> int:
        """Bytes of the arrays that `encode` makes of a float tensor of this shape, before compression."""


@dataclass(frozen=True)
class Corpus:
    """A prepared corpus on disk, in the official shard format.

    raw_val_bytes: UTF-8 bytes of the validation text before tokenizer normalisation; None where the text is not known.
    """

    name: str
    train_shards: tuple[Path, ...]
    val_shards: tuple[Path, ...]
    tokenizer: Path
    vocab_size: int
    shuffle_seed: int | None
    raw_val_bytes: int | None = None


class Data(Protocol):
    """`data`, called with (cache_dir). The constructor is cheap and checks paths; `prepare` works once per machine."""

    def prepare(self) -> Corpus:
        """The corpus, created if it is not in the cache. Raises DataError."""


@dataclass(frozen=True)
class TrackedRun:
    """What a tracker is told of a run.

    id: made from fingerprint and seed; a resumed run keeps it. name: short and distinct. study: the sweep that the run
    belongs to. config: the resolved configuration, one level of dotted keys.
    """

    id: str
    name: str
    study: str
    arm: str
    seed: int
    fingerprint: str
    folder: Path
    config: Mapping[str, Any]

    @property
    def labels(self) -> dict[str, Any]:
        """What tells this run from others, and where it lies."""
        names = {"study": self.study, "arm": self.arm, "seed": self.seed, "fingerprint": self.fingerprint}
        return {**names, "folder": str(self.folder)}


class Tracker(Protocol):
    """`tracker`, called with nothing: hands the curves and the record of a run to a tracking library.

    The run builds it to check its options. A second process builds it again and calls the methods there, so that they
    may raise anything and take any time. The constructor is cheap and imports no library. package: the library, as it
    is imported, and extra: the extra of pgolf that installs it; None for a tracker that needs none. most_share: CPU
    time of the tracker as a share of the run's time. most_wait_s: longest wait of a run that has ended.
    """

    package: str | None
    extra: str | None
    most_share: float
    most_wait_s: float

    def start(self, run: TrackedRun) -> Mapping[str, int]:
        """Open the run, or the one with the same id. Returns the last step of each metric that it already has."""

    def log(self, points: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        """(step, value of each metric) in the order of the steps. A metric has one value per step."""

    def finish(self, record: Mapping[str, Any]) -> None:
        """Close the run. record: a run that is not `ok` has no scores, and may be opened again to be resumed."""
