"""Test-time training of low-rank adapters, per document (parameter-golf pull request 77)."""

from collections.abc import Sequence

from pgolf.errors import require
from pgolf.eval.adaptation import Adaptation
from pgolf.eval.adapters import adapted_sites, check_maps
from pgolf.eval.windows import check_max_targets, first_suffix, overlapping_windows
from pgolf.nn.gpt import GPT
from pgolf.slots import Window


class TttLora:
    """Every document is scored in chunks, and its adapters take one step on each chunk after its score.

    y <- y + B A x for each adapted map, with B = 0 and A uniform at the start of every document; no other weight
    changes. A chunk is scored in a window of at most seq_len targets that ends with it. The step is one of Adam on the
    mean nats of the chunk. The last chunk of a document trains nothing, and nothing passes from one document to
    another.

    Deviations from the source: A is the same for every document, so that documents are independent; the start of a
    window does not depend on where the document ends. Where `chunk` divides seq_len, `document_stride` with a stride of
    `chunk` has the same contexts and no training.

    rank: of an adapter. chunk: targets per step, from 1 to seq_len. lr, beta1, beta2, eps: of Adam. maps: q, k, v, out
    and mlp of every block with weights of its own, and head. seed: of the initial A. max_targets: score only this many
    targets, from the start of the text; null scores all.
    """

    def __init__(
        self,
        seq_len: int,
        *,
        rank: int,
        chunk: int,
        lr: float,
        beta1: float,
        beta2: float,
        eps: float,
        maps: Sequence[str],
        seed: int,
        max_targets: int | None,
    ):
        require(rank >= 1, "rank", rank, "choose 1 or more")
        require(1 <= chunk <= seq_len, "chunk", chunk, f"choose from 1 to the window length, {seq_len}")
        require(lr > 0, "lr", lr, "choose a positive learning rate")
        for key, value in (("beta1", beta1), ("beta2", beta2)):
            require(0 <= value < 1, key, value, "choose from 0 up to, not including, 1")
        require(eps > 0, "eps", eps, "choose a positive number")
        require(seed >= 0, "seed", seed, "choose 0 or more")
        check_maps(maps)
        check_max_targets(max_targets)
        self.seq_len, self.max_targets = seq_len, max_targets
        self.adaptation = Adaptation(rank, chunk, lr, beta1, beta2, eps, tuple(maps), seed)
        self.name = (
            f"ttt_lora{seq_len}-{'+'.join(maps)}-rank{rank}-chunk{chunk}-lr{lr:g}-beta{beta1:g}-{beta2:g}"
            f"-eps{eps:g}-seed{seed}" + first_suffix(max_targets)
        )

    def document_windows(self, targets: int) -> list[Window]:
        """The chunks of a document, each in its window."""
        return overlapping_windows(targets, self.seq_len, self.adaptation.chunk, first=self.adaptation.chunk)

    def check_model(self, model: GPT) -> None:
        """Raise OptionError for a model that lacks one of the adapted maps. It may be on the meta device."""
        rank = self.adaptation.rank
        for site in adapted_sites(model, self.adaptation.maps):
            most = min(site.inputs, site.outputs)
            require(rank <= most, "rank", rank, f"choose from 1 to {most}, the smaller side of {site.name}")
